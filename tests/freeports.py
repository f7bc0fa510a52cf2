"""TCP ports for servers that tests start, stop and start again.

A port that the system hands out (port 0) may be somebody else's as soon as it is free for a
moment. These are from below the range from which systems hand them out, and each worker of
pytest-xdist has its own.
"""

from __future__ import annotations

import itertools
import os
import random
import socket

_FIRST, _LAST = 10_000, 32_000  # ip(7): Linux hands out ports from 32768 on
_MOST_WORKERS = 64


def _own() -> list[int]:
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    ports = list(range(_FIRST + worker % _MOST_WORKERS, _LAST, _MOST_WORKERS))
    random.SystemRandom().shuffle(ports)  # another run of the tests may be under way
    return ports


_ports = itertools.cycle(_own())


def free_port(host: str = "127.0.0.1") -> int:
    """Find a port that nothing listens on, and that nothing else here is given soon."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for port in itertools.islice(_ports, _LAST):
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return port
    raise OSError(f"every port from {_FIRST} to {_LAST} is in use")
