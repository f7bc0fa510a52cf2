"""What `dfovsdb fleet web` serves: the hosts of a cloud, where a VIF is, a page for each host.

Everything is read from NATS when it is asked for; nothing is kept but the last answer about all
hosts, for a while that is in proportion to what it has cost.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from dfovsdb.errors import DfovsdbError
from dfovsdb.fleet.reader import Fleet, LogItem
from dfovsdb.telemetry.http_server import (
    Server,
    array,
    events_array,
    page_routes,
    pieces,
    plain,
)

_JSON = "application/json"
_SHORTEST = 2.0  # seconds for which an answer about all hosts is given again
_SHARE = 10  # times what it has cost: so one part in ten of the time is spent on it, at most
_LOOK = 2.0  # seconds between two looks at the heartbeat of a host that is looked at
_RETRY = 2.0  # seconds after NATS could not be read
_PAST = timedelta(hours=1)  # of the log that the page of a host begins with
_MOST_PAST = 1000  # events of it, and of all hosts together
_AHEAD = 1000  # events that may wait for one client
_THERE = (
    "there are /, /hosts, /conflicts, /where?iface_id=, /events, /host/NAME/ and /host/NAME/events"
)

Connect = Callable[[], Fleet]


class FleetWeb:
    """Serves a cloud; a context manager.

    :param listen: HOST:PORT, [V6]:PORT, or a PORT of the loopback address.
    :param connect: returns a new reader, which is entered for each request.
    :raises ConfigurationError: it cannot be listened there.
    """

    def __init__(self, listen: str, connect: Connect) -> None:
        self._connect = connect
        self._hosts = _Answer(self._read_hosts)
        self._conflicts = _Answer(self._read_conflicts)
        routes = [
            *page_routes("fleet.html"),
            *page_routes("index.html", "/host/{host:path}"),
            Route("/hosts", self._all_hosts),
            Route("/conflicts", self._all_conflicts),
            Route("/where", self._where),
            Route("/events", self._events_of_all),
            Route("/host/{host:path}/events", self._events),
            Route("/host/{host:path}/past", self._past),
        ]
        self._server = Server(listen, routes, there=_THERE)

    @property
    def url(self) -> str:
        """Return the address of the listener."""
        return self._server.url

    @property
    def running(self) -> bool:
        """Return whether it serves."""
        return self._server.running

    def __enter__(self) -> Self:
        self._server.__enter__()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._server.close()

    # In the thread of the listener.

    async def _all_hosts(self, _request: Request) -> Response:
        return await _answered(self._hosts)

    async def _all_conflicts(self, _request: Request) -> Response:
        return await _answered(self._conflicts)

    async def _where(self, request: Request) -> Response:
        iface_id = request.query_params.get("iface_id", "")
        if not iface_id:
            return plain(400, "say which: /where?iface_id=ID")

        async def read() -> bytes:
            async with self._connect() as fleet:
                claims = await fleet.where(iface_id)
            return msgspec.json.encode(
                [
                    {
                        "host": claim.host,
                        "fresh": claim.fresh,
                        "active": claim.active,
                        "installed": claim.installed,
                        "port": claim.port.facts(),
                    }
                    for claim in claims
                ]
            )

        return await _answered(read)

    async def _read_hosts(self) -> bytes:
        async with self._connect() as fleet:
            hosts = await fleet.hosts()
        return msgspec.json.encode(
            [
                {
                    "host": host.name,
                    "fresh": host.heartbeat is not None,
                    "ports": host.ports,
                    "last": host.last,
                    "version": host.said and host.said.version,
                    "connection": host.said and host.said.connection,
                }
                for host in hosts
            ]
        )

    async def _read_conflicts(self) -> bytes:
        async with self._connect() as fleet:
            return msgspec.json.encode([one._asdict() for one in await fleet.conflicts()])

    async def _events(self, request: Request) -> Response:
        if request.method == "HEAD":
            return Response(media_type="text/event-stream")
        host = request.path_params["host"]
        return StreamingResponse(self._stream(host), media_type="text/event-stream")

    async def _events_of_all(self, request: Request) -> Response:
        if request.method == "HEAD":
            return Response(media_type="text/event-stream")
        last = request.headers.get("last-event-id", "")
        after = int(last) if last.isascii() and last.isdigit() and len(last) < 19 else None
        return StreamingResponse(self._stream_of_all(after), media_type="text/event-stream")

    async def _past(self, request: Request) -> Response:
        async def read() -> bytes:
            since = datetime.now(UTC) - _PAST
            async with self._connect() as fleet:
                newest: deque[bytes] = deque(maxlen=_MOST_PAST)
                async for item in fleet.past(since, host=request.path_params["host"]):
                    newest.appendleft(item.line)
            return events_array(newest)

        return await _answered(read)

    async def _stream(self, host: str) -> AsyncIterator[bytes]:
        """Yield the server-sent events of a host, as the listener of its agent would."""
        while not self._server.stopping:
            try:
                async with self._connect() as fleet:
                    async for chunk in self._follow(fleet, host):
                        yield chunk
            except DfovsdbError as error:
                yield _status(host, str(error), synced=False)
                await asyncio.sleep(_RETRY)

    async def _stream_of_all(self, after: int | None) -> AsyncIterator[bytes]:
        """Yield the events of all hosts as server-sent events, each with its place in the log.

        :param after: the place after which it begins; None begins with the last ones.
        """
        while not self._server.stopping:
            try:
                async with self._connect() as fleet:
                    newest = await fleet.position()
                    if after is None or after > newest:  # the log was made again
                        after = max(0, newest - _MOST_PAST)
                    yield b'event: status\ndata: ""\n\n'
                    async for item in self._arriving(fleet.log(after=after)):
                        if item is None:
                            yield b": still here\n\n"
                            continue
                        after = item.sequence
                        for piece in pieces(
                            b"id: %d\nevent: port\ndata: %s\n\n" % (after, item.line)
                        ):
                            yield piece
            except DfovsdbError as error:
                yield b"event: status\ndata: %s\n\n" % msgspec.json.encode(str(error))
                await asyncio.sleep(_RETRY)

    async def _follow(self, fleet: Fleet, host: str) -> AsyncIterator[bytes]:
        """Yield all ports of a host, then what has happened to them since before that."""
        after = await fleet.position()
        ports = [port async for _, port in fleet.ports(host)]
        yield b"event: picture\ndata: "
        async for chunk in array(ports):
            yield chunk.replace(b"\n", b"")
        yield b"\n\n"
        said, look_at, loop = b"", float("-inf"), asyncio.get_running_loop()
        async for item in self._arriving(fleet.log(host=host, after=after)):
            if loop.time() >= look_at:
                look_at = loop.time() + _LOOK
                status = await _condition(fleet, host)
                yield status if status != said else b": still here\n\n"
                said = status
            if item is not None:
                for piece in pieces(b"event: port\ndata: %s\n\n" % item.line):
                    yield piece

    async def _arriving(
        self, log: AsyncGenerator[LogItem, None]
    ) -> AsyncGenerator[LogItem | None, None]:
        """Yield what arrives, and None at first and where nothing has arrived for a while."""
        news: asyncio.Queue[LogItem] = asyncio.Queue(_AHEAD)

        async def read() -> None:
            async for item in log:
                await news.put(item)

        reader = asyncio.create_task(read())
        try:
            yield None
            while not self._server.stopping:
                try:
                    async with asyncio.timeout(_LOOK):
                        item = await news.get()
                except TimeoutError:
                    yield None
                else:
                    yield item
                if reader.done():
                    await reader
        finally:
            reader.cancel()


class _Answer:
    """An answer that is read again when it is older than its cost allows.

    :param read: returns it.
    """

    def __init__(self, read: Callable[[], Awaitable[bytes]]) -> None:
        self._read = read
        self._lock = asyncio.Lock()
        self._answer = b""
        self._good_until = float("-inf")

    async def __call__(self) -> bytes:
        async with self._lock:  # those who ask at once get the same
            loop = asyncio.get_running_loop()
            began = loop.time()
            if began >= self._good_until:
                self._answer = await self._read()
                now = loop.time()
                self._good_until = now + max(_SHORTEST, _SHARE * (now - began))
            return self._answer


async def _answered(read: Callable[[], Awaitable[bytes]]) -> Response:
    try:
        return Response(await read(), media_type=_JSON)
    except DfovsdbError as error:
        return plain(503, " ".join(str(error).split()))


async def _condition(fleet: Fleet, host: str) -> bytes:
    fresh, beat = await fleet.agent(host)
    if beat is None:
        return _status(host, "nothing was heard of this host", synced=False)
    if not fresh:
        text = f"its agent was heard of last at {beat.time:%Y-%m-%d %H:%M:%S} UTC; it said then: "
        return _status(host, text + beat.connection, synced=False)
    return _status(host, beat.connection, synced=beat.connection == "synced")


def _status(host: str, condition: str, *, synced: bool) -> bytes:
    status: dict[str, Any] = {
        "host": host,
        "connection": "from NATS",
        "condition": condition,
        "synced": synced,
        "tables": [],
        "of_no_kind": 0,
        "sinks": [],
    }
    return b"event: status\ndata: %s\n\n" % msgspec.json.encode(status)
