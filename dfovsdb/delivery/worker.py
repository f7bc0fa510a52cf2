"""One sink and its thread: work comes from the inbox, the teller tells it."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import UTC, datetime

from dfovsdb.delivery import lifecycle
from dfovsdb.delivery.emitter import Emitter, selected
from dfovsdb.delivery.guard import RETRY_MAX, Refused, SinkGuard, Stopped
from dfovsdb.delivery.view import SinkView
from dfovsdb.delivery.work_queue import FullUpdate, WorkQueue
from dfovsdb.histogram import CALLS, Histogram
from dfovsdb.logs import get_logger
from dfovsdb.sinks.base import Sink, SinkContext
from dfovsdb.status import SinkStatus

LOG = get_logger(__name__)

MEND = 5.0  #: seconds between two tries to write a view that the disk has refused


class Worker:
    """Feeds one sink from a daemon thread of its own.

    :param inbox: what to tell; it is fed by the dispatcher.
    :param told: what the sink has accepted, perhaps before this process began.
    :param context: what the sink is told when it is opened.
    """

    def __init__(
        self, name: str, sink: Sink, inbox: WorkQueue, told: SinkView, context: SinkContext
    ) -> None:
        self.name = name
        self.inbox = inbox
        self.opened = threading.Event()  #: the start need not wait (any longer) for open()
        self.failure: BaseException | None = None  #: why open() failed for good
        self._sink = sink
        self._told = told
        self._context = context
        self._destination = SinkGuard(name, sink, inbox)
        self._teller = Emitter(self._destination, told, context.host)
        self._thread = threading.Thread(target=self.run, name=f"dfovsdb-{name}", daemon=True)

    @property
    def counters(self) -> Counter[str]:
        """`delivered` and `refused` events, `outages`, other `errors`, `catchups`; a copy."""
        counters = Counter(self._destination.counters)
        counters["catchups"] = self.inbox.catchups
        return counters

    @property
    def available(self) -> bool:
        """False during an outage."""
        return self._destination.available

    def time_deliveries(self) -> None:
        """Measure from now on how long the sink takes."""
        self._destination.times = Histogram(CALLS)

    def status(self) -> SinkStatus:
        """How it does."""
        queued, since = self.inbox.waiting()
        times = self._destination.times
        return SinkStatus(
            name=self.name,
            available=self.available and self._destination.opened,
            queued=queued,
            oldest_age=max(0.0, (datetime.now(UTC) - since).total_seconds()) if since else 0.0,
            counters=self.counters,
            deliveries=times.read() if times else None,
        )

    def start(self) -> None:
        self._thread.start()

    def join(self, timeout: float) -> bool:
        """Wait for the thread; False where it did not end in time."""
        if self._thread.ident is None or self._thread is threading.current_thread():
            return True
        self._thread.join(max(0.0, timeout))
        return not self._thread.is_alive()

    def undelivered(self) -> int:
        """Ports of which the sink lacks the latest; all, where a replay is not told to its end."""
        left = self.inbox.left()
        if left is None:
            return 0
        cut, replay = selected(self._sink, left[0]), left[1]
        told = self._told.ports()
        if replay:
            return len(told.keys() | cut.keys())
        differs = (
            lifecycle.next_event(told.get(uuid), cut.get(uuid), replaying=False) is not None
            for uuid in told.keys() | cut.keys()
        )
        return sum(differs)

    # The thread.

    def run(self) -> None:
        try:
            if self.open():
                while self.step():
                    pass
        except Stopped:
            pass
        if self._destination.opened:
            self._destination.ask("close", self._sink.close)
        self._told.settle()

    def open(self) -> bool:
        """Open the sink, for as long as it takes; False where it cannot be opened."""
        try:
            while self._destination.attempt(self._sink.open, self._context):
                self.opened.set()
                self._destination.back_off()
        except Refused as refused:
            self.failure = refused.error
            if self.opened.is_set():  # nobody waits to be told
                LOG.error(
                    "sink %s failed to open; it will receive no events: %s",
                    self.name,
                    refused.error,
                )
            return False
        else:
            self._destination.opened = True
            return True
        finally:
            self.opened.set()

    def step(self) -> bool:
        """Do what is next; False where it is to leave.

        :raises Stopped: the deadline of stop has passed, and something is left.
        """
        interval = self._sink.poll_interval
        # A view that could not be written is tried again without an event: the disk may be free.
        mending = self._told.behind and (not interval or interval > MEND)
        work = self.inbox.next(MEND if mending else interval)
        try:
            if isinstance(work, FullUpdate):
                self._teller.tell_cut(work)
            elif isinstance(work, list):
                self._teller.tell_facts(work)
            elif work == "poll":
                self._told.mend()
                if not mending:
                    self._destination.ask("poll", self._sink.poll)
            elif work == "reopen":
                self._destination.reopen()
            return work != "leave"
        except Stopped:
            raise
        except Exception:
            LOG.exception("sink %s: internal error; resending the full state", self.name)
            self.inbox.request_resync()
            if self.inbox.pause(RETRY_MAX) == "reopen":
                self._destination.reopen()
            return True
