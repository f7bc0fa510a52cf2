"""One sink and its thread: work comes from the queue, and the emitter delivers it."""

from __future__ import annotations

import threading
import time
from collections import Counter
from datetime import UTC, datetime

from dfovsdb.delivery import lifecycle
from dfovsdb.delivery.emitter import Emitter, selected
from dfovsdb.delivery.guard import RETRY_MAX, MustWait, Refused, SinkGuard, Stopped
from dfovsdb.delivery.view import SinkView
from dfovsdb.delivery.work_queue import Facts, FullUpdate, WorkQueue
from dfovsdb.errors import ConfigurationError
from dfovsdb.histogram import CALLS, Histogram
from dfovsdb.logs import get_logger, text_of
from dfovsdb.sinks.base import Sink, SinkContext
from dfovsdb.status import SinkStatus
from dfovsdb.text.durations import why_not_seconds
from dfovsdb.text.escape import counted

LOG = get_logger(__name__)

BATCH = 500  #: events in one emit_many at most
INSTANT = 0.02  #: seconds that calls may take on the thread that reads from the server
FEW = 16  #: changes in a message that is delivered on that thread, at most
MEND = 5.0  #: seconds between two attempts to write a view that the disk has refused


_in_use: dict[int, Sink] = {}  # by id(), since a sink may be unhashable
_lock = threading.Lock()


