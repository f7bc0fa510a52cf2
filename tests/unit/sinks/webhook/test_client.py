"""Receivers that want to keep us: every request ends in time, and is read only so far."""

from __future__ import annotations

import contextlib
import logging
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from dfovsdb.sinks.webhook.client import Endpoint, NoResponse, Response
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


def says(*answers: bytes) -> Callable[[socket.socket, threading.Event], None]:
    """Answer each request of a connection with all of these, a moment apart."""

    def answer(connection: socket.socket, over: threading.Event) -> None:
        request = b"{}"
        while request:
            for part in answers:
                connection.sendall(part)
                over.wait(0.1)
            request = connection.recv(65536)

    return answer


NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"


@pytest.mark.parametrize(
    "interim",
    [
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
        b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n",
    ],
)
@pytest.mark.parametrize("apart", [True, False])
def test_an_interim_response_is_not_the_response(interim: bytes, apart: bool) -> None:
    parts = [interim, NO_CONTENT] if apart else [interim + NO_CONTENT]
    with receiver(says(*parts)) as endpoint:
        assert [endpoint.post({}, b"{}").status for _ in range(3)] == [204] * 3


def test_a_connection_that_speaks_another_protocol_now_is_not_used_again() -> None:
    with receiver(says(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")) as endpoint:
        assert endpoint.post({}, b"{}").status == 101
        assert not endpoint._kept


DATE = "Date: Tue, 01 Dec 2026 12:00:00 GMT\r\n"


@pytest.mark.parametrize(
    ("head", "seconds"),
    [
        ("Retry-After: 5\r\n", 5),
        ("Retry-After: -5\r\n", None),
        ("Retry-After: soon\r\n", None),
        ("Retry-After: " + "9" * 400 + "\r\n", float("inf")),
        ("Retry-After: Mon, 01 Jan 2024 00:00:00 +99999999999999999999\r\n", None),
        ("Retry-After: Mon, 01 Jan 99999999999999999999 00:00:00 GMT\r\n", None),
        (f"{DATE}Retry-After: Tue, 01 Dec 2026 12:00:07 GMT\r\n", 7),
        (f"{DATE}Retry-After: Tuesday, 01-Dec-26 12:00:07 GMT\r\n", 7),
        (f"{DATE}Retry-After: Tue Dec  1 12:00:07 2026\r\n", 7),
        (f"{DATE}Retry-After: Tue, 01 Dec 2026 11:00:00 GMT\r\n", 0),
        ("Date: today\r\nRetry-After: Tue, 01 Dec 2020 12:00:07 GMT\r\n", 0),
    ],
)
def test_a_time_to_wait_is_understood_or_ignored(
    head: str, seconds: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A date counts by the clock of the receiver, and never by the time zone of this host."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    answer = f"HTTP/1.1 503 No\r\nContent-Length: 0\r\n{head}\r\n".encode()
    try:
        with receiver(says(answer)) as endpoint:
            assert endpoint.post({}, b"{}") == Response(503, seconds)
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (says(b"220 mail.example ESMTP\r\n"), "its response is not valid HTTP/1.1"),
        (says(b"HTTP/2 200\r\n\r\n"), "its response is not valid HTTP/1.1"),
        (
            says(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n"),
            "its response is not valid HTTP/1.1",
        ),
    ],
)
def test_what_is_not_http_is_called_so(
    answer: Callable[[socket.socket, threading.Event], None], text: str
) -> None:
    with receiver(answer) as endpoint, pytest.raises(NoResponse, match=text):
        endpoint.post({}, b"{}")


def test_a_receiver_that_does_not_read_is_called_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        endpoint = Endpoint(url, Tls(None, None, None), 0.5, 1)
        with pytest.raises(NoResponse, match="it does not read the request in time"):
            endpoint.post({}, b"x" * 30_000_000)
        endpoint.close()


def test_a_name_that_no_host_has_is_called_so() -> None:
    endpoint = Endpoint(f"http://{'a' * 70}.example/", Tls(None, None, None), 1, 1)
    with pytest.raises(NoResponse, match="its name cannot be resolved"):
        endpoint.post({}, b"{}")


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 0\r\nno header\r\n",
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
    ],
)
def test_nothing_is_logged_of_a_response_because_the_path_may_be_a_secret(
    head: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with receiver(says(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n")) as endpoint:
        assert endpoint.post({}, b"{}").status == 200
        assert {record.name for record in caplog.records} <= {"urllib3.util.retry"}
        logging.getLogger("urllib3.connection").warning("of another user of urllib3")
        assert "of another user" in caplog.text
