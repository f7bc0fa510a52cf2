"""Outages and refusals: when a sink is called again, and what the log says of it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

from dfovsdb.delivery.guard import RETRY_FIRST, RETRY_MAX, Stopped
from dfovsdb.errors import LONGEST_RETRY_AFTER, SinkUnavailable
from dfovsdb.model import Port, SyncMarker
from tests.unit.delivery.scripted import (
    ACCEPT,
    DOWN,
    BatchSink,
    Delivery,
    ScriptedSink,
    Step,
    fact,
    gone,
    story,
)

OUTAGES = ("is unavailable", "is available again")


def outages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [line for line in caplog.messages if any(text in line for text in OUTAGES)]


@pytest.mark.parametrize("kind", [ScriptedSink, BatchSink])
def test_an_outage_is_one_line_when_it_begins_and_one_when_it_ends(
    kind: type[ScriptedSink], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    sink = kind(*[DOWN] * 50)
    delivery = Delivery(sink)
    delivery.sync(fact("a"), fact("b"))
    delivery.run()
    assert len(outages(caplog)) == 2
    assert outages(caplog)[0].startswith("sink sink0 is unavailable: nobody there")
    assert f"after {sum(delivery.bell.waits):.1f} s" in outages(caplog)[1]
    assert delivery.worker.counters["outages"] == 1
    assert story(sink.accepted)[1:3] == ["online a", "online b"]


def test_tries_are_further_and_further_apart_with_jitter_up_to_a_maximum() -> None:
    delivery = Delivery(ScriptedSink(*[DOWN] * 30))
    delivery.sync()
    delivery.run()
    expected = [min(RETRY_FIRST * 2**number, RETRY_MAX) for number in range(30)]
    for waited, most in zip(delivery.bell.waits, expected, strict=True):
        assert most / 2 <= waited <= most
    assert len({round(w / e, 6) for w, e in zip(delivery.bell.waits, expected, strict=True)}) > 20


@pytest.mark.parametrize(
    ("asked", "waited"),
    [
        (7, 7.0),
        (10**400, LONGEST_RETRY_AFTER),
        (float("inf"), LONGEST_RETRY_AFTER),
        (-1, None),
        (float("nan"), None),
        ("7", None),
    ],
)
def test_a_sink_may_ask_for_any_wait_and_waits_at_most_an_hour(
    asked: Any, waited: float | None
) -> None:
    sink = ScriptedSink()
    answers: list[BaseException] = [SinkUnavailable("later", retry_after=asked)]

    def started(marker: SyncMarker) -> None:  # noqa: ARG001 - of the contract
        if answers:
            raise answers.pop()

    sink.sync_started = started  # type: ignore[method-assign]  # it answers from a list
    delivery = Delivery(sink)
    delivery.sync()
    delivery.run()
    if waited is None:  # as if it had not asked
        assert delivery.bell.waits[0] <= RETRY_FIRST
    else:
        assert delivery.bell.waits == [waited]


def test_after_an_outage_the_next_one_begins_with_short_waits_again() -> None:
    delivery = Delivery(ScriptedSink(*[DOWN] * 10, ACCEPT, DOWN))
    delivery.sync(fact("a"))
    delivery.run()
    assert delivery.bell.waits[-1] <= RETRY_FIRST


def test_an_outage_that_ends_in_a_refusal_says_how_long_it_really_was(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    delivery = Delivery(ScriptedSink(ACCEPT, DOWN, Step("refuse")))
    delivery.sync(fact("a"))
    delivery.run()
    assert outages(caplog)[1].endswith(f"after {delivery.bell.waits[0]:.1f} s")


@pytest.mark.parametrize("answer", ["refuse", "exit"])
def test_whatever_else_a_sink_raises_refuses_one_event_and_is_logged_with_it(
    answer: str, caplog: pytest.LogCaptureFixture
) -> None:
    sink = ScriptedSink(ACCEPT, Step(answer))  # type: ignore[arg-type]  # it is one of them
    delivery = Delivery(sink)
    delivery.sync(fact("a"), fact("b"))
    delivery.run()
    assert story(sink.accepted)[1:] == ["online b", "sync_finished initial"]
    assert delivery.worker.counters["refused"] == 1
    assert delivery.worker.counters["delivered"] == 1
    (line,) = [line for line in caplog.messages if "refused" in line]
    assert "tap-a" in line


def test_reopen_during_an_outage_is_answered_and_the_sink_is_tried_at_once() -> None:
    sink = ScriptedSink(*[DOWN] * 5, Step("down", meanwhile=lambda: delivery.dispatcher.reopen()))
    delivery = Delivery(sink)
    delivery.sync()
    delivery.run()
    assert sink.calls == ["open", "reopen"]
    assert len(delivery.bell.waits) == 5  # the sixth was cut short


def test_a_stop_during_an_outage_tries_at_once_and_then_often_until_the_deadline() -> None:
    sink = ScriptedSink(*[DOWN] * 1000)
    sink.script[10] = Step("down", meanwhile=lambda: delivery.worker.queue.request_stop(stop_at))
    delivery = Delivery(sink)
    delivery.sync()
    stop_at = 2000.0
    with pytest.raises(Stopped):
        delivery.run()
    waits = delivery.bell.waits[10:]
    assert waits[0] <= RETRY_FIRST
    assert delivery.bell.now() == stop_at


def test_a_stop_lets_a_destination_that_is_back_have_everything() -> None:
    sink = ScriptedSink(*[DOWN] * 12)
    sink.script[11] = Step("down", meanwhile=lambda: delivery.worker.queue.request_stop(stop_at))
    delivery = Delivery(sink)
    delivery.sync(fact("a"))
    stop_at = 10_000.0
    delivery.run()
    assert story(sink.accepted)[-1] == "sync_finished initial"
    assert delivery.worker.undelivered() == 0


def test_an_outage_seen_by_poll_is_two_lines_however_long_it_is(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    answers = [SinkUnavailable("no route")] * 20

    def answer() -> None:
        if answers:
            raise answers.pop()

    sink = ScriptedSink()
    sink.poll = answer  # type: ignore[method-assign]  # it answers from a list
    delivery = Delivery(sink)
    delivery.sync()
    delivery.run()
    sink.poll_interval = 5
    while answers:
        delivery.step(delivery.worker)
    assert not delivery.worker.available
    delivery.publish(fact("a"))
    sink.poll_interval = None
    delivery.run()
    assert [line.split(" after")[0].split(":")[0] for line in outages(caplog)] == [
        "sink sink0 is unavailable",
        "sink sink0 is available again,",
    ]
    assert delivery.worker.counters["errors"] == 0


def cannot_reopen(sink: ScriptedSink, times: int) -> None:
    """Have its reopen() be an outage that many times."""
    answers = [SinkUnavailable("no folder")] * times

    def reopen() -> None:
        sink.calls.append("reopen")
        if answers:
            raise answers.pop()

    sink.reopen = reopen  # type: ignore[method-assign]  # it answers from a list


def test_an_outage_seen_by_reopen_ends_with_it_though_nothing_is_to_be_delivered(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    sink = ScriptedSink()
    delivery = Delivery(sink)
    delivery.sync()
    delivery.run()
    cannot_reopen(sink, 20)
    delivery.dispatcher.reopen()
    delivery.run()
    assert sink.calls.count("reopen") == 21
    assert delivery.worker.available
    assert [line.split(" after")[0].split(":")[0] for line in outages(caplog)] == [
        "sink sink0 is unavailable",
        "sink sink0 is available again,",
    ]
    assert delivery.bell.waits[-1] <= RETRY_MAX
    assert delivery.worker.counters["errors"] == 0


def test_a_stop_while_a_sink_cannot_reopen_offers_what_is_left_at_once() -> None:
    sink = ScriptedSink()
    delivery = Delivery(sink)
    delivery.sync()
    delivery.run()
    cannot_reopen(sink, 1000)
    delivery.dispatcher.reopen()
    delivery.publish(fact("a"))
    delivery.worker.queue.request_stop(10_000.0)
    delivery.run()
    assert story(sink.accepted)[-1] == "online a"
    assert sink.calls.count("reopen") == 1


def test_an_error_in_poll_is_logged_and_counted_and_hurts_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Broken(ScriptedSink):
        poll_interval = 1

        def poll(self) -> None:
            self.poll_interval = None  # type: ignore[assignment]  # once is enough
            raise ValueError("heartbeat")

    sink = Broken()
    delivery = Delivery(sink)
    delivery.sync()
    delivery.run()
    delivery.publish(fact("a"))
    delivery.run()
    assert story(sink.accepted)[-1] == "online a"
    assert delivery.worker.counters["errors"] == 1
    assert "sink sink0 failed in poll()" in caplog.messages


@pytest.mark.parametrize("error", [ValueError("broken"), SystemExit(1)], ids=repr)
def test_a_selection_that_begins_to_raise_is_used_as_it_was(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    class Moody(ScriptedSink):
        is_moody = False

        @property
        def selection(self) -> Callable[[Port], bool]:  # type: ignore[override]  # nobody sets it
            if self.is_moody:
                raise error
            return lambda port: port.kind == "vm"

    sink = Moody()
    delivery = Delivery(sink)
    delivery.sync(fact("a"), fact("b", kind="tunnel"))
    delivery.run()
    sink.is_moody = True
    delivery.publish(fact("c"), fact("d", kind="tunnel"))
    delivery.publish(gone("a"))
    delivery.run()
    assert story(sink.accepted)[1:] == [
        "online a",
        "sync_finished initial",
        "online c",
        "offline a",
    ]
    assert caplog.text.count("failed in selection; the selection that it had before is used") == 1
