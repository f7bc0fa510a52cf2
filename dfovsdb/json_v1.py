"""JSON, version 1: one event or marker on each line. Keys are only added within a version.

The types below are the format; the JSON Schema under docs/ is generated from them.
"""

from __future__ import annotations

import inspect
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec

from dfovsdb.model import (
    UNREADABLE,
    Action,
    Origin,
    Port,
    PortEvent,
    State,
    SyncAction,
    SyncMarker,
    changes,
)

VERSION: Literal[1] = 1


Time = Annotated[datetime, msgspec.Meta(tz=True)]


class PortJson(msgspec.Struct, gc=False, frozen=True, kw_only=True):
    """A port; see the event reference for what each field means."""

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
    trunks: list[int] = []
    bond: str | None = None
    attributes: dict[str, str | None]


class PortEventJson(msgspec.Struct, gc=False, frozen=True, kw_only=True):
    """A port came online, was updated or went offline.

    `changed` maps a field to [old, new], attributes as `attributes.NAME`; it is {} where
    there is no previous port.
    """

    v: Literal[1] = VERSION
    seq: Annotated[int, msgspec.Meta(ge=1)]
    time: Time
    host: str
    action: Action
    origin: Origin
    port: PortJson
    changed: dict[str, tuple[Any, Any]]


class SyncMarkerJson(msgspec.Struct, gc=False, frozen=True, kw_only=True):
    """A sync begins, or is complete; then `ports` says how many ports there are."""

    v: Literal[1] = VERSION
    seq: Annotated[int, msgspec.Meta(ge=1)]
    time: Time
    host: str
    action: SyncAction
    origin: Origin
    ports: Annotated[int, msgspec.Meta(ge=0)] | msgspec.UnsetType = msgspec.UNSET


class _Action(msgspec.Struct, gc=False):
    v: int
    action: str


_encoder = msgspec.json.Encoder()
_decode_action = msgspec.json.Decoder(_Action).decode
_decode_event = msgspec.json.Decoder(PortEventJson).decode
_decode_marker = msgspec.json.Decoder(SyncMarkerJson).decode
_decode_port = msgspec.json.Decoder(PortJson).decode


def to_json(event: PortEvent | SyncMarker) -> bytes:
    """Return one line of JSON, without its line break. Strings are never truncated."""
    if isinstance(event, SyncMarker):
        return _encoder.encode(
            SyncMarkerJson(
                seq=event.seq,
                time=event.time,
                host=event.host,
                action=event.action,
                origin=event.origin,
                ports=msgspec.UNSET if event.ports is None else event.ports,
            )
        )
    return _encoder.encode(
        PortEventJson(
            seq=event.seq,
            time=event.time,
            host=event.host,
            action=event.action,
            origin=event.origin,
            port=_port_json(event.port),
            changed=changes(event.previous, event.port),
        )
    )


def from_json(line: bytes | str) -> PortEvent | SyncMarker:
    """Read back what to_json() wrote; unknown keys are ignored.

    The raw row is not in the JSON (`port.interface` is None). `previous` is the port with
    the `changed` facts as they were, None where nothing changed.

    :raises ValueError: it is not an event or a marker of version 1.
    """
    try:
        head = _decode_action(line)
        if head.v != VERSION:
            raise ValueError(f"JSON version {head.v}: this dfovsdb reads version {VERSION}")
        if head.action.startswith("sync_"):
            marker = _decode_marker(line)
            ports = None if marker.ports is msgspec.UNSET else marker.ports
            return SyncMarker(
                action=marker.action,
                origin=marker.origin,
                seq=marker.seq,
                time=marker.time,
                host=marker.host,
                ports=ports,
            )
        event = _decode_event(line)
    except UNREADABLE as error:
        raise ValueError(f"not an event of JSON version {VERSION}: {error}") from None
    port = _port(event.port)
    return PortEvent(
        action=event.action,
        port=port,
        previous=_previous(port, event.changed),
        origin=event.origin,
        seq=event.seq,
        time=event.time,
        host=event.host,
    )


def encode_port(port: Port) -> bytes:
    """Encode a port alone, as in an event."""
    return _encoder.encode(_port_json(port))


def decode_port(text: bytes | str) -> Port:
    """Read back what encode_port() wrote.

    :raises msgspec.MsgspecError: it is not a port.
    """
    return _port(_decode_port(text))


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a line."""
    either, components = msgspec.json.schema_components(
        [PortEventJson, SyncMarkerJson], ref_template="#/$defs/{name}"
    )
    for component in components.values():  # before Python 3.13 a docstring kept its indentation
        if "description" in component:
            component["description"] = inspect.cleandoc(component["description"])
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "dfovsdb events, JSON version 1",
        "oneOf": list(either),
        "$defs": components,
    }


def _port_json(port: Port) -> PortJson:
    return PortJson(
        uuid=port.uuid,
        name=port.name,
        kind=port.kind,
        type=port.type,
        ofport=port.ofport,
        state=port.state,
        admin_state=port.admin_state,
        link_state=port.link_state,
        mac_in_use=port.mac_in_use,
        error=port.error,
        bridge=port.bridge,
        tag=port.tag,
        trunks=list(port.trunks),
        bond=port.bond,
        attributes=dict(port.attributes),
    )


def _port(port: PortJson) -> Port:
    facts = msgspec.structs.asdict(port)
    return Port(**(facts | {"trunks": tuple(port.trunks)}))


def _previous(port: Port, changed: dict[str, tuple[Any, Any]]) -> Port | None:
    if not changed:
        return None
    facts = port.facts()
    attributes = dict(port.attributes)
    for name, (old, _new) in changed.items():
        if name.startswith("attributes."):
            attributes[name.removeprefix("attributes.")] = old
        elif name in facts:
            facts[name] = tuple(old) if name == "trunks" and isinstance(old, list) else old
    return Port(**(facts | {"attributes": attributes}))
