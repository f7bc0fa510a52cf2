"""Times for people: in the time zone of whoever looks."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime


def local(time: datetime, *, utc: bool = False) -> datetime:
    """Return the time in the local zone, or in UTC; unchanged where that is outside the calendar.

    A time of year 1 or 9999, which only a broken clock or a forged message has, may have none.
    """
    try:
        return time.astimezone(UTC if utc else None)
    except (OverflowError, ValueError, OSError):
        return time
