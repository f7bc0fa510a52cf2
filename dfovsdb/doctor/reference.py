"""The reference: the same ports, read by ovs.db.idl, the client library of Open vSwitch.

It shares the classifiers with dfovsdb and nothing else: not the socket, the decoding, the replica,
the lifecycle or the delivery.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from dfovsdb.classifiers.base import Classifier
from dfovsdb.classifiers.chain import Chain
from dfovsdb.model import CORE_COLUMNS, TABLE, Interface, Port, is_open
from dfovsdb.ovsdb.surroundings import BRIDGE_COLUMNS, PORT_COLUMNS
from dfovsdb.plugins import default_classifiers

with warnings.catch_warnings():  # ovs.poller imports eventlet if it is installed, which warns
    warnings.simplefilter("ignore")
    import ovs.db.idl
    import ovs.poller

#: Facts that the switch forgets when the database restarts; dfovsdb keeps the last known ones.
EPHEMERAL = ("admin_state", "link_state", "mac_in_use")


class Reference:
    """A second client of the same server; a context manager.

    :param connection: `tcp:HOST:PORT` or `unix:PATH`.
    :param schema: path of the server's schema.
    :param tables: the tables to read; from Port and Bridge the surroundings of each row are
        computed again at each request.
    """

    def __init__(
        self,
        connection: str,
        schema: Path,
        classifiers: Sequence[Classifier] | None = None,
        tables: Sequence[str] = (TABLE,),
    ) -> None:
        helper = ovs.db.idl.SchemaHelper(location=str(schema))
        helper.register_columns(TABLE, list(CORE_COLUMNS))
        self._surrounded = len(tables) > 1
        if self._surrounded:
            helper.register_columns("Port", list(PORT_COLUMNS))
            helper.register_columns("Bridge", list(BRIDGE_COLUMNS))
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
        """Read until there is something, and then nothing more to read.

        :raises TimeoutError: the server does not respond.
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
                raise TimeoutError("the reference client received nothing")

    def ports(self) -> dict[str, Port]:
        """Return the ports by uuid, as of the last refresh()."""
        rows = [_interface(row) for row in self._idl.tables[TABLE].rows.values()]
        patches = [row for row in rows if row.type == "patch"]
        named = {(row.name, row.options.get("peer")) for row in patches}
        opened = {(row.name, row.options.get("peer")) for row in patches if is_open(row)}
        datapath_types = self._datapath_types() if self._surrounded else {}
        by_name = {row.name: datapath_types.get(row.uuid) for row in patches}
        surroundings = self._surroundings() if self._surrounded else {}
        ports = {}
        for row in rows:
            facts: dict[str, Any] = dict(surroundings.get(row.uuid, {}))
            if row.type == "patch":
                peer = row.options.get("peer")
                pairs = opened if (row.name, peer) in opened else named
                there = bool(peer) and peer != row.name and (peer, row.name) in pairs
                if there and peer and pairs is opened:
                    there = len({by_name[row.name], by_name[peer]} - {None}) < 2
                facts["peer"] = there
            port = self._chain.port(msgspec.structs.replace(row, **facts), None)
            if port is not None:
                ports[port.uuid] = port
        return ports

    def _datapath_types(self) -> dict[str, str]:
        """Return the datapath type of the bridge of each Interface, by its uuid."""
        return {
            str(interface.uuid): bridge.datapath_type or "system"
            for bridge in self._idl.tables["Bridge"].rows.values()
            for port in bridge.ports
            for interface in port.interfaces
        }

    def _surroundings(self) -> dict[str, dict[str, Any]]:
        """Return what the rows of Port and Bridge say about each Interface, by its uuid."""
        bridges = {
            port.uuid: bridge.name
            for bridge in self._idl.tables["Bridge"].rows.values()
            for port in bridge.ports
        }
        return {
            str(interface.uuid): {
                "bridge": bridges.get(port.uuid),
                "port_name": port.name,
                "tag": port.tag[0] if port.tag else None,
                "trunks": tuple(sorted(port.trunks)),
                "bond": port.name if len(port.interfaces) > 1 else None,
                "port_external_ids": dict(port.external_ids),
                "fake_bridge": port.fake_bridge,
            }
            for port in self._idl.tables["Port"].rows.values()
            for interface in port.interfaces
        }


def differences(ours: dict[str, Port], theirs: dict[str, Port]) -> list[str]:
    """Return what differs, one line for each difference, except facts unknown to the reference."""
    lines = [f"only here: {ours[uuid]}" for uuid in ours.keys() - theirs.keys()]
    lines += [f"only there: {theirs[uuid]}" for uuid in theirs.keys() - ours.keys()]
    for uuid in ours.keys() & theirs.keys():
        mine, other = ours[uuid].facts(), theirs[uuid].facts()
        ignored = _unknown(mine, other)
        lines += [
            f"{mine['name']} {name}: {mine[name]!r} here, {other[name]!r} there"
            for name in mine
            if name not in ignored and mine[name] != other[name]
        ]
    return lines


def _unknown(mine: dict[str, Any], other: dict[str, Any]) -> set[str]:
    """Return the facts that the switch has forgotten and dfovsdb still knows."""
    if mine["ofport"] != other["ofport"] or any(other[name] is not None for name in EPHEMERAL):
        return set()
    if (mine["state"], other["state"]) == ("gone", "ready"):
        return {*EPHEMERAL, "state", "error"}
    return set(EPHEMERAL)


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
