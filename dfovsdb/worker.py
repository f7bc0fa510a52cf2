"""One sink, its thread, and its told view: facts and cuts go in, events come out.

The worker compares what it is handed with what the sink has accepted, so the sink sees a
legal sequence whatever was dropped, refused, retried or replayed. It is fed under the
dispatcher's lock, with no more than appending to a list; a cut of the ports is taken only
when the worker gets to it, and is newer than everything that was in the queue before it.
"""

from __future__ import annotations

import contextlib
import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from queue import Empty, SimpleQueue
from typing import Literal, NamedTuple

from dfovsdb import lifecycle
from dfovsdb.errors import SinkUnavailable
from dfovsdb.model import Origin, Port, PortEvent, SyncAction, SyncMarker
from dfovsdb.sinks.base import Sink, SinkContext
from dfovsdb.told import ToldView

LOG = logging.getLogger(__name__)

Fact = tuple[str, Port | None]
Resync = Literal["replay", "diff"]

BATCH = 500  #: events in one emit_many at most
RETRY_FIRST = 0.1  #: seconds after the first SinkUnavailable
RETRY_MAX = 15.0  #: seconds between two tries at most


class Facts(NamedTuple):
    """What one server message changed; `time` is when it was read."""

    time: datetime
    facts: Sequence[Fact]


class Tell(NamedTuple):
    """Tell the difference to a cut: in a bracket, or for `catchup` without one."""

    origin: Origin
    time: datetime
    cut: Mapping[str, Port]


class Stopped(Exception):
    """The worker must leave although something is left."""


