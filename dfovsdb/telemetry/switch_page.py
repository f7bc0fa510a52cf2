"""What the listener of a switch serves: the page with its events, metrics, health and ports.

It reads a monitor and changes nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from typing import Self, get_args
from urllib.parse import parse_qs

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from dfovsdb.errors import ConfigurationError
from dfovsdb.logs import get_logger
from dfovsdb.model import State, port_of
from dfovsdb.monitor import Monitor
from dfovsdb.selection import OTHER, Selection, check_kinds
from dfovsdb.telemetry.event_counter import EventCounter
from dfovsdb.telemetry.http_server import (
    Server,
    array,
    events_array,
    page_routes,
    pieces,
    plain,
)
from dfovsdb.telemetry.live_events import LiveEvents
from dfovsdb.telemetry.prometheus import Metrics

LOG = get_logger(__name__)

_TOGETHER = 0.05  # seconds in which events are gathered for all clients of /events
_LOOK = 1.0  # seconds between two looks at the status, while there are clients of /events
_SIGN_OF_LIFE = 15.0  # seconds of silence after which a client of /events gets a comment
#: Header of /ports: whether the list is current, or the last known one.
_SYNCED = "Dfovsdb-Synced"
_METRICS = "text/plain; version=0.0.4; charset=utf-8"
_THERE = "there are /, /events, /past, /metrics, /healthz, /readyz and /ports"


class Web:
    """Serves one monitor; a context manager, to be entered when the monitor is started.

    :param listen: HOST:PORT, [V6]:PORT, or a PORT of the loopback address.
    :param hosts: further names by which clients may ask for this host.
    :param past: returns events from before the start as JSON version 1, the newest first.
    :raises ConfigurationError: it cannot be listened there.
    """

    def __init__(
        self,
        listen: str,
        monitor: Monitor,
        hosts: Collection[str] = (),
        past: Callable[[], Sequence[bytes]] = tuple,
    ) -> None:
        self._monitor = monitor
        self._past = past
        self._observer = EventCounter()
        self._metrics = Metrics(monitor, self._observer)
        self._live = LiveEvents(self._ring)
        self._news = asyncio.Event()
        self._rung = False
        monitor.time_deliveries()
        routes = [
            *page_routes("index.html"),
            Route("/events", self._events),
            Route("/past", self._past_events),
            Route("/metrics", self._metrics_text),
            Route("/healthz", self._healthz),
            Route("/readyz", self._readyz),
            Route("/ports", self._ports),
        ]
        self._server = Server(listen, routes, hosts, _THERE)

    @property
    def url(self) -> str:
        """Return the address of the listener."""
        return self._server.url

    def __enter__(self) -> Self:
        self._monitor.attach("metrics", self._observer)
        self._monitor.attach("page", self._live)
        url = self.url
        self._server.__enter__()
        LOG.info("the page is on %s/, metrics on %s/metrics", url, url)
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Listen no longer. May be repeated."""
        self._server.close()

    # In the thread of the listener.

    async def _metrics_text(self, _request: Request) -> Response:
        return Response(self._metrics.text(), media_type=_METRICS)

    async def _healthz(self, _request: Request) -> Response:
        alive = self._monitor.alive
        return plain(
            200 if alive else 503, "ok" if alive else "the monitor thread is not responding"
        )

    async def _readyz(self, _request: Request) -> Response:
        problems = self._monitor.status().problems()
        return plain(503 if problems else 200, "\n".join(problems) or "ok")

    async def _ports(self, request: Request) -> Response:
        query = parse_qs(request.url.query, keep_blank_values=True)
        everything = query.pop("all", ["0"]) != ["0"]
        if unknown := query.keys() - {"kind", "state", "name"}:
            return plain(400, f"no filter {min(unknown)!a}: there are kind, state, name and all")
        kinds = [*self._monitor.kinds, *([OTHER] if everything else [])]
        try:
            check_kinds(query.get("kind", ()), kinds, "kind=")
        except ConfigurationError as error:
            return plain(400, str(error))
        if unknown := set(query.get("state", ())).difference(get_args(State)):
            states = ", ".join(get_args(State))
            return plain(
                400, f"state={min(unknown)!a}: there is no such state; there are {states}"
            )
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
            array(ports),
            media_type="application/json",
            headers={_SYNCED: "true" if synced else "false"},
        )

    async def _past_events(self, _request: Request) -> Response:
        lines = await asyncio.to_thread(self._past)  # it reads files
        return Response(events_array(lines), media_type="application/json")

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
        while not self._server.stopping:
            news = self._news
            later = self._live.since(last_id)
            if later is None:
                picture = self._live.picture()
                last_id = picture.id
                yield f"id: {last_id}\nevent: picture\ndata: ".encode()
                async for chunk in array(picture.ports):
                    yield chunk.replace(b"\n", b"")
                yield b"\n\n"
            elif later:
                last_id = self._live.id_of(later[-1].seq)
                chunk = b"".join(
                    b"id: %s\nevent: port\ndata: %s\n\n" % (self._live.id_of(seq).encode(), line)
                    for seq, line in later
                )
                for piece in pieces(chunk):
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
        if (loop := self._server.loop) is not None and not self._rung:
            self._rung = True
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(loop.call_later, _TOGETHER, self._wake)

    def _wake(self) -> None:
        self._rung = False
        self._news.set()
        self._news = asyncio.Event()
