"""What it costs to hand one fact from the reading thread to a worker that sleeps.

    python benchmarks/handover.py

Each way hands over the same number of facts twice: one at a time, waiting for each to arrive
(a port plug now and then), and all at once (a boot storm). Figures are CPU microseconds of the
whole process for one fact, the median of some rounds, and the ratio to the way that the worker
uses. A way must carry a list under a lock, for that is how a cut replaces a queue.
"""

from __future__ import annotations

import statistics
import threading
import time
from abc import ABC, abstractmethod
from queue import Queue, SimpleQueue

FACTS = 20_000
ROUNDS = 5


class Way(ABC):
    """A list under a lock, and some means to wake up who waits for it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.facts: list[int] = []

    @abstractmethod
    def put(self, fact: int) -> None:
        """Hand over one fact."""

    @abstractmethod
    def take(self) -> list[int]:
        """Wait for facts."""


class Bell(Way):
    """A SimpleQueue (C code) rung only while the worker waits: what worker.py does."""

    def __init__(self) -> None:
        super().__init__()
        self.bell: SimpleQueue[None] = SimpleQueue()
        self.idle = False

    def put(self, fact: int) -> None:
        with self.lock:
            self.facts.append(fact)
            ring, self.idle = self.idle, False
        if ring:
            self.bell.put(None)

    def take(self) -> list[int]:
        while True:
            with self.lock:
                facts, self.facts = self.facts, []
                self.idle = not facts
            if facts:
                return facts
            self.bell.get()


class BellAlways(Bell):
    """The same, rung for every fact."""

    def put(self, fact: int) -> None:
        with self.lock:
            self.facts.append(fact)
        self.bell.put(None)


class ConditionVariable(Way):
    """threading.Condition, written in Python."""

    def __init__(self) -> None:
        super().__init__()
        self.condition = threading.Condition(self.lock)

    def put(self, fact: int) -> None:
        with self.condition:
            self.facts.append(fact)
            self.condition.notify()

    def take(self) -> list[int]:
        with self.condition:
            while not self.facts:
                self.condition.wait()
            facts, self.facts = self.facts, []
            return facts


class PlainQueue(Way):
    """queue.Queue, an item a fact: no list that could be dropped whole."""

    def __init__(self) -> None:
        super().__init__()
        self.queue: Queue[int] = Queue()

    def put(self, fact: int) -> None:
        self.queue.put(fact)

    def take(self) -> list[int]:
        return [self.queue.get()]


def cpu_per_fact(way: Way, *, one_at_a_time: bool) -> float:
    """CPU microseconds of the process for one fact."""
    arrived = threading.Semaphore(0)

    def work() -> None:
        left = FACTS
        while left:
            facts = way.take()
            left -= len(facts)
            if one_at_a_time:
                arrived.release()

    worker = threading.Thread(target=work)
    worker.start()
    began = time.process_time()
    for fact in range(FACTS):
        way.put(fact)
        if one_at_a_time:
            arrived.acquire()
    worker.join()
    return (time.process_time() - began) / FACTS * 1e6


def main() -> None:
    """Measure all ways in turn, so that a machine that drifts drifts for all of them."""
    ways = (Bell, BellAlways, ConditionVariable, PlainQueue)
    for title, one_at_a_time in (("one at a time", True), ("all at once", False)):
        taken: dict[type[Way], list[float]] = {way: [] for way in ways}
        for _ in range(ROUNDS):
            for way in ways:
                taken[way].append(cpu_per_fact(way(), one_at_a_time=one_at_a_time))
        base = statistics.median(taken[Bell])
        print(f"{title}:")
        for way in ways:
            median = statistics.median(taken[way])
            spread = f"{min(taken[way]):.1f}-{max(taken[way]):.1f}"
            print(f"  {way.__name__:<18} {median:6.1f} µs ({spread}), ratio {median / base:.2f}")


if __name__ == "__main__":
    main()
