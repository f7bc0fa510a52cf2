"""The values that are passed along: Interface, RowDelta, Port, PortEvent, SyncMarker.

All are frozen and do not know where they come from or go to. None can be part of a reference
cycle, so none is tracked by the garbage collector (gc=False), which saves a visible part of a
large first sync.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, Literal

import msgspec

State = Literal["pending", "failed", "gone", "ready"]
Action = Literal["online", "updated", "offline"]
SyncAction = Literal["sync_started", "sync_finished"]
Origin = Literal["initial", "update", "resync", "catchup", "replay"]

OFPORT_FAILED = -1  # ovs-vswitchd.conf.db(5), Interface, ofport
OFPP_LOCAL = 65534  #: the same: the local port of a bridge

TABLE = "Interface"

Table = Literal["Interface", "Port", "Bridge"]
TABLES: tuple[Table, ...] = ("Interface", "Port", "Bridge")  #: that may be read

#: The columns that are always monitored: every field of Interface that is a column.
CORE_COLUMNS: tuple[str, ...] = (
    "name",
    "type",
    "options",
    "external_ids",
    "ofport",
    "mac_in_use",
    "admin_state",
    "link_state",
    "error",
)
#: Without these no port can be classified. A schema without another core column is an old one.
REQUIRED_COLUMNS = frozenset({"name", "type", "options", "external_ids", "ofport"})

#: What decoding with msgspec raises: malformed or of another type, nested too deeply, not UTF-8.
UNREADABLE = (msgspec.MsgspecError, RecursionError, UnicodeError)

#: What is empty and cannot be changed, once for all rows.
NOTHING: Mapping[str, Any] = MappingProxyType({})


class Interface(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One row of the Interface table, decoded (ovs-vswitchd.conf.db(5), Interface).

    An empty optional column is None. `columns` holds what classifiers declared beyond the
    columns below: None, a scalar, a tuple or a dict, by the server's schema. The names of columns
    of other tables have a dot: `Port.tag`, `Bridge.datapath_type`.

    The surroundings are joined from other rows. From `Port` and `Bridge`, where these tables are
    read: `bridge`, `port_name`, `tag`, `trunks` (VLANs, rising), `bond` (the name of the Port
    where it has several interfaces), `port_external_ids` and `fake_bridge`. From Interface alone:
    `peer`, for type `patch` whether a patch row of that name names this row as its peer, and
    is open in the switch if this one is; None for other types. Where Bridge is read, the bridges
    of two that are open must have the same datapath type.

    `mac_in_use` is "" where the server has no such column.
    """

    uuid: str
    name: str
    type: str = ""
    ofport: int | None = None
    admin_state: str | None = None
    link_state: str | None = None
    mac_in_use: str | None = None
    error: str | None = None
    external_ids: Mapping[str, str] = NOTHING
    options: Mapping[str, str] = NOTHING
    columns: Mapping[str, Any] = NOTHING
    bridge: str | None = None
    port_name: str | None = None
    tag: int | None = None
    trunks: tuple[int, ...] = ()
    bond: str | None = None
    port_external_ids: Mapping[str, str] = NOTHING
    fake_bridge: bool = False
    peer: bool | None = None


class RowDelta(msgspec.Struct, frozen=True, gc=False):
    """One row before and after: an insert has no `old`, a delete has no `new`."""

    uuid: str
    old: Interface | None
    new: Interface | None


class Port(msgspec.Struct, frozen=True, gc=False, eq=False):
    """An Interface as its classifier sees it.

    `state` is `pending` while the switch has given no port number, `failed` if the number is -1
    or a patch port has no peer that the switch can use, `gone` if the port still has its
    number but its network device has vanished, and `ready` in any other case. A port of type
    internal or tap is never `gone`: without a datapath in the kernel, its device vanishes for the
    switch when it is moved to another network namespace, where it works.

    `error` is None unless the state is `failed` or `gone`. `bridge`, `tag`, `trunks` and `bond`
    are those of the Interface. `interface` is the raw row, None for a port that was read back
    from state_dir; it takes no part in comparison and is not in the JSON.
    """

    uuid: str
    name: str
    kind: str
    type: str
    ofport: int | None
    state: State
    admin_state: str | None
    link_state: str | None
    mac_in_use: str | None
    error: str | None
    bridge: str | None = None
    tag: int | None = None
    trunks: tuple[int, ...] = ()
    bond: str | None = None
    attributes: Mapping[str, str | None] = NOTHING
    interface: Interface | None = None

    def facts(self) -> dict[str, Any]:
        """Return every field except the raw row, by name, in the order of the JSON.

        The values are those of the JSON, so json.dumps() takes them.
        """
        facts = {name: getattr(self, name) for name in PORT_FACTS}
        return facts | {"attributes": dict(self.attributes)}

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Port):
            return NotImplemented
        return (
            self.uuid == other.uuid
            and self.ofport == other.ofport
            and self.state == other.state
            and self.name == other.name
            and self.kind == other.kind
            and self.type == other.type
            and self.attributes == other.attributes
            and self.mac_in_use == other.mac_in_use
            and self.link_state == other.link_state
            and self.admin_state == other.admin_state
            and self.error == other.error
            and self.bridge == other.bridge
            and self.tag == other.tag
            and self.trunks == other.trunks
            and self.bond == other.bond
        )

    def __ne__(self, other: object) -> bool:
        # object.__ne__ would do, but msgspec.Struct has its own, which compares identities.
        equal = self.__eq__(other)
        return equal if equal is NotImplemented else not equal

    def __hash__(self) -> int:
        return hash((self.uuid, self.name, self.kind, self.ofport))


