"""What every sink sees, whatever happens: random facts, refusals, outages, overflows, crashes.

`Judge` is the destination, which outlives crashes. It knows nothing of workers and queues: it
looks at what was offered and accepted, and holds it against DESIGN.md, "Sink".
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from dfovsdb.delivery.guard import Stopped
from dfovsdb.delivery.view_store import Statement, StoredSinkView, ViewStore
from dfovsdb.delivery.work_queue import Fact
from dfovsdb.delivery.worker import Worker
from dfovsdb.model import Port, PortEvent, SyncMarker
from tests.unit.delivery.scripted import (
    ACCEPT,
    DOWN,
    REFUSE,
    BatchSink,
    Delivery,
    ScriptedSink,
    Step,
    fact,
    gone,
    port,
)


class CrashNow(BaseException):
    """The process is gone at this instruction."""


class Judge:
    """Folds what one sink accepted, and fails at what it must never see."""

    def __init__(self, resync: str) -> None:
        self.ports: dict[str, Port] = {}
        self.doubtful: set[str] = set()  # a crash interrupted the offer: may be repeated once
        self.missed = False  # something was refused since everything was last delivered
        self._resync = resync
        self._begin()

    def _begin(self) -> None:
        self._offered: dict[int, Any] = {}
        self._accepted = self._refused = self._seen = 0
        self._bracket: SyncMarker | None = None
        self._arriving = False  # in this bracket something came online or was updated

    def crashed(self, doubtful: set[str], *, remembers: bool) -> None:
        """The sink of a new process carries on."""
        self.doubtful |= doubtful
        if not remembers:
            self.ports, self.doubtful = {}, set()
        self._begin()

    def look_at(self, sink: ScriptedSink) -> None:
        for item in sink.offered[self._seen :]:
            self._was_offered(item)
        self._seen = len(sink.offered)
        for item in sink.accepted[self._accepted :]:
            if isinstance(item, PortEvent):
                self._was_accepted(item)
        self._accepted = len(sink.accepted)
        if sink.refused[self._refused :]:
            self.missed = True
        self._refused = len(sink.refused)

    def _was_offered(self, item: PortEvent | SyncMarker) -> None:
        if item.seq in self._offered:
            assert item is self._offered[item.seq], "another event under the same seq"
            return
        assert item.seq == len(self._offered) + 1, "seq rises by one"
        self._offered[item.seq] = item
        if isinstance(item, SyncMarker):
            if item.action == "sync_started":
                assert self._bracket is None, "a bracket in a bracket"
                self._bracket, self._arriving = item, False
                self.missed = False
            else:
                assert self._bracket is not None, "finished, but never started"
                assert item.origin == self._bracket.origin
                self._bracket = None
        elif self._bracket is None:
            assert item.origin in ("update", "catchup")
        else:
            assert item.origin == self._bracket.origin

    def _was_accepted(self, event: PortEvent) -> None:
        uuid, known = event.port.uuid, self.ports.get(event.port.uuid)
        if uuid not in self.doubtful:
            if event.action == "online":
                assert event.previous == known
                assert known is None or self._replays(event), f"{uuid} online again"
                assert known is None or known.kind == event.port.kind
            elif event.action == "updated":
                assert known is not None, f"{uuid} updated, but never online"
                assert event.previous == known
                assert known != event.port, "an update without news"
                assert known.kind == event.port.kind
            else:
                assert known == event.port, "offline has the port as last delivered"
        self.doubtful.discard(uuid)
        if event.action == "offline":
            self.ports.pop(uuid, None)
        else:
            self.ports[uuid] = event.port

    def _replays(self, event: PortEvent) -> bool:
        return event.origin == "replay" or (
            event.origin in ("initial", "resync") and self._resync == "replay"
        )


class Life:
    """Two sinks, the table, and processes that come and go; one view file for all."""

    def __init__(
        self, resync: str, queue_limit: int, *, keep: bool, instant: bool = False
    ) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="dfovsdb-test-"))
        self._options: dict[str, Any] = {"resync": resync, "queue_limit": queue_limit}
        self._runs = 0
        self._batches: dict[str, set[str]] = {}
        self.keep = keep
        self._instant = instant
        self.table: dict[str, Port] = {}
        self.judges = (Judge(resync), Judge(resync))
        self.steps_to_crash = -1
        self._start()

    def _start(self) -> None:
        self.sinks = (ScriptedSink(), BatchSink())
        for sink in self.sinks:
            sink.instant = self._instant
        state_dir = self._state_dir if self.keep else None
        if state_dir:
            state_dir.mkdir(exist_ok=True)
        self.delivery = Delivery(
            *self.sinks, state_dir=state_dir and str(state_dir), **self._options
        )
        for worker in self.delivery.workers:
            view = worker._view
            if isinstance(view, StoredSinkView):
                self._watch(worker, view)
        self.synced = False

    @property
    def _state_dir(self) -> Path:
        return self._folder / str(self._runs)

    def _watch(self, worker: Worker, view: StoredSinkView) -> None:
        """Note each batch that is offered, and crash before or after a write when it is time."""
        offering, state = view.offering, view._state

        def note(events: Sequence[PortEvent]) -> None:
            self._batches[worker.name] = {event.port.uuid for event in events}
            offering(events)

        def write(statements: Sequence[Statement]) -> bool:
            self._tick()
            written = ViewStore.write(state, statements)
            self._tick()
            return written

        view.offering = note  # type: ignore[method-assign]  # the test is a bystander
        state.write = write  # type: ignore[method-assign]  # a tap

    def _tick(self) -> None:
        if self.steps_to_crash == 0:
            raise CrashNow
        self.steps_to_crash -= 1

    def change(self, *facts: Fact) -> None:
        for uuid, now in facts:
            if now is None:
                self.table.pop(uuid, None)
            else:
                self.table[uuid] = now
        if self.synced:
            self.delivery.publish(*facts)

    def changes(self, messages: Sequence[Sequence[Fact]]) -> None:
        for message in messages:
            self.change(*message)

    def connect(self) -> None:
        self.synced = True
        self.delivery.sync(*self.table.items())

    def run(self) -> None:
        """Let the workers do what there is to do; a crash that is due starts a new process."""
        try:
            self.delivery.run()
        except CrashNow:
            self.crash()
        self.judge()

    def step(self, number: int) -> None:
        try:
            self.delivery.step(self.delivery.workers[number])
        except CrashNow:
            self.crash()
        self.judge()

    def crash(self) -> None:
        self.judge()
        old = self._state_dir
        self._runs += 1
        self.steps_to_crash = -1
        if self.keep:  # what a killed process leaves: all that it had written
            shutil.copytree(old, self._state_dir)
        for worker, judge in zip(self.delivery.workers, self.judges, strict=True):
            judge.crashed(self._batches.get(worker.name, set()), remembers=self.keep)
        self.delivery.close()
        self._start()

    def restart(self) -> None:
        """Stop in good order, with nothing left to tell, and start again."""
        for worker in self.delivery.workers:
            worker.queue.request_stop(2000)
        try:
            for worker in self.delivery.workers:
                while self.delivery.step(worker):
                    pass
        except Stopped:
            pass
        except CrashNow:
            self.crash()
            return
        self.judge()
        for judge in self.judges:
            judge.crashed(set(), remembers=self.keep)
        self.delivery.close()
        self._start()

    def judge(self) -> None:
        for judge, sink in zip(self.judges, self.sinks, strict=True):
            judge.look_at(sink)

    def settle(self) -> None:
        """Nothing more happens: each sink must end with exactly the ports that the table has."""
        for sink in self.sinks:
            sink.script.clear()
        if not self.synced:
            self.connect()
        self.run()
        if not self.synced:  # a crash was due
            self.connect()
            self.run()
        for worker, judge in zip(self.delivery.workers, self.judges, strict=True):
            if not judge.missed:
                assert judge.ports == self.table
                assert worker.undelivered() == 0
        self.delivery.dispatcher.replay()  # refused events are delivered at the next replay
        self.run()
        for judge in self.judges:
            if self.synced:
                assert judge.ports == self.table

    def end(self) -> None:
        self.delivery.close()
        shutil.rmtree(self._folder)


# Random lives.

UUIDS = ["a", "b", "c", "d", "e"]
facts = st.one_of(
    st.builds(gone, st.sampled_from(UUIDS)),
    st.builds(
        fact,
        st.sampled_from(UUIDS),
        kind=st.sampled_from(["vm", "vm", "tunnel"]),
        ofport=st.sampled_from([None, 1, 2]),
    ),
)
messages = st.lists(facts, min_size=1, max_size=4, unique_by=lambda f: f[0])
happenings = st.one_of(
    st.none(),
    st.none(),
    st.lists(messages, min_size=1, max_size=4),
    st.sampled_from(["reconnect", "replay", "own replay", "reopen"]),
)
answers = st.one_of(
    st.just(ACCEPT),
    st.just(REFUSE),
    st.just(Step("exit")),
    st.builds(Step, st.just("down"), st.sampled_from([0, 0, 1, 2, 3, -1, 99, None, "2"])),
)


class Delivering(RuleBasedStateMachine):
    @initialize(
        resync=st.sampled_from(["replay", "diff"]),
        queue_limit=st.sampled_from([0, 1, 3, 1000]),
        keep=st.booleans(),
        instant=st.booleans(),
    )
    def begin(self, resync: str, queue_limit: int, keep: bool, instant: bool) -> None:
        self.life = Life(resync, queue_limit, keep=keep, instant=instant)
        self.queue_limit = queue_limit

    @rule(message=messages)
    def a_message_comes(self, message: list[Fact]) -> None:
        self.life.change(*message)

    @rule(message=messages, answer=answers)
    def a_message_comes_to_workers_that_wait(self, message: list[Fact], answer: Step) -> None:
        """Where a sink is instant, it is delivered by the thread that publishes it."""
        if not self.life.synced:
            self.life.connect()
        self.life.run()
        for sink in self.life.sinks:
            sink.script.append(answer)
        self.life.change(*message)
        self.life.judge()

    @rule(message=messages | st.just([]))
    def the_connection_is_made(self, message: list[Fact]) -> None:
        self.life.synced = False
        self.life.change(*message)  # while there was none
        self.life.connect()

    @rule(number=st.sampled_from([0, 1]), script=st.lists(st.tuples(answers, happenings)))
    def a_sink_will(self, number: int, script: list[tuple[Step, Any]]) -> None:
        sink = self.life.sinks[number]
        sink.script += [
            step._replace(meanwhile=self._meanwhile(number, happens)) for step, happens in script
        ]

    def _meanwhile(self, number: int, happens: Any) -> Callable[[], object] | None:
        life = self.life
        if happens is None:
            return None
        if happens == "reconnect":
            return life.connect
        if happens == "replay":
            return life.delivery.dispatcher.replay
        if happens == "reopen":
            return life.delivery.dispatcher.reopen
        if happens == "own replay":
            return life.delivery.workers[number].queue.request_replay
        return lambda: life.changes(happens)

    @rule(number=st.sampled_from([0, 1]))
    def a_worker_steps(self, number: int) -> None:
        self.life.step(number)

    @rule()
    def the_workers_run(self) -> None:
        self.life.run()

    @rule()
    def a_replay_is_asked_for(self) -> None:
        self.life.delivery.dispatcher.replay()

    @rule()
    def it_settles(self) -> None:
        self.life.settle()

    @rule(steps=st.integers(0, 12))
    @precondition(lambda self: self.life.keep)
    def it_will_crash(self, steps: int) -> None:
        self.life.steps_to_crash = steps

    @rule()
    def it_crashes_now(self) -> None:
        self.life.crash()

    @rule()
    def it_is_restarted(self) -> None:
        self.life.restart()

    @invariant()
    def the_queue_is_bounded(self) -> None:
        for worker in self.life.delivery.workers:
            assert worker.queue._queued <= self.queue_limit
            assert worker.queue._queued == sum(len(m.facts) for m in worker.queue._queue)

    def teardown(self) -> None:
        if hasattr(self, "life"):
            self.life.settle()
            self.life.end()


Delivering.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestDelivering = Delivering.TestCase


# A crash at every step of one life that has everything in it.


@pytest.mark.parametrize("meanwhile", ["nothing", "changes"])
@pytest.mark.parametrize("resync", ["replay", "diff"])
def test_a_crash_at_any_step_repeats_at_most_one_batch_and_loses_nothing(
    resync: str, meanwhile: str
) -> None:
    crashes = 0
    while _live_until(crashes, resync, meanwhile):
        crashes += 1
    assert crashes > 40


def _live_until(step: int, resync: str, meanwhile: str) -> bool:
    """Live, crash at a step and live on; False where it was over before the step came."""
    life = Life(resync, 1000, keep=True)
    try:
        life.steps_to_crash = step
        life.connect()
        life.change(fact("a"), fact("b"), fact("c"))
        for happens in (
            (),
            (fact("a", ofport=2), gone("b"), fact("d")),
            (fact("a", kind="tunnel"), fact("d", ofport=2)),
            (gone("a"), gone("d"), fact("b")),
        ):
            for sink in life.sinks:
                sink.script += [ACCEPT, DOWN, Step("down", 1), ACCEPT, REFUSE]
            life.change(*happens)
            life.run()
            if not life.synced:
                break
        if crashed := not life.synced:
            if meanwhile == "changes":
                life.change(gone("a"), fact("b", ofport=9), gone("c"), fact("d", kind="patch"))
            assert all(len(judge.doubtful) <= 4 for judge in life.judges)
        life.settle()
    finally:
        life.end()
    return crashed


def test_a_port_that_vanished_while_the_process_was_down_is_offline_in_the_first_sync() -> None:
    life = Life("diff", 1000, keep=True)
    life.connect()
    life.change(fact("a"), fact("b"))
    life.run()
    life.crash()
    life.change(gone("a"))
    life.connect()
    life.run()
    events = [item for item in life.sinks[0].accepted if isinstance(item, PortEvent)]
    assert [(e.action, e.port, e.origin) for e in events] == [("offline", port("a"), "initial")]
    life.end()
