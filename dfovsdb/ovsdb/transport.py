"""Sockets: one connection at a time, non-blocking, and a way to wake up the thread that waits.

This module knows how to connect, with TLS or without, and nothing about what is sent.
"""

from __future__ import annotations

import contextlib
import errno
import os
import selectors
import socket
import time
from typing import TYPE_CHECKING, Self

from dfovsdb.errors import ConfigurationError, ConnectionLost
from dfovsdb.ovsdb.address import Address
from dfovsdb.ovsdb.connect_help import remedy
from dfovsdb.ovsdb.name_lookup import Endpoint, NameLookup, numeric

if TYPE_CHECKING:
    from dfovsdb.ovsdb.tls_channel import Channel
    from dfovsdb.tls import Tls

#: Below the size at which malloc maps every block separately, and as a full socket buffer.
_READ_SIZE = 1 << 16

_MOST_UNSENT = 1 << 20  # bytes; our requests and replies to the server's probes are small

#: If small amounts arrive frequently, bytes are collected: an iteration of the loop and the
#: wake-up of every sink's thread cost more than the change that caused them. At full speed this
#: saves half of the CPU time (docs/performance.md); the first two changes after a pause are not
#: delayed.
_OFTEN = 0.002  # seconds from one read to the next
_LITTLE = 8192  # bytes; a snapshot arrives in larger pieces, and as fast as it can be read
_GATHER = 0.001  # seconds