class Worker:
    """Feeds one sink from a thread of its own.

    :param cut: gives the ports of now; called with the lock held.
    :param told: what the sink has accepted, perhaps before this process began.
    :param queue_limit: facts waiting; past it all of them are replaced by one cut.
    """

    def __init__(
        self,
        name: str,
        sink: Sink,
        *,
        lock: threading.Lock,
        cut: Callable[[], dict[str, Port]],
        told: ToldView,
        host: str,
        epoch: str,
        resync: Resync,
        queue_limit: int,
    ) -> None:
        self.name = name
        self.sink = sink
        self.counters: Counter[str] = Counter()  #: delivered, refused, outages, catchups, errors
        self.opened = threading.Event()  #: open() has returned, or failed for good
        self.failure: Exception | None = None  #: why open() failed for good
        self.available = True  #: False during an outage
        self._lock = lock
        self._cut = cut
        self._told = told
        self._host = host
        self._epoch = epoch
        self._resync = resync
        self._queue_limit = queue_limit
        self._one_by_one = type(sink).emit_many is Sink.emit_many
        self._seq = 0
        # Shared with the feeding threads, under the lock:
        self._queue: list[Facts] = []
        self._queued = 0
        self._sync: Origin | None = None
        self._synced = False  # a sync has been queued, ever
        self._replay = False
        self._catch_up = False
        self._reopen = False
        self._stop_at: float | None = None
        self._idle = False
        self._in_hand = 0
        self._bell: SimpleQueue[None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=f"dfovsdb-{name}", daemon=True)

    # Feeding, by the dispatcher with the lock held. True: the worker waits, ring() it.

    def feed(self, facts: Facts) -> bool:
        """Queue facts. True where the worker is waiting and wants to be rung."""
        if self._sync or self._replay or self._catch_up:
            return False  # the cut that it will take holds them already
        self._queue.append(facts)
        self._queued += len(facts.facts)
        if self._queued > self._queue_limit:
            self._drop_queue()
            self._catch_up = True
            self.counters["catchups"] += 1
        return self._wants_ring()

    def sync(self, origin: Origin) -> bool:
        """Queue a sync; it empties the queue before it."""
        self._drop_queue()
        self._catch_up = False
        if self._sync != "initial":
            self._sync = origin
        self._synced = True
        return self._wants_ring()

    def _drop_queue(self) -> None:
        self._queue = []
        self._queued = 0

    def _wants_ring(self) -> bool:
        wanted, self._idle = self._idle, False
        return wanted

    # Requests, from any thread.

    def ring(self) -> None:
        """Wake the worker up."""
        self._bell.put(None)

    def request_replay(self) -> None:
        """Tell everything again; a first sync that is still to come serves as that."""
        with self._lock:
            self._replay = self._synced
        self.ring()

    def request_reopen(self) -> None:
        """Have the sink open its files again, even during an outage."""
        with self._lock:
            self._reopen = True
        self.ring()

    def request_stop(self, deadline: float) -> None:
        """Leave when everything is told, or at the deadline (monotonic seconds)."""
        with self._lock:
            self._stop_at = deadline
        self.ring()

    def undelivered(self) -> int:
        """About how many facts and events were not told."""
        with self._lock:
            cut = len(self._cut()) if self._sync or self._replay or self._catch_up else 0
            return self._queued + self._in_hand + cut

    # The thread.

    def start(self) -> None:
        self._thread.start()

    def join(self, timeout: float) -> bool:
        """Wait for the thread; False where it did not end in time."""
        if self._thread.ident is None:
            return True
        self._thread.join(max(0.0, timeout))
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._open()
        except Exception as error:  # noqa: BLE001 - whatever it is, the start reports it
            self.failure = error
            return
        finally:
            self.opened.set()
        with contextlib.suppress(Stopped):
            while (work := self._next()) is not None:
                if isinstance(work, Tell):
                    self._tell_cut(work)
                elif work == "poll":
                    self._guard("poll", self.sink.poll)
                else:
                    self._tell_facts(work)
        self._guard("close", self.sink.close)

    def _open(self) -> None:
        context = SinkContext(self._host, self._epoch, self.request_replay)
        first = True

        def open_sink() -> None:
            nonlocal first
            try:
                self.sink.open(context)
            except SinkUnavailable:
                if first:
                    first = False
                    self.opened.set()  # the start need not wait for an outage
                raise

        self._until_available(open_sink)

    def _next(self) -> Tell | list[Facts] | Literal["poll"] | None:
        """What to do next; waits for it. None: everything is told and the worker may leave."""
        while True:
            with self._lock:
                reopen, self._reopen = self._reopen, False
                work = None if reopen else self._take()
                stopping = self._stop_at is not None
                self._idle = work is None and not reopen and not stopping
            if reopen:
                self._guard("reopen", self.sink.reopen)
                continue
            if work is not None or stopping:
                return work
            try:
                self._bell.get(timeout=self.sink.poll_interval)
            except Empty:
                return "poll"

    def _take(self) -> Tell | list[Facts] | None:
        if self._sync:
            origin, self._sync = self._sync, None
            if self._replays(origin):
                self._replay = False
            return Tell(origin, _now(), self._cut())
        if self._replay:
            self._replay = self._catch_up = False
            self._drop_queue()
            return Tell("replay", _now(), self._cut())
        if self._catch_up:
            self._catch_up = False
            return Tell("catchup", _now(), self._cut())
        work = self._queue or None
        self._in_hand = self._queued
        self._drop_queue()
        return work

    def _replays(self, origin: Origin) -> bool:
        return origin == "replay" or (origin != "catchup" and self._resync == "replay")

    # Telling.

    def _tell_facts(self, work: list[Facts]) -> None:
        batch = _Batch(self, "update")
        for time_read, facts in work:
            batch.add_all(facts, time_read)
        batch.flush()
        self._in_hand = 0

    def _tell_cut(self, tell: Tell) -> None:
        self._in_hand = len(tell.cut)
        bracket = tell.origin != "catchup"
        if bracket:
            self._mark("sync_started", tell, None)
        facts: list[Fact] = [(uuid, None) for uuid in self._told if uuid not in tell.cut]
        facts.extend(tell.cut.items())
        batch = _Batch(self, tell.origin, replaying=self._replays(tell.origin))
        batch.add_all(facts, tell.time)
        batch.flush()
        if bracket:
            self._mark("sync_finished", tell, len(tell.cut))
        self._in_hand = 0

    def _mark(self, action: SyncAction, tell: Tell, ports: int | None) -> None:
        marker = SyncMarker(
            action=action,
            origin=tell.origin,
            seq=self._next_seq(),
            time=tell.time,
            host=self._host,
            ports=ports,
        )
        deliver = self.sink.sync_started if action == "sync_started" else self.sink.sync_finished
        try:
            self._until_available(lambda: deliver(marker))
        except Stopped:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it refuses the marker
            self._refused(action, error)

    def _offer(self, events: list[PortEvent]) -> None:
        """Deliver a batch, in which each port is once, until it is accepted or refused."""
        self._told.offering(events)
        if self._one_by_one:
            for event in events:
                self._offer_one(event)
            return
        offered = events

        def emit_many() -> None:
            nonlocal offered
            try:
                self.sink.emit_many(offered)
            except SinkUnavailable as down:
                arrived = down.delivered if isinstance(down.delivered, int) else 0
                arrived = min(max(arrived, 0), len(offered))
                self._accepted(offered[:arrived])
                offered = offered[arrived:]
                raise

        try:
            self._until_available(emit_many)
        except Stopped:
            raise
        except Exception:
            LOG.warning(
                "sink %s refused a batch of %d events; offering them one by one",
                self.name, len(offered), exc_info=LOG.isEnabledFor(logging.DEBUG),
            )  # fmt: skip
            for event in offered:
                self._offer_one(event)
        else:
            self._accepted(offered)

    def _offer_one(self, event: PortEvent) -> None:
        try:
            self._until_available(lambda: self.sink.emit(event))
        except Stopped:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it refuses the event
            self._told.refused(event)
            self._in_hand -= 1
            self._refused(event, error)
        else:
            self._accepted((event,))

    def _accepted(self, events: Sequence[PortEvent]) -> None:
        self._told.accepted(events)
        self._in_hand -= len(events)
        self.counters["delivered"] += len(events)

    def _refused(self, what: object, error: Exception) -> None:
        self.counters["refused"] += 1
        LOG.error("sink %s refused %s", self.name, what, exc_info=error)

    def _guard(self, name: str, call: Callable[[], None]) -> None:
        """Call what delivers nothing: an exception is logged and counted."""
        try:
            call()
        except Exception:
            self.counters["errors"] += 1
            LOG.exception("sink %s failed in %s()", self.name, name)

    def _until_available(self, call: Callable[[], None]) -> None:
        """Call until it does not raise SinkUnavailable; says so once, and once when it is over.

        :raises Stopped: the deadline of stop() has passed.
        """
        wait, began = RETRY_FIRST, 0.0
        while True:
            if self._stop_at is not None and time.monotonic() >= self._stop_at:
                raise Stopped
            try:
                call()
            except SinkUnavailable as down:
                if self.available:
                    began = time.monotonic()
                    self.available = False
                    self.counters["outages"] += 1
                    LOG.warning("sink %s is unavailable: %s; trying again", self.name, down)
                self._pause(wait * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, no secret
                wait = min(wait * 2, RETRY_MAX)
            else:
                break
        if not self.available:
            self.available = True
            LOG.info("sink %s is available again, after %.1f s", self.name,
                     time.monotonic() - began)  # fmt: skip

    def _pause(self, seconds: float) -> None:
        """Wait out a backoff; stop() ends it early, reopen() is answered meanwhile."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            with self._lock:
                reopen, self._reopen = self._reopen, False
                stop_at = self._stop_at
            if reopen:
                self._guard("reopen", self.sink.reopen)
                return  # and try at once: that may be the cure
            if stop_at is not None:
                left = min(left, stop_at - time.monotonic())
                if left <= 0:
                    return
            try:
                self._bell.get(timeout=left)
            except Empty:
                return

    def _next_seq(self) -> int:
        self._seq += 1
        return self._seq


class _Batch:
    """Events on their way; each port is in it once, so that a refusal harms no other event."""

    def __init__(self, worker: Worker, origin: Origin, *, replaying: bool = False) -> None:
        self._worker = worker
        self._origin: Origin = origin
        self._replaying = replaying
        self._events: dict[str, PortEvent] = {}

    def add_all(self, facts: Sequence[Fact], time_read: datetime) -> None:
        """Add the events of one message, or of one cut."""
        if any(uuid in self._events for uuid, _ in facts):
            self.flush()
        told = self._worker._told  # noqa: SLF001 - a part of the worker with a name of its own
        for uuid, now in lifecycle.steps(facts, told.get):
            if uuid in self._events or len(self._events) >= BATCH:
                self.flush()
            replaying = self._replaying or uuid in told.doubtful
            telling = lifecycle.next_telling(told.get(uuid), now, replaying=replaying)
            if telling is None:
                continue
            if telling.action == "offline" and now is not None:
                continue  # it was just refused; the port is told when it next changes
            self._events[uuid] = PortEvent(
                action=telling.action,
                port=telling.port,
                previous=telling.previous,
                origin=self._origin,
                seq=self._worker._next_seq(),  # noqa: SLF001
                time=time_read,
                host=self._worker._host,  # noqa: SLF001
            )

    def flush(self) -> None:
        if self._events:
            events, self._events = list(self._events.values()), {}
            self._worker._offer(events)  # noqa: SLF001


def _now() -> datetime:
    return datetime.now(UTC)
