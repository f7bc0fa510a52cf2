"""Facts become events: their order, their batches, and what a refusal leaves."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from dfovsdb.delivery import worker
from dfovsdb.delivery.work_queue import Fact
from dfovsdb.model import PortEvent
from dfovsdb.testing.matchers import fold
from tests.unit.delivery.scripted import (
    ACCEPT,
    REFUSE,
    BatchSink,
    Delivery,
    ScriptedSink,
    Step,
    fact,
    gone,
    port,
    story,
)


def reported(sink: ScriptedSink, *facts: Fact, **options: Any) -> Delivery:
    """A sink that knows these ports, and has a clean sheet."""
    delivery = Delivery(sink, **options)
    delivery.sync(*facts)
    delivery.run()
    for delivered in (sink.offered, sink.accepted, sink.refused):
        delivered.clear()
    return delivery


def test_what_leaves_is_reported_first_then_changes_then_new_kinds_then_arrivals() -> None:
    sink = ScriptedSink()
    delivery = reported(sink, fact("a"), fact("b"), fact("c"))
    delivery.publish(fact("d"), fact("a", ofport=9), fact("b", kind="tunnel"), gone("c"))
    delivery.run()
    assert story(sink.accepted) == ["offline c", "offline b", "updated a", "online b", "online d"]


def test_the_same_order_holds_in_a_sync() -> None:
    sink = ScriptedSink()
    delivery = reported(sink, fact("a"), fact("b"), fact("c"), resync="diff")
    delivery.sync(fact("d"), fact("a", ofport=9), fact("b", kind="tunnel"))
    delivery.run()
    assert story(sink.accepted)[1:-1] == [
        "offline c",
        "offline b",
        "updated a",
        "online b",
        "online d",
    ]


def test_a_port_that_is_equal_is_not_reported() -> None:
    sink = ScriptedSink()
    delivery = reported(sink, fact("a"))
    delivery.publish(fact("a"))
    delivery.run()
    assert sink.offered == []


def test_a_destination_that_takes_batches_gets_each_port_once_in_a_batch() -> None:
    sink = BatchSink()
    delivery = reported(sink)
    delivery.publish(fact("a"), fact("b"))
    delivery.publish(fact("c"))
    delivery.publish(fact("d"), fact("a", ofport=9))
    delivery.run()
    assert story(sink.accepted) == ["online a", "online b", "online c", "updated a", "online d"]
    assert sink.batches == [3, 2]


def test_a_change_of_kind_is_two_batches() -> None:
    sink = BatchSink()
    delivery = reported(sink, fact("a"))
    sink.batches.clear()
    delivery.publish(fact("a", kind="tunnel"))
    delivery.run()
    assert sink.batches == [1, 1]


def test_a_batch_holds_so_many_events_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "BATCH", 2)
    sink = BatchSink()
    delivery = Delivery(sink)
    delivery.sync(*(fact(uuid) for uuid in "abcde"))
    delivery.run()
    assert sink.batches == [2, 2, 1]


def test_the_events_that_arrived_before_an_outage_are_not_offered_again() -> None:
    sink = BatchSink(ACCEPT, Step("down", 2))
    delivery = Delivery(sink)
    delivery.sync(fact("a"), fact("b"), fact("c"))
    delivery.run()
    assert sink.batches == [3, 1]
    assert story(sink.accepted)[1:4] == ["online a", "online b", "online c"]


def test_an_outage_after_the_last_event_of_a_batch_offers_nothing_again() -> None:
    sink = BatchSink(ACCEPT, Step("down", 2))
    delivery = Delivery(sink)
    delivery.sync(fact("a"), fact("b"))
    delivery.run()
    assert sink.batches == [2]
    assert story(sink.accepted) == [
        "sync_started initial",
        "online a",
        "online b",
        "sync_finished initial",
    ]


@pytest.mark.parametrize("delivered", [-1, 3, 10**9, None, "2", 1.0])
def test_a_count_of_arrivals_that_cannot_be_right_repeats_rather_than_loses(
    delivered: object,
) -> None:
    sink = BatchSink(ACCEPT, Step("down", delivered))
    delivery = Delivery(sink)
    delivery.sync(fact("a"), fact("b"))
    delivery.run()
    assert sink.batches == [2, 2]


def test_an_event_that_is_offered_again_is_the_same_event() -> None:
    sink = ScriptedSink(ACCEPT, Step("down"), Step("down"))
    delivery = Delivery(sink)
    delivery.sync(fact("a"))
    delivery.run()
    assert sink.offered[1] is sink.offered[2] is sink.offered[3]
    assert [delivered.seq for delivered in sink.accepted] == [1, 2, 3]


def test_a_batch_that_is_refused_is_offered_one_by_one() -> None:
    sink = BatchSink(ACCEPT, REFUSE, ACCEPT, REFUSE)
    delivery = Delivery(sink)
    delivery.sync(fact("a"), fact("b"), fact("c"))
    delivery.run()
    assert story(sink.refused) == ["online b"]
    assert fold(sink.accepted).keys() == {"a", "c"}


def test_a_batch_refused_after_an_outage_offers_only_the_rest_one_by_one() -> None:
    sink = BatchSink(ACCEPT, Step("down", 1), REFUSE)
    delivery = Delivery(sink)
    delivery.sync(fact("a"), fact("b"), fact("c"))
    delivery.run()
    assert story(sink.accepted)[1:-1] == ["online a", "online b", "online c"]


@pytest.mark.parametrize("again", ["change", "sync", "replay", "catchup"])
def test_a_refused_event_is_offered_again(again: str) -> None:
    sink = ScriptedSink()
    delivery = reported(sink, fact("a"), resync="diff", queue_limit=2)
    sink.script.append(REFUSE)
    delivery.publish(fact("a", ofport=9))
    delivery.run()
    delivery.publish(fact("b"))  # another port is no reason
    delivery.run()
    assert story(sink.accepted) == ["online b"]
    if again == "change":
        delivery.publish(fact("a", ofport=10))
    elif again == "sync":
        delivery.sync(fact("a", ofport=9), fact("b"))
    elif again == "replay":
        delivery.dispatcher.replay()
    else:
        delivery.publish(fact("b"), fact("c"), fact("d"))
    delivery.run()
    assert fold(sink.accepted)["a"] == delivery.dispatcher.ports()["a"]
    (event,) = [t for t in sink.accepted if isinstance(t, PortEvent) and t.port.uuid == "a"]
    assert event.previous == port("a")  # what the sink knows


def test_a_refused_offline_keeps_a_change_of_kind_from_being_delivered_half() -> None:
    sink = ScriptedSink()
    delivery = reported(sink, fact("a"))
    sink.script.append(REFUSE)
    delivery.publish(fact("a", kind="tunnel"))
    delivery.run()
    assert story(sink.offered) == ["offline a"]
    delivery.publish(fact("a", kind="tunnel", ofport=9))
    delivery.run()
    assert story(sink.accepted) == ["offline a", "online a"]


def test_a_refused_marker_is_counted_and_what_is_in_the_bracket_is_delivered() -> None:
    sink = ScriptedSink(REFUSE, ACCEPT, REFUSE)
    delivery = Delivery(sink)
    delivery.sync(fact("a"))
    delivery.run()
    assert story(sink.offered) == ["sync_started initial", "online a", "sync_finished initial"]
    assert story(sink.accepted) == ["online a"]
    assert delivery.worker.counters["refused"] == 2


def test_markers_wait_for_an_outage_to_end() -> None:
    sink = ScriptedSink(Step("down"), ACCEPT, ACCEPT, Step("down"))
    delivery = Delivery(sink)
    delivery.sync(fact("a"))
    delivery.run()
    assert story(sink.accepted) == ["sync_started initial", "online a", "sync_finished initial"]


def test_what_a_port_was_last_known_to_be_is_not_forgotten_by_a_resync() -> None:
    sink = ScriptedSink()
    delivery = reported(sink, fact("a"), resync="diff")
    delivery.sync(("a", msgspec.structs.replace(port("a"), admin_state=None, link_state=None)))
    delivery.run()
    assert story(sink.accepted) == ["sync_started resync", "sync_finished resync"]


@pytest.mark.parametrize("bracket", [True, False])
def test_a_port_in_doubt_is_reported_again_but_online_only_in_a_bracket(bracket: bool) -> None:
    sink = ScriptedSink()
    delivery = reported(sink, fact("a"), resync="diff")
    delivery.worker._view.doubtful.add("a")  # as after a crash
    if bracket:
        delivery.sync(fact("a"))
    else:
        delivery.publish(fact("a"))
    delivery.run()
    events = [delivered for delivered in sink.accepted if isinstance(delivered, PortEvent)]
    assert story(events) == ["online a" if bracket else "updated a"]
    assert delivery.worker._view.doubtful == set()
