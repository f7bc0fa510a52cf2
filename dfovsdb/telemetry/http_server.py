"""The HTTP listener: /metrics, /healthz, /readyz and /ports. Reads a monitor, changes nothing."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
import time
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from dfovsdb.errors import ConfigurationError
from dfovsdb.json_v1 import encode_port
from dfovsdb.logs import get_logger
from dfovsdb.monitor import Monitor
from dfovsdb.selection import Selection, check_kinds
from dfovsdb.telemetry.event_counter import EventCounter
from dfovsdb.telemetry.listen_address import SERVER, address, cannot
from dfovsdb.telemetry.prometheus import Metrics

LOG = get_logger(__name__)

_SLOWEST = 10.0  # seconds that a client may be silent
_LONGEST = 30.0  # seconds for a request and its answer, however slowly they go on
_PAUSE = 0.2  # seconds before another connection is accepted
_CLIENTS = 16  # at once; others are turned away until one has left
_TEXT = "text/plain; charset=utf-8"
#: Header of /ports: whether the list is current, or the last known one.
_SYNCED = "Dfovsdb-Synced"
_METRICS = "text/plain; version=0.0.4; charset=utf-8"


_Answer = tuple[int, Mapping[str, str], bytes]


class Web:
    """Serves one monitor; a context manager, to be entered when the monitor is started.

    :param listen: HOST:PORT, [V6]:PORT, or a PORT of the loopback address.
    :raises ConfigurationError: it cannot be listened there.
    """

    def __init__(self, listen: str, monitor: Monitor) -> None:
        self._monitor = monitor
        self._observer = EventCounter()
        self._metrics = Metrics(monitor.status, self._observer)
        monitor.time_deliveries()
        family, place = address(listen)
        try:
            self._server = _Server(family, place, self)
        except OSError as error:
            raise cannot(listen, error) from None
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="dfovsdb-web", daemon=True
        )

    @property
    def url(self) -> str:
        """Return the address of the listener."""
        host, port = self._server.server_address[:2]
        name = f"[{host!s}]" if ":" in str(host) else host
        return f"http://{name!s}:{port}"

    def __enter__(self) -> Self:
        self._monitor.attach("metrics", self._observer)
        self._thread.start()
        LOG.info("metrics on %s/metrics", self.url)
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Listen no longer. May be repeated."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()

    def answer(self, target: str) -> _Answer:
        """Return the status, the headers and the body for a path with its query."""
        parts = urlsplit(target)
        if parts.path == "/metrics":
            return 200, {"Content-Type": _METRICS}, self._metrics.text()
        if parts.path == "/healthz":
            alive = self._monitor.alive
            return _plain(
                200 if alive else 503, "ok" if alive else "the monitor thread is not responding"
            )
        if parts.path == "/readyz":
            problems = self._monitor.status().problems()
            return _plain(503 if problems else 200, "\n".join(problems) or "ok")
        if parts.path == "/ports":
            return self._ports(parse_qs(parts.query, keep_blank_values=True))
        return _plain(404, "there are /metrics, /healthz, /readyz and /ports")

    def _ports(self, query: Mapping[str, Sequence[str]]) -> _Answer:
        if unknown := query.keys() - {"kind", "state", "name"}:
            return _plain(400, f"no filter {min(unknown)!a}: there are kind, state and name")
        try:
            check_kinds(query.get("kind", ()), self._monitor.kinds, "kind=")
        except ConfigurationError as error:
            return _plain(400, str(error))
        selection = Selection(
            kinds=query.get("kind", ()), states=query.get("state", ()), names=query.get("name", ())
        )
        synced = self._monitor.synced  # asked first, so that it is true of nothing older
        ports = filter(selection, self._monitor.ports().values())
        headers = {"Content-Type": "application/json", _SYNCED: "true" if synced else "false"}
        return 200, headers, b"[" + b",\n".join(map(encode_port, ports)) + b"]\n"


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False

    def __init__(self, family: socket.AddressFamily, address: tuple[str, int], web: Web) -> None:
        self.address_family = family
        self.web = web
        self._room = threading.BoundedSemaphore(_CLIENTS)
        super().__init__(address, _Handler)

    def get_request(self) -> tuple[Any, Any]:
        try:
            return super().get_request()
        except OSError:
            time.sleep(_PAUSE)  # no descriptor is free: waiting connections would spin the loop
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._room.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        ending = threading.Timer(_LONGEST, _shut, (request,))
        ending.daemon = True
        ending.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            ending.cancel()
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - the base's
        # LOG014: called where the exception is handled, so there is one to show.
        LOG.debug("a request of %s failed", client_address, exc_info=True)  # noqa: LOG014


class _Handler(BaseHTTPRequestHandler):
    timeout = _SLOWEST
    server: _Server
    server_version = SERVER
    sys_version = ""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        status, headers, body = self.server.web.answer(self.path)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name for it
        LOG.debug(format, *args)


def _plain(status: int, text: str) -> _Answer:
    return status, {"Content-Type": _TEXT}, f"{text}\n".encode()


def _shut(request: socket.socket) -> None:
    with contextlib.suppress(OSError):
        request.shutdown(socket.SHUT_RDWR)
