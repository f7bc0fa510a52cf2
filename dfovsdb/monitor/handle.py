"""The handle that programs hold: it builds the road of the data from options, and starts it."""

from __future__ import annotations

import os
import socket
import time
from collections import Counter
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from concurrent.futures import wait as wait_for_futures
from typing import Any, Self, Unpack

from dfovsdb import plugins
from dfovsdb.classifiers.chain import Chain
from dfovsdb.delivery.dispatcher import Dispatcher
from dfovsdb.delivery.work_queue import Resync
from dfovsdb.errors import (
    ConfigurationError,
)
from dfovsdb.logs import get_logger
from dfovsdb.model import TABLE, TABLES, Interface, Port, PortEvent, SyncMarker
from dfovsdb.monitor.loop import Loop
from dfovsdb.monitor.options import (
    AnySink,
    MonitorOptions,
    check_timeout,
    checked,
    selection_of,
)
from dfovsdb.monitor.pipeline import Pipeline
from dfovsdb.monitor.queue_sink import QueueSink
from dfovsdb.monitor.waits import Waits
from dfovsdb.ovsdb.address import Address
from dfovsdb.ovsdb.session import Session
from dfovsdb.selection import Selection, check_kinds
from dfovsdb.sinks.base import FunctionSink, Sink, check
from dfovsdb.status import Status

LOG = get_logger(__name__)


