"""Addresses of a host name, without making anybody wait.

getaddrinfo(3) may take minutes if the name servers do not answer, and cannot be interrupted.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import Any

#: Family and socket address, as socket.socket() and connect() take them.
Endpoint = tuple[int, Any]


def numeric(host: str, port: int) -> list[Endpoint] | None:
    """Return the endpoint of a numeric address; None if the host is a name."""
    try:
        found = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
        )
    except OSError:
        return None
    return [(family, address) for family, _, _, _, address in found]


class NameLookup:
    """One lookup, in a thread of its own that does not keep the process alive.

    :param ended: called from that thread when there is a result.
    :raises RuntimeError: no thread can be started.
    """

    def __init__(self, host: str, port: int, ended: Callable[[], None]) -> None:
        self.found: list[Endpoint] | None = None  #: None until it has ended, empty if it failed
        self.failure = ""  #: why it failed
        self._host, self._port, self._ended = host, port, ended
        threading.Thread(target=self._run, name="dfovsdb-lookup", daemon=True).start()

    def _run(self) -> None:
        try:
            found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
            self.found = [(family, address) for family, _, _, _, address in found]
        except (OSError, UnicodeError, MemoryError) as error:
            self.failure = getattr(error, "strerror", None) or str(error)
            self.found = []
        self._ended()
