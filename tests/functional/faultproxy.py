"""A proxy between dfovsdb and a real ovsdb-server that does what networks and servers do.

A fault is in force for the connections that are made while it is set; every connection gets
a fresh one with a random generator of its own, derived from the proxy's seed and the number
of the connection, so that a failure can be repeated.
"""

from __future__ import annotations

import contextlib
import json
import random
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self


class Cut(Exception):
    """End this connection now; `reset` sends RST in place of FIN."""

    def __init__(self, *, reset: bool = False) -> None:
        super().__init__()
        self.reset = reset


class Fault:
    """One connection's fault. This one does nothing: bytes pass as they are."""

    greets = True  #: False: the connection is accepted and the server never hears of it

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng

    def to_client(self, data: bytes) -> Iterator[bytes]:
        """What the client gets of what the server sent.

        :raises Cut: nothing more.
        """
        yield data

    def to_server(self, data: bytes) -> bytes:
        """What the server gets of what the client sent."""
        return data


class Delay(Fault):
    """Everything comes late, in pieces."""

    def to_client(self, data: bytes) -> Iterator[bytes]:
        while data:
            size = self.rng.randrange(1, 4096)
            time.sleep(self.rng.random() * 0.02)
            yield data[:size]
            data = data[size:]


class OneByteAtATime(Fault):
    """Every read of the client finds one byte, or few."""

    def to_client(self, data: bytes) -> Iterator[bytes]:
        for byte in data:
            yield bytes((byte,))


class CutAt(Fault):
    """The connection ends after so many bytes, wherever that is."""

    limit = 3000
    reset = False

    def __init__(self, rng: random.Random) -> None:
        super().__init__(rng)
        self.left = rng.randrange(self.limit)

    def to_client(self, data: bytes) -> Iterator[bytes]:
        yield data[: self.left]
        self.left -= len(data)
        if self.left <= 0:
            raise Cut(reset=self.reset)


class ResetAt(CutAt):
    """The same with a reset."""

    reset = True


class Silent(Fault):
    """Accepts and never answers."""

    greets = False


class StallAt(CutAt):
    """Half open: stops mid-message and swallows everything, in both directions."""

    def to_client(self, data: bytes) -> Iterator[bytes]:
        yield data[: max(0, self.left)]
        self.left -= len(data)

    def to_server(self, data: bytes) -> bytes:
        return data if self.left > 0 else b""


class Messages(Fault):
    """Works on whole messages; to be derived from."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__(rng)
        self._text = ""

    def to_client(self, data: bytes) -> Iterator[bytes]:
        self._text += data.decode()
        decode = json.JSONDecoder().raw_decode
        while self._text:
            try:
                message, end = decode(self._text)
            except ValueError:
                return
            self._text = self._text[end:]
            for changed in self.change(message):
                yield json.dumps(changed, separators=(",", ":")).encode()

    def change(self, message: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """What becomes of one message of the server."""
        yield message

    @staticmethod
    def is_update(message: dict[str, Any]) -> bool:
        return message.get("method") in ("update", "update2")


class SwallowEcho(Messages):
    """Neither probes nor their replies arrive."""

    def change(self, message: dict[str, Any]) -> Iterator[dict[str, Any]]:
        if message.get("method") != "echo" and message.get("id") != "probe":
            yield message


class Duplicate(Messages):
    """Every notification comes twice."""

    def change(self, message: dict[str, Any]) -> Iterator[dict[str, Any]]:
        yield message
        if self.is_update(message):
            yield message


class Reorder(Messages):
    """Every second notification overtakes the one before it."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__(rng)
        self._held: dict[str, Any] | None = None

    def change(self, message: dict[str, Any]) -> Iterator[dict[str, Any]]:
        if not self.is_update(message):
            yield message
        elif self._held is None:
            self._held = message
        else:
            yield message
            yield self._held
            self._held = None


class Corrupt(Fault):
    """A byte in a few hundred is another one."""

    def to_client(self, data: bytes) -> Iterator[bytes]:
        changed = bytearray(data)
        for place in range(len(changed)):
            if self.rng.random() < 0.003:
                changed[place] = self.rng.randrange(256)
        yield bytes(changed)


class EndlessMessage(Fault):
    """After the first bytes a string that never ends."""

    def to_client(self, data: bytes) -> Iterator[bytes]:  # noqa: ARG002 - the server is unheard
        yield b'{"id":null,"method":"update2","params":["'
        while True:
            yield b"x" * 65536


