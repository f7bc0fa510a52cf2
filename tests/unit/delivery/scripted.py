"""Delivery without threads: a sink that follows a script, a clock that only tests move.

Whatever can happen while a sink is at work happens here inside its call: `meanwhile` of a
step is run before the sink answers. So every interleaving of the feeding threads with the
worker can be written down, and runs the same way each time.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

from dfovsdb.delivery.dispatcher import Dispatcher
from dfovsdb.delivery.work_queue import Bell, Fact
from dfovsdb.delivery.worker import MEND, Worker
from dfovsdb.errors import SinkUnavailable
from dfovsdb.model import Interface, Port, PortEvent, SyncMarker, port_of
from dfovsdb.sinks.base import Sink, SinkContext
from tests.waiting import DEADLINE

Item = PortEvent | SyncMarker


def port(uuid: str, *, kind: str = "vm", ofport: int | None = 5) -> Port:
    interface = Interface(
        uuid=uuid, name=f"tap-{uuid}", ofport=ofport, admin_state="up", link_state="up"
    )
    return port_of(interface, kind, {"iface_id": f"vif-{uuid}"})


def fact(uuid: str, **facts: Any) -> Fact:
    return uuid, port(uuid, **facts)


def gone(uuid: str) -> Fact:
    return uuid, None


class Idle(Exception):
    """The worker has nothing to do and would wait for ever."""


class ManualBell(Bell):
    """Waiting moves the clock and costs nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.time = 1000.0
        self.disk_is_tried = False  #: a view that could not be written counts as work
        self.waits: list[float] = []
        self._ringing = False

    def ring(self) -> None:
        self._ringing = True

    def wait(self, seconds: float | None) -> bool:
        if self._ringing:
            self._ringing = False
            return True
        if seconds is None or (seconds is MEND and not self.disk_is_tried):
            raise Idle
        self.waits.append(seconds)
        self.time += seconds
        return False

    def now(self) -> float:
        return self.time


class Step(NamedTuple):
    """What a sink does with one call."""

    answer: Literal["accept", "refuse", "exit", "down"] = "accept"
    delivered: Any = 0  # with `down`
    meanwhile: Callable[[], object] | None = None


DOWN = Step("down")
REFUSE = Step("refuse")
ACCEPT = Step()


class ScriptedSink(Sink):
    """Follows its script, accepts when that has ended, and keeps what it was offered."""

    def __init__(self, *script: Step) -> None:
        self.script = deque(script)
        self.context: SinkContext | None = None
        self.calls: list[str] = []
        self.offered: list[Item] = []  #: again and again, where it was
        self.accepted: list[Item] = []
        self.refused: list[Item] = []

    def open(self, context: SinkContext) -> None:
        self.context = context
        self.calls.append("open")

    def emit(self, event: PortEvent) -> None:
        self._answer([event])

    def sync_started(self, marker: SyncMarker) -> None:
        self._answer([marker])

    def sync_finished(self, marker: SyncMarker) -> None:
        self._answer([marker])

    def poll(self) -> None:
        self.calls.append("poll")

    def reopen(self) -> None:
        self.calls.append("reopen")

    def close(self) -> None:
        self.calls.append("close")

    def _answer(self, items: Sequence[Item], *, batch: bool = False) -> None:
        self.offered += items
        step = self.script.popleft() if self.script else ACCEPT
        if step.meanwhile:
            step.meanwhile()
        if step.answer == "down":
            if isinstance(items[0], PortEvent) and isinstance(step.delivered, int):
                if 0 < step.delivered <= len(items):  # any other number cannot be right
                    self.accepted += items[: step.delivered]
            raise SinkUnavailable("nobody there", step.delivered)
        if step.answer in ("refuse", "exit"):
            if not batch:  # a refused batch is offered again, one by one
                self.refused += items
            raise SystemExit("a plugin says exit") if step.answer == "exit" else ValueError("no")
        self.accepted += items


class BatchSink(ScriptedSink):
    """The same for a destination that takes batches."""

    def __init__(self, *script: Step) -> None:
        super().__init__(*script)
        self.batches: list[int] = []

    def emit_many(self, events: Sequence[PortEvent]) -> None:
        self.batches.append(len(events))
        self._answer(events, batch=True)


#: Those whose files are open; conftest.py closes them after each test.
with_files: list[Delivery] = []


class Delivery:
    """A dispatcher whose workers run when a test says so."""

    def __init__(self, *sinks: Sink, **options: Any) -> None:
        known: dict[str, Any] = {"host": "cmp-17", "resync": "replay", "queue_limit": 1000}
        named = {f"sink{number}": sink for number, sink in enumerate(sinks)}
        self.dispatcher = Dispatcher(named, **(known | options))
        self.workers = self.dispatcher.workers
        self.bells = [ManualBell() for _ in sinks]
        for worker, bell in zip(self.workers, self.bells, strict=True):
            worker.queue.bell = bell
        self._open = {worker.name: False for worker in self.workers}
        if options.get("state_dir"):
            with_files.append(self)

    @property
    def worker(self) -> Worker:
        (worker,) = self.workers
        return worker

    @property
    def bell(self) -> ManualBell:
        (bell,) = self.bells
        return bell

    def sync(self, *facts: Fact) -> None:
        """The table as it is after a connect: these ports and no others."""
        now = {uuid for uuid, _ in facts}
        self.dispatcher.publish_sync(
            [*facts, *(gone(uuid) for uuid in self.dispatcher.ports() if uuid not in now)]
        )

    def publish(self, *facts: Fact) -> None:
        self.dispatcher.publish(facts)

    def step(self, worker: Worker) -> bool:
        """One step; False where there is nothing to do."""
        try:
            if not self._open[worker.name]:
                self._open[worker.name] = True
                assert worker.open()
            return worker.step()
        except Idle:
            return False

    def run(self) -> None:
        """Until all workers are idle."""
        for worker in self.workers:
            while self.step(worker):
                pass

    def close(self) -> None:
        self.dispatcher.stop(timeout=0)


def story(items: Sequence[Item]) -> list[str]:
    """What was delivered, as text: `online a`, `sync_started initial`."""
    return [
        f"{one.action} {one.port.uuid}"
        if isinstance(one, PortEvent)
        else f"{one.action} {one.origin}"
        for one in items
    ]


class HangingSink(ScriptedSink):
    """Hangs in the methods named, until it is released."""

    def __init__(self, *methods: str) -> None:
        super().__init__()
        self.hangs = threading.Event()  #: it is in there
        self.release = threading.Event()
        for name in methods:
            setattr(self, name, partial(self._hang, getattr(self, name)))

    def _hang(self, method: Callable[..., None], *args: Any) -> None:
        self.hangs.set()
        assert self.release.wait(DEADLINE), "a test forgot to release its sink"
        method(*args)
