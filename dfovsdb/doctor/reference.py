"""The reference: the same ports, read by ovs.db.idl, the client that Open vSwitch ships.

It shares the classifiers with dfovsdb and nothing else: not the socket, the decoding, the
replica, the lifecycle or the delivery.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from dfovsdb.classifiers.base import Classifier
from dfovsdb.classifiers.chain import Chain
from dfovsdb.model import CORE_COLUMNS, TABLE, Interface, Port
from dfovsdb.plugins import default_classifiers

with warnings.catch_warnings():  # ovs.poller imports eventlet where it is installed, which warns
    warnings.simplefilter("ignore")
    import ovs.db.idl
    import ovs.poller

#: Facts that the switch forgets when the database restarts; dfovsdb keeps the last known.
EPHEMERAL = ("admin_state", "link_state", "mac_in_use")


class Reference:
    """A second client of the same server; a context manager.

    :param connection: `tcp:HOST:PORT` or `unix:PATH`.
    :param schema: path of the server's schema.
    """

    def __init__(
        self,
        connection: str,
        schema: Path,
        classifiers: Sequence[Classifier] | None = None,
    ) -> None:
        helper = ovs.db.idl.SchemaHelper(location=str(schema))
        helper.register_columns(TABLE, list(CORE_COLUMNS))
        self._idl = ovs.db.idl.Idl(connection, helper, probe_interval=0)
        self._chain = Chain(default_classifiers() if classifiers is None else classifiers)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._idl.close()

    def refresh(self, timeout: float = 20) -> None:
        """Read until there is something and nothing more to read.

        :raises TimeoutError: the server does not answer.
        """
        deadline = time.monotonic() + timeout
        while True:
            self._idl.run()
            poller = ovs.poller.Poller()
            self._idl.wait(poller)
            poller.timer_wait(10)
            before = self._idl.change_seqno
            poller.block()
            self._idl.run()
            if self._idl.has_ever_connected() and self._idl.change_seqno == before:
                return
            if time.monotonic() > deadline:
                raise TimeoutError("the reference client was not served")

    def ports(self) -> dict[str, Port]:
        """The ports by uuid, as of the last refresh()."""
        ports = {}
        for row in self._idl.tables[TABLE].rows.values():
            port = self._chain.port(_interface(row), None)
            if port is not None:
                ports[port.uuid] = port
        return ports


def differences(ours: dict[str, Port], theirs: dict[str, Port]) -> list[str]:
    """What differs, a line each; facts that are unknown to the reference aside."""
    lines = [f"only here: {ours[uuid]}" for uuid in ours.keys() - theirs.keys()]
    lines += [f"only there: {theirs[uuid]}" for uuid in theirs.keys() - ours.keys()]
    for uuid in ours.keys() & theirs.keys():
        mine, other = ours[uuid].facts(), theirs[uuid].facts()
        ignored = {name for name in EPHEMERAL if other[name] is None}
        if ours[uuid].state != "failed":
            ignored.add("error")
        lines += [
            f"{mine['name']} {name}: {mine[name]!r} here, {other[name]!r} there"
            for name in mine
            if name not in ignored and mine[name] != other[name]
        ]
    return lines


def _interface(row: Any) -> Interface:
    def optional(values: list[Any]) -> Any:
        return values[0] if values else None

    return Interface(
        uuid=str(row.uuid),
        name=row.name,
        type=row.type,
        ofport=optional(row.ofport),
        admin_state=optional(row.admin_state),
        link_state=optional(row.link_state),
        mac_in_use=optional(row.mac_in_use),
        error=optional(row.error),
        external_ids=dict(row.external_ids),
        options=dict(row.options),
    )
