"""NextEvent the service manager how we do: sd_notify(3), without its library."""

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
    """Send `READY=1`, `STATUS=…`, `WATCHDOG=1`, `STOPPING=1`; nothing where nobody listens."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path.startswith(("/", "@")):
        return
    address = "\0" + path[1:] if path[0] == "@" else path  # @ is an abstract socket, unix(7)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender:
        try:
            sender.sendto("\n".join(assignments).encode(), address)
        except OSError as error:
            LOG.debug("the service manager cannot be told: %s", error)


def watchdog_interval() -> float | None:
    """Seconds within which WATCHDOG=1 is expected (sd_watchdog_enabled(3)), None for never."""
    usec, pid = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    with contextlib.suppress(ValueError):
        if int(usec) > 0 and (not pid or int(pid) == os.getpid()):
            return int(usec) / 1e6
    return None


def report(status: Status) -> None:
    """The status in words, and the watchdog's due: only where the loop turns."""
    ports = counted(sum(status.ports.values()), "port")
    problems = "; ".join(status.problems())
    words = f"{ports}; {problems}" if problems else ports
    notify(f"STATUS={clean(words, _LONGEST)}", *(["WATCHDOG=1"] if status.alive else []))
