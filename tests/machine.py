"""What a test needs of the machine, and is skipped without."""

from __future__ import annotations

import socket

import pytest


def _resolves(name: str) -> bool:
    try:
        socket.getaddrinfo(name, None)
    except OSError:
        return False
    return True


#: A container that was made of packages alone may have no /etc/hosts.
needs_localhost = pytest.mark.skipif(
    not _resolves("localhost"), reason="the name localhost has no address on this machine"
)

#: The two ways to name this machine.
THIS_HOST = ["127.0.0.1", pytest.param("localhost", marks=needs_localhost)]
