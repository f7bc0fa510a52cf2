"""A sink behind its contract: outages are waited out, and any other exception is a refusal.

This file knows neither ports nor events: it calls the functions that it is given.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any, TypeVar

from dfovsdb.delivery.work_queue import WorkQueue
from dfovsdb.errors import LONGEST_RETRY_AFTER, SinkUnavailable
from dfovsdb.histogram import Histogram
from dfovsdb.logs import get_logger, text_of
from dfovsdb.plain_calls import nothing_ran, runs_later
from dfovsdb.sinks.base import Sink

LOG = get_logger(__name__)
T = TypeVar("T")

RETRY_FIRST = 0.1  #: seconds after the first SinkUnavailable
RETRY_MAX = 15.0  #: seconds between two attempts at most


class Refused(Exception):
    """The sink raised something other than SinkUnavailable: `error`."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(text_of(error))
        self.error = error


class Stopped(Exception):
    """The worker must leave although something is left."""


class MustWait(Exception):
    """It is time to wait, on a thread that must not."""


class SinkGuard:
    """Calls one sink, and counts the results; for the worker's thread.

    :param queue: tells when to stop waiting.
    """

    def __init__(self, name: str, sink: Sink, queue: WorkQueue) -> None:
        self.name = name
        self.sink = sink
        self.counters: Counter[str] = Counter()  #: delivered, refused, outages, errors
        self.available = True  #: False during an outage
        self.opened = False  #: open() has returned
        self.patient = True  #: whether this thread may wait
        self.times: Histogram | None = None  #: of deliveries, if they are measured
        self._queue = queue
        self._selects = True  # no failure of its selection was logged
        self._selection: Callable[[Any], object] | None = None  # the last one that was read
        self._down_since = 0.0
        self._wait = RETRY_FIRST
        self._retry_after: float | None = None  # seconds, if the destination has asked for them

    def failures(self) -> int:
        """Return how often the sink raised anything."""
        return self.counters["outages"] + self.counters["refused"] + self.counters["errors"]

    def deliver(self, call: Callable[[T], object], what: T, *, proves: bool = True) -> None:
        """Call until the sink accepts.

        :param proves: whether returning at once shows that the destination is up.
        :raises Refused: it raised something other than SinkUnavailable.
        :raises Stopped: the deadline of stop has passed.
        """
        while self.attempt(call, what, proves=proves):
            proves = True  # this call has failed, so its success is news
            self.back_off()

    def attempt(
        self, call: Callable[[T], object], what: T, *, proves: bool = True
    ) -> SinkUnavailable | None:
        """Call once; return the exception if the destination is down. Raises as deliver() does."""
        if self._queue.stop_at is not None and self._queue.overdue():
            raise Stopped
        if self.times is None or not self.opened:
            return self._call(call, (what,), proves)
        began = time.perf_counter()
        down = self._call(call, (what,), proves)
        if down is None:
            self.times.observe(time.perf_counter() - began)
        return down

    def back_off(self) -> bool:
        """Wait until it is time for another attempt; a request to reopen is served in between.

        :returns: False if the worker is asked to stop.
        :raises MustWait: see `patient`.
        """
        if not self.patient:
            raise MustWait
        import random  # a command that never waits starts sooner without it

        wait = self._wait * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
        why = self._queue.pause(wait if self._retry_after is None else self._retry_after)
        if why == "reopen" and self.opened:
            self.ask("reopen", self.sink.reopen)  # which may end the outage
        self._wait = RETRY_FIRST if why else min(self._wait * 2, RETRY_MAX)
        return why != "stop" and not self._queue.stopping

    def reopen(self) -> None:
        """Let the sink reopen its files; if that is an outage, retry until it succeeds.

        Waiting for the next event instead would leave a quiet host in the outage after its cause
        is gone. When stopping, remaining events are offered nevertheless.
        """
        while self.ask("reopen", self.sink.reopen) and self.back_off():
            pass

    def ask(self, name: str, call: Callable[[], object]) -> SinkUnavailable | None:
        """Call once a method that delivers nothing; an error is logged and counted.

        :returns: the exception if the destination is down.
        """
        try:
            return self._call(call, (), name != "close")
        except Refused as refused:
            self.counters["errors"] += 1
            LOG.error("sink %s failed in %s()", self.name, name, exc_info=refused.error)
            return None

    @property
    def selection(self) -> Callable[[Any], object] | None:
        """Return the selection of the sink, the last one if it has become one that raises."""
        try:
            self._selection = self.sink.selection
        except BaseException as error:  # noqa: BLE001 - a property of a plugin; SystemExit too
            self._failed_to_select(error, "the selection that it had before is used")
        return self._selection

    def wants(self, what: T, selection: Callable[[T], object]) -> bool:
        """Return whether a selection is true of something. What it raises is an error of the sink,
        of which the first is logged, and counts as false.
        """
        try:
            answer = selection(what)
            if runs_later(answer):
                raise TypeError(f"selection returned {answer!r:.80}, which is true of everything")
            return bool(answer)
        except BaseException as error:  # noqa: BLE001 - SystemExit too: it ends no thread of ours
            self._failed_to_select(error, "a port for which it fails is not selected")
            return False

    def _failed_to_select(self, error: BaseException, so: str) -> None:
        self.counters["errors"] += 1
        if self._selects:
            self._selects = False
            LOG.error("sink %s failed in selection; %s", self.name, so, exc_info=error)

    def _call(
        self, call: Callable[..., object], what: tuple[object, ...], proves: bool
    ) -> SinkUnavailable | None:
        """Call once.

        :param what: the arguments.
        :param proves: whether returning shows that the destination is up.
        """
        down: SinkUnavailable | None = None
        try:
            returned = call(*what)
            if returned is not None and runs_later(returned):
                raise nothing_ran(call, returned)
        except SinkUnavailable as error:
            down = error  # and logged below: oslo.log adds an exception that is being handled
        except BaseException as error:  # noqa: BLE001 - SystemExit too: it ends no thread of ours
            raise Refused(error) from None
        if down:
            self._retry_after = _seconds(down.retry_after)
            self._went_down(down)
        elif proves and not self.available:
            self._came_back()
        return down

    def _went_down(self, down: SinkUnavailable) -> None:
        if self.available:
            self.available = False
            self._down_since = self._queue.bell.now()
            self.counters["outages"] += 1
            LOG.warning(
                "sink %s is unavailable: %s; undelivered events are offered again",
                self.name,
                text_of(down),
            )

    def _came_back(self) -> None:
        self._wait = RETRY_FIRST
        self.available = True
        LOG.info(
            "sink %s is available again, after %.1f s",
            self.name,
            self._queue.bell.now() - self._down_since,
        )


def _seconds(retry_after: object) -> float | None:
    """Return the seconds that a sink asks for, within bounds; None if the value is invalid."""
    if not isinstance(retry_after, int | float) or not retry_after >= 0:  # nor nan
        return None
    return float(min(retry_after, LONGEST_RETRY_AFTER))  # before float(): an int has no bound
