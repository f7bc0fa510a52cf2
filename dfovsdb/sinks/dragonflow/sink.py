"""Events for a Dragonflow controller, in its own process or over ZeroMQ.

This file decides what is sent when. The values are in messages.py, and ZeroMQ is in client.py,
which is imported only if an endpoint is configured.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from oslo_config import cfg

from dfovsdb.errors import ConfigurationError, needs_extra
from dfovsdb.logs import get_logger
from dfovsdb.sinks.base import Sink, SinkContext
from dfovsdb.sinks.dragonflow.messages import DIALECTS, type_of, value_of
from dfovsdb.text.escape import clean

if TYPE_CHECKING:
    from dfovsdb.model import Port, PortEvent, SyncMarker
    from dfovsdb.sinks.dragonflow.client import ZmqPublisher

LOG = get_logger(__name__)

FILTERS = ("dragonflow", "none")
POLL_INTERVAL = (
    0.5  #: seconds after which a late subscriber is noticed at the latest, if nothing happens
)


class Callback(Protocol):
    """A controller's `db_change_callback`. It is called with four arguments, from one thread."""

    def __call__(
        self, table: str | None, key: str | None, action: str, value: str | None, /
    ) -> object: ...


class DragonflowSink(Sink):
    """Informs a Dragonflow controller of switch ports: create, set, delete and the sync markers.

    :param callback: the controller's `db_change_callback(table, key, action, value)`, in this
        process. An exception that it raises refuses the event. It is not a configuration option.
    :param endpoint: the address to publish on instead; see the option.
    :raises ConfigurationError: neither or both of the two are given, another value is not allowed,
        or pyzmq is not installed.

    Events are delivered one by one (emit_many is the inherited one). Therefore a callback that
    refuses one event does not receive the neighbouring events twice. A subscriber that stops
    reading during a sync later receives the rest, without repetitions.
    """

    options = (
        cfg.StrOpt(
            "endpoint",
            help="ZeroMQ endpoint to bind and publish on: tcp://ADDRESS:PORT or ipc://PATH (whose "
            "owner and group may connect). The ports of one host are meant for the controller of "
            "that host: use loopback or ipc. Needs the extra dfovsdb[dragonflow].",
        ),
        cfg.StrOpt(
            "dialect",
            default="switch_port",
            choices=[
                ("switch_port", "the controller of Dragonflow's last master"),
                ("ovs_port", "the controller of Dragonflow 4.0.0"),
            ],
            help="The version of the controller that subscribes.",
        ),
        cfg.StrOpt(
            "filter",
            default="dragonflow",
            choices=[
                ("dragonflow", "no patch ports, no kinds unknown to it, no names like qg*"),
                ("none", "every port that a classifier claims"),
            ],
            help="Which ports are sent. The metadata interface always is.",
        ),
        cfg.StrOpt(
            "metadata_interface",
            default="tap-metadata",
            help="Name of the controller's metadata interface. A classifier must claim it: "
            "dragonflow.conf shows how.",
        ),
        cfg.StrOpt("topic", default="D", help="Topic of the messages that are published."),
    )

    def __init__(
        self,
        callback: Callback | None = None,
        endpoint: str | None = None,
        dialect: str = "switch_port",
        filter: str = "dragonflow",  # noqa: A002 - the name of the option
        metadata_interface: str = "tap-metadata",
        topic: str = "D",
    ) -> None:
        if dialect not in DIALECTS:
            raise ConfigurationError(f"dialect {dialect!r}: use {' or '.join(DIALECTS)}")
        if filter not in FILTERS:
            raise ConfigurationError(f"filter {filter!r}: use {' or '.join(FILTERS)}")
        if callback is not None and endpoint:
            raise ConfigurationError("callback and endpoint exclude each other: give one of them")
        self._dialect = DIALECTS[dialect]
        self._filter = filter
        self._metadata_interface = metadata_interface
        self._publisher: ZmqPublisher | None = None
        self._context: SinkContext | None = None
        self._in_bracket = False  # the current subscribers have received the start of a sync
        self._in_sync: set[str] = set()  # the ports that were sent as online within it
        self._misfits: dict[str, set[str]] = {}  # fields that a warning was logged for, by port
        if callback is not None:
            if not callable(callback):
                raise ConfigurationError(f"callback {callback!r:.80} cannot be called")
            self._deliver: Callback = callback
        elif endpoint:
            self._publisher = _publisher(endpoint, topic)
            self._deliver = self._publisher.send
            self.poll_interval = POLL_INTERVAL
        else:
            raise ConfigurationError(
                "option endpoint is required: tcp://ADDRESS:PORT or ipc://PATH; or, for a "
                "controller in this process, pass a callback to DragonflowSink"
            )

    @property
    def endpoint(self) -> str | None:
        """Return the bound endpoint: as configured, and once open with the actual port of
        tcp://…:*.
        """
        return self._publisher.endpoint if self._publisher else None

    def open(self, context: SinkContext) -> None:
        self._context = context
        if self._publisher:
            self._publisher.open()

    def emit(self, event: PortEvent) -> None:
        self._notice_subscribers()
        if event.action == "online" and event.origin not in ("update", "catchup"):
            self._in_sync.add(event.port.uuid)
        offline = event.action == "offline"
        before, now = (event.port, None) if offline else (event.previous, event.port)
        was_sent = before is not None and self._passes(before)
        if now is not None and self._passes(now):
            self._send("set" if was_sent and event.action == "updated" else "create", now)
        elif before is not None and was_sent:  # the port is gone, or the filter now drops it
            self._send("delete", before)

    def sync_started(self, marker: SyncMarker) -> None:
        self._notice_subscribers()
        self._in_bracket = False
        self._in_sync.clear()
        self._deliver(None, None, self._dialect.sync_started, None)
        self._in_bracket = True

    def sync_finished(self, marker: SyncMarker) -> None:
        """Send the end of a sync; the controller then deletes ports that the sync did not contain.

        Therefore no end is sent after a sync with differences only (`resync = diff`).
        """
        self._notice_subscribers()
        whole = marker.ports is None or len(self._in_sync) >= marker.ports
        if self._in_bracket and whole:
            self._deliver(None, None, self._dialect.sync_finished, None)

    def poll(self) -> None:
        self._notice_subscribers()

    def close(self) -> None:
        if self._publisher:
            self._publisher.close()

    def _passes(self, port: Port) -> bool:
        """Filter by kind and name alone: a port number that becomes invalid is sent, as a set."""
        if self._filter == "none" or port.name == self._metadata_interface:
            return True
        if port.name.startswith("qg"):
            return False
        return type_of(port, self._dialect, self._metadata_interface) not in ("patch", "unknown")

    def _send(self, action: str, port: Port) -> None:
        value = value_of(port, self._dialect, self._metadata_interface)
        if value.misfits:
            self._warn(port, value.misfits)
        self._deliver(self._dialect.table, port.uuid, action, value.json)
        if action == "delete":
            self._misfits.pop(port.uuid, None)

    def _warn(self, port: Port, misfits: dict[str, str]) -> None:
        """Log once for each port which values were omitted."""
        warned = self._misfits.setdefault(port.uuid, set())
        if news := {name: fact for name, fact in misfits.items() if name not in warned}:
            warned.update(news)
            LOG.warning(
                "port %s (%s): omitted %s: the controller would reject it",
                clean(port.name),
                port.uuid,
                ", ".join(f"{name} {clean(fact)!r}" for name, fact in news.items()),
            )

    def _notice_subscribers(self) -> None:
        """Request a resend when there is a new subscriber.

        The end of a sync in progress is then not sent: the new subscriber did not receive its
        start, and the controller deletes at the end whatever the sync did not contain. The resend
        has markers of its own.
        """
        if self._publisher and self._publisher.new_subscribers():
            assert self._context is not None
            self._in_bracket = False
            self._context.request_replay()


def _publisher(endpoint: str, topic: str) -> ZmqPublisher:
    try:
        from dfovsdb.sinks.dragonflow.client import ZmqPublisher
    except ImportError as error:
        raise needs_extra(f"option endpoint ({error})", "dragonflow") from None
    return ZmqPublisher(endpoint, topic)
