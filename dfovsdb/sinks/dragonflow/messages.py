"""A Port as a Dragonflow controller expects it: a row of its switch_port or ovs_port table.

Pure functions of a Port; how the messages are sent is not known here. The controller is strict: an
unknown field, a malformed MAC address or an unknown value makes it raise an exception, which can
cost it a full resync. Therefore only the fields below are sent, and invalid values are omitted.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dfovsdb.model import Port

_MAC = re.compile(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}")
_ADMIN_STATES = ("up", "down")
_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode


class Dialect(NamedTuple):
    """The differences between the messages of two generations of the controller."""

    table: str
    sync_started: str
    sync_finished: str
    number: str  #: the field of the OpenFlow port number
    vm: str  #: the type of a VM port
    peer_bridge: bool  #: whether a patch port has that field


#: By the name of its table: Dragonflow's last master (2019), and release 4.0.0 (2017).
DIALECTS = {
    "switch_port": Dialect(
        table="switch_port",
        sync_started="switch_sync_started",
        sync_finished="switch_sync_finished",
        number="port_num",
        vm="compute",
        peer_bridge=False,
    ),
    "ovs_port": Dialect(
        table="ovs_port",
        sync_started="ovs_sync_started",
        sync_finished="ovs_sync_finished",
        number="ofport",
        vm="vm",
        peer_bridge=True,
    ),
}


class Value(NamedTuple):
    """A port, ready to be sent."""

    json: str  #: sorted keys, compact, ASCII, no nulls
    misfits: dict[str, str]  #: fields that were omitted because of their values


def value_of(port: Port, dialect: Dialect, metadata_interface: str) -> Value:
    """Return the value of a port; the metadata interface is always of type `unknown`."""
    fields: dict[str, str | int] = {}
    misfits: dict[str, str] = {}
    for name, fact in _fields(port, dialect, metadata_interface):
        if fact is None or fact == "":
            continue
        if (fitting := _fitting(name, fact)) is None:
            misfits[name] = str(fact)
        else:
            fields[name] = fitting
    return Value(_encode(fields), misfits)


def type_of(port: Port, dialect: Dialect, metadata_interface: str) -> str:
    """Return the type: compute (vm), bridge, patch, tunnel, or unknown.

    A port of any other kind is compute if it has an iface_id, as VMs and services have.
    """
    if port.name == metadata_interface:
        return "unknown"
    if port.kind in ("bridge", "patch", "tunnel"):
        return port.kind
    if port.kind in ("vm", "service") or port.attributes.get("iface_id"):
        return dialect.vm
    return "unknown"


def _fields(
    port: Port, dialect: Dialect, metadata_interface: str
) -> Iterator[tuple[str, str | int | None]]:
    attribute = port.attributes.get
    type_ = type_of(port, dialect, metadata_interface)
    yield "id", port.uuid
    yield "name", port.name
    yield dialect.number, port.ofport
    yield "admin_state", port.admin_state
    yield "lport", None if type_ == "patch" else attribute("iface_id")
    yield "type", type_
    yield "peer", attribute("peer")
    yield "mac_in_use", port.mac_in_use
    yield "attached_mac", attribute("attached_mac")
    yield "tunnel_type", attribute("tunnel_type", port.type if type_ == "tunnel" else None)
    if dialect.peer_bridge and type_ == "patch":
        row = port.interface  # None for a port read back from state_dir: it has left
        of_row = None if row is None else row.external_ids.get("peer_bridge")
        yield "peer_bridge", attribute("peer_bridge", of_row)


def _fitting(name: str, fact: str | int) -> str | int | None:
    """Return the value as the controller accepts it, or None."""
    if name == "admin_state":
        return fact if fact in _ADMIN_STATES else None
    if name in ("mac_in_use", "attached_mac"):
        mac = str(fact).lower()
        return mac if _MAC.fullmatch(mac) else None
    return fact
