"""Connection strings (ovsdb(7), Connection Methods), and what to do about one that fails."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import NamedTuple

from dfovsdb.errors import ConfigurationError

_SYNTAX = "use tcp:HOST:PORT, tcp:[V6]:PORT, unix:PATH or ssl:HOST:PORT"
_SOCKETS = (
    "/run/openvswitch/db.sock",
    "/var/run/openvswitch/db.sock",
    "/usr/local/var/run/openvswitch/db.sock",
)
#: Makes a server listen on tcp, and what that means.
LISTEN = "`ovs-vsctl set-manager ptcp:6640:127.0.0.1`"
OPEN_TO_ALL = "every user of this host may then change the database"


class Address(NamedTuple):
    """Where the server is: a path for `unix`, a host and a port for `tcp` and `ssl`."""

    method: str
    host: str
    port: int = 0

    @classmethod
    def parse(cls, connection: str) -> Address:
        """Read a connection string.

        :raises ConfigurationError: it is none.
        """
        method, _, rest = connection.partition(":")
        if method == "unix" and rest:
            if len(os.fsencode(rest)) > 107 or "\0" in rest:  # sun_path, unix(7)
                raise ConfigurationError(f"connection {connection!r}: not a path of a socket")
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

    def remedy(self, code: int) -> str:
        """What an operator can do about a connection that cannot be made.

        :param code: errno of the attempt.
        """
        if code in (errno.EACCES, errno.EPERM):
            if self.method != "unix":
                return ": not permitted here, by a firewall?"
            if folder := _closed_folder(self.host):
                return (
                    f": this user may not enter the folder {folder}; run as the user of Open "
                    "vSwitch, or let this one enter it"
                )
            return (
                f": this user may not open it, `dfovsdb doctor {self}` says who may and what to do"
            )
        if code in (errno.EMFILE, errno.ENFILE):
            return ": too many descriptors are open, see `ulimit -n`"
        if self.method == "ssl":
            return f": is it listening there? `ovs-vsctl set-manager pssl:{self.port}` makes it"
        there = next((path for path in _SOCKETS if path != self.host and _is_socket(path)), None)
        if self.method == "unix":
            return f": connect to unix:{there}" if there else ": is ovsdb-server running?"
        if there:
            return (
                f": connect to unix:{there}, which is there, or make it listen with {LISTEN} "
                f"({OPEN_TO_ALL})"
            )
        return (
            f": is ovsdb-server running? {LISTEN} makes it listen on tcp:127.0.0.1:6640 "
            f"({OPEN_TO_ALL})"
        )


def _is_host(host: str) -> bool:
    """It can be looked up at all; whether it is found is seen at every connect."""
    try:
        return bool(host.encode("idna")) and host.isprintable()
    except UnicodeError:
        return False


def _is_port(port: str) -> bool:
    return port.isascii() and port.isdigit() and len(port) <= 5 and 0 < int(port) <= 0xFFFF


def _closed_folder(path: str) -> Path | None:
    """The folder on the way to a path that this user may not enter, if there is one."""
    for folder in reversed(Path(path).absolute().parents):
        if not os.access(folder, os.X_OK, effective_ids=True):
            return folder if folder.exists() else None
    return None


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(Path(path).stat().st_mode)
    except OSError:
        return False
