"""ovsdbapp with a RowEvent: its connection thread, its IDL, its event handler's thread.

python -m benchmarks.clients.rowevent CONNECTION SCHEMA
"""

from __future__ import annotations

import sys
from typing import Any

import ovs.db.idl
from ovsdbapp.backend.ovs_idl import connection as ovs_connection
from ovsdbapp.backend.ovs_idl.event import RowEvent, RowEventHandler

from benchmarks.clients.observer import COLUMNS, Observer


class AnyInterface(RowEvent):  # type: ignore[misc]  # ovsdbapp has no types
    """Matches every change of every Interface."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        super().__init__((self.ROW_CREATE, self.ROW_UPDATE, self.ROW_DELETE), "Interface", None)

    def run(self, event: str, row: Any, _old: Any) -> None:
        ofport = row.ofport
        self._observer.row(row.name, ofport[0] if ofport else None, row.external_ids.get("vm-id"))
        if event == self.ROW_CREATE:
            self._observer.created()


class Idl(ovs_connection.OvsdbIdl):  # type: ignore[misc]  # ovsdbapp has no types
    """As its users write it: every change goes to the handler, which has a thread."""

    def __init__(self, connection: str, helper: Any, event: RowEvent) -> None:
        super().__init__(connection, helper)
        self._handler = RowEventHandler()
        self._handler.watch_event(event)

    def notify(self, event: str, row: Any, updates: Any = None) -> None:
        self._handler.notify(event, row, updates)


def main() -> None:
    """Run until it is killed."""
    observer = Observer()
    helper = ovs.db.idl.SchemaHelper(location=sys.argv[2])
    helper.register_columns("Interface", list(COLUMNS))
    idl = Idl(observer.go(), helper, AnyInterface(observer))
    connection = ovs_connection.Connection(idl, timeout=300)
    connection.start()
    sys.stdin.read()


if __name__ == "__main__":
    main()
