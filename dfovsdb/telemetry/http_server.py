"""The HTTP listener: the page, /events, /metrics, /healthz, /readyz and /ports.

It reads a monitor and changes nothing. Starlette and uvicorn serve it in a thread of its own. What
a client can cost is bounded: there are so many at once, each has so many seconds for its request
and for taking what it asked for, and nothing is written ahead of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import struct
import threading
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from importlib import resources
from typing import Any, Self
from urllib.parse import parse_qs

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from dfovsdb.errors import ConfigurationError
from dfovsdb.json_v1 import encode_port
from dfovsdb.logs import get_logger
from dfovsdb.model import port_of
from dfovsdb.monitor import Monitor
from dfovsdb.selection import OTHER, Selection, check_kinds
from dfovsdb.telemetry.event_counter import EventCounter
from dfovsdb.telemetry.listen_address import SERVER, address, cannot
from dfovsdb.telemetry.live_events import LiveEvents
from dfovsdb.telemetry.prometheus import Metrics

LOG = get_logger(__name__)

CLIENTS = 256  #: at once; others are turned away until one has left
SLOWEST = 10.0  #: seconds for a request, and without taking anything of the answer
LONGEST = 30.0  #: seconds for a whole answer, except /events
_TOGETHER = 0.05  # seconds in which events are gathered for all clients of /events
_LOOK = 1.0  # seconds between two looks at the status, while there are clients of /events
_SIGN_OF_LIFE = 15.0  # seconds of silence after which a client of /events gets a comment
_CHUNK = 64 << 10  # bytes that are written at once
_TEXT = "text/plain; charset=utf-8"
#: Header of /ports: whether the list is current, or the last known one.
_SYNCED = "Dfovsdb-Synced"
_METRICS = "text/plain; version=0.0.4; charset=utf-8"
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


class Web:
    """Serves one monitor; a context manager, to be entered when the monitor is started.

    :param listen: HOST:PORT, [V6]:PORT, or a PORT of the loopback address.
    :param hosts: further names by which clients may ask for this host.
    :raises ConfigurationError: it cannot be listened there.
    """

    def __init__(self, listen: str, monitor: Monitor, hosts: Collection[str] = ()) -> None:
        self._monitor = monitor
        self._observer = EventCounter()
        self._metrics = Metrics(monitor, self._observer)
        self._live = LiveEvents(self._ring)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._news = asyncio.Event()
        self._rung = False
        self._started = threading.Event()
        monitor.time_deliveries()
        family, place = address(listen)
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.bind(place)
            self._socket.listen(128)
        except OSError as error:
            self._socket.close()
            raise cannot(listen, error) from None
        names = _Names(self._socket.getsockname()[0], place[0], hosts)
        self._server = uvicorn.Server(
            uvicorn.Config(
                _Guard(self._app(), names),
                http=_Protocol,
                ws="none",
                lifespan="off",
                log_config=None,
                log_level="warning",
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

    def __enter__(self) -> Self:
        self._monitor.attach("metrics", self._observer)
        self._monitor.attach("page", self._live)
        self._url = self.url
        self._thread.start()
        self._started.wait(LONGEST)
        LOG.info("the page is on %s/, metrics on %s/metrics", self._url, self._url)
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
            LOG.exception("the HTTP listener has ended; the agent goes on without it")
        finally:
            self._started.set()

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._started.set()
        await self._server.serve(sockets=[self._socket])

    def _app(self) -> ASGIApp:
        page = _page()

        async def index(_request: Request) -> Response:
            return page["index.html"]

        async def asset(request: Request) -> Response:
            found = page.get(request.path_params["name"])
            if found is None:
                raise HTTPException(404)
            return found

        async def nothing(_request: Request, error: Exception) -> Response:
            status = error.status_code if isinstance(error, HTTPException) else 500
            if status == 404:
                return _plain(404, "there are /, /events, /metrics, /healthz, /readyz and /ports")
            return _plain(status, "only GET and HEAD are answered")

        return Starlette(
            routes=[
                Route("/", index),
                Route("/page/{name}", asset),
                Route("/events", self._events),
                Route("/metrics", self._metrics_text),
                Route("/healthz", self._healthz),
                Route("/readyz", self._readyz),
                Route("/ports", self._ports),
            ],
            exception_handlers={HTTPException: nothing},
        )

    async def _metrics_text(self, _request: Request) -> Response:
        return Response(self._metrics.text(), media_type=_METRICS)

    async def _healthz(self, _request: Request) -> Response:
        alive = self._monitor.alive
        return _plain(
            200 if alive else 503, "ok" if alive else "the monitor thread is not responding"
        )

    async def _readyz(self, _request: Request) -> Response:
        problems = self._monitor.status().problems()
        return _plain(503 if problems else 200, "\n".join(problems) or "ok")

    async def _ports(self, request: Request) -> Response:
        query = parse_qs(request.url.query, keep_blank_values=True)
        everything = query.pop("all", ["0"]) != ["0"]
        if unknown := query.keys() - {"kind", "state", "name"}:
            return _plain(400, f"no filter {min(unknown)!a}: there are kind, state, name and all")
        kinds = [*self._monitor.kinds, *([OTHER] if everything else [])]
        try:
            check_kinds(query.get("kind", ()), kinds, "kind=")
        except ConfigurationError as error:
            return _plain(400, str(error))
        selection = Selection(
            kinds=query.get("kind", ()), states=query.get("state", ()), names=query.get("name", ())
        )
        synced = self._monitor.synced  # asked first, so that it is true of nothing older
        there = self._monitor.ports()
        ports = [port for port in there.values() if selection(port)]
        if everything:
            others = (port_of(row, OTHER, {}) for row in self._monitor.rows())
            ports += [port for port in others if port.uuid not in there and selection(port)]
        return StreamingResponse(
            _array(ports),
            media_type="application/json",
            headers={_SYNCED: "true" if synced else "false"},
        )

    async def _events(self, request: Request) -> Response:
        if request.method == "HEAD":
            return Response(media_type="text/event-stream")
        last_id = request.headers.get("last-event-id") or ""
        return StreamingResponse(self._stream(last_id), media_type="text/event-stream")

    async def _stream(self, last_id: str) -> AsyncIterator[bytes]:
        """Yield server-sent events: `picture`, `port` and `status`."""
        said = b""
        looked_at = silent_since = float("-inf")
        loop = asyncio.get_running_loop()
        while not self._server.should_exit:
            news = self._news
            later = self._live.since(last_id)
            if later is None:
                picture = self._live.picture()
                last_id = picture.id
                yield f"id: {last_id}\nevent: picture\ndata: ".encode()
                async for chunk in _array(picture.ports):
                    yield chunk.replace(b"\n", b"")
                yield b"\n\n"
            elif later:
                last_id = self._live.id_of(later[-1].seq)
                chunk = b"".join(
                    b"id: %s\nevent: port\ndata: %s\n\n" % (self._live.id_of(seq).encode(), line)
                    for seq, line in later
                )
                for piece in _pieces(chunk):
                    yield piece
            now = loop.time()
            if now - looked_at >= _LOOK:
                looked_at = now
                status = self._status()
                if status != said:
                    said, silent_since = status, now
                    yield b"event: status\ndata: %s\n\n" % status
            if later:
                silent_since = now
            elif now - silent_since >= _SIGN_OF_LIFE:
                silent_since = now
                yield b": still here\n\n"
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK):
                    await news.wait()

    def _status(self) -> bytes:
        status = self._monitor.status()
        return msgspec.json.encode(
            {
                "host": self._monitor.host,
                "connection": self._monitor.address,
                "condition": self._monitor.condition,
                "synced": status.synced,
                "tables": self._monitor.tables,
                "of_no_kind": status.unclassified,
                "sinks": [
                    {
                        "name": sink.name,
                        "available": sink.available,
                        "queued": sink.queued,
                        "delivered": sink.counters["delivered"],
                        "refused": sink.counters["refused"],
                    }
                    for sink in status.sinks
                ],
            }
        )

    def _ring(self) -> None:
        """Wake the clients of /events soon; from any thread."""
        if self._loop is not None and not self._rung:
            self._rung = True
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._loop.call_later, _TOGETHER, self._wake)

    def _wake(self) -> None:
        self._rung = False
        self._news.set()
        self._news = asyncio.Event()


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

        hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        if any(host not in self._names for host in hosts):
            text = f"this listener is not {hosts[0]!a:.100}: add the name to [http] hosts"
            await _plain(403, text)(scope, receive, send_with_headers)
            return
        longest = None if scope["path"] == "/events" else LONGEST
        async with asyncio.timeout(longest):
            await self._app(scope, receive, send_with_headers)


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


async def _array(ports: Sequence[Any]) -> AsyncIterator[bytes]:
    """Yield a JSON array of ports in chunks, each encoded when it is taken."""
    chunk, size, before = [b"["], 0, b""
    for port in ports:
        line = before + encode_port(port)
        before = b",\n"
        chunk.append(line)
        size += len(line)
        if size >= _CHUNK:
            for piece in _pieces(b"".join(chunk)):
                yield piece
            chunk, size = [], 0
            await asyncio.sleep(0)  # other clients have their turn
    yield b"".join([*chunk, b"]\n"])


def _pieces(data: bytes) -> Iterator[bytes]:
    """Yield data in pieces of which each may be written ahead of a client."""
    for start in range(0, len(data), _CHUNK):
        yield data[start : start + _CHUNK]


def _page() -> Mapping[str, Response]:
    """Return the files of the page."""
    folder = resources.files("dfovsdb.telemetry") / "page"
    return {
        file.name: Response(file.read_bytes(), media_type=_TYPES[file.name.rpartition(".")[2]])
        for file in folder.iterdir()
        if file.name.rpartition(".")[2] in _TYPES
    }


def _plain(status: int, text: str) -> Response:
    return Response(f"{text}\n", status, media_type=_TEXT)
