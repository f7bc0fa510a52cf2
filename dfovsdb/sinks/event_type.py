"""The names under which buses and hooks know what we tell: `dfovsdb.port.online` and others."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dfovsdb.model import PortEvent, SyncMarker


def event_type(item: PortEvent | SyncMarker) -> str:
    """`dfovsdb.port.online`, `.updated`, `.offline`, `dfovsdb.sync.started`, `.finished`."""
    what, _, happened = item.action.rpartition("_")
    return f"dfovsdb.{what or 'port'}.{happened}"
