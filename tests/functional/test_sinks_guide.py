"""The first sink of docs/sinks.md, through its conformance suite and beside a hostile server."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import threading
import urllib.error
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from dfovsdb import Sink, SinkUnavailable
from dfovsdb.testing.conformance import SinkConformance
from tests.freeports import free_port
from tests.unit.samples import event, port

GUIDE = (Path(__file__).parents[2] / "docs" / "sinks.md").read_text()
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

Answer = Callable[[socket.socket], object]


def example() -> type[Any]:
    """The class, as it is in the guide."""
    (code,) = [
        block
        for block in re.findall(r"^```python\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
        if "class PostSink" in block
    ]
    names: dict[str, Any] = {}
    exec(compile(code, "sinks.md", "exec"), names)
    sink: type[Any] = names["PostSink"]
    return sink


class Server:
    """Reads a request for each connection and answers as asked; keeps what it has taken."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.answer: Answer | None = None  #: instead of taking the event
        self.port = free_port()
        self._stop = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._listener.settimeout(0.1)
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        while not self._stop.is_set():
            with contextlib.suppress(TimeoutError, OSError):
                client, _ = self._listener.accept()
                with client:
                    client.settimeout(10)
                    self._one(client)

    def _one(self, client: socket.socket) -> None:
        text = b""
        while b"\r\n\r\n" not in text:
            if not (data := client.recv(65536)):
                return
            text += data
        head, _, body = text.partition(b"\r\n\r\n")
        (length,) = re.findall(rb"(?i)content-length: (\d+)", head)
        while len(body) < int(length):
            body += client.recv(65536)
        if self.answer is not None:
            self.answer(client)
            return
        posted = json.loads(body)
        self.taken.append(f"{posted['action']} {posted['port']}")
        client.sendall(OK)


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


class TestPostSinkOfTheGuide(SinkConformance):
    server: Server

    @pytest.fixture(autouse=True)
    def _served(self, server: Server) -> None:
        self.server = server

    def make(self) -> Sink:
        sink: Sink = example()(f"http://127.0.0.1:{self.server.port}/")
        return sink

    def arrived(self, sink: Sink) -> Sequence[str]:  # noqa: ARG002 - of the contract
        return list(self.server.taken)

    @contextlib.contextmanager
    def outage(self, sink: Sink, after: int) -> Iterator[None]:  # noqa: ARG002 - of the contract
        """It closes every connection without an answer."""
        self.server.answer = lambda client: client.close()
        yield
        self.server.answer = None


def says(text: bytes) -> Answer:
    return lambda client: client.sendall(text)


@pytest.mark.parametrize(
    "answer",
    [
        lambda client: client.close(),
        lambda client: client.shutdown(socket.SHUT_WR),
        says(b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"),
        says(b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n"),
        says(b"HTTP/1.1 2"),
        says(b"no HTTP at all\r\n\r\n"),
        lambda _client: threading.Event().wait(6),  # longer than the sink waits
    ],
    ids=["closes", "ends", "500", "429", "cut", "nonsense", "stalls"],
)
def test_whatever_is_no_answer_is_an_outage(server: Server, answer: Answer) -> None:
    server.answer = answer
    sink = example()(f"http://127.0.0.1:{server.port}/")
    with pytest.raises(SinkUnavailable):
        sink.emit(event(port()))
    server.answer = None
    sink.emit(event(port()))
    assert len(server.taken) == 1


def test_a_server_that_is_not_there_is_an_outage() -> None:
    with pytest.raises(SinkUnavailable):
        example()(f"http://127.0.0.1:{free_port()}/").emit(event(port()))


def test_an_event_that_the_server_will_never_take_is_refused(server: Server) -> None:
    server.answer = says(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    with pytest.raises(urllib.error.HTTPError) as raised:
        example()(f"http://127.0.0.1:{server.port}/").emit(event(port()))
    raised.value.close()