class Flood(Fault):
    """Thousands of notifications that nobody asked for, around every message."""

    def to_client(self, data: bytes) -> Iterator[bytes]:
        noise = b'{"id":null,"method":"noise","params":["}{\\n"]}' * 2000
        yield noise
        yield data


def inserting(*messages: dict[str, Any] | bytes) -> type[Fault]:
    """A fault that puts these after the first update that the server sends."""

    class Insert(Messages):
        def __init__(self, rng: random.Random) -> None:
            super().__init__(rng)
            self._done = False

        def to_client(self, data: bytes) -> Iterator[bytes]:
            for part in super().to_client(data):
                yield part
                if not self._done and b'"update' in part[:80]:
                    self._done = True
                    for message in messages:
                        yield (
                            message if isinstance(message, bytes) else json.dumps(message).encode()
                        )

    return Insert


class FaultProxy:
    """A context manager; `connection` is where it listens.

    :param target: path of the server's socket, or its port on 127.0.0.1.
    :param seed: of everything random.
    :param path: of the socket to listen on; None for a port of tcp.
    """

    def __init__(self, target: str | int, seed: int = 0, path: Path | None = None) -> None:
        self._target = target.removeprefix("unix:") if isinstance(target, str) else target
        self._seed = seed
        self.fault: Callable[[random.Random], Fault] = Fault
        self.accepted = 0  #: connections so far
        self._path = path
        if path is None:
            self._listener = socket.create_server(("127.0.0.1", 0))
        else:
            self._listener = socket.create_server(str(path), family=socket.AF_UNIX)
        self._links: set[_Link] = set()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    @property
    def connection(self) -> str:
        if self._path is not None:
            return f"unix:{self._path}"
        return f"tcp:127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()
        self.cut()

    def cut(self, *, reset: bool = False) -> None:
        """End every connection there is."""
        with self._lock:
            links, self._links = self._links, set()
        for link in links:
            link.end(reset=reset)
        for link in links:
            link.join()

    def heal(self) -> None:
        """From now on bytes pass as they are; what is connected is cut."""
        self.fault = Fault
        self.cut()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._path is None:
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.accepted += 1
            with self._lock:  # a cut ends it, or it has the fault that was set before the cut
                fault = self.fault(random.Random(self._seed * 100_003 + self.accepted))
                link = _Link(client, self._target if fault.greets else None, fault)
                done = {link for link in self._links if link.done}
                self._links -= done
                self._links.add(link)
            for ended in done:
                ended.join()
            link.start()


class _Link:
    """One connection: a thread for each direction."""

    def __init__(self, client: socket.socket, target: str | int | None, fault: Fault) -> None:
        self._client = client
        family = socket.AF_INET if isinstance(target, int) else socket.AF_UNIX
        self._server = socket.socket(family)
        self._target = target
        self._fault = fault
        self._threads = [threading.Thread(target=self._down, daemon=True)]
        if target is not None:
            self._threads.append(threading.Thread(target=self._up, daemon=True))

    def start(self) -> None:
        try:
            if isinstance(self._target, int):
                self._server.connect(("127.0.0.1", self._target))
            elif self._target is not None:
                self._server.connect(self._target)
        except OSError:
            self.end(reset=True)
        for thread in self._threads:
            thread.start()

    @property
    def done(self) -> bool:
        return not any(thread.is_alive() for thread in self._threads)

    def end(self, *, reset: bool = False) -> None:
        with contextlib.suppress(OSError):
            if reset:
                linger = struct.pack("ii", 1, 0)
                self._client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                self._client.close()
            else:
                self._client.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)

    def join(self) -> None:
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()
        self._client.close()
        self._server.close()

    def _down(self) -> None:
        """From the server to the client; or where there is no server, until the client goes."""
        reset = False
        try:
            source = self._client if self._target is None else self._server
            while data := source.recv(1 << 16):
                if self._target is not None:
                    for part in self._fault.to_client(data):
                        self._client.sendall(part)
        except Cut as cut:
            reset = cut.reset
        except (OSError, ValueError):  # ended from elsewhere
            pass
        self.end(reset=reset)

    def _up(self) -> None:
        """From the client to the server."""
        try:
            while data := self._client.recv(1 << 16):
                self._server.sendall(self._fault.to_server(data))
        except (OSError, ValueError):
            pass
        self.end()
