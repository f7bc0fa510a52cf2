"""What surrounds an Interface row: its Port, the Bridge of that, and the peer of a patch port.

An Interface belongs to the Port whose `interfaces` has it, a Port to the Bridge whose `ports` has
it. A message may bring the rows in any order, and for one message a row may dangle, so only the
state after a whole message counts.

A difference of `ports` lists ports that come and ports that leave: a port that is there leaves.
So each Bridge has its own set of ports, and beside it stands the way back from a Port to its
Bridges and from an Interface to its Ports. The work for a message is in proportion to what it
changes, never to the size of a bridge. No I/O.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from dfovsdb.errors import ProtocolError
from dfovsdb.model import NOTHING, UNREADABLE, Interface, RowDelta, is_open
from dfovsdb.ovsdb.updates import (
    Action,
    ColumnType,
    Map,
    MonitorMethod,
    Number,
    action_of_update,
    action_of_update2,
    column_value,
    map_changed,
    map_value,
    modified_columns,
    new_columns,
    number_value,
    read_only,
    row_update_decoder,
    set_changed,
)

#: The columns of the other tables that are always read.
PORT_COLUMNS = ("name", "interfaces", "tag", "trunks", "external_ids", "fake_bridge")
BRIDGE_COLUMNS = ("name", "ports", "datapath_type")

_Unset = msgspec.UnsetType
_UNSET = msgspec.UNSET
_Uuids = tuple[str, Any]  # ["uuid", UUID] or ["set", [["uuid", UUID], ...]]
_NO_UUIDS: _Uuids = ("set", [])
_TRUNKS = ColumnType("set", several=True)


class _PortRow(msgspec.Struct, gc=False):
    name: str | _Unset = _UNSET
    interfaces: _Uuids | _Unset = _UNSET
    tag: Number | _Unset = _UNSET
    trunks: Any = _UNSET
    external_ids: Map | _Unset = _UNSET
    fake_bridge: bool | _Unset = _UNSET


class _BridgeRow(msgspec.Struct, gc=False):
    name: str | _Unset = _UNSET
    ports: _Uuids | _Unset = _UNSET
    datapath_type: str | _Unset = _UNSET


class _Port(msgspec.Struct, frozen=True, gc=False):
    """A row of Port as we hold it; `columns` has what classifiers declared, as `Port.NAME`."""

    name: str
    interfaces: tuple[str, ...]
    tag: int | None
    trunks: tuple[int, ...]
    external_ids: Mapping[str, str]
    fake_bridge: bool
    columns: Mapping[str, Any]


class _Bridge:
    """A row of Bridge as we hold it."""

    __slots__ = ("columns", "datapath_type", "name", "ports")

    def __init__(
        self, name: str, datapath_type: str, ports: set[str], columns: Mapping[str, Any]
    ) -> None:
        self.name = name
        self.datapath_type = datapath_type
        self.ports = ports
        self.columns = columns


class _PortChange(NamedTuple):
    uuid: str
    new: _Port | None


class _BridgeChange(NamedTuple):
    """`ports` are those that come and those that leave; all of them come to a new row."""

    uuid: str
    action: Action
    name: str
    datapath_type: str
    ports: set[str]
    columns: Mapping[str, Any]


class Change(NamedTuple):
    """What one message does to Port and Bridge."""

    ports: Sequence[_PortChange]
    bridges: Sequence[_BridgeChange]


class Surroundings:
    """The rows of Port and Bridge, and what they say of an Interface.

    :param extra: the columns that classifiers declared, as `Port.NAME` and `Bridge.NAME`.
    """

    def __init__(self, method: MonitorMethod, extra: Mapping[str, ColumnType]) -> None:
        self._whole_rows = method == "monitor"
        self._port_extra = _of_table("Port", extra)
        self._bridge_extra = _of_table("Bridge", extra)
        self._nothing = {
            name: column_value(column_type, _UNSET)
            for name, column_type in {**self._port_extra, **self._bridge_extra}.items()
        }
        self._port_update = row_update_decoder(method, _with_extra(_PortRow, self._port_extra))
        self._bridge_update = row_update_decoder(
            method, _with_extra(_BridgeRow, self._bridge_extra)
        )
        self._action = action_of_update if method == "monitor" else action_of_update2
        self._ports: dict[str, _Port] = {}
        self._bridges: dict[str, _Bridge] = {}
        self._port_of = _Owners()  # Interface -> Port
        self._bridge_of = _Owners()  # Port -> Bridge

    def read(self, tables: Mapping[str, Mapping[str, msgspec.Raw]]) -> Change:
        """Read what a message says of Port and Bridge; nothing is changed yet.

        :raises ProtocolError: it cannot be read, or does not fit what we hold.
        """
        try:
            return Change(
                [self._read_port(uuid, raw) for uuid, raw in tables.get("Port", {}).items()],
                [self._read_bridge(uuid, raw) for uuid, raw in tables.get("Bridge", {}).items()],
            )
        except UNREADABLE as error:
            raise ProtocolError(
                f"an update of table Port or Bridge cannot be read: {error}"
            ) from None

    def apply(self, change: Change) -> set[str]:
        """Apply what read() returned.

        :returns: the uuids of the Interface rows whose surroundings may be others now.
        """
        affected: set[str] = set()
        for port_uuid, new_port in change.ports:
            old_port = self._ports.get(port_uuid)
            if old_port is not None:
                affected.update(old_port.interfaces)
                self._port_of.remove(port_uuid, old_port.interfaces)
            if new_port is None:
                del self._ports[port_uuid]
            else:
                affected.update(new_port.interfaces)
                self._port_of.add(port_uuid, new_port.interfaces)
                self._ports[port_uuid] = new_port
        for bridge in change.bridges:
            for port_uuid in self._apply_bridge(bridge):
                port = self._ports.get(port_uuid)
                if port is not None:
                    affected.update(port.interfaces)
        return affected

    def join(self, row: Interface) -> Interface:
        """Return the row with its surroundings."""
        port_uuid = self._port_of.get(row.uuid)
        port = None if port_uuid is None else self._ports[port_uuid]
        bridge_uuid = None if port_uuid is None else self._bridge_of.get(port_uuid)
        bridge = None if bridge_uuid is None else self._bridges[bridge_uuid]
        columns = row.columns
        if self._nothing:
            columns = read_only(
                {
                    **row.columns,
                    **self._nothing,
                    **(port.columns if port else {}),
                    **(bridge.columns if bridge else {}),
                }
            )
        bridge_name = None if bridge is None else bridge.name
        if port is None:
            return msgspec.structs.replace(
                row,
                bridge=None,
                port_name=None,
                tag=None,
                trunks=(),
                bond=None,
                port_external_ids=NOTHING,
                fake_bridge=False,
                columns=columns,
            )
        return msgspec.structs.replace(
            row,
            bridge=bridge_name,
            port_name=port.name,
            tag=port.tag,
            trunks=port.trunks,
            bond=port.name if len(port.interfaces) > 1 else None,
            port_external_ids=port.external_ids,
            fake_bridge=port.fake_bridge,
            columns=columns,
        )

    def datapath_type(self, uuid: str) -> str | None:
        """Return the datapath type of the bridge of an Interface, None if it has no bridge."""
        port_uuid = self._port_of.get(uuid)
        bridge_uuid = None if port_uuid is None else self._bridge_of.get(port_uuid)
        if bridge_uuid is None:
            return None
        return self._bridges[bridge_uuid].datapath_type or "system"

    def _read_port(self, uuid: str, raw: msgspec.Raw) -> _PortChange:
        old = self._ports.get(uuid)
        action, row = self._action(uuid, self._port_update.decode(raw), held=old is not None)
        if action == "delete":
            return _PortChange(uuid, None)
        if old is None or self._whole_rows:
            return _PortChange(uuid, self._new_port(row))
        return _PortChange(uuid, self._modified_port(old, row))

    def _new_port(self, row: Any) -> _Port:
        return _Port(
            name="" if row.name is _UNSET else row.name,
            interfaces=() if row.interfaces is _UNSET else tuple(_uuids(row.interfaces)),
            tag=number_value(row.tag),
            trunks=() if row.trunks is _UNSET else _trunks(row.trunks),
            external_ids=NOTHING
            if row.external_ids is _UNSET
            else read_only(map_value(row.external_ids)),
            fake_bridge=row.fake_bridge is True,
            columns=new_columns(self._port_extra, row),
        )

    def _modified_port(self, old: _Port, row: Any) -> _Port:
        new: dict[str, Any] = {}
        if row.name is not _UNSET:
            new["name"] = row.name
        if row.interfaces is not _UNSET:
            new["interfaces"] = tuple(set(old.interfaces) ^ set(_uuids(row.interfaces)))
        if row.tag is not _UNSET:
            new["tag"] = number_value(row.tag)
        if row.trunks is not _UNSET:
            new["trunks"] = set_changed(old.trunks, _trunks(row.trunks))
        if row.external_ids is not _UNSET:
            new["external_ids"] = read_only(
                map_changed(old.external_ids, map_value(row.external_ids))
            )
        if row.fake_bridge is not _UNSET:
            new["fake_bridge"] = row.fake_bridge
        if self._port_extra:
            new["columns"] = modified_columns(self._port_extra, old.columns, row)
        return msgspec.structs.replace(old, **new)

    def _read_bridge(self, uuid: str, raw: msgspec.Raw) -> _BridgeChange:
        old = self._bridges.get(uuid)
        action, row = self._action(uuid, self._bridge_update.decode(raw), held=old is not None)
        if action == "delete":
            return _BridgeChange(uuid, "delete", "", "", set(), {})
        ports = set() if row.ports is _UNSET else set(_uuids(row.ports))
        if old is None or self._whole_rows:
            name = "" if row.name is _UNSET else row.name
            datapath_type = "" if row.datapath_type is _UNSET else row.datapath_type
            columns = new_columns(self._bridge_extra, row)
            if old is not None:
                ports = ports ^ old.ports
        else:
            name = old.name if row.name is _UNSET else row.name
            unset = row.datapath_type is _UNSET
            datapath_type = old.datapath_type if unset else row.datapath_type
            columns = modified_columns(self._bridge_extra, old.columns, row)
        does: Action = "modify" if old else "insert"
        return _BridgeChange(uuid, does, name, datapath_type, ports, columns)

    def _apply_bridge(self, change: _BridgeChange) -> Iterable[str]:
        """Apply the change of one Bridge; returns the uuids of the ports that it is about."""
        uuid = change.uuid
        if change.action == "delete":
            bridge = self._bridges.pop(uuid)
            self._bridge_of.remove(uuid, bridge.ports)
            return bridge.ports
        if change.action == "insert":
            self._bridges[uuid] = _Bridge(
                change.name, change.datapath_type, change.ports, change.columns
            )
            self._bridge_of.add(uuid, change.ports)
            return change.ports
        bridge = self._bridges[uuid]
        leaving = [port for port in change.ports if port in bridge.ports]
        coming = [port for port in change.ports if port not in bridge.ports]
        bridge.ports.difference_update(leaving)
        bridge.ports.update(coming)
        self._bridge_of.remove(uuid, leaving)
        self._bridge_of.add(uuid, coming)
        same = (bridge.name, bridge.datapath_type, bridge.columns) == (
            change.name,
            change.datapath_type,
            change.columns,
        )
        bridge.name, bridge.datapath_type = change.name, change.datapath_type
        bridge.columns = change.columns
        return change.ports if same else bridge.ports.union(change.ports)


class _Patch(NamedTuple):
    """What its peer needs to know of a patch port: the port it names, and whether it is open."""

    peer: str | None
    is_open: bool


class Peers:
    """Which patch ports there are, and which port each names as its peer.

    :param surroundings: of the same rows, where Port and Bridge are read.
    """

    def __init__(self, surroundings: Surroundings | None = None) -> None:
        self._surroundings = surroundings
        self._named: dict[str, dict[str, _Patch]] = {}  # name -> uuid -> of that row
        self._wanting: dict[str, set[str]] = {}  # peer -> uuids

    def apply(self, deltas: Iterable[RowDelta]) -> set[str]:
        """Note the patch ports of some changes.

        :returns: the uuids of the patch ports that their coming and going may concern.
        """
        affected: set[str] = set()
        for delta in deltas:
            old, new = delta.old, delta.new
            if old is not None and old.type == "patch":
                self._forget(old)
                self._concerned(old, affected)
            if new is not None and new.type == "patch":
                self._note(new)
                self._concerned(new, affected)
        return affected

    def naming(self, rows: Iterable[Interface]) -> set[str]:
        """Return the uuids of the patch ports that name one of these rows as their peer."""
        found: set[str] = set()
        for row in rows:
            if row.type == "patch":
                self._concerned(row, found)
        return found

    def join(self, row: Interface) -> Interface:
        """Return a row with what `peer` says of it.

        Where the switch has opened the port, it must have opened the peer too, and the bridges of
        both must have the same datapath type.
        """
        if row.type != "patch":
            return row if row.peer is None else msgspec.structs.replace(row, peer=None)
        wanted = row.options.get("peer")
        others = self._named.get(wanted, {}).items() if wanted else ()
        may_wait = not is_open(row)
        there = any(
            other.peer == row.name
            and uuid != row.uuid
            and (may_wait or (other.is_open and self._same_datapath(uuid, row.uuid)))
            for uuid, other in others
        )
        return row if row.peer is there else msgspec.structs.replace(row, peer=there)

    def _same_datapath(self, one: str, other: str) -> bool:
        if self._surroundings is None:
            return True
        types = {self._surroundings.datapath_type(uuid) for uuid in (one, other)}
        return len(types - {None}) < 2

    def _note(self, row: Interface) -> None:
        peer = row.options.get("peer")
        self._named.setdefault(row.name, {})[row.uuid] = _Patch(peer, is_open(row))
        if peer:
            self._wanting.setdefault(peer, set()).add(row.uuid)

    def _forget(self, row: Interface) -> None:
        peer = row.options.get("peer")
        named = self._named.get(row.name, {})
        named.pop(row.uuid, None)
        if not named:
            self._named.pop(row.name, None)
        wanting = self._wanting.get(peer or "", set())
        wanting.discard(row.uuid)
        if not wanting:
            self._wanting.pop(peer or "", None)

    def _concerned(self, row: Interface, affected: set[str]) -> None:
        affected.update(self._wanting.get(row.name, ()))


class _Owners:
    """Who has a row: usually one, and for a moment none or several."""

    def __init__(self) -> None:
        self._owners: dict[str, str | set[str]] = {}

    def get(self, uuid: str) -> str | None:
        """Return the one that has it; of several always the same."""
        owners = self._owners.get(uuid)
        return min(owners) if isinstance(owners, set) else owners

    def add(self, owner: str, uuids: Iterable[str]) -> None:
        owners = self._owners
        for uuid in uuids:
            held = owners.get(uuid)
            if held is None:
                owners[uuid] = owner
            elif isinstance(held, set):
                held.add(owner)
            elif held != owner:
                owners[uuid] = {held, owner}

    def remove(self, owner: str, uuids: Iterable[str]) -> None:
        owners = self._owners
        for uuid in uuids:
            held = owners.get(uuid)
            if held == owner:
                del owners[uuid]
            elif isinstance(held, set):
                held.discard(owner)
                if len(held) == 1:
                    owners[uuid] = held.pop()


def _of_table(table: str, extra: Mapping[str, ColumnType]) -> dict[str, ColumnType]:
    return {name: kind for name, kind in extra.items() if name.startswith(f"{table}.")}


def _with_extra(row: type[msgspec.Struct], extra: Mapping[str, ColumnType]) -> type:
    """Return the type of a row that has the declared columns too, where it has them not."""
    names = [name.partition(".")[2] for name in extra]
    more = [(name, Any, _UNSET) for name in names if name not in row.__struct_fields__]
    return msgspec.defstruct(f"{row.__name__}WithExtras", more, bases=(row,)) if more else row


def _uuids(value: _Uuids) -> list[str]:
    kind, content = value
    if kind == "uuid" and isinstance(content, str):
        return [content]
    if kind == "set" and isinstance(content, list):
        uuids = [one[1] for one in content if isinstance(one, list) and len(one) == 2]
        if len(uuids) == len(content) and all(isinstance(uuid, str) for uuid in uuids):
            return uuids
    raise ProtocolError(f"expected uuids: {value!r:.80}")


def _trunks(value: Any) -> tuple[int, ...]:
    trunks: tuple[int, ...] = column_value(_TRUNKS, value)
    if not all(type(vlan) is int for vlan in trunks):
        raise ProtocolError(f"expected VLANs: {value!r:.80}")
    return trunks
