"""ovs.db.idl, the Python client that Open vSwitch ships; with its C JSON parser where it is.

python -m benchmarks.clients.idl CONNECTION SCHEMA [must-have-c]
"""

from __future__ import annotations

import sys
from typing import Any

import ovs.db.idl
import ovs.json
import ovs.poller

from benchmarks.clients.observer import COLUMNS, Observer


class Idl(ovs.db.idl.Idl):  # type: ignore[misc]  # ovs has no types
    """Reads of each change what an observer wants to know."""

    observer: Observer

    def notify(self, event: str, row: Any, updates: Any = None) -> None:
        if row._table.name != "Interface":  # noqa: SLF001 - it watches the server's own table too
            return
        ofport = row.ofport
        self.observer.row(row.name, ofport[0] if ofport else None, row.external_ids.get("vm-id"))
        if event == ovs.db.idl.ROW_CREATE:
            self.observer.created()


def main() -> None:
    """Run until it is killed."""
    if "must-have-c" in sys.argv and ovs.json.PARSER != ovs.json.PARSER_C:
        raise SystemExit("this ovs has no C JSON parser")
    observer = Observer()
    helper = ovs.db.idl.SchemaHelper(location=sys.argv[2])
    helper.register_columns("Interface", list(COLUMNS))
    idl = Idl(observer.go(), helper)
    idl.observer = observer
    while True:
        idl.run()
        poller = ovs.poller.Poller()
        idl.wait(poller)
        poller.block()


if __name__ == "__main__":
    main()