class Monitor:
    """Watches the interfaces of one server and delivers events to sinks.

    :param connection: `tcp:HOST:PORT`, `tcp:[IPv6]:PORT`, `unix:PATH` or `ssl:HOST:PORT`.
    :param classifiers: instances in order, the first that claims a row wins; None means the
        default ones.
    :param sinks: instances, or a mapping of instance names to them.
    :param tables: the tables to read: `Interface` alone, or `Interface`, `Port` and `Bridge`,
        which say where a port is. A column of another table that a classifier declares adds that
        table.
    :param resync: after a reconnect, `replay` sends every port again, `diff` only differences.
    :param host: name of this host in events; None means the host name of the system.
    :param state_dir: folder for the views of the sinks; None keeps them in memory.
    :param queue_limit: changes that may wait for one sink before they are replaced by a catch-up.
    :param stop_timeout: seconds that stop() waits for the sinks.
    :param ssl_key_file: the private key; this and the next three are for `ssl:`.
    :param ssl_cert_file: the client certificate; None presents none.
    :param ssl_ca_cert_file: the CA of the server's certificate; None means the CAs that the system
        trusts.
    :param ssl_check_hostname: require that the server's certificate names the host.
    :param record: new file to record what the server sends, for recording.replay().
    :param monitor: the method: `auto`, or `rfc7047` for the plain `monitor` of RFC 7047.
    :param inactivity_probe: seconds of silence before the server is probed; 0 disables probes.
    :param reconnect_min: shortest wait in seconds before another attempt.
    :param reconnect_max: longest wait in seconds; at least reconnect_min.
    :param max_message_size: largest message in bytes; a longer one ends the connection.
    :raises ConfigurationError: any of these is unknown or cannot be used.
    """

    def __init__(self, connection: str, **options: Unpack[MonitorOptions]) -> None:
        values = checked(options)
        resync: Resync = values["resync"]
        host: str = values["host"] or socket.gethostname()
        if not isinstance(connection, str):
            raise ConfigurationError(f"connection: {connection!r:.80} is not a string")
        address = Address.parse(connection)
        files = [values[f"ssl_{name}_file"] for name in ("key", "cert", "ca_cert")]
        tls: Tls | None = None
        if address.method == "ssl":
            from dfovsdb.tls import Tls  # OpenSSL, where it is needed

            tls = Tls(*files, check_hostname=values["ssl_check_hostname"])
        if address.method == "tcp" and any(files):
            LOG.warning("%s is not secured by TLS, whatever files are set: use ssl:", connection)
        classifiers = values["classifiers"]
        chain = Chain(plugins.default_classifiers() if classifiers is None else classifiers)
        tables = _tables(values["tables"], chain)
        if values["monitor"] == "rfc7047" and len(tables) > 1:
            LOG.warning(
                "the method `monitor` sends the whole Bridge row at each change of its ports; "
                "with many ports on a bridge, set monitor = auto or tables = Interface"
            )
        of_session = {name: values[name] for name in _OF_SESSION}
        of_session |= {"extra_columns": chain.extra_columns, "tables": tables}
        sinks = _named(values["sinks"])
        _check_selected(sinks, chain.kinds)
        self._dispatcher = Dispatcher(
            sinks,
            host=host,
            resync=resync,
            queue_limit=values["queue_limit"],
            state_dir=values["state_dir"],
            condition=lambda: self.condition,
        )
        self._pipeline = Pipeline(chain, self._dispatcher)
        self._chain = chain
        self._host = host
        self._tables = tables
        self._stop_timeout: float = values["stop_timeout"]
        self._ended_well = False
        session = _session(values["record"], host, of_session)
        self._loop = Loop(address, tls, session, self._pipeline, lambda: self.waits.release())
        self.waits = Waits(self._loop, self._dispatcher)  #: for dfovsdb.watch() and dfovsdb.aio

    def start(self) -> Self:
        """Open the sinks, then connect; return without waiting for the server.

        :raises ConfigurationError: a sink cannot be opened. Nothing is left running.
        :raises RuntimeError: it was started before; start another Monitor instead.
        """
        if self._loop.started or self._loop.stopping:
            raise RuntimeError("this Monitor was started before: make another one")
        self._loop.started = True
        try:
            self._dispatcher.start()
        except BaseException:
            self._loop.stop(timeout=0)  # who waits for it hears of it
            raise
        self._loop.start()
        return self

    def stop(self) -> bool:
        """Disconnect, let the sinks finish within stop_timeout, and close them. May be repeated.

        In a forked process, which has none of its threads, this does nothing.

        :returns: whether every sink has accepted everything, and was closed.
        """
        if self._loop.stopping or self._loop.is_copy:  # it was stopped before, or this is a fork
            return self._ended_well
        deadline = time.monotonic() + self._stop_timeout
        self._loop.stop(self._stop_timeout)
        self._ended_well = self._dispatcher.stop(max(0.0, deadline - time.monotonic()))
        return self._ended_well

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_exc: object) -> None:
        self.stop()

    @property
    def trouble(self) -> str:
        """Return why there is no connection, in one line; empty while there is one."""
        return self._loop.outage.text

    @property
    def kinds(self) -> list[str]:
        """Return the kinds that its classifiers offer."""
        return self._chain.kinds

    @property
    def synced(self) -> bool:
        """Return whether there is a connection and ports() is what was read on it."""
        loop = self._loop
        return loop.running and loop.session.synced and loop.unsynced_since is None

    @property
    def running(self) -> bool:
        """Return whether it is started, not stopped, and its loop has not ended by itself."""
        return self._loop.running

    @property
    def address(self) -> str:
        """Return the address of the server, as a connection string."""
        return str(self._loop.address)

    @property
    def host(self) -> str:
        """Return the name of this host in events."""
        return self._host

    @property
    def tables(self) -> Sequence[str]:
        """Return the tables that are read."""
        return self._tables

    @property
    def condition(self) -> str:
        """Return the state of the connection in one line: `synced`, or what is waited for."""
        return self._loop.condition

    @property
    def busy_classifier(self) -> str | None:
        """Return which classifier has not returned for more than a second, in one line; or
        None.
        """
        return self._chain.busy()

    def wait_synced(self, timeout: float | None = None) -> bool:
        """Wait until the tables have been read; sinks may receive their events later.

        :param timeout: seconds, None for as long as it takes.
        :returns: False if the time has passed.
        :raises RuntimeError: it was not started; so do wait_for(), wait_gone() and events().
        :raises MonitorStopped: it was stopped, or ended by itself; so do these.
        """
        check_timeout(timeout)
        self.waits.check()
        if not self._loop.was_synced.wait(timeout):
            return False
        if self._loop.over:
            raise self.waits.over()
        return True

    def wait_for(self, predicate: Callable[[Port], bool], timeout: float | None = None) -> Port:
        """Wait for a port, present or future, for which the predicate is true.

        The predicate runs on a thread of its own; an exception that it raises is raised here.

        :param timeout: seconds, None for as long as it takes.
        :raises WaitTimeout: the time has passed.
        """
        check_timeout(timeout)
        with self.waits.waiter(predicate) as future:
            if not wait_for_futures([future], timeout).done:
                raise self.waits.no_such_port(timeout)
            return future.result()

    def wait_gone(self, predicate: Callable[[Port], bool], timeout: float | None = None) -> None:
        """Wait until there is no port for which the predicate is true.

        The predicate runs on a thread of its own; an exception that it raises is raised here.

        :param timeout: seconds, None for as long as it takes.
        :raises WaitTimeout: the time has passed.
        """
        check_timeout(timeout)
        with self.waits.gone_waiter(predicate) as future:
            if not wait_for_futures([future], timeout).done:
                raise self.waits.still_there(timeout)
            return future.result()

    def events(
        self,
        *,
        kinds: Collection[str] = (),
        names: Collection[str] = (),
        markers: bool = False,
    ) -> Generator[PortEvent | SyncMarker, None, None]:
        """Yield the events of this monitor, beginning with the present ports.

        There is no second connection. A slow loop body receives the latest state, not every state
        in between. The iteration ends when the monitor is stopped.

        :param kinds: only ports of these kinds.
        :param names: only ports whose names match one of these shell patterns.
        :param markers: yield SyncMarkers too.
        :raises ConfigurationError: one of these cannot be used.
        :raises MonitorStopped: the monitor was stopped before.
        """
        sink = QueueSink()
        sink.selection = selection_of(kinds, names, markers, self.kinds)
        return self._events(sink, markers=markers)

    def _events(
        self, sink: QueueSink, *, markers: bool
    ) -> Generator[PortEvent | SyncMarker, None, None]:
        with self.waits.ends(sink), self.waits.attached("events", sink):
            try:
                while (batch := sink.batches.get()) is not None:
                    for event in batch:
                        if markers or isinstance(event, PortEvent):
                            yield event
            finally:
                sink.release()

    def ports(self) -> dict[str, Port]:
        """Return all ports by uuid, consistent with one message; the last known while
        disconnected.
        """
        return self._dispatcher.ports()

    def rows(self) -> list[Interface]:
        """Return all rows of the table, whether or not a classifier claims them."""
        return self._pipeline.interfaces()

    @property
    def alive(self) -> bool:
        """Return whether the loop responds: it does every few seconds, connected or not."""
        return self._loop.alive

    def status(self) -> Status:
        """Return the present status. Each value is right, but together they may be a change apart.

        This costs a copy of the ports.
        """
        loop, now = self._loop, time.monotonic()
        heard = loop.session.last_heard
        unsynced_since, next_try_at = loop.unsynced_since, loop.next_try_at
        return Status(
            alive=loop.alive,
            connected=loop.running and loop.session.connected,
            synced=self.synced,
            trouble=self.trouble,
            unsynced_for=None if unsynced_since is None else max(0.0, now - unsynced_since),
            next_try=None if next_try_at is None else max(0.0, next_try_at - now),
            message_age=None if heard is None else max(0.0, now - heard),
            losses={str(why): number for why, number in loop.session.losses.copy().items()},
            syncs=loop.syncs,
            sync_seconds=loop.sync_seconds,
            rows=self._pipeline.rows,
            kinds=self.kinds,
            ports=Counter((port.kind, port.state) for port in self.ports().values()),
            classifier_errors=dict(self._chain.failures.by_kind),
            sinks=tuple(worker.status() for worker in self._dispatcher.configured),
            busy_classifier=self.busy_classifier,
        )

    def attach(self, name: str, sink: AnySink) -> None:
        """Add a sink to a monitor that is started; it receives all ports in a first sync.

        It is not part of status(), and not stored in state_dir.

        :raises ConfigurationError: it cannot be a sink, or is in use already.
        :raises RuntimeError: the monitor was not started: give the sink to Monitor(sinks=…).
        :raises MonitorStopped: the monitor was stopped, or has ended.
        :raises Exception: what its open() raises.
        """
        _check_name(name)
        self.waits.attach(name, _as_sink(sink))

    def time_deliveries(self) -> None:
        """Measure how long calls of sinks take, for status()."""
        for worker in self._dispatcher.configured:
            worker.time_deliveries()

    def replay(self) -> None:
        """Resend the full state to every sink, between markers of origin `replay`."""
        self._dispatcher.replay()

    def reopen(self) -> None:
        """Let every sink reopen its files, as after SIGHUP."""
        self._dispatcher.reopen()


