"""Sinks on their threads: nothing that one of them does holds up the others, or the end."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dfovsdb.delivery import dispatcher, guard
from dfovsdb.delivery.dispatcher import Dispatcher
from dfovsdb.errors import ConfigurationError, SinkUnavailable
from dfovsdb.model import PortEvent
from dfovsdb.sinks.base import Sink, SinkContext
from dfovsdb.testing import wait_until
from dfovsdb.testing.matchers import fold
from tests.unit.delivery.scripted import (
    BatchSink,
    HangingSink,
    ScriptedSink,
    fact,
    gone,
    story,
)
from tests.waiting import DEADLINE

Run = Callable[..., Dispatcher]


@pytest.fixture
def run() -> Iterator[Run]:
    """Builds dispatchers; whatever still hangs at the end is released."""
    built: list[tuple[Dispatcher, tuple[Sink, ...]]] = []

    def run(*sinks: Sink, **options: Any) -> Dispatcher:
        known: dict[str, Any] = {"host": "cmp-17", "resync": "replay", "queue_limit": 1000}
        named = {f"sink{number}": sink for number, sink in enumerate(sinks)}
        built.append((Dispatcher(named, **(known | options)), sinks))
        return built[-1][0]

    yield run
    for running, sinks in built:
        for sink in sinks:
            if isinstance(sink, HangingSink):
                sink.release.set()
        running.stop(timeout=DEADLINE)
        for worker in running.workers:
            assert worker.join(20)


def finished(sink: ScriptedSink) -> bool:
    return any(delivered.action == "sync_finished" for delivered in list(sink.accepted))


# Publishing.


def test_a_sink_that_hangs_holds_up_neither_publishing_nor_the_other_sinks(run: Run) -> None:
    hanging, other = HangingSink("emit"), BatchSink()
    running = run(hanging, other, queue_limit=10)
    running.start()
    running.publish_sync([fact("a")])
    assert hanging.hangs.wait(DEADLINE)
    for ofport in range(100):
        running.publish([fact("a", ofport=ofport)])
    assert running.ports() == dict([fact("a", ofport=99)])
    wait_until(lambda: fold(other.accepted) == running.ports())
    hanging.release.set()
    wait_until(lambda: fold(hanging.accepted) == running.ports())
    assert running.workers[0].counters["catchups"] == 1


def test_cuts_are_copies(run: Run) -> None:
    running = run()
    running.publish_sync([fact("a")])
    running.ports().clear()
    assert running.ports().keys() == {"a"}
    assert running.last("a") == fact("a")[1]
    running.publish([gone("a"), gone("never there")])
    assert running.ports() == {}


def test_no_wake_up_is_lost_however_the_threads_meet(run: Run) -> None:
    sinks = [ScriptedSink(), BatchSink(), ScriptedSink()]
    running = run(*sinks, queue_limit=5)
    running.start()
    running.publish_sync([])

    def settled() -> bool:
        return all(fold(list(sink.accepted)) == running.ports() for sink in sinks)

    def ask() -> None:
        for _ in range(50):
            running.replay()

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    for number in range(1000):
        uuid = str(number % 7)
        running.publish([gone(uuid) if number % 3 else fact(uuid, ofport=number)])
        if not number % 100:  # meet them asleep, too
            wait_until(settled)
    asking.join(20)
    wait_until(settled)


def test_a_sink_added_while_running_receives_all_in_a_first_sync(run: Run) -> None:
    running = run(ScriptedSink())
    running.start()
    running.publish_sync([fact("a")])
    late = ScriptedSink()
    worker = running.attach("late", late)
    wait_until(lambda: finished(late))
    assert story(late.accepted) == ["sync_started initial", "online a", "sync_finished initial"]
    running.detach(worker)
    assert worker.join(20)
    assert late.calls == ["open", "close"]
    running.publish([fact("b")])
    assert "online b" not in story(late.accepted)


def test_a_sink_added_before_the_first_sync_waits_for_it(run: Run) -> None:
    running = run()
    early = ScriptedSink()
    worker = running.attach("early", early)
    running.publish_sync([fact("a")])
    wait_until(lambda: finished(early))
    running.detach(worker)
    assert worker.join(20)


# Starting.


class Fails(ScriptedSink):
    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self._error = error

    def open(self, context: SinkContext) -> None:
        self.context = context
        raise self._error


@pytest.mark.parametrize("error", [ValueError("no such place"), SystemExit("no such place")])
def test_a_sink_that_cannot_be_opened_stops_the_start_and_the_others_are_closed(
    error: BaseException, run: Run
) -> None:
    other = ScriptedSink()
    running = run(other, Fails(error))
    with pytest.raises(ConfigurationError, match="sink sink1 cannot be opened: no such place"):
        running.start()
    assert other.calls == ["open", "close"]


def test_an_interrupted_start_closes_what_is_open(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = ScriptedSink()
    running = run(sink)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(running, "_wait_open", interrupt)
    with pytest.raises(KeyboardInterrupt):
        running.start()
    assert sink.calls == ["open", "close"]


def test_the_start_does_not_wait_for_an_outage(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "RETRY_FIRST", 0.001)
    back = threading.Event()

    class Later(ScriptedSink):
        def open(self, context: SinkContext) -> None:
            super().open(context)
            if not back.is_set():
                raise SinkUnavailable("not yet")

    sink = Later()
    running = run(sink)
    running.start()
    assert not running.workers[0].available
    running.publish_sync([fact("a")])
    back.set()
    wait_until(lambda: finished(sink))


def test_a_sink_that_opens_slower_than_the_start_waits_receives_all_once_it_is_open(
    run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(dispatcher, "OPEN_TIMEOUT", 0.01)
    sink = HangingSink("open")
    running = run(sink)
    running.start()
    running.publish_sync([fact("a")])
    assert "is still opening" in caplog.text
    assert sink.offered == []
    sink.release.set()
    wait_until(lambda: finished(sink))


def test_a_sink_that_fails_to_open_after_the_start_has_gone_on_is_reported(
    run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(dispatcher, "OPEN_TIMEOUT", 0.01)

    class FailsLater(HangingSink):
        def _hang(self, method: Callable[..., None], *args: Any) -> None:
            super()._hang(method, *args)
            raise ValueError("no such place after all")

    sink, other = FailsLater("open"), ScriptedSink()
    running = run(sink, other)
    running.start()
    sink.release.set()
    running.publish_sync([fact("a")])
    wait_until(lambda: "sink sink0 failed to open; it will receive no events" in caplog.text)
    wait_until(lambda: finished(other))


# Stopping.


def test_stopping_lets_every_sink_have_what_is_left_and_closes_it(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    sinks = [ScriptedSink(), BatchSink()]
    running = run(*sinks)
    running.start()
    running.publish_sync([fact(str(number)) for number in range(200)])
    running.stop(timeout=DEADLINE)
    for sink in sinks:
        assert len(fold(sink.accepted)) == 200
        assert sink.calls == ["open", "close"]
    assert caplog.messages == []


def test_a_sink_that_hangs_for_ever_is_left_behind_and_what_it_lacks_is_said(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    hanging, other = HangingSink("emit"), ScriptedSink()
    running = run(hanging, other)
    running.start()
    running.publish_sync([fact("a"), fact("b")])
    assert hanging.hangs.wait(DEADLINE)
    running.publish([fact("c")])
    running.stop(timeout=0.01)
    assert "sink sink0: 3 ports were left undelivered" in caplog.messages
    assert "sink sink0 did not stop in time; abandoned" in caplog.messages
    assert not any("sink1" in line for line in caplog.messages)
    assert other.calls == ["open", "close"]


def test_a_sink_whose_close_hangs_is_left_behind(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    hanging = HangingSink("close")
    running = run(hanging)
    running.start()
    running.publish_sync([fact("a")])
    wait_until(lambda: finished(hanging))
    running.stop(timeout=0.01)
    assert caplog.messages == ["sink sink0 did not stop in time; abandoned"]


def test_a_sink_that_comes_back_after_the_deadline_leaves_without_another_event(run: Run) -> None:
    hanging = HangingSink("emit")
    running = run(hanging)
    running.start()
    running.publish_sync([fact("a"), fact("b")])
    assert hanging.hangs.wait(DEADLINE)
    running.stop(timeout=0.01)
    hanging.release.set()
    assert running.workers[0].join(20)
    assert story(hanging.accepted) == ["sync_started initial", "online a"]
    assert hanging.calls == ["open", "close"]


def test_a_sink_may_stop_the_monitor_from_its_own_thread(run: Run) -> None:
    class Stops(ScriptedSink):
        def emit(self, event: PortEvent) -> None:
            running.stop(timeout=0.01)
            super().emit(event)

    sink = Stops()
    running = run(sink)
    running.start()
    running.publish_sync([fact("a")])
    assert running.workers[0].join(20)
    assert story(sink.accepted)[:2] == ["sync_started initial", "online a"]
    assert running.workers[0].counters["refused"] == 0
    assert sink.calls == ["open", "close"]


def test_stopping_twice_or_before_the_start_does_no_harm(run: Run) -> None:
    running = run(ScriptedSink())
    running.stop(timeout=0)
    running.start()
    assert running.workers[0].join(20)
    running.stop(timeout=0)


def test_a_sink_that_fails_to_close_is_logged(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    class FailsToClose(ScriptedSink):
        def close(self) -> None:
            raise SystemExit("no")

    running = run(FailsToClose())
    running.start()
    running.stop(timeout=DEADLINE)
    assert caplog.messages == ["sink sink0 failed in close()"]
    assert caplog.records[0].levelno == logging.ERROR


# The views of all sinks.


def test_one_file_keeps_the_views_of_all_sinks_over_a_restart(run: Run, tmp_path: Path) -> None:
    first = run(ScriptedSink(), BatchSink(), state_dir=str(tmp_path))
    first.start()
    first.publish_sync([fact("a"), fact("b")])
    first.stop(timeout=DEADLINE)
    sinks = [ScriptedSink(), BatchSink()]
    second = run(*sinks, state_dir=str(tmp_path), resync="diff")
    second.start()
    second.publish_sync([fact("b")])
    second.stop(timeout=DEADLINE)
    for sink in sinks:
        assert story(sink.accepted) == [
            "sync_started initial",
            "offline a",
            "sync_finished initial",
        ]


def test_the_file_is_free_again_after_a_start_that_failed(run: Run, tmp_path: Path) -> None:
    failing = run(Fails(ValueError("no")), state_dir=str(tmp_path))
    with pytest.raises(ConfigurationError):
        failing.start()
    run(ScriptedSink(), state_dir=str(tmp_path))


def test_a_state_dir_that_cannot_be_used_is_said_before_any_sink_is_opened(
    run: Run, tmp_path: Path
) -> None:
    sink = ScriptedSink()
    with pytest.raises(ConfigurationError, match="state_dir"):
        run(sink, state_dir=str(tmp_path / "missing"))
    assert sink.calls == []
