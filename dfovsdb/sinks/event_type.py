"""The names of events on message buses and in webhooks, such as `dfovsdb.port.online`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dfovsdb.model import PortEvent, SyncMarker


def event_type(item: PortEvent | SyncMarker) -> str:
    """Return `dfovsdb.port.` with online, updated or offline, or `dfovsdb.sync.started`,
    `.finished`.
    """
    what, _, happened = item.action.rpartition("_")
    return f"dfovsdb.{what or 'port'}.{happened}"
