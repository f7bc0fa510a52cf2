"""A unix socket that leads to a server over TLS, for a client that checks less than dfovsdb does.

Bytes are passed on unchanged; nothing here knows their meaning.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import ssl
import tempfile
import threading
from types import TracebackType
from typing import Self

from dfovsdb.ovsdb.address import Address
from dfovsdb.tls import Tls

_SLOWEST = 5.0  # seconds for the TLS handshake of the server, and for it to accept what is sent


class TlsProxy:
    """Serves one client after another until the server fails; a context manager."""

    def __init__(self, address: Address, tls: Tls) -> None:
        self._address = address
        self._tls = tls
        self._folder = tempfile.TemporaryDirectory(prefix="dfovsdb-")  # for this user only
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(f"{self._folder.name}/db.sock")
        self._listener.listen()
        self._thread = threading.Thread(target=self._run, name="dfovsdb-relay", daemon=True)

    @property
    def connection(self) -> str:
        """Return the address for the client."""
        return f"unix:{self._folder.name}/db.sock"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        with contextlib.suppress(OSError):  # it is closed already if the server has failed
            self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(_SLOWEST)
        self._folder.cleanup()

    def _run(self) -> None:
        with self._listener, contextlib.suppress(OSError):  # shut down, or the server failed
            while True:
                client, _ = self._listener.accept()
                with client, self._server() as server:
                    _join(client, server)

    def _server(self) -> ssl.SSLSocket:
        host = self._address.host
        plain = socket.create_connection((host, self._address.port), _SLOWEST)
        return self._tls.context().wrap_socket(plain, server_hostname=host)


def _join(client: socket.socket, server: ssl.SSLSocket) -> None:
    """Pass bytes on in both directions until one side ends."""
    with selectors.DefaultSelector() as selector:
        for end in (client, server):
            selector.register(end, selectors.EVENT_READ)
        while True:
            readable = [key.fileobj for key, _ in selector.select(0 if server.pending() else None)]
            if client in readable:
                if not (data := client.recv(1 << 16)):
                    return
                server.settimeout(_SLOWEST)
                server.sendall(data)
            if server in readable or server.pending():
                server.setblocking(False)
                with contextlib.suppress(ssl.SSLWantReadError):  # not a whole record yet
                    if not (data := server.recv(1 << 16)):
                        return
                    client.sendall(data)
