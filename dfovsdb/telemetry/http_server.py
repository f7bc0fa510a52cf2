"""The HTTP listener: any application, served in a thread of its own, with bounds for its clients.

Starlette and uvicorn serve it. What a client can cost is bounded: there are so many at once, each
has so many seconds for its request and for taking what it asked for, and nothing is written ahead
of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import ipaddress
import socket
import struct
import threading
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping, Sequence
from importlib import resources
from typing import Any, Self

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from dfovsdb.json_v1 import encode_port, from_json
from dfovsdb.logs import get_logger
from dfovsdb.telemetry.listen_address import SERVER, address, cannot

LOG = get_logger(__name__)

CLIENTS = 256  #: at once; others are turned away until one has left
SLOWEST = 10.0  #: seconds for a request, and without taking anything of the answer
LONGEST = 30.0  #: seconds for a whole answer, except of an event stream
STREAM = "events"  #: the last part of the path of an event stream
_CHUNK = 64 << 10  # bytes that are written at once
_TEXT = "text/plain; charset=utf-8"
_HEADERS = [
    (b"server", SERVER.encode()),
    (b"connection", b"close"),
    (
        b"content-security-policy",
        b"; ".join(
            (
                b"default-src 'none'",
                b"script-src 'self'",
                b"style-src 'self'",
                b"img-src 'self'",
                b"connect-src 'self'",
                b"base-uri 'none'",
                b"form-action 'none'",
                b"frame-ancestors 'none'",
            )
        ),
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
]
_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}


class Server:
    """Serves routes; a context manager.

    :param listen: HOST:PORT, [V6]:PORT, or a PORT of the loopback address.
    :param routes: of Starlette.
    :param hosts: further names by which clients may ask for this host.
    :param there: what a client that asks for something else receives.
    :raises ConfigurationError: it cannot be listened there.
    """

    def __init__(
        self,
        listen: str,
        routes: Sequence[BaseRoute],
        hosts: Collection[str] = (),
        there: str = "",
    ) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None  #: of its thread, while it runs
        self._there = there
        self._started = threading.Event()
        family, place = address(listen)
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.bind(place)
            self._socket.listen(128)
        except OSError as error:
            self._socket.close()
            raise cannot(listen, error) from None
        app = Starlette(routes=routes, exception_handlers={HTTPException: self._refuse})
        names = _Names(self._socket.getsockname()[0], place[0], hosts)
        self._server = uvicorn.Server(
            uvicorn.Config(
                _Guard(app, names),
                http=_Protocol,
                ws="none",
                lifespan="off",
                log_config=None,
                log_level="error",  # it warns of each request that is malformed: without end
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=1,
            )
        )
        self._thread = threading.Thread(target=self._serve, name="dfovsdb-web", daemon=True)

    @property
    def url(self) -> str:
        """Return the address of the listener."""
        host, port = self._socket.getsockname()[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    @property
    def stopping(self) -> bool:
        """Return whether event streams are to end."""
        return self._server.should_exit

    @property
    def running(self) -> bool:
        """Return whether its thread runs."""
        return self._thread.is_alive()

    def __enter__(self) -> Self:
        self._thread.start()
        self._started.wait(LONGEST)
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Listen no longer. May be repeated."""
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join()
        self._socket.close()

    # In the thread of the listener.

    def _serve(self) -> None:
        try:
            asyncio.run(self._main())
        except Exception:
            LOG.exception("the HTTP listener has ended; everything else goes on without it")
        finally:
            self._started.set()

    async def _main(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._started.set()
        await self._server.serve(sockets=[self._socket])

    async def _refuse(self, _request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        if status == 404:
            return plain(404, self._there)
        response = plain(status, "only GET and HEAD are answered")
        if status == 405:
            response.headers["Allow"] = "GET, HEAD"
        return response


class _Names:
    """The names by which this listener may be asked for.

    A page of another site can make a browser resolve the name of that site to a loopback address,
    and then read what is served there: DNS rebinding. The Host header still has that name.
    """

    def __init__(self, bound: str, asked: str, hosts: Collection[str]) -> None:
        names = {bound, asked, *hosts}
        self._any_address = ipaddress.ip_address(bound.partition("%")[0]).is_unspecified
        if self._any_address:
            names |= {socket.gethostname(), socket.getfqdn()}
        if self._any_address or ipaddress.ip_address(bound.partition("%")[0]).is_loopback:
            names |= {"localhost", "127.0.0.1", "::1"}
        self._names = {name.lower().strip("[]") for name in names}

    def __contains__(self, host: str) -> bool:
        name = host.lower()
        name = name[1:].partition("]")[0] if name.startswith("[") else name.partition(":")[0]
        if self._any_address:
            with contextlib.suppress(ValueError):
                ipaddress.ip_address(name)
                return True
        return name.rstrip(".") in self._names


class _Guard:
    """Checks the Host header, adds the headers of every answer, and limits its time."""

    def __init__(self, app: ASGIApp, names: _Names) -> None:
        self._app = app
        self._names = names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *_HEADERS]
            await send(message)

        scope, hosts = _origin_form(scope)
        if any(host not in self._names for host in hosts):
            text = f"this listener is not {hosts[0]!a:.100}: add the name to [http] hosts"
            await plain(403, text)(scope, receive, send_with_headers)
            return
        longest = None if scope["path"].rpartition("/")[2] == STREAM else LONGEST
        async with asyncio.timeout(longest):
            await self._app(scope, receive, send_with_headers)


def _origin_form(scope: Scope) -> tuple[Scope, Sequence[str]]:
    """Return a request with its path, and the hosts that it names.

    A request may name its whole URL, as those to a proxy do; then the Host header does not count
    (RFC 9112, section 3.2.2).
    """
    scheme, _, rest = scope["path"].partition("://")
    if scheme.lower() not in ("http", "https"):
        names = [value for name, value in scope["headers"] if name == b"host"]
        return scope, [value.decode("latin-1") for value in names]
    host, _, path = rest.partition("/")
    return {**scope, "path": f"/{path}", "raw_path": f"/{path}".encode()}, [host]


class _Protocol(H11Protocol):
    """One connection. A client that sends or takes nothing for SLOWEST is dropped."""

    _slow: asyncio.TimerHandle | None = None
    _stuck: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as the base has it
        super().connection_made(transport)
        if len(self.connections) > CLIENTS:
            self._drop()
            return
        self._slow = self.loop.call_later(SLOWEST, self._ask_for_request)

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._slow, self._stuck):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stuck = self.loop.call_later(SLOWEST, self._drop)

    def resume_writing(self) -> None:
        if self._stuck is not None:
            self._stuck.cancel()
        super().resume_writing()

    def _ask_for_request(self) -> None:
        if self.cycle is None:  # its request is not complete
            self._drop()

    def _drop(self) -> None:
        """Close the connection at once, without keeping what was written and not taken."""
        self.transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
        self.transport.abort()


