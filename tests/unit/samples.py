"""Values to test with: complete ones, of which a test changes what it is about."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from hypothesis import strategies as st

from dfovsdb import testing
from dfovsdb.model import Interface, Port, PortEvent, SyncMarker, port_of

UUID = "5a6b1bd2-2d52-4f1c-9f0f-9e6f0d6c0c01"
OTHER_UUID = "0f9ad1f0-6a3f-47a5-8f0b-5f0c6e2f0c02"
TIME = datetime(2026, 11, 22, 13, 0, 0, 123456, tzinfo=UTC)


def interface(**facts: Any) -> Interface:
    """The builder of the test kit; here every row is the same one."""
    return testing.interface(**({"uuid": UUID} | facts))


def port(
    kind: str = "vm", attributes: Mapping[str, str | None] | None = None, **facts: Any
) -> Port:
    known = {"ofport": 5, "admin_state": "up", "link_state": "up"}
    attributes = {"iface_id": "vif-1"} if attributes is None else attributes
    return port_of(interface(**(known | facts)), kind, attributes)


def event(now: Port | None = None, **facts: Any) -> PortEvent:
    known: dict[str, Any] = {"action": "online", "previous": None, "origin": "update", "seq": 7}
    return PortEvent(**(known | {"port": now or port(), "time": TIME, "host": "cmp-17"} | facts))


def marker(**facts: Any) -> SyncMarker:
    known: dict[str, Any] = {"action": "sync_started", "origin": "initial", "seq": 1}
    return SyncMarker(**(known | {"time": TIME, "host": "cmp-17"} | facts))


def raw(value: Any) -> msgspec.Raw:
    """A value as it lies undecoded in a message."""
    return msgspec.Raw(msgspec.json.encode(value))


#: Text that breaks naive framing, quoting and terminals more often than chance would.
texts = st.text(alphabet='ab}{[]:,"\\/ \n\x00\x1b\x7fé\u2028😀', max_size=8)
json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**53), 2**53), texts),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)
    ),
    max_leaves=8,
)
