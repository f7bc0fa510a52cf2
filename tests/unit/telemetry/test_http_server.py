from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dfovsdb.telemetry.http_server import Server, plain


async def echo(request: Request) -> Response:
    return plain(200, f"{request.url.path}?{request.url.query}")


@pytest.fixture
def server() -> Iterator[Server]:
    with Server("127.0.0.1:0", [Route("/healthz", echo)]) as listener:
        yield listener


def answer(server: Server, target: str, host: str = "localhost") -> str:
    port = int(server.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        with client.makefile("r", encoding="utf-8") as lines:
            head, _, body = lines.read().partition("\n\n")
    return f"{head.split()[1]} {body.strip()}"


@pytest.mark.parametrize(
    "target",
    ["/healthz?x=1", "http://localhost/healthz?x=1", "HTTP://127.0.0.1:80/healthz?x=1"],
)
def test_a_whole_url_is_answered_like_its_path(server: Server, target: str) -> None:
    assert answer(server, target) == "200 /healthz?x=1"


def test_the_host_of_a_whole_url_counts_and_not_the_header(server: Server) -> None:
    assert answer(server, "http://localhost/healthz", host="evil.example") == "200 /healthz?"
    refused = answer(server, "http://evil.example/healthz")
    assert refused == "403 this listener is not 'evil.example': add the name to [http] hosts"


@pytest.mark.parametrize("target", ["http://localhost", "http://localhost/", "*"])
def test_what_is_not_there_is_not_found(server: Server, target: str) -> None:
    assert answer(server, target).startswith("404 ")