async def array(ports: Sequence[Any]) -> AsyncIterator[bytes]:
    """Yield a JSON array of ports in chunks, each encoded when it is taken."""
    chunk, size, before = [b"["], 0, b""
    for port in ports:
        line = before + encode_port(port)
        before = b",\n"
        chunk.append(line)
        size += len(line)
        if size >= _CHUNK:
            for piece in pieces(b"".join(chunk)):
                yield piece
            chunk, size = [], 0
            await asyncio.sleep(0)  # other clients have their turn
    yield b"".join([*chunk, b"]\n"])


def events_array(lines: Iterable[bytes]) -> bytes:
    """Return a JSON array of the lines that are events; a damaged line is left out."""
    return b"[" + b",\n".join(line for line in lines if _is_event(line)) + b"]\n"


def _is_event(line: bytes) -> bool:
    try:
        from_json(line)
    except ValueError:
        return False
    return True


def pieces(data: bytes) -> Iterator[bytes]:
    """Yield data in pieces of which each may be written ahead of a client."""
    for start in range(0, len(data), _CHUNK):
        yield data[start : start + _CHUNK]


def page_routes(index: str, at: str = "") -> list[BaseRoute]:
    """Return the routes of a page: the file `index`, and those that it asks for.

    :param at: the path below which it is.
    """
    files = _files_of_the_page()

    async def page(_request: Request) -> Response:
        return files[index]

    async def asset(request: Request) -> Response:
        found = files.get(request.path_params["name"])
        if found is None:
            raise HTTPException(404)
        return found

    return [Route(f"{at}/", page), Route(f"{at}/page/{{name}}", asset)]


@functools.cache
def _files_of_the_page() -> Mapping[str, Response]:
    """Return the files of all pages by name."""
    folder = resources.files("dfovsdb.telemetry") / "page"
    return {
        file.name: Response(file.read_bytes(), media_type=_TYPES[file.name.rpartition(".")[2]])
        for file in folder.iterdir()
        if file.name.rpartition(".")[2] in _TYPES
    }


def plain(status: int, text: str) -> Response:
    """Return an answer of one line for people."""
    return Response(f"{text}\n", status, media_type=_TEXT)