class Transport:
    """At most one socket to one address.

    :param tls: how to secure it, if the address says `ssl`.
    """

    def __init__(self, address: Address, tls: Tls | None = None) -> None:
        self._address = address
        self._tls = tls
        self._selector = selectors.DefaultSelector()
        self._woken, self._waker = socket.socketpair()
        for end in (self._woken, self._waker):
            end.setblocking(False)
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._socket: socket.socket | None = None
        self._lookup: NameLookup | None = None  # of the host's name, the last one
        self._looking_up = False  # this attempt waits for it
        self._others: list[Endpoint] = []  # addresses of the host that are still to be tried
        self._channel: Channel | None = None  # TLS of this connection
        self._connected = False
        self._unsent = b""
        self._heard = False  # the server has sent something
        self._read_at = float("-inf")  # monotonic seconds
        self._busy = False  # small amounts arrive, frequently
        self.ready = False  #: the connection is made, including TLS

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
        host, port = self._address.host, self._address.port
        if self._address.method == "unix":
            self._others = [(socket.AF_UNIX, host)]
        elif (found := numeric(host, port)) is not None:
            self._others = found
        else:
            self._looking_up = True
            if self._lookup is None or self._lookup.found is not None:
                try:
                    self._lookup = NameLookup(host, port, self.wake)
                except RuntimeError as error:
                    raise ConnectionLost(f"{self._address}: {error}", "connect") from None
            return
        self._try_next()

    @property
    def silence(self) -> str:
        """Return what is missing while nothing happens, in a few words."""
        if self._looking_up:
            return (
                f"the name {self._address.host} is still being looked up: check the name servers "
                "in /etc/resolv.conf, or use an address"
            )
        return "no answer"

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._socket is not None:
            self._selector.unregister(self._socket)
            self._socket.close()
        self._socket = None
        self._channel = None
        self._looking_up = False
        self._unsent = b""
        self._connected = self._heard = self.ready = False
        self._busy, self._read_at = False, float("-inf")

    def wait(self, timeout: float | None) -> bytes:
        """Wait for bytes, for the connection to be made, for a wake-up or for the timeout.

        :param timeout: seconds, None for as long as it takes.
        :returns: what was read, b"" for nothing.
        :raises ConnectionLost: the connection ended or could not be made.
        """
        data = b""
        if self._busy:
            self._busy = False
            time.sleep(_GATHER)
        for key, _mask in self._selector.select(timeout):
            if key.fileobj is self._woken:
                with contextlib.suppress(BlockingIOError):
                    self._woken.recv(4096)
                self._take_lookup()
            elif not self._connected:
                self._finish_connecting()
            else:
                self._send(b"")
                data = self._receive()
        return data

    def send(self, data: bytes) -> None:
        """Send, now or as soon as the socket accepts it.

        :raises ConnectionLost: the connection ended.
        """
        if self._channel is not None and data:
            self._channel.encrypt(data)
            data = self._channel.outgoing()
        self._send(data)

    def wake(self) -> None:
        """Make wait() return; from any thread."""
        with contextlib.suppress(BlockingIOError, OSError):
            self._waker.send(b"\0")

    def _take_lookup(self) -> None:
        """Go on with the result of a lookup, if there is one and it is waited for."""
        lookup = self._lookup
        if not self._looking_up or lookup is None or lookup.found is None:
            return
        self._looking_up = False
        self._others = list(lookup.found)
        if not self._others:
            raise ConnectionLost(f"{self._address}: {lookup.failure}", "connect")
        self._try_next()

    def _try_next(self) -> None:
        family, address = self._others.pop(0)
        try:
            sock = socket.socket(family, socket.SOCK_STREAM)
        except OSError as error:  # the address family is disabled, or too many files are open
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
            return
        self._connected = True
        self._selector.modify(self._socket, selectors.EVENT_READ)
        if self._tls is None:
            self.ready = True
            return
        try:
            from dfovsdb.ovsdb.tls_channel import Channel  # OpenSSL, where it is needed

            self._channel = Channel(self._tls, self._address.host)
        except ConfigurationError as error:  # the files were valid at the start
            raise ConnectionLost(f"{self._address}: {error}", "tls") from None
        self._channel.begin()
        self._send(self._channel.outgoing())

    def _failed(self, code: int) -> None:
        self.close()
        if self._others:
            self._try_next()
        else:
            raise ConnectionLost(
                f"cannot connect to {self._address} ({os.strerror(code)})"
                f"{remedy(self._address, code)}",
                "connect",
            )

    def _send(self, data: bytes) -> None:
        if self._socket is None or not (data or self._unsent):
            return
        if data and len(self._unsent) > _MOST_UNSENT:
            raise ConnectionLost(f"{self._address}: the server does not read our replies")
        unsent = self._unsent + data
        try:
            unsent = unsent[self._socket.send(unsent) :]
        except BlockingIOError:
            pass
        except OSError as error:
            self._receive()  # raises if the reason why the server closed can be read
            raise ConnectionLost(f"{self._address}: {error.strerror}") from None
        if bool(unsent) != bool(self._unsent):
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if unsent else 0)
            self._selector.modify(self._socket, events)
        self._unsent = unsent

    def _receive(self) -> bytes:
        assert self._socket is not None
        try:
            data = self._socket.recv(_READ_SIZE)
        except BlockingIOError:
            return b""
        except (ConnectionResetError, BrokenPipeError) as error:
            raise self._ended(str(error.strerror)) from None
        except OSError as error:
            raise ConnectionLost(f"{self._address}: {error.strerror}") from None
        if not data:
            raise self._ended()
        self._heard = True
        now = time.monotonic()
        self._busy = len(data) < _LITTLE and now - self._read_at < _OFTEN
        self._read_at = now
        return data if self._channel is None else self._decrypted(self._channel, data)

    def _decrypted(self, channel: Channel, data: bytes) -> bytes:
        try:
            plain = channel.decrypt(data)
        except ConnectionLost as lost:
            with contextlib.suppress(OSError):  # tell the server the reason, if it still reads
                assert self._socket is not None
                self._socket.send(channel.outgoing())
            raise ConnectionLost(f"{self._address}: {lost}", lost.reason) from None
        self.ready = channel.ready
        self._send(channel.outgoing())  # of the handshake, or of a key update
        return plain

    def _ended(self, text: str = "closed by the server") -> ConnectionLost:
        """Return what to report when the server has closed the connection."""
        if self._channel is not None:
            lost = self._channel.ended()
            return ConnectionLost(f"{self._address}: {lost}", lost.reason)
        if self._address.method == "tcp" and not self._heard:
            text += " without an answer: if it uses TLS there, connect with ssl:"
        return ConnectionLost(f"{self._address}: {text}")
