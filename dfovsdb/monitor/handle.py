"""The monitor: the loop, and the handle that programs hold.

The loop turns bytes into messages, row deltas and facts. Below it every sink is on a thread of its
own (dispatcher.py), so nothing here ever waits for a sink.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any, Self, Unpack

from dfovsdb import plugins
from dfovsdb.classifiers.chain import Chain
from dfovsdb.delivery.dispatcher import OPEN_TIMEOUT, Dispatcher
from dfovsdb.delivery.work_queue import Resync
from dfovsdb.delivery.worker import Worker
from dfovsdb.errors import (
    ConfigurationError,
    ConnectionLost,
    MonitorStopped,
    ProtocolError,
    WaitTimeout,
)
from dfovsdb.logs import get_logger
from dfovsdb.model import TABLE, TABLES, Interface, Port, PortEvent, SyncMarker
from dfovsdb.monitor.options import AnySink, MonitorOptions, checked
from dfovsdb.monitor.outage_log import OutageLog
from dfovsdb.monitor.pipeline import Pipeline
from dfovsdb.monitor.queue_sink import BatchSink, QueueSink
from dfovsdb.monitor.wait_for import WaitForPort, WaitUntilGone
from dfovsdb.ovsdb.address import Address
from dfovsdb.ovsdb.session import Session, Snapshot
from dfovsdb.ovsdb.transport import Transport
from dfovsdb.selection import Selection, check_kinds
from dfovsdb.sinks.base import FunctionSink, Sink, check
from dfovsdb.status import Status
from dfovsdb.text.escape import clean, counted
from dfovsdb.tls import Tls

# longest time in seconds between two iterations of the loop, so that it is seen to respond
_PULSE = 5.0

LOG = get_logger(__name__)

THREAD = "dfovsdb-monitor"  #: name of the thread of the loop


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
    :param queue_limit: facts that may wait for one sink before they are replaced by a catch-up.
    :param stop_timeout: seconds that stop() waits for the sinks.
    :param ssl_key_file: the private key; this and the next three are for `ssl:`, see Tls.
    :param ssl_cert_file: the client certificate; None presents none.
    :param ssl_ca_cert_file: the CA of the server's certificate; None means the CAs that the system
        trusts.
    :param ssl_check_hostname: require that the server's certificate names the host.
    :param record: new file to record what the server sends, see recording.py.
    :param monitor: `auto`, or `rfc7047` for the plain method; this and the next four concern the
        connection, see Session.
    :param inactivity_probe: seconds of silence before the server is probed; 0 disables probes.
    :param reconnect_min: shortest wait in seconds before another attempt.
    :param reconnect_max: longest wait in seconds.
    :param max_message_size: bytes.
    :raises ConfigurationError: any of these is unknown or cannot be used.
    """

    def __init__(self, connection: str, **options: Unpack[MonitorOptions]) -> None:
        values = checked(options)
        resync: Resync = values["resync"]
        host: str = values["host"] or socket.gethostname()
        if not isinstance(connection, str):
            raise ConfigurationError(f"connection: {connection!r:.80} is not a string")
        self._address = Address.parse(connection)
        files = [values[f"ssl_{name}_file"] for name in ("key", "cert", "ca_cert")]
        tls = (
            Tls(*files, check_hostname=values["ssl_check_hostname"])
            if self._address.method == "ssl"
            else None
        )
        if self._address.method == "tcp" and any(files):
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
        self._session = _session(values["record"], host, of_session)
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
        self._tls = tls
        self._transport: Transport | None = None
        self._stop_timeout: float = values["stop_timeout"]
        self._stopping = False
        self._ended_well = False
        self._synced = threading.Event()
        self._trouble = OutageLog()
        self._connected_at = 0.0  # monotonic seconds
        self._turned_at = 0.0  # monotonic seconds
        self._unsynced_since: float | None = None  # monotonic seconds
        self._next_try_at: float | None = None  # monotonic seconds
        self._syncs = 0
        self._sync_seconds: float | None = None
        self._thread: threading.Thread | None = None
        self._died: BaseException | None = None  # why the loop ended by itself
        self._lock = threading.Lock()
        self._waiting: set[WaitForPort | WaitUntilGone | BatchSink] = set()

    # The loop.

    def _run(self, transport: Transport) -> None:
        try:
            with transport:
                while not self._stopping:
                    if lost := self._turn(self._session, transport):
                        transport.close()
                        self._is_lost(lost, time.monotonic())
            self._chain.failures.sum_up()
        except BaseException as error:
            self._died = error
            LOG.critical(
                "the monitor thread ended by itself: no change is seen any more; restart the "
                "program and report this error",
                exc_info=error,
            )
        finally:
            self._release_waiters()

    def _release_waiters(self) -> None:
        with self._lock:
            waiting = list(self._waiting)
        for sink in waiting:
            if isinstance(sink, BatchSink):
                sink.end()
            else:
                sink.fail(self.over())
        self._synced.set()  # wait_synced() looks at what it means

    def over(self) -> MonitorStopped:
        """Return the error for callers that wait while the monitor ends."""
        return MonitorStopped(f"{self._address}: {self.condition}")

    def _turn(self, session: Session, transport: Transport) -> ConnectionLost | None:
        """Connect if it is time to, then read once and publish the result."""
        try:
            self._turned_at = time.monotonic()
            step = session.next_step(self._turned_at)
            if step == "connect":
                self._next_try_at = None
                session.connecting(time.monotonic())
                transport.open()
            elif step == "disconnect":
                return ConnectionLost(f"{self._address}: {transport.silence}", "silent")
            if transport.ready and not session.connected:
                self._connected_at = time.monotonic()
                session.begin(self._connected_at)
            transport.send(session.outgoing())
            timeout = session.timeout(time.monotonic())
            data = transport.wait(_PULSE if timeout is None else min(timeout, _PULSE))
            for message in session.received(data, time.monotonic()):
                self._pipeline.apply(message)
                if isinstance(message, Snapshot):
                    self._is_synced()
        except ConnectionLost as lost:
            return lost
        except Exception as error:  # noqa: BLE001 - ours, or one of Python's: start over, say it
            self._pipeline.forget()
            mistake = ProtocolError(f"internal error: {error!r}", "internal")
            mistake.__cause__ = error
            return mistake
        return None

    def _is_lost(self, lost: ConnectionLost, now: float) -> None:
        if self._session.synced:
            self._unsynced_since = now
        self._session.lost(lost, now)
        wait = self._session.timeout(now)
        self._next_try_at = None if wait is None else now + wait
        self._trouble.say(lost, now)

    def _is_synced(self) -> None:
        now = time.monotonic()
        self._trouble.over(now)
        self._unsynced_since = None
        self._sync_seconds = now - self._connected_at
        self._syncs += 1
        self._synced.set()
        LOG.info("%s: synced, %s", self._address, counted(self._pipeline.rows, "interface"))

    # The handle.

    def start(self) -> Self:
        """Open the sinks, then connect; return without waiting for the server.

        :raises ConfigurationError: a sink cannot be opened. Nothing is left running.
        :raises RuntimeError: it was started before; start another Monitor instead.
        """
        if self._thread or self._stopping:
            raise RuntimeError("a Monitor is started once")
        self._dispatcher.start()
        self._turned_at = self._unsynced_since = time.monotonic()
        self._transport = Transport(self._address, self._tls)
        self._thread = threading.Thread(
            target=self._run, args=(self._transport,), name=THREAD, daemon=True
        )
        self._thread.start()
        return self

    def stop(self) -> bool:
        """Disconnect, let the sinks finish within stop_timeout, and close them. May be repeated.

        :returns: whether every sink has accepted everything, and was closed.
        """
        if self._stopping:
            return self._ended_well
        self._stopping = True
        deadline = time.monotonic() + self._stop_timeout
        if self._thread and self._transport:
            self._transport.wake()
            if self._thread is not threading.current_thread():
                self._thread.join(self._stop_timeout)
        self._release_waiters()
        self._ended_well = self._dispatcher.stop(max(0.0, deadline - time.monotonic()))
        return self._ended_well

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_exc: object) -> None:
        self.stop()

    @property
    def trouble(self) -> str:
        """Return why there is no connection, in one line; empty while there is one."""
        return self._trouble.text

    @property
    def kinds(self) -> list[str]:
        """Return the kinds that its classifiers offer."""
        return self._chain.kinds

    @property
    def synced(self) -> bool:
        """Return whether there is a connection and ports() is what was read on it."""
        return self.running and self._session.synced and self._unsynced_since is None

    @property
    def running(self) -> bool:
        """Return whether it is started, not stopped, and its loop has not ended by itself."""
        return self._thread is not None and not self._stopping and self._died is None

    @property
    def address(self) -> str:
        """Return the address of the server, as a connection string."""
        return str(self._address)

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
        if self._died is not None:
            return f"ended by itself: {type(self._died).__name__}: {clean(str(self._died))}"
        if self._stopping:
            return "stopped"
        if busy := self._chain.busy():
            return busy
        if self.trouble:
            return f"waiting: {clean(self.trouble, 2000)}"
        return "synced" if self._session.synced else "connecting"

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
        """
        if not self._synced.wait(timeout):
            return False
        if self._stopping or self._died is not None:
            raise self.over()
        return True

    def wait_for(self, predicate: Callable[[Port], bool], timeout: float | None = None) -> Port:
        """Wait for a port, present or future, for which the predicate is true.

        The predicate runs on a thread of its own; an exception that it raises is raised here.

        :param timeout: seconds, None for as long as it takes.
        :raises WaitTimeout: the time has passed.
        """
        with self.waiter(predicate) as future:
            try:
                return future.result(timeout)
            except FutureTimeout:
                raise self.no_such_port(timeout) from None

    def wait_gone(self, predicate: Callable[[Port], bool], timeout: float | None = None) -> None:
        """Wait until there is no port for which the predicate is true.

        The predicate runs on a thread of its own; an exception that it raises is raised here.

        :param timeout: seconds, None for as long as it takes.
        :raises WaitTimeout: the time has passed.
        """
        with self.gone_waiter(predicate) as future:
            try:
                future.result(timeout)
            except FutureTimeout:
                raise self.still_there(timeout) from None

    @contextlib.contextmanager
    def gone_waiter(self, predicate: Callable[[Port], bool]) -> Iterator[Future[None]]:
        """Provide, within the context, the future that wait_gone() waits for."""
        sink = WaitUntilGone(predicate)
        with self.ends(sink), self.attached("wait_gone", sink):
            yield sink.future

    def still_there(self, timeout: float | None) -> WaitTimeout:
        """Return what wait_gone() raises after that many seconds."""
        return self._timeout(f"such a port is still there after {timeout} s")

    @contextlib.contextmanager
    def waiter(self, predicate: Callable[[Port], bool]) -> Iterator[Future[Port]]:
        """Provide, within the context, the future of the port that wait_for() waits for."""
        sink = WaitForPort(predicate)
        with self.ends(sink), self.attached("wait_for", sink):
            yield sink.future

    @contextlib.contextmanager
    def ends(self, sink: WaitForPort | WaitUntilGone | BatchSink) -> Iterator[None]:
        """End the wait when the monitor ends, within the context."""
        if self._stopping or self._died is not None:
            raise self.over()
        with self._lock:
            self._waiting.add(sink)
        try:
            yield
        finally:
            with self._lock:
                self._waiting.discard(sink)

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
        :raises MonitorStopped: the monitor was stopped before.
        """
        sink = QueueSink()
        if kinds or names:
            sink.selection = Selection(kinds=kinds, names=names)
        with self.ends(sink), self.attached("events", sink):
            try:
                while (batch := sink.batches.get()) is not None:
                    for event in batch:
                        if markers or isinstance(event, PortEvent):
                            yield event
            finally:
                sink.release()

    def no_such_port(self, timeout: float | None) -> WaitTimeout:
        """Return what wait_for() raises after that many seconds."""
        return self._timeout(f"no such port within {timeout} s")

    def no_sync(self) -> WaitTimeout:
        """Return what watch() raises if the time for the first sync has passed."""
        return self._timeout("no sync in the time given")

    def _timeout(self, text: str) -> WaitTimeout:
        return WaitTimeout(f"{text}: {self.trouble}" if self.trouble else text)

    @contextlib.contextmanager
    def attached(self, name: str, sink: Sink) -> Iterator[None]:
        """Deliver events to another sink within the context, beginning with a first sync."""
        worker = self._attach(name, sink)
        try:
            yield
        finally:
            self._dispatcher.detach(worker)

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
        turning = time.monotonic() - self._turned_at < 3 * _PULSE
        return self._thread is not None and self._thread.is_alive() and turning

    def status(self) -> Status:
        """Return the present status. Each value is right, but together they may be a change apart.

        This costs a copy of the ports.
        """
        heard, rows, now = self._session.last_heard, self._pipeline.rows, time.monotonic()
        unsynced_since, next_try_at = self._unsynced_since, self._next_try_at
        return Status(
            alive=self.alive,
            connected=self._session.connected,
            synced=self._session.synced,
            trouble=self.trouble,
            unsynced_for=None if unsynced_since is None else max(0.0, now - unsynced_since),
            next_try=None if next_try_at is None else max(0.0, next_try_at - now),
            message_age=None if heard is None else max(0.0, now - heard),
            losses={str(why): number for why, number in self._session.losses.copy().items()},
            syncs=self._syncs,
            sync_seconds=self._sync_seconds,
            rows=rows,
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
        :raises MonitorStopped: the monitor was stopped, or has ended.
        :raises Exception: what its open() raises.
        """
        self._attach(name, _as_sink(sink))

    def _attach(self, name: str, sink: Sink) -> Worker:
        if self._stopping or self._died is not None:
            raise self.over()
        worker = self._dispatcher.attach(name, sink)
        if worker.opened.wait(OPEN_TIMEOUT) and worker.failure is not None:
            failure = worker.failure
            self._dispatcher.detach(worker)
            raise failure
        return worker

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


def _named(sinks: Sequence[AnySink] | Mapping[str, AnySink]) -> Mapping[str, Sink]:
    """Return the sinks by instance name; unnamed ones are named after their class."""
    if isinstance(sinks, Mapping):
        return {name: _as_sink(sink) for name, sink in sinks.items()}
    named: dict[str, Sink] = {}
    for sink in map(_as_sink, sinks):
        name = type(sink).__name__.lower().removesuffix("sink") or "sink"
        number = sum(1 for other in named if other.partition("-")[0] == name)
        named[f"{name}-{number + 1}" if number else name] = sink
    return named
