"""The work of one worker: facts in a queue, a full update that is due, and requests.

It is fed under the dispatcher's lock, which takes no more than appending to a list. A sync, a
catch-up or a resend is only noted: the copy of the ports ("cut") is made when the worker gets to
it, and contains every fact that came before. Therefore nothing is queued while one is due, and
memory is bounded by the number of ports. This file knows neither sinks nor events.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from queue import Empty, SimpleQueue
from typing import Literal, NamedTuple

from dfovsdb.model import Origin, Port

Fact = tuple[str, Port | None]
Resync = Literal["replay", "diff"]

#: Which full update comes first if several are due.
_ORDER: tuple[Origin, ...] = ("initial", "resync", "replay", "catchup")


class Facts(NamedTuple):
    """The changes of one message of the server; `time` is when it was read."""

    time: datetime
    facts: Sequence[Fact]


class FullUpdate(NamedTuple):
    """Deliver the difference to a copy of all ports: between markers, or without for `catchup`."""

    origin: Origin
    time: datetime
    cut: Mapping[str, Port]
    replaying: bool  # send online for every present port again


Work = FullUpdate | list[Facts] | Literal["poll", "reopen", "leave"]


class Bell:
    """Wakes one thread. A worker waits on nothing else, and this is its only clock."""

    def __init__(self) -> None:
        self._rung: SimpleQueue[None] = SimpleQueue()

    def ring(self) -> None:
        self._rung.put(None)

    def wait(self, seconds: float | None) -> bool:
        """Wait to be rung; return False if the time has passed. One ring ends one wait."""
        try:
            self._rung.get(timeout=seconds)
        except Empty:
            return False
        return True

    def now(self) -> float:
        return time.monotonic()


class WorkQueue:
    """The queue of one worker. Feeding threads hold the dispatcher's lock, the worker takes it.

    :param cut: returns a copy of the current ports; called with the lock held.
    :param queue_limit: facts that may wait; beyond it all of them are replaced by a full update.
    """

    def __init__(
        self,
        *,
        lock: threading.Lock,
        cut: Callable[[], dict[str, Port]],
        resync: Resync,
        queue_limit: int,
    ) -> None:
        self.bell = Bell()
        self.catchups = 0  #: how often the queue was discarded
        self.stop_at: float | None = None  #: when to leave, once the worker is asked to
        self._lock = lock
        self._cut = cut
        self._resync = resync
        self._queue_limit = queue_limit
        self._queue: list[Facts] = []
        self._queued = 0
        self._due: set[Origin] = {"initial"}
        self._synced = False  # the first sync may be delivered
        self._reopen = False
        self._due_since: datetime | None = None  # the oldest change that the due update contains
        self._cut_since: datetime | None = None  # the same for the update in progress
        self._stop_seen = False
        self._idle = False
        self._lent = False  # the feeding thread does the work in hand
        self._lent_until = 0.0  # by the bell's clock
        self._in_hand: Work | None = None

    # Feeding, with the lock held. True: the worker waits, ring the bell.

    def feed(self, facts: Facts) -> bool:
        """Queue facts."""
        if self._due:
            return False  # the update that is due will contain them
        self._queue.append(facts)
        self._grown(facts)
        return self._wants_ring()

    def lend(self, facts: Facts) -> bool:
        """Leave facts to the feeding thread if the worker waits, and nothing else does."""
        if not self._idle or self._due or self._queue or self._reopen or self.stop_at is not None:
            return False
        self._idle = False
        self._lent = True
        self._in_hand = [facts]
        return True

    def sync(self) -> bool:
        """Make a sync of the whole table due, which replaces what is queued."""
        if self._due_since is None:
            self._due_since = self._queue[0].time if self._queue else datetime.now(UTC)
        self._drop_queue()
        if "initial" not in self._due:
            self._due.add("resync")
        self._synced = True
        return self._wants_ring()

    def _grown(self, facts: Facts) -> None:
        """Count what waits; if it is too much, a full update takes its place."""
        self._queued += len(facts.facts)
        if self._queued > self._queue_limit:
            self._due_since = self._queue[0].time
            self._drop_queue()
            self._due.add("catchup")
            self.catchups += 1

    def _drop_queue(self) -> None:
        self._queue = []
        self._queued = 0

    def _wants_ring(self) -> bool:
        wanted, self._idle = self._idle, False
        return wanted

    # Requests, from any thread.

    def request_replay(self) -> None:
        """Make a resend due: a full update of the origin `replay`, whatever else is due."""
        with self._lock:
            self._due.add("replay")
            if self._synced and self._due_since is None:
                self._due_since = self._queue[0].time if self._queue else datetime.now(UTC)
        self.bell.ring()

    def request_resync(self) -> None:
        """Make another sync due, as after a reconnect."""
        with self._lock:
            if self._synced:
                self.sync()
        self.bell.ring()

    def request_reopen(self) -> None:
        """Let the sink reopen its files, even during an outage."""
        with self._lock:
            self._reopen = True
        self.bell.ring()

    def request_stop(self, deadline: float) -> None:
        """Ask the worker to leave when all is delivered, or at the deadline (of the bell's
        clock).
        """
        with self._lock:
            self.stop_at = deadline
        self.bell.ring()

    def left(self) -> tuple[dict[str, Port], bool] | None:
        """Return a copy of the ports, and whether a resend of it is due or incomplete.

        None before the first sync.
        """
        with self._lock:
            if not self._synced:
                return None
            replays = any(self._replays(origin) for origin in self._due)
            if isinstance(self._in_hand, FullUpdate):
                replays = replays or self._in_hand.replaying
            return self._cut(), replays

    def waiting(self) -> tuple[int, datetime | None]:
        """Return how many facts wait or are being delivered, and the time of the oldest."""
        with self._lock:
            queued = self._queued
            since = [facts.time for facts in self._queue[:1]]
            if isinstance(self._in_hand, list):
                queued += sum(len(facts.facts) for facts in self._in_hand)
                since.append(self._in_hand[0].time)
            if isinstance(self._in_hand, FullUpdate) and self._cut_since is not None:
                since.append(self._cut_since)
            if self._synced and self._due_since is not None:
                since.append(self._due_since)
            return queued, min(since, default=None)

    def give_back(self, *, done: bool) -> None:
        """End what lend() began; the worker does what is not done."""
        with self._lock:
            self._lent = False
            self._lent_until = self.bell.now()
            self._idle = True
            work, self._in_hand = self._in_hand, None
            if not done and not self._due:  # otherwise the update that is due contains it
                assert isinstance(work, list)
                self._queue[:0] = work
                self._grown(work[0])
            waits = (self._synced and self._due) or self._queue or self._reopen
            to_ring = waits or self.stop_at is not None
        if to_ring:
            self.bell.ring()

    # The worker.

    def next(self, poll_interval: float | None) -> Work:
        """Wait for the next work; the previous work counts as done.

        :returns: `poll` if nothing came for poll_interval seconds (None: never), `leave` if
            everything is delivered and the worker was asked to stop.
        """
        work: Work | None = None
        while True:
            with self._lock:
                if not self._lent:
                    self._in_hand = work = self._take()
                    self._idle = work is None
            if work is not None:
                return work
            if not self.bell.wait(poll_interval if poll_interval and poll_interval > 0 else None):
                with self._lock:
                    quiet = self.bell.now() - self._lent_until
                    if not self._lent and quiet >= (poll_interval or 0):
                        self._idle = False
                        return "poll"

    def pause(self, seconds: float) -> Literal["reopen", "stop"] | None:
        """Wait out a backoff; a request to reopen, or the first sight of one to stop, ends it.

        After a request to stop, the wait ends at its deadline at the latest.
        """
        end = self.bell.now() + seconds
        while True:
            with self._lock:
                if self._reopen:
                    self._reopen = False
                    return "reopen"
                if self.stop_at is not None:
                    if not self._stop_seen:
                        self._stop_seen = True
                        return "stop"
                    end = min(end, self.stop_at)
            left = end - self.bell.now()
            if left <= 0 or not self.bell.wait(left):
                return None

    @property
    def stopping(self) -> bool:
        """Return whether the worker was asked to stop."""
        return self.stop_at is not None

    def overdue(self) -> bool:
        """Return whether the deadline of stop has passed."""
        return self.stop_at is not None and self.bell.now() >= self.stop_at

    def _take(self) -> Work | None:
        if self._reopen:
            self._reopen = False
            return "reopen"
        if self._synced and self._due:
            return self._take_cut()
        if self._queue:
            work = self._queue
            self._drop_queue()
            return work
        return "leave" if self.stop_at is not None else None

    def _take_cut(self) -> FullUpdate:
        origin = next(origin for origin in _ORDER if origin in self._due)
        self._due -= {origin, "catchup"}
        self._drop_queue()
        self._cut_since = self._due_since
        if not self._due:
            self._due_since = None
        return FullUpdate(origin, datetime.now(UTC), self._cut(), self._replays(origin))

    def _replays(self, origin: Origin) -> bool:
        return origin == "replay" or (origin != "catchup" and self._resync == "replay")
