"""A sink behind its contract: outages are waited out, any other exception is a refusal.

This file knows neither ports nor events: it calls what it is handed.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from typing import TypeVar

from dfovsdb.delivery.work_queue import WorkQueue
from dfovsdb.errors import SinkUnavailable
from dfovsdb.histogram import Histogram
from dfovsdb.logs import get_logger
from dfovsdb.sinks.base import Sink

LOG = get_logger(__name__)
T = TypeVar("T")

RETRY_FIRST = 0.1  #: seconds after the first SinkUnavailable
RETRY_MAX = 15.0  #: seconds between two tries at most
LONGEST_RETRY_AFTER = 300.0  #: seconds, where the destination asks for a longer wait


class Refused(Exception):
    """The sink raised something else than SinkUnavailable: `error`."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(str(error))
        self.error = error


class Stopped(Exception):
    """The worker must leave although something is left."""


class SinkGuard:
    """Calls one sink, and keeps the score of it; for the worker's thread.

    :param inbox: says when to stop waiting.
    """

    def __init__(self, name: str, sink: Sink, inbox: WorkQueue) -> None:
        self.name = name
        self.sink = sink
        self.counters: Counter[str] = Counter()  #: delivered, refused, outages, errors
        self.available = True  #: False during an outage
        self.opened = False  #: open() has returned
        self.times: Histogram | None = None  #: of deliveries, where somebody measures them
        self._inbox = inbox
        self._down_since = 0.0
        self._wait = RETRY_FIRST
        self._retry_after: float | None = None  # seconds, where the destination says so

    def deliver(self, call: Callable[[T], object], what: T) -> None:
        """Call until the sink takes it.

        :raises Refused: it raised something else than SinkUnavailable.
        :raises Stopped: the deadline of stop has passed.
        """
        while self.attempt(call, what):
            self.back_off()

    def attempt(self, call: Callable[[T], object], what: T) -> SinkUnavailable | None:
        """Call once; what it raised where the destination is down. Raises as deliver()."""
        if self._inbox.overdue():
            raise Stopped
        if self.times is None or not self.opened:
            return self._call(call, what)
        began = time.perf_counter()
        down = self._call(call, what)
        if down is None:
            self.times.observe(time.perf_counter() - began)
        return down

    def back_off(self) -> bool:
        """Wait until it is time for another attempt; a request to reopen is answered.

        :returns: False where the worker is asked to stop.
        """
        wait = self._wait * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
        why = self._inbox.pause(wait if self._retry_after is None else self._retry_after)
        if why == "reopen" and self.opened:
            self.ask("reopen", self.sink.reopen)  # which may be the cure
        self._wait = RETRY_FIRST if why else min(self._wait * 2, RETRY_MAX)
        return why != "stop" and not self._inbox.stopping

    def reopen(self) -> None:
        """Have the sink open its files again; where that is an outage, until it can.

        Waiting for an event to be offered would leave a quiet host in it long after its end.
        At a stop, what is left is offered all the same.
        """
        while self.ask("reopen", self.sink.reopen) and self.back_off():
            pass

    def ask(self, name: str, call: Callable[[], object]) -> SinkUnavailable | None:
        """Call once what delivers nothing: an error is logged and counted.

        :returns: what it raised where the destination is down.
        """
        try:
            return self._call(call, proves=name != "close")
        except Refused as refused:
            self.counters["errors"] += 1
            LOG.error("sink %s failed in %s()", self.name, name, exc_info=refused.error)
            return None

    def _call(
        self, call: Callable[..., object], *what: object, proves: bool = True
    ) -> SinkUnavailable | None:
        """Call once.

        :param proves: that it returns says that the destination is there.
        """
        down: SinkUnavailable | None = None
        try:
            returned = call(*what)
            if hasattr(returned, "__await__") or hasattr(returned, "__next__"):
                name = getattr(call, "__qualname__", repr(call))
                raise TypeError(
                    f"{name} returned {returned!r:.80}: a coroutine or a generator that nobody "
                    "runs, so nothing was delivered"
                )
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
            self._down_since = self._inbox.bell.now()
            self.counters["outages"] += 1
            LOG.warning(
                "sink %s is unavailable: %s; what it misses is offered again", self.name, down
            )

    def _came_back(self) -> None:
        self._wait = RETRY_FIRST
        self.available = True
        LOG.info(
            "sink %s is available again, after %.1f s",
            self.name,
            self._inbox.bell.now() - self._down_since,
        )


def _seconds(retry_after: object) -> float | None:
    """Return the seconds that a sink asks for, in bounds; None where they cannot be meant."""
    if not isinstance(retry_after, int | float) or not 0 <= retry_after < float("inf"):
        return None
    return min(float(retry_after), LONGEST_RETRY_AFTER)
