"""Sockets: one connection at a time, non-blocking, and a way to wake up who waits for it.

Knows connection strings (ovsdb(7), Connection Methods) and nothing of what is sent.
"""

from __future__ import annotations

import contextlib
import errno
import os
import selectors
import socket
import stat
from pathlib import Path
from typing import Any, NamedTuple, Self

from dfovsdb.errors import ConfigurationError, ConnectionLost

#: Below the size at which malloc maps every block anew, and a full socket buffer's worth.
_READ_SIZE = 1 << 16

_SYNTAX = "use tcp:HOST:PORT, tcp:[V6]:PORT or unix:PATH"
_SOCKETS = (
    "/run/openvswitch/db.sock",
    "/var/run/openvswitch/db.sock",
    "/usr/local/var/run/openvswitch/db.sock",
)


class Address(NamedTuple):
    """Where the server is: a path for `unix`, a host and a port for `tcp`."""

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
        if method == "tcp":
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


def _is_host(host: str) -> bool:
    """False for what the resolver would not even look at."""
    try:
        return bool(host.encode("idna")) and "\0" not in host
    except UnicodeError:  # a label is empty or too long
        return False


def _is_port(port: str) -> bool:
    return port.isascii() and port.isdigit() and len(port) <= 5 and 0 < int(port) <= 0xFFFF


class Transport:
    """At most one socket to one address."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._selector = selectors.DefaultSelector()
        self._woken, self._waker = socket.socketpair()
        for end in (self._woken, self._waker):
            end.setblocking(False)
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._socket: socket.socket | None = None
        self._others: list[tuple[int, Any]] = []  # addresses of the host still to be tried
        self._unsent = b""
        self.ready = False  #: the connection stands

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()
        self._selector.close()
        self._woken.close()
        self._waker.close()

    def open(self) -> None:
        """Begin to connect.

        :raises ConnectionLost: it failed at once.
        """
        self.close()
        if self._address.method == "unix":
            self._others = [(socket.AF_UNIX, self._address.host)]
        else:
            try:
                found = socket.getaddrinfo(
                    self._address.host, self._address.port, type=socket.SOCK_STREAM
                )
            except OSError as error:
                raise ConnectionLost(f"{self._address}: {error.strerror}") from None
            self._others = [(family, address) for family, _, _, _, address in found]
        self._try_next()

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._socket is not None:
            self._selector.unregister(self._socket)
            self._socket.close()
        self._socket = None
        self._unsent = b""
        self.ready = False

    def wait(self, timeout: float | None) -> bytes:
        """Wait for bytes, for the connection to stand, for a wake-up or for the timeout.

        :param timeout: seconds, None for as long as it takes.
        :returns: what was read, b"" for nothing.
        :raises ConnectionLost: the connection ended or could not be made.
        """
        data = b""
        for key, _mask in self._selector.select(timeout):
            if key.fileobj is self._woken:
                with contextlib.suppress(BlockingIOError):
                    self._woken.recv(4096)
            elif not self.ready:
                self._finish_connecting()
            else:
                self.send(b"")
                data = self._receive()
        return data

    def send(self, data: bytes) -> None:
        """Send, now or as soon as the socket takes it.

        :raises ConnectionLost: the connection ended.
        """
        if self._socket is None or not (data or self._unsent):
            return
        unsent = self._unsent + data
        try:
            unsent = unsent[self._socket.send(unsent) :]
        except BlockingIOError:
            pass
        except OSError as error:
            raise ConnectionLost(f"{self._address}: {error.strerror}") from None
        if bool(unsent) != bool(self._unsent):
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if unsent else 0)
            self._selector.modify(self._socket, events)
        self._unsent = unsent

    def wake(self) -> None:
        """Make wait() return; from any thread."""
        with contextlib.suppress(BlockingIOError, OSError):
            self._waker.send(b"\0")

    def _try_next(self) -> None:
        family, address = self._others.pop(0)
        try:
            sock = socket.socket(family, socket.SOCK_STREAM)
        except OSError as error:  # a family that is switched off, or too many open files
            self._failed(error.errno or 0)
            return
        sock.setblocking(False)
        if family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        failed = sock.connect_ex(address)
        self._socket = sock
        self._selector.register(sock, selectors.EVENT_READ | selectors.EVENT_WRITE)
        if failed == 0:
            self._finish_connecting()
        elif failed != errno.EINPROGRESS:
            self._failed(failed)

    def _finish_connecting(self) -> None:
        assert self._socket is not None
        if failed := self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._failed(failed)
        else:
            self.ready = True
            self._selector.modify(self._socket, selectors.EVENT_READ)

    def _failed(self, code: int) -> None:
        self.close()
        if self._others:
            self._try_next()
        else:
            remedy = _remedy(self._address, code)
            raise ConnectionLost(
                f"cannot connect to {self._address} ({os.strerror(code)}){remedy}"
            )

    def _receive(self) -> bytes:
        assert self._socket is not None
        try:
            data = self._socket.recv(_READ_SIZE)
        except BlockingIOError:
            return b""
        except OSError as error:
            raise ConnectionLost(f"{self._address}: {error.strerror}") from None
        if not data:
            raise ConnectionLost(f"{self._address}: closed by the server")
        return data


def _remedy(address: Address, code: int) -> str:
    """What an operator can do about a connection that cannot be made."""
    listen = "`ovs-vsctl set-manager ptcp:6640:127.0.0.1`"
    if code in (errno.EACCES, errno.EPERM):
        return (
            ": this user may not open it; run as the user of Open vSwitch, or "
            f"{listen} and connect to tcp:127.0.0.1:6640"
        )
    there = next((path for path in _SOCKETS if path != address.host and _is_socket(path)), None)
    if address.method == "unix":
        return f": connect to unix:{there}" if there else ": is ovsdb-server running?"
    if there:
        return f": connect to unix:{there}, which is there, or make it listen with {listen}"
    return f": is ovsdb-server running? {listen} makes it listen on tcp:127.0.0.1:6640"


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(Path(path).stat().st_mode)
    except OSError:
        return False
