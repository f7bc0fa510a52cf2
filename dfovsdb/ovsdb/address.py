"""Connection strings (ovsdb(7), Connection Methods)."""

from __future__ import annotations

import os
from typing import NamedTuple

from dfovsdb.errors import ConfigurationError

_SYNTAX = "use tcp:HOST:PORT, tcp:[IPv6]:PORT, unix:PATH or ssl:HOST:PORT"


class Address(NamedTuple):
    """The address of the server: a path for `unix`, a host and a port for `tcp` and `ssl`."""

    method: str
    host: str
    port: int = 0

    @classmethod
    def parse(cls, connection: str) -> Address:
        """Parse a connection string.

        :raises ConfigurationError: it is not a connection string.
        """
        if connection != connection.strip() or " #" in connection:  # else a path may have spaces
            raise ConfigurationError(
                f"connection {connection!r}: {_SYNTAX}, and nothing around it; a comment needs a "
                "line of its own"
            )
        method, _, rest = connection.partition(":")
        if method == "unix" and rest:
            if not is_path(rest) or len(os.fsencode(rest)) > 107:  # sun_path, unix(7)
                raise ConfigurationError(
                    f"connection {connection!r}: not the path of a unix socket"
                )
            return cls(method, rest)
        if method in ("tcp", "ssl"):
            host, _, port = rest.rpartition(":")
            if host.startswith("[") and host.endswith("]"):
                host = host[1:-1]
            elif ":" in host:
                host = ""
            if _is_host(host) and _is_port(port):
                return cls(method, host, int(port))
        raise ConfigurationError(f"connection {connection!r} cannot be read: {_SYNTAX}")

    def __str__(self) -> str:
        if self.method == "unix":
            return f"unix:{self.host}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.method}:{host}:{self.port}"


def is_path(text: str) -> bool:
    """Return whether a file may have this path: no NUL, and nothing that has no bytes."""
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        return False


def _is_host(host: str) -> bool:
    """Return whether the name can be looked up at all; whether it exists is seen at every
    connect.
    """
    try:
        return bool(host.encode("idna")) and host.isprintable() and " " not in host
    except UnicodeError:
        return False


def _is_port(port: str) -> bool:
    return port.isascii() and port.isdigit() and len(port) <= 5 and 0 < int(port) <= 0xFFFF