_OF_SESSION = (
    "monitor",
    "inactivity_probe",
    "reconnect_min",
    "reconnect_max",
    "max_message_size",
)


def _tables(tables: Sequence[str], chain: Chain) -> tuple[str, ...]:
    """Return the tables to read, in the order of TABLES."""
    named = {tables} if isinstance(tables, str) else set(tables)
    if unknown := sorted(map(str, named.difference(TABLES))):
        raise ConfigurationError(
            f"tables: there is no table {unknown[0]!r} among {', '.join(TABLES)}"
        )
    if TABLE not in named:
        raise ConfigurationError(f"tables: {TABLE} must be among them, as ports are its rows")
    named |= chain.tables | ({"Port"} if "Bridge" in named else set())
    return tuple(table for table in TABLES if table in named)


def _session(record: str | os.PathLike[str] | None, host: str, options: dict[str, Any]) -> Session:
    if record is None:
        return Session(time.monotonic(), **options)
    from dfovsdb.ovsdb.recorder import RecordingSession

    return RecordingSession(time.monotonic(), file=record, host=host, **options)


def _as_sink(sink: AnySink) -> Sink:
    """Return the sink, or one that calls the function.

    :raises ConfigurationError: it is neither.
    """
    if not isinstance(sink, Sink) and callable(sink) and not isinstance(sink, type):
        return FunctionSink(sink)
    check(sink)
    assert isinstance(sink, Sink)
    return sink


def _check_selected(sinks: Mapping[str, Sink], offered: Sequence[str]) -> None:
    """Refuse a selection of kinds that no port can have.

    :raises ConfigurationError: names the sink and the kind.
    """
    for name, sink in sinks.items():
        if isinstance(sink.selection, Selection):
            check_kinds(sink.selection.kinds, offered, f"[sink_{name}] kinds: ")


def _check_name(name: object) -> None:
    if not isinstance(name, str) or not name:
        raise ConfigurationError(f"sinks: {name!r:.80} is not the name of a sink")


def _named(sinks: Sequence[AnySink] | Mapping[str, AnySink]) -> Mapping[str, Sink]:
    """Return the sinks by instance name; unnamed ones are named after their class."""
    if isinstance(sinks, Mapping):
        for name in sinks:
            _check_name(name)
        return {name: _as_sink(sink) for name, sink in sinks.items()}
    named: dict[str, Sink] = {}
    for sink in map(_as_sink, sinks):
        name = type(sink).__name__.lower().removesuffix("sink") or "sink"
        number = sum(1 for other in named if other.partition("-")[0] == name)
        named[f"{name}-{number + 1}" if number else name] = sink
    return named