PORT_FACTS: tuple[str, ...] = tuple(f for f in Port.__struct_fields__ if f != "interface")
_PLAIN_FACTS = tuple(name for name in PORT_FACTS if name not in ("uuid", "kind", "attributes"))


class PortEvent(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One port came online, was updated or went offline.

    `port` is the port as it is now, or for `offline` as it was last delivered. `previous` is the
    port as it was delivered before, if that matters. `seq` rises by one with each event and
    marker, for each sink and process. `time` (UTC) is when the change was read from the database.
    """

    action: Action
    port: Port
    previous: Port | None
    origin: Origin
    seq: int
    time: datetime
    host: str

    @property
    def changed(self) -> dict[str, tuple[Any, Any]]:
        """Return what differs from `previous`: field -> (old, new), attributes as
        `attributes.NAME`.

        It is empty if there is no previous port.
        """
        return changes(self.previous, self.port)


class SyncMarker(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The markers around the events of a whole table.

    `ports` is the number of present ports: None until `sync_finished`.
    """

    action: SyncAction
    origin: Origin
    seq: int
    time: datetime
    host: str
    ports: int | None = None


def port_of(
    interface: Interface,
    kind: str,
    attributes: Mapping[str, str | None],
    last: Port | None = None,
) -> Port:
    """Return the Port that a classifier made of a row.

    :param attributes: of the port alone; nobody else changes them.
    :param last: the same port as it was known before.
    """
    state, error = state_of(interface)
    port = Port(  # for more than 15 keywords Python would build a dict, which takes a microsecond
        interface.uuid,
        interface.name,
        kind=kind,
        type=interface.type,
        ofport=interface.ofport,
        state=state,
        admin_state=interface.admin_state,
        link_state=interface.link_state,
        mac_in_use=interface.mac_in_use or None,
        error=error,
        bridge=interface.bridge,
        tag=interface.tag,
        trunks=interface.trunks,
        bond=interface.bond,
        attributes=MappingProxyType(attributes),  # no sink changes them
        interface=interface,
    )
    return port if last is None else keep_known(last, port)


def state_of(interface: Interface) -> tuple[State, str | None]:
    """Return the state of a row, and the error that goes with it."""
    ofport = interface.ofport
    if ofport is None:
        return "pending", None
    if ofport == OFPORT_FAILED:
        if interface.error is None and interface.peer is False:
            return "failed", _no_peer(interface)
        return "failed", interface.error
    # `error` of a patch port does not help: every reconfiguration of the switch clears it, and the
    # next status pass sets it again. Whether the peer is there can be seen in the table.
    if interface.peer is False:
        return "failed", _no_peer(interface)
    # The switch itself has the device of these types open. Where its values vanish, it was moved
    # to another network namespace, and works there.
    if (
        interface.type not in ("internal", "tap")
        and interface.mac_in_use is None
        and interface.link_state != "up"
        and "down" in (interface.admin_state, interface.link_state)
    ):
        return "gone", interface.error or "its network device has vanished"
    return "ready", None


def _no_peer(interface: Interface) -> str:
    peer = interface.options.get("peer")
    if not peer:
        return "no peer"
    return f"there is no usable patch port {peer!r} with this port as its peer"


def is_open(row: Interface) -> bool:
    """Return whether the switch has opened the port of a row, and given it a number."""
    return row.ofport is not None and row.ofport != OFPORT_FAILED


def is_unknown(row: Interface | Port) -> bool:
    """Say whether the ephemeral columns of a row are unknown.

    The switch empties them all for every row when the database restarts, and fills them again
    within a second (ovs-vswitchd.conf.db(5), Interface Status: "ephemeral"). One of them empty
    alone is news.
    """
    return row.admin_state is None and row.link_state is None and not row.mac_in_use


def keep_known(last: Port, now: Port) -> Port:
    """Return `now`, with the last known values of what is unknown while ofport stays."""
    if not is_unknown(now) or last.ofport != now.ofport or is_unknown(last):
        return now
    kept = {name: getattr(last, name) for name in ("admin_state", "link_state", "mac_in_use")}
    if now.state == "ready" and last.state == "gone":
        kept |= {"state": last.state, "error": last.error}
    return msgspec.structs.replace(now, **kept)


def changes(previous: Port | None, port: Port) -> dict[str, tuple[Any, Any]]:
    """Return what differs: field -> (old, new), attributes as `attributes.NAME`."""
    if previous is None:
        return {}
    changed: dict[str, tuple[Any, Any]] = {}
    for name in _PLAIN_FACTS:
        old, new = getattr(previous, name), getattr(port, name)
        if old != new:
            changed[name] = (old, new)
    if previous.attributes != port.attributes:
        for name in sorted({*previous.attributes, *port.attributes}):
            old, new = previous.attributes.get(name), port.attributes.get(name)
            if old != new:
                changed[f"attributes.{name}"] = (old, new)
    return changed
