"""One worker from open() to close(), step by step and without its thread."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from dfovsdb.delivery import dispatcher
from dfovsdb.delivery.guard import Stopped
from dfovsdb.delivery.work_queue import Bell
from dfovsdb.errors import SinkUnavailable
from dfovsdb.sinks.base import SinkContext
from tests.unit.delivery.scripted import (
    DOWN,
    REFUSE,
    Delivery,
    ScriptedSink,
    Step,
    fact,
    gone,
    story,
)
from tests.waiting import DEADLINE


class OpensLater(ScriptedSink):
    """open() raises what it is given, one after the other."""

    def __init__(self, *errors: BaseException) -> None:
        super().__init__()
        self.errors = list(errors)

    def open(self, context: SinkContext) -> None:
        super().open(context)
        if self.errors:
            raise self.errors.pop(0)


def leave(delivery: Delivery, *, seconds: float) -> None:
    """Stop as the dispatcher does, and run the thread's whole life here."""
    delivery.worker.queue.request_stop(delivery.bell.now() + seconds)
    delivery.worker.run()


def test_a_sink_learns_its_host_and_this_run_when_it_is_opened() -> None:
    sink, other = ScriptedSink(), ScriptedSink()
    delivery = Delivery(sink)
    delivery.run()
    assert sink.context is not None
    assert sink.context.host == "cmp-17"
    Delivery(other).run()
    assert other.context is not None
    assert sink.context.epoch != other.context.epoch


def test_nothing_is_offered_before_open_has_returned() -> None:
    sink = OpensLater(*[SinkUnavailable("not yet")] * 3)
    delivery = Delivery(sink)
    delivery.sync(fact("a"))
    delivery.run()
    assert sink.calls == ["open"] * 4
    assert story(sink.accepted) == ["sync_started initial", "online a", "sync_finished initial"]


def test_a_sink_that_is_not_open_yet_is_not_reopened() -> None:
    sink = OpensLater(*[SinkUnavailable("not yet")] * 3)
    delivery = Delivery(sink)
    delivery.dispatcher.reopen()
    delivery.run()
    assert sink.calls == ["open"] * 4


def test_open_is_not_called_again_after_an_outage() -> None:
    sink = ScriptedSink(DOWN, DOWN)
    delivery = Delivery(sink)
    delivery.sync()
    delivery.run()
    assert sink.calls == ["open"]


def test_a_sink_that_was_never_open_is_not_closed() -> None:
    sink = OpensLater(ValueError("no"))
    delivery = Delivery(sink)
    leave(delivery, seconds=5)
    assert sink.calls == ["open"]


def test_a_sink_in_an_outage_from_the_start_is_not_closed_either() -> None:
    sink = OpensLater(*[SinkUnavailable("never")] * 1000)
    delivery = Delivery(sink)
    leave(delivery, seconds=5)
    assert set(sink.calls) == {"open"}
    assert delivery.worker.failure is None


class NoText(Exception):
    def __str__(self) -> str:
        raise SystemExit


