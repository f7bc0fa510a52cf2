"""Between a client and the server: counts bytes, cuts the connection, keeps a client waiting."""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path
from typing import Self

_READ_SIZE = 1 << 18


class Relay:
    """Listens at `connection`; a context manager.

    :param server: `unix:PATH` of the server.
    :param path: where to listen.
    """

    def __init__(self, server: str, path: Path) -> None:
        self._server = server.removeprefix("unix:")
        self._path = path
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self.connection = f"unix:{path}"
        self.received = 0  #: bytes from the server to clients
        self.sent = 0  #: bytes from clients to the server
        self._waits = threading.Event()
        self._open = threading.Event()
        self._open.set()
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.cut()
        self._listener.close()
        self._path.unlink()

    def cut(self) -> None:
        """Close all connections; who connects again is kept waiting until resume()."""
        self._waits.clear()
        self._open.clear()
        sockets, self._sockets = self._sockets, []
        for sock in sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def wait_for_client(self) -> None:
        """After cut(): wait until a client has connected again."""
        self._waits.wait()

    def resume(self) -> None:
        """Serve those who wait."""
        self._open.set()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._waits.set()
                self._open.wait()
                server = socket.socket(socket.AF_UNIX)
                server.connect(self._server)
                self._sockets += [client, server]
                for source, target in ((client, server), (server, client)):
                    threading.Thread(
                        target=self._forward, args=(source, target, source is server), daemon=True
                    ).start()

    def _forward(self, source: socket.socket, target: socket.socket, from_server: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(_READ_SIZE):
                if from_server:
                    self.received += len(data)
                else:
                    self.sent += len(data)
                target.sendall(data)
            target.shutdown(socket.SHUT_RDWR)
