"""For the tests of the webhook sink: the receiver of the guide, and what can be wrong with it."""

from __future__ import annotations

import contextlib
import http.server
import io
import json
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Self

from dfovsdb.json_v1 import decode_port
from dfovsdb.model import Port

GUIDE = Path(__file__).parents[2] / "docs" / "webhook.md"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def guide(language: str, word: str = "") -> str:
    """The block of this language in the guide that has this word."""
    pattern = rf"^```{language}\n(.*?)^```"
    blocks = re.findall(pattern, GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    block: str
    (block,) = [block for block in blocks if word in block]
    return block


def receiver_of_the_guide() -> dict[str, Any]:
    """The names of `receiver.py`."""
    names: dict[str, Any] = {"__name__": "receiver"}
    exec(compile(guide("python"), "webhook.md", "exec"), names)
    return names


class Request(NamedTuple):
    """What came, and when (of a clock that nobody sets)."""

    at: float
    headers: dict[str, str]
    body: bytes


#: Answers in its own way and returns True, or leaves it to the receiver of the guide.
Fault = Callable[[http.server.BaseHTTPRequestHandler, bytes], bool]


class Receiver:
    """The receiver of the guide on a port of its own; a context manager.

    :param tls: of the server, for https.
    """

    def __init__(self, folder: Path, *, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[Request] = []
        self.fault: Fault | None = None
        self._connections: list[socket.socket] = []
        self._folder = folder
        self._secret_file = folder / "hook.secret"
        self._secret_file.write_text(SECRET + "\n")
        self.tls = tls
        self.port = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stop()

    def start(self) -> None:
        """Listen, on the same port as before."""
        names, receiver = receiver_of_the_guide(), self

        base: Any = names["Handler"]

        class Handler(base):  # type: ignore[misc]  # of the guide, which has no types
            rfile: Any
            timeout = 20

            def setup(self) -> None:
                super().setup()
                receiver._connections.append(self.connection)

            def do_POST(self) -> None:  # noqa: N802 - so it is called
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.requests.append(Request(time.monotonic(), dict(self.headers), body))
                if receiver.fault and receiver.fault(self, body):
                    return
                rest, self.rfile = self.rfile, io.BytesIO(body)
                super().do_POST()
                self.rfile = rest

        names["Handler"] = Handler
        self._server = names["serve"](self._secret_file, self.port, self._folder)
        self.port = self._server.server_port
        if self.tls:
            self._server.socket = self.tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._server.handle_error = lambda *_args: None  # a connection that was cut
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def stop(self) -> None:
        """Be gone. May be repeated."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self.cut()

    def cut(self) -> None:
        """End every connection, as a restart does, or somebody between who finds it idle."""
        while self._connections:
            with contextlib.suppress(OSError):  # it has ended
                self._connections.pop().shutdown(socket.SHUT_RDWR)

    @property
    def secret_file(self) -> str:
        return str(self._secret_file)

    def url(self, path: str = "/hook/s3cr3t-path", scheme: str = "http") -> str:
        return f"{scheme}://127.0.0.1:{self.port}{path}"

    def ports(self, host: str = "cmp-1") -> dict[str, Port]:
        """What it believes in, by uuid."""
        ports = self._server.view.ports(f"/dfovsdb/{host}")
        return {uuid: decode_port(json.dumps(port)) for uuid, port in ports.items()}
