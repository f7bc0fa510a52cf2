"""The values that travel the road: Interface, RowDelta, Port, PortEvent, SyncMarker.

All are frozen and know nothing of where they come from or go to. None can be part of a
reference cycle, so none is tracked by the garbage collector (gc=False), which is a visible
part of a large first sync.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, NamedTuple

import msgspec

State = Literal["pending", "failed", "ready"]
Action = Literal["online", "updated", "offline"]
SyncAction = Literal["sync_started", "sync_finished"]
Origin = Literal["initial", "update", "resync", "catchup", "replay"]

OFPORT_FAILED = -1  # ovs-vswitchd.conf.db(5), Interface, ofport

TABLE = "Interface"

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

_NOTHING: Mapping[str, Any] = {}


class Interface(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One row of the Interface table, decoded (ovs-vswitchd.conf.db(5), Interface).

    An empty optional column is None. `columns` holds what classifiers declared beyond the
    columns below: None, a scalar, a tuple or a dict, by the server's schema.
    """

    uuid: str
    name: str
    type: str = ""
    ofport: int | None = None
    admin_state: str | None = None
    link_state: str | None = None
    mac_in_use: str | None = None
    error: str | None = None
    external_ids: Mapping[str, str] = {}
    options: Mapping[str, str] = {}
    columns: Mapping[str, Any] = _NOTHING


class RowDelta(NamedTuple):
    """One row before and after: an insert has no `old`, a delete has no `new`."""

    uuid: str
    old: Interface | None
    new: Interface | None


class Port(msgspec.Struct, frozen=True, gc=False, kw_only=True, eq=False):
    """An Interface as its classifier sees it.

    `state` follows ofport: unset is `pending`, -1 is `failed`, else `ready`. `error` is
    compared only while the state is `failed`: on others it flaps with every reconfiguration
    and is merely carried. `interface` is the raw row, None for a port that was read back from
    state_dir; it takes no part in comparison and is not in the JSON.
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
    attributes: Mapping[str, str | None]
    interface: Interface | None = None

    def facts(self) -> dict[str, Any]:
        """Every field but the raw row, by name, in the order of the JSON."""
        return {name: getattr(self, name) for name in PORT_FACTS}

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Port):
            return NotImplemented
        return (
            self.uuid == other.uuid
            and self.ofport == other.ofport  # state follows it
            and self.name == other.name
            and self.kind == other.kind
            and self.type == other.type
            and self.attributes == other.attributes
            and self.mac_in_use == other.mac_in_use
            and self.link_state == other.link_state
            and self.admin_state == other.admin_state
            and (self.error == other.error or self.state != "failed")
        )

    def __ne__(self, other: object) -> bool:
        # object's would do, but msgspec.Struct has one of its own, which compares identities.
        equal = self.__eq__(other)
        return equal if equal is NotImplemented else not equal

    def __hash__(self) -> int:
        return hash((self.uuid, self.name, self.kind, self.ofport))


PORT_FACTS: tuple[str, ...] = tuple(f for f in Port.__struct_fields__ if f != "interface")
_PLAIN_FACTS = tuple(name for name in PORT_FACTS if name not in ("uuid", "kind", "attributes"))


class PortEvent(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One port came online, was updated or went offline.

    `port` is the port as it is now, for `offline` as it was last told. `previous` is the port
    as it was told before, where that is news. `seq` rises by one per event and marker, per
    sink and process. `time` (UTC) is when the fact was read from the database.
    """

    action: Action
    port: Port
    previous: Port | None
    origin: Origin
    seq: int
    time: datetime
    host: str


class SyncMarker(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The brackets around a telling of the whole table.

    `ports` is the number of ports that the table holds: None until `sync_finished`.
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
    """The Port that a classifier made of a row; `last` is the same port as known before."""
    ofport = interface.ofport
    port = Port(
        uuid=interface.uuid,
        name=interface.name,
        kind=kind,
        type=interface.type,
        ofport=ofport,
        state="pending" if ofport is None else "failed" if ofport == OFPORT_FAILED else "ready",
        admin_state=interface.admin_state,
        link_state=interface.link_state,
        mac_in_use=interface.mac_in_use,
        error=interface.error,
        attributes=attributes,
        interface=interface,
    )
    return port if last is None else keep_known(last, port)


def keep_known(last: Port, now: Port) -> Port:
    """Unknown is not news: what became empty while ofport stayed keeps its last known value.

    The switch empties these columns of every port when the database restarts and fills them
    again within a second; they are ephemeral (ovs-vswitchd.conf.db(5), Interface Status).
    """
    if last.ofport != now.ofport or None not in (now.admin_state, now.link_state, now.mac_in_use):
        return now
    forgotten = {
        name: known
        for name in ("admin_state", "link_state", "mac_in_use")
        if getattr(now, name) is None and (known := getattr(last, name)) is not None
    }
    return msgspec.structs.replace(now, **forgotten) if forgotten else now


def changes(previous: Port | None, port: Port) -> dict[str, tuple[Any, Any]]:
    """What differs: field -> (old, new), attributes as `attributes.NAME`."""
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
