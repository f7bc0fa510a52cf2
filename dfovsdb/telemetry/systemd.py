"""Report the status to the service manager: sd_notify(3), without its library."""

from __future__ import annotations

import contextlib
import os
import socket

from dfovsdb.logs import get_logger
from dfovsdb.status import Status
from dfovsdb.text.escape import clean, counted

LOG = get_logger(__name__)

_LONGEST = 1000  # characters of a status


def notify(*assignments: str) -> None:
    """Send `READY=1`, `STATUS=…`, `WATCHDOG=1`, `STOPPING=1`; do nothing without a service
    manager.
    """
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path.startswith(("/", "@")):
        return
    address = "\0" + path[1:] if path[0] == "@" else path  # @ is an abstract socket, unix(7)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender:
        try:
            sender.sendto("\n".join(assignments).encode(), address)
        except OSError as error:
            LOG.debug("the service manager cannot be notified: %s", error)


def watchdog_interval() -> float | None:
    """Return the seconds within which WATCHDOG=1 is expected (sd_watchdog_enabled(3)), or None."""
    usec, pid = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    with contextlib.suppress(ValueError):
        if int(usec) > 0 and (not pid or int(pid) == os.getpid()):
            return int(usec) / 1e6
    return None


def report(status: Status) -> None:
    """Send the status as text, and the watchdog's signal if the monitor thread responds."""
    ports = counted(sum(status.ports.values()), "port")
    problems = "; ".join(status.problems())
    text = f"{ports}; {problems}" if problems else ports
    notify(f"STATUS={clean(text, _LONGEST)}", *(["WATCHDOG=1"] if status.alive else []))
