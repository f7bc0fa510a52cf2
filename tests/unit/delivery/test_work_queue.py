"""What a worker finds to tell: facts, or one cut in their place."""

from __future__ import annotations

import pytest

from dfovsdb.model import PortEvent, SyncMarker
from tests.unit.delivery.scripted import (
    ACCEPT,
    BatchSink,
    Delivery,
    ScriptedSink,
    Step,
    fact,
    gone,
    story,
)


def synced(sink: ScriptedSink, **options: object) -> Delivery:
    """A sink that has received an empty table, and nothing else."""
    delivery = Delivery(sink, **options)
    delivery.sync()
    delivery.run()
    sink.offered.clear()
    sink.accepted.clear()
    return delivery


def test_facts_that_wait_up_to_the_limit_are_delivered_one_by_one() -> None:
    sink = ScriptedSink()
    delivery = synced(sink, queue_limit=3)
    for ofport in (1, 2, 3):
        delivery.publish(fact("a", ofport=ofport))
    delivery.run()
    assert story(sink.accepted) == ["online a", "updated a", "updated a"]


def test_a_queue_past_its_limit_becomes_one_catch_up_without_a_bracket() -> None:
    sink = ScriptedSink()
    delivery = synced(sink, queue_limit=3)
    for ofport in (1, 2, 3, 4, 5, 6):
        delivery.publish(fact("a", ofport=ofport))
    delivery.publish(fact("b"), fact("c"), gone("c"))
    delivery.run()
    assert story(sink.accepted) == ["online a", "online b"]
    assert {item.origin for item in sink.accepted} == {"catchup"}
    assert delivery.worker.counters["catchups"] == 1
    delivery.publish(gone("b"))
    delivery.run()
    assert sink.accepted[-1].origin == "update"


def test_one_message_larger_than_the_limit_is_a_catch_up() -> None:
    sink = ScriptedSink()
    delivery = synced(sink, queue_limit=2)
    delivery.publish(fact("a"), fact("b"), fact("c"))
    delivery.run()
    assert [item.origin for item in sink.accepted] == ["catchup"] * 3


def test_a_limit_of_none_waiting_tells_every_change_as_a_catch_up() -> None:
    sink = ScriptedSink()
    delivery = synced(sink, queue_limit=0)
    delivery.publish(fact("a"))
    delivery.run()
    assert [item.origin for item in sink.accepted] == ["catchup"]


def test_a_batch_in_hand_is_reported_although_the_queue_behind_it_is_dropped() -> None:
    sink = ScriptedSink()
    delivery = synced(sink, queue_limit=2)

    def overflow() -> None:
        delivery.publish(gone("a"), fact("b", ofport=9), fact("c"))

    sink.script.append(Step("down", meanwhile=overflow))
    delivery.publish(fact("a"), fact("b"))
    delivery.run()
    assert story(sink.accepted) == ["online a", "online b", "offline a", "updated b", "online c"]
    assert [item.origin for item in sink.accepted] == ["update"] * 2 + ["catchup"] * 3


def test_a_bracket_that_has_begun_is_completed_although_the_queue_overflows() -> None:
    sink = ScriptedSink(Step(meanwhile=lambda: delivery.publish(fact("b"), gone("a"), fact("c"))))
    delivery = Delivery(sink, queue_limit=1)
    delivery.sync(fact("a"))
    delivery.run()
    assert story(sink.accepted) == [
        "sync_started initial",
        "online a",
        "sync_finished initial",
        "offline a",
        "online b",
        "online c",
    ]


def test_a_sync_takes_the_place_of_the_facts_and_of_the_catch_up_before_it() -> None:
    sink = ScriptedSink()
    delivery = synced(sink, queue_limit=1, resync="diff")
    delivery.publish(fact("a"), fact("b"))
    delivery.sync(fact("b"))
    delivery.publish(fact("c"))
    delivery.run()
    assert story(sink.accepted) == [
        "sync_started resync",
        "online b",
        "online c",
        "sync_finished resync",
    ]


