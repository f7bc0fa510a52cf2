"""Receivers that want to keep us: every request ends in time, and is read only so far."""

from __future__ import annotations

import contextlib
import resource
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from dfovsdb.sinks.webhook.client import Endpoint, NoResponse
from dfovsdb.tls import Tls
from tests.waiting import DEADLINE


@contextlib.contextmanager
def receiver(answer: Callable[[socket.socket, threading.Event], None]) -> Iterator[Endpoint]:
    """Something that reads each request and then answers in its way."""
    over = threading.Event()

    def serve() -> None:
        while not over.is_set():
            with contextlib.suppress(OSError):
                connection, _ = listener.accept()
                with connection:
                    connection.recv(65536)
                    answer(connection, over)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.1)
        thread = threading.Thread(target=serve)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        endpoint = Endpoint(url, Tls(None, None, None), DEADLINE, 1)
        try:
            yield endpoint
        finally:
            over.set()
            endpoint.close()
            thread.join(DEADLINE)


def drips(connection: socket.socket, over: threading.Event) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
    while not over.wait(0.05):
        connection.sendall(b"a")


def continues_for_ever(connection: socket.socket, over: threading.Event) -> None:
    while not over.is_set():
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)


def body_without_end(connection: socket.socket, over: threading.Event) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while not over.is_set():
        connection.sendall(b"2\r\nab\r\n" * 1000)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (drips, "it does not respond in time"),
        (continues_for_ever, "its response is too long"),
    ],
)
def test_a_head_without_end_is_an_outage(
    answer: Callable[[socket.socket, threading.Event], None], says: str
) -> None:
    with receiver(answer) as endpoint, pytest.raises(NoResponse, match=says):
        endpoint.post({}, b"{}")


@pytest.mark.parametrize("length", ["99999999999999999", "1" * 40, "9" * 5000, "-5", "x"])
def test_a_length_that_nobody_has_changes_nothing(length: str) -> None:
    def answer(connection: socket.socket, _over: threading.Event) -> None:
        connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\nyes".encode())

    with receiver(answer) as endpoint:
        assert endpoint.post({}, b"{}").status == 200
        assert endpoint.post({}, b"{}").status == 200


def test_a_body_without_end_is_not_read_and_the_events_have_arrived() -> None:
    with receiver(body_without_end) as endpoint:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert endpoint.post({}, b"{}").status == 200
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kB