class Worker:
    """Feeds one sink from a daemon thread of its own.

    :param queue: the work; the dispatcher feeds it.
    :param view: what the sink has accepted, perhaps before this process began.
    :param context: what open() of the sink receives.
    """

    def __init__(
        self, name: str, sink: Sink, queue: WorkQueue, view: SinkView, context: SinkContext
    ) -> None:
        self.name = name
        self.queue = queue
        self.opened = threading.Event()  #: the start need not wait for open() (any longer)
        self.failure: BaseException | None = None  #: why open() failed for good
        self._sink = sink
        self._view = view
        self._context = context
        self._guard = SinkGuard(name, sink, queue)
        self._emitter = Emitter(self._guard, view, context.host, BATCH)
        self._may_be_instant = type(view) is SinkView  # and nothing has to be written
        self._reports = False  # when the thread ends: stop() was called within the sink
        self._ended = False
        self._polls = True  # the last poll_interval could be waited for
        self._feeder: threading.Thread | None = None  # in deliver()
        self._thread = threading.Thread(target=self.run, name=f"dfovsdb-{name}", daemon=True)

    @property
    def counters(self) -> Counter[str]:
        """Return a copy: `delivered` and `refused` events, `outages`, other `errors`,
        `catchups`.
        """
        counters = Counter(self._guard.counters)
        counters["catchups"] = self.queue.catchups
        return counters

    @property
    def available(self) -> bool:
        """Return False during an outage."""
        return self._guard.available

    def time_deliveries(self) -> None:
        """Measure from now on how long the calls of the sink take."""
        self._guard.times = Histogram(CALLS)

    def status(self) -> SinkStatus:
        """Return the present status of the sink."""
        queued, since = self.queue.waiting()
        times = self._guard.times
        return SinkStatus(
            name=self.name,
            available=self.available and self._guard.opened,
            queued=queued,
            oldest_age=max(0.0, (datetime.now(UTC) - since).total_seconds()) if since else 0.0,
            counters=self.counters,
            deliveries=times.read() if times else None,
        )

    def start(self) -> None:
        """Start the thread.

        :raises ConfigurationError: another worker has this instance of a sink; each sink is called
            from one thread.
        """
        with _lock:
            if id(self._sink) in _in_use:
                raise ConfigurationError(
                    f"sink {self.name}: this instance of {type(self._sink).__name__} is in use "
                    "already, by this or another Monitor; make another instance"
                )
            _in_use[id(self._sink)] = self._sink
        self._thread.start()

    def join(self, timeout: float) -> bool:
        """Wait for the thread; return False if it did not end in time."""
        if self._thread.ident is None or self._makes_a_call():
            return True
        self._thread.join(max(0.0, timeout))
        return not self._thread.is_alive()

    def left_to_deliver(self, timeout: float) -> int | None:
        """Return undelivered(), or None if the selection, which it calls, takes longer."""
        if self._guard.selection is None:
            return self.undelivered()
        found: list[int] = []
        thread = threading.Thread(target=lambda: found.append(self.undelivered()), daemon=True)
        thread.start()
        thread.join(timeout)
        return found[0] if found else None

    def undelivered(self) -> int:
        """Return how many ports have undelivered changes; all ports, if a resend is incomplete."""
        left = self.queue.left()
        if left is None:
            return 0
        cut, replay = selected(self._guard, left[0]), left[1]
        delivered = self._view.ports()
        if replay:
            return len(delivered.keys() | cut.keys())
        differs = (
            lifecycle.next_event(delivered.get(uuid), cut.get(uuid), replaying=False) is not None
            for uuid in delivered.keys() | cut.keys()
        )
        return sum(differs)

    def report(self, left: int) -> None:
        """Log how many ports are left undelivered. Within a call of the sink itself this is known,
        and said, when its thread ends.
        """
        if self._makes_a_call() and not self._ended:
            self._reports = True
        elif left:
            text = counted(left, "port was", "ports were")
            LOG.warning("sink %s: %s left undelivered", self.name, text)

    def _makes_a_call(self) -> bool:
        """Return whether this thread is the one that calls the sink now."""
        return threading.current_thread() in (self._thread, self._feeder)

    # The feeding thread, for a sink that never waits.

    def lends(self, message: Facts) -> bool:
        """Return whether deliver() is to be called; with the dispatcher's lock held."""
        if not self._may_be_instant or len(message.facts) > FEW:
            return False
        try:
            return self._sink.instant and self.queue.lend(message)
        except BaseException:  # a property of a plugin; SystemExit too: it ends no thread of ours
            LOG.exception("sink %s failed in instant", self.name)
            self._may_be_instant = False
            return False

    def deliver(self, message: Facts) -> None:
        """Deliver a message here and now; the worker does it if that fails, and from then on."""
        began, done, failures = time.perf_counter(), False, self._guard.failures()
        self._guard.patient = False
        self._feeder = threading.current_thread()
        try:
            self._emitter.emit_facts([message])
            done = True
        except (MustWait, Stopped):
            pass
        except Exception:
            LOG.exception("sink %s: internal error; resending the full state", self.name)
            self.queue.request_resync()
        self._guard.patient = True
        self._feeder = None
        took = time.perf_counter() - began
        if took > INSTANT:
            LOG.info(
                "sink %s is not instant: it took %.3f s; its calls come from its own thread now",
                self.name,
                took,
            )
        if took > INSTANT or self._guard.failures() != failures:
            self._may_be_instant = False
        self.queue.give_back(done=done)

    # The thread.

    def run(self) -> None:
        try:
            if self.open():
                while self.step():
                    pass
        except Stopped:
            pass
        if self._guard.opened:
            self._guard.ask("close", self._sink.close)
        self._view.settle()
        self._ended = True
        if self._reports:
            self.report(self.undelivered())
        with _lock:
            _in_use.pop(id(self._sink), None)

    def open(self) -> bool:
        """Open the sink, for as long as it takes; return False if it failed for good."""
        try:
            while self._guard.attempt(self._sink.open, self._context):
                self.opened.set()
                self._guard.back_off()
        except Refused as refused:
            self.failure = refused.error
            if self.opened.is_set():  # the start does not wait for this failure any more
                LOG.error(
                    "sink %s failed to open; it will receive no events: %s",
                    self.name,
                    text_of(refused.error),
                )
            return False
        else:
            self._guard.opened = True
            return True
        finally:
            self.opened.set()

    def step(self) -> bool:
        """Do the next work; return False if the thread is to leave.

        :raises Stopped: the deadline of stop has passed, and something is left.
        """
        interval = self._poll_interval()
        # A view that could not be written is retried without an event: the disk may be free.
        mending = self._view.behind and (not interval or interval > MEND)
        work = self.queue.next(MEND if mending else interval)
        try:
            if isinstance(work, FullUpdate):
                self._emitter.emit_update(work)
            elif isinstance(work, list):
                self._emitter.emit_facts(work)
            elif work == "poll":
                self._view.mend()
                if not mending:
                    self._guard.ask("poll", self._sink.poll)
            elif work == "reopen":
                self._guard.reopen()
            return work != "leave"
        except Stopped:
            raise
        except Exception:
            LOG.exception("sink %s: internal error; resending the full state", self.name)
            self.queue.request_resync()
            if self.queue.pause(RETRY_MAX) == "reopen":
                self._guard.reopen()
            return True

    def _poll_interval(self) -> float | None:
        """Return the interval of the sink; None if it has become one that cannot be waited for."""
        try:
            interval = self._sink.poll_interval
            if why := why_not_seconds(interval):
                raise ValueError(f"poll_interval: {interval!r:.80} {why}")
        except BaseException:  # a property of a plugin; SystemExit too: it ends no thread of ours
            if self._polls:
                LOG.exception("sink %s failed in poll_interval; poll() is not called", self.name)
            self._polls = False
            return None
        self._polls = True
        return interval
