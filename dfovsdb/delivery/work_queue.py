"""What one worker has to tell: facts in a queue, a cut that is due, and what was asked of it.

Fed under the dispatcher's lock, with no more than appending to a list. A sync, a catch-up or
a replay is only noted: its cut is taken when the worker gets to it, and holds every fact that
came before. So while one is due nothing is queued, and memory is bounded by the number of
ports. This file knows neither sinks nor events.
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

#: Which cut comes first where several are due.
_ORDER: tuple[Origin, ...] = ("initial", "resync", "replay", "catchup")


class Facts(NamedTuple):
    """What one server message changed; `time` is when it was read."""

    time: datetime
    facts: Sequence[Fact]


class FullUpdate(NamedTuple):
    """Tell the difference to a cut: in a bracket, or for `catchup` without one."""

    origin: Origin
    time: datetime
    cut: Mapping[str, Port]
    replaying: bool  # every port that is there is told online again


Work = FullUpdate | list[Facts] | Literal["poll", "reopen", "leave"]


class Bell:
    """Wakes one thread. It is all that a worker waits on, and its only clock."""

    def __init__(self) -> None:
        self._rung: SimpleQueue[None] = SimpleQueue()

    def ring(self) -> None:
        self._rung.put(None)

    def wait(self, seconds: float | None) -> bool:
        """Wait to be rung; False where the time has passed. One ring ends one wait."""
        try:
            self._rung.get(timeout=seconds)
        except Empty:
            return False
        return True

    def now(self) -> float:
        return time.monotonic()


class WorkQueue:
    """The threads that feed hold the dispatcher's lock, the worker takes it.

    :param cut: gives the ports of now; called with the lock held.
    :param queue_limit: facts waiting; past it all of them are replaced by one cut.
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
        self.catchups = 0  #: how often the queue was dropped
        self._lock = lock
        self._cut = cut
        self._resync = resync
        self._queue_limit = queue_limit
        self._queue: list[Facts] = []
        self._queued = 0
        self._due: set[Origin] = {"initial"}
        self._synced = False  # the first sync may be told
        self._reopen = False
        self._due_since: datetime | None = None  # the oldest that what is due will tell
        self._cut_since: datetime | None = None  # the same of the cut in hand
        self._stop_at: float | None = None
        self._stop_seen = False
        self._idle = False
        self._in_hand: Work | None = None

    # Feeding, with the lock held. True: the worker waits, ring the bell.

    def feed(self, facts: Facts) -> bool:
        """Queue facts."""
        if self._due:
            return False  # the cut that is due will hold them
        self._queue.append(facts)
        self._queued += len(facts.facts)
        if self._queued > self._queue_limit:
            self._due_since = self._queue[0].time
            self._drop_queue()
            self._due.add("catchup")
            self.catchups += 1
        return self._wants_ring()

    def sync(self) -> bool:
        """Have the whole table told; it empties the queue before it."""
        if self._due_since is None:
            self._due_since = self._queue[0].time if self._queue else datetime.now(UTC)
        self._drop_queue()
        if "initial" not in self._due:
            self._due.add("resync")
        self._synced = True
        return self._wants_ring()

    def _drop_queue(self) -> None:
        self._queue = []
        self._queued = 0

    def _wants_ring(self) -> bool:
        wanted, self._idle = self._idle, False
        return wanted

    # Requests, from any thread.

    def request_replay(self) -> None:
        """Tell everything again; a sync that is still to come and does so serves as that."""
        with self._lock:
            self._due.add("replay")
            if self._synced and self._due_since is None:
                self._due_since = self._queue[0].time if self._queue else datetime.now(UTC)
        self.bell.ring()

    def request_resync(self) -> None:
        """Have the whole table told once more, as after a reconnect."""
        with self._lock:
            if self._synced:
                self.sync()
        self.bell.ring()

    def request_reopen(self) -> None:
        """Have the sink open its files again, even during an outage."""
        with self._lock:
            self._reopen = True
        self.bell.ring()

    def request_stop(self, deadline: float) -> None:
        """Leave when everything is told, or at the deadline (seconds of the bell's clock)."""
        with self._lock:
            self._stop_at = deadline
        self.bell.ring()

    def left(self) -> tuple[dict[str, Port], bool] | None:
        """A cut, and whether a replaying telling of it is due or not ended; None before any."""
        with self._lock:
            if not self._synced:
                return None
            replays = any(self._replays(origin) for origin in self._due)
            if isinstance(self._in_hand, FullUpdate):
                replays = replays or self._in_hand.replaying
            return self._cut(), replays

    def waiting(self) -> tuple[int, datetime | None]:
        """How many facts wait or are in hand, and since when the oldest of them does."""
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

    # The worker.

    def next(self, poll_interval: float | None) -> Work:
        """What to do next, what is done before it; waits for it.

        :returns: `poll` where nothing came for poll_interval seconds (None: never), `leave`
            where everything is told and the worker was asked to stop.
        """
        while True:
            with self._lock:
                self._in_hand = work = self._take()
                self._idle = work is None
            if work is not None:
                return work
            if not self.bell.wait(poll_interval if poll_interval and poll_interval > 0 else None):
                return "poll"

    def pause(self, seconds: float) -> Literal["reopen", "stop"] | None:
        """Wait out a backoff; a request to reopen, and the first sight of one to stop, end it.

        After that it is never longer than what is left until the deadline of stop.
        """
        end = self.bell.now() + seconds
        while True:
            with self._lock:
                if self._reopen:
                    self._reopen = False
                    return "reopen"
                if self._stop_at is not None:
                    if not self._stop_seen:
                        self._stop_seen = True
                        return "stop"
                    end = min(end, self._stop_at)
            left = end - self.bell.now()
            if left <= 0 or not self.bell.wait(left):
                return None

    @property
    def stopping(self) -> bool:
        """Whether the worker was asked to stop."""
        return self._stop_at is not None

    def overdue(self) -> bool:
        """Whether the deadline of stop has passed."""
        return self._stop_at is not None and self.bell.now() >= self._stop_at

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
        return "leave" if self._stop_at is not None else None

    def _take_cut(self) -> FullUpdate:
        origin = next(origin for origin in _ORDER if origin in self._due)
        replaying = self._replays(origin)
        self._due -= {origin, "catchup", "replay"} if replaying else {origin, "catchup"}
        self._drop_queue()
        self._cut_since = self._due_since
        if not self._due:
            self._due_since = None
        return FullUpdate(origin, datetime.now(UTC), self._cut(), replaying)

    def _replays(self, origin: Origin) -> bool:
        return origin == "replay" or (origin != "catchup" and self._resync == "replay")