@pytest.mark.parametrize(
    ("error", "text"),
    [(ValueError("no"), "no"), (SystemExit("no"), "no"), (NoText(), "<no text: SystemExit>")],
)
def test_open_that_fails_for_good_after_the_start_is_said(
    error: BaseException, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    sink = OpensLater(SinkUnavailable("not yet"), error)
    delivery = Delivery(sink)
    leave(delivery, seconds=5)
    assert f"sink sink0 failed to open; it will receive no events: {text}" in caplog.messages
    assert delivery.worker.failure is error


def test_poll_is_called_when_nothing_came_for_its_interval() -> None:
    sink = ScriptedSink()
    sink.poll_interval = 5
    delivery = Delivery(sink)
    delivery.sync(fact("a"))
    delivery.step(delivery.worker)
    assert sink.calls == ["open"]
    delivery.bell._ringing = False
    delivery.step(delivery.worker)
    delivery.step(delivery.worker)
    assert sink.calls == ["open", "poll", "poll"]
    assert delivery.bell.waits == [5, 5]


@pytest.mark.parametrize("interval", [None, 0, -1])
def test_an_interval_that_is_none_never_polls(interval: float | None) -> None:
    sink = ScriptedSink()
    sink.poll_interval = interval
    delivery = Delivery(sink)
    delivery.run()
    assert sink.calls == ["open"]


def test_reopen_comes_before_what_waits() -> None:
    sink = ScriptedSink()
    delivery = Delivery(sink)
    delivery.sync()
    delivery.dispatcher.reopen()
    delivery.step(delivery.worker)
    assert sink.calls == ["open", "reopen"]
    assert sink.offered == []


def test_stopping_tells_everything_first_and_then_closes() -> None:
    sink = ScriptedSink()
    delivery = Delivery(sink)
    delivery.sync(fact("a"))
    delivery.dispatcher.replay()
    leave(delivery, seconds=5)
    assert story(sink.accepted)[-1] == "sync_finished replay"
    assert sink.calls == ["open", "close"]


def test_at_the_deadline_it_closes_and_knows_what_is_left() -> None:
    sink = ScriptedSink()
    delivery = Delivery(sink)
    delivery.sync(fact("a"), fact("b"))
    delivery.run()
    delivery.publish(gone("a"), fact("c"), fact("b", ofport=9))
    sink.script += [Step(), *[DOWN] * 1000]
    delivery.worker.queue.request_stop(delivery.bell.now() + 5)
    with pytest.raises(Stopped):
        delivery.run()
    assert story(sink.accepted)[-1] == "offline a"
    assert delivery.worker.undelivered() == 2


def test_offline_events_alone_count_as_undelivered_too() -> None:
    sink = ScriptedSink()
    delivery = Delivery(sink)
    delivery.sync(fact("a"), fact("b"))
    delivery.run()
    delivery.publish(gone("a"), gone("b"))
    assert delivery.worker.undelivered() == 2


def test_a_refused_port_counts_as_undelivered() -> None:
    sink = ScriptedSink(Step(), REFUSE)
    delivery = Delivery(sink)
    delivery.sync(fact("a"), fact("b"))
    delivery.run()
    assert delivery.worker.undelivered() == 1


def test_a_replay_that_is_not_delivered_to_its_end_counts_whole() -> None:
    sink = ScriptedSink()
    delivery = Delivery(sink, resync="diff")
    delivery.sync(fact("a"), fact("b"))
    delivery.run()
    assert delivery.worker.undelivered() == 0
    delivery.dispatcher.replay()
    assert delivery.worker.undelivered() == 2
    sink.script += [Step(), Step(), *[DOWN] * 1000]
    delivery.worker.queue.request_stop(delivery.bell.now() + 5)
    with pytest.raises(Stopped):
        delivery.run()
    assert delivery.worker.undelivered() == 2


def test_without_a_first_sync_nothing_counts_as_undelivered() -> None:
    delivery = Delivery(ScriptedSink())
    delivery.worker._view._ports["a"] = fact("a")[1]  # type: ignore[assignment]  # of a file
    assert delivery.worker.undelivered() == 0


def test_an_error_of_our_own_is_logged_and_everything_is_delivered_again(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = ScriptedSink()
    delivery = Delivery(sink)
    delivered = delivery.worker._view

    def fail_once(_: object) -> None:
        monkeypatch.undo()
        raise RuntimeError("a bug")

    delivery.sync()
    delivery.run()
    monkeypatch.setattr(delivered, "offering", fail_once)
    delivery.publish(fact("a"))
    delivery.run()
    assert "internal error" in caplog.text
    assert story(sink.accepted)[-3:] == [
        "sync_started resync",
        "online a",
        "sync_finished resync",
    ]


def test_one_ring_ends_one_wait_and_is_not_lost_when_it_comes_first() -> None:
    bell = Bell()
    bell.ring()
    assert bell.wait(None)
    assert not bell.wait(0)


def test_an_error_of_our_own_does_not_lose_a_request_to_reopen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sink = ScriptedSink()
    delivery = Delivery(sink)

    def fail_once(_: object) -> None:
        monkeypatch.undo()
        delivery.dispatcher.reopen()
        raise RuntimeError("a bug")

    delivery.sync()
    delivery.run()
    monkeypatch.setattr(delivery.worker._view, "offering", fail_once)
    delivery.publish(fact("a"))
    delivery.run()
    assert sink.calls == ["open", "reopen"]


class Changing(ScriptedSink):
    """Its poll_interval is what the test sets, or raises."""

    interval: Any = None

    @property
    def poll_interval(self) -> float | None:  # type: ignore[override]  # a property
        if self.interval is SystemExit:
            raise SystemExit
        return self.interval  # type: ignore[no-any-return]  # whatever it is told


@pytest.mark.parametrize("interval", [SystemExit, "5", -1, float("nan"), object()])
def test_a_poll_interval_that_becomes_wrong_ends_no_thread(
    interval: Any, caplog: pytest.LogCaptureFixture
) -> None:
    sink = Changing()
    delivery = Delivery(sink)
    delivery.sync(fact("a"))
    delivery.run()
    sink.interval = interval
    for name in ("b", "c"):
        delivery.publish(fact(name))
        delivery.run()
    assert story(sink.accepted)[-2:] == ["online b", "online c"]
    (line,) = caplog.messages
    assert line == "sink sink0 failed in poll_interval; poll() is not called"


def test_a_selection_that_hangs_holds_up_no_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatcher, "_COUNTING", 0.1)
    ends = threading.Event()
    sink = ScriptedSink()
    sink.selection = lambda _port: ends.wait()
    delivery = dispatcher.Dispatcher({"s": sink}, host="h", resync="diff", queue_limit=10)
    delivery.start()
    delivery.publish_sync([fact("a")])
    stopped: list[bool] = []
    thread = threading.Thread(target=lambda: stopped.append(delivery.stop(0.1)), daemon=True)
    thread.start()
    thread.join(DEADLINE / 10)
    ends.set()
    thread.join(DEADLINE)
    assert stopped == [False]
    assert not story(sink.accepted)[2:]