def test_a_first_sync_that_nobody_heard_of_stays_the_first_after_a_reconnect() -> None:
    sink = ScriptedSink()
    delivery = Delivery(sink)
    delivery.sync(fact("a"))
    delivery.sync(fact("b"))
    delivery.run()
    assert story(sink.accepted) == ["sync_started initial", "online b", "sync_finished initial"]


def test_requests_to_replay_are_merged() -> None:
    sink = ScriptedSink()
    delivery = synced(sink)
    delivery.publish(fact("a"))
    for _ in range(3):
        delivery.dispatcher.replay()
    delivery.run()
    assert story(sink.accepted) == ["sync_started replay", "online a", "sync_finished replay"]


def test_a_replay_asked_for_while_one_is_delivered_follows_it() -> None:
    sink = ScriptedSink(
        ACCEPT, ACCEPT, ACCEPT, Step(meanwhile=lambda: delivery.dispatcher.replay())
    )
    delivery = Delivery(sink)
    delivery.sync(fact("a"))
    delivery.run()
    delivery.dispatcher.replay()
    delivery.run()
    assert story(sink.accepted).count("sync_finished replay") == 2


@pytest.mark.parametrize("resync", ["replay", "diff"])
def test_a_replay_asked_for_before_the_first_sync_follows_it(resync: str) -> None:
    """So a sink that requests one in open() knows at its end that every port has come."""
    sink = ScriptedSink()
    delivery = Delivery(sink, resync=resync)
    delivery.dispatcher.replay()
    delivery.run()
    assert sink.offered == []  # there is nothing to tell yet
    delivery.sync(fact("a"))
    delivery.run()
    started = [item for item in sink.accepted if isinstance(item, SyncMarker) and not item.ports]
    assert [marker.origin for marker in started] == ["initial", "replay"]


def test_a_replay_delivers_every_port_online_again_with_what_was_delivered_before() -> None:
    sink = ScriptedSink()
    delivery = synced(sink, resync="diff")
    delivery.publish(fact("a"), fact("b"))
    delivery.run()
    sink.accepted.clear()
    delivery.publish(fact("a", ofport=9), gone("b"))
    delivery.dispatcher.replay()
    delivery.run()
    started, offline, online, finished = sink.accepted
    assert isinstance(online, PortEvent)
    assert story([started, offline, online, finished]) == [
        "sync_started replay",
        "offline b",
        "online a",
        "sync_finished replay",
    ]
    assert online.previous == fact("a")[1]
    assert isinstance(finished, SyncMarker)
    assert finished.ports == 1


def test_a_sink_that_asks_for_a_replay_is_the_only_one_to_get_it() -> None:
    asking, other = ScriptedSink(), BatchSink()
    delivery = Delivery(asking, other)
    delivery.sync(fact("a"))
    delivery.run()
    assert asking.context is not None
    asking.context.request_replay()
    delivery.run()
    assert story(asking.accepted)[-3:] == [
        "sync_started replay",
        "online a",
        "sync_finished replay",
    ]
    assert story(other.accepted)[-1] == "sync_finished initial"


@pytest.mark.parametrize("resync", ["replay", "diff"])
def test_after_a_reconnect_vanished_ports_are_offline_and_resync_says_what_else_is_delivered(
    resync: str,
) -> None:
    sink = ScriptedSink()
    delivery = Delivery(sink, resync=resync)
    delivery.sync(fact("a"), fact("b"), fact("c"))
    delivery.run()
    sink.accepted.clear()
    delivery.sync(fact("b"), fact("c", ofport=9))
    delivery.run()
    item = {"replay": ["online b", "online c"], "diff": ["updated c"]}[resync]
    assert story(sink.accepted) == [
        "sync_started resync",
        "offline a",
        *item,
        "sync_finished resync",
    ]
