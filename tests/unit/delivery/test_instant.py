"""A sink that never waits receives changes on the thread that publishes them."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path

import pytest

from dfovsdb.delivery import worker
from dfovsdb.delivery.dispatcher import Dispatcher
from dfovsdb.model import PortEvent
from dfovsdb.monitor.queue_sink import BATCHES, QueueSink
from dfovsdb.testing import wait_until
from tests.unit.delivery.scripted import (
    DOWN,
    REFUSE,
    BatchSink,
    Delivery,
    ScriptedSink,
    Step,
    fact,
    story,
)
from tests.waiting import DEADLINE


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any call may be interrupted for long on a machine that is busy."""
    monkeypatch.setattr(worker, "INSTANT", DEADLINE)


def waiting(sink: ScriptedSink, **options: object) -> Delivery:
    """A delivery whose worker has delivered a sync and waits."""
    sink.instant = True
    delivery = Delivery(sink, **options)
    delivery.sync(fact("a"))
    delivery.run()
    sink.accepted.clear()
    return delivery


def test_a_change_is_delivered_when_publish_returns() -> None:
    sink = ScriptedSink()
    delivery = waiting(sink)
    delivery.publish(fact("b"))
    delivery.publish(fact("a", ofport=6))
    assert story(sink.accepted) == ["online b", "updated a"]
    assert delivery.worker.counters["delivered"] == 3
    assert delivery.worker.undelivered() == 0


def test_a_worker_that_has_work_does_it_first() -> None:
    sink = ScriptedSink()
    delivery = waiting(sink)
    delivery.dispatcher.replay()
    delivery.publish(fact("b"))
    assert sink.accepted == []
    delivery.run()
    assert story(sink.accepted)[-2:] == ["online b", "sync_finished replay"]


@pytest.mark.parametrize("kind", [ScriptedSink, BatchSink])
def test_an_outage_is_left_to_the_worker_which_offers_the_same_event(
    kind: type[ScriptedSink],
) -> None:
    sink = kind(*[])
    delivery = waiting(sink)
    sink.script += [DOWN]
    delivery.publish(fact("b"), fact("c"))
    assert sink.accepted == []
    offered = sink.offered[-1]
    delivery.run()
    assert story(sink.accepted) == ["online b", "online c"]
    assert any(one is offered for one in sink.accepted)
    delivery.publish(fact("d"))  # and from now on everything is
    assert story(sink.accepted)[2:] == []
    delivery.run()
    assert story(sink.accepted)[2:] == ["online d"]


def test_what_arrived_before_an_outage_is_not_repeated() -> None:
    sink = BatchSink()
    delivery = waiting(sink)
    sink.script += [Step("down", 1)]
    delivery.publish(fact("b"), fact("c"))
    delivery.run()
    assert story(sink.accepted) == ["online b", "online c"]


def test_a_refusal_takes_the_right_away() -> None:
    sink = ScriptedSink()
    delivery = waiting(sink)
    sink.script += [REFUSE]
    delivery.publish(fact("b"))
    delivery.publish(fact("c"))
    assert sink.accepted == []
    delivery.run()
    assert story(sink.accepted) == ["online c"]


def test_a_call_that_takes_long_takes_the_right_away_and_is_logged(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(worker, "INSTANT", 0.01)
    sink = ScriptedSink()
    delivery = waiting(sink)
    sink.script += [Step(meanwhile=lambda: time.sleep(0.02))]
    delivery.publish(fact("b"))
    assert "sink sink0 is not instant" in caplog.text
    delivery.publish(fact("c"))
    assert story(sink.accepted) == ["online b"]


def test_with_a_state_dir_everything_is_left_to_the_worker(tmp_path: Path) -> None:
    sink = ScriptedSink()
    delivery = waiting(sink, state_dir=str(tmp_path))
    delivery.publish(fact("b"))
    assert sink.accepted == []


class TwoAtATime(ScriptedSink):
    """Notes whether a call begins while another has not returned."""

    poll_interval = 0.001

    def __init__(self) -> None:
        super().__init__()
        self.instant = True
        self.overlaps = 0
        self._busy = threading.Lock()

    def emit(self, event: PortEvent) -> None:
        self._note(event.port.uuid)
        super().emit(event)

    def poll(self) -> None:
        self._note("")
        super().poll()

    def _note(self, uuid: str) -> None:
        if not self._busy.acquire(blocking=False):
            self.overlaps += 1
            return
        if uuid:
            time.sleep(0.005)  # several poll intervals
        self._busy.release()


def test_its_worker_makes_no_call_meanwhile() -> None:
    sink = TwoAtATime()
    delivery = Dispatcher({"sink": sink}, host="host", resync="diff", queue_limit=100)
    delivery.start()
    delivery.publish_sync([])
    wait_until(lambda: "poll" in sink.calls)
    for number in range(50):
        delivery.publish([fact(f"p{number}")])
        delivery.replay()
    assert delivery.stop(DEADLINE)
    assert sink.overlaps == 0
    assert {item.port.uuid for item in sink.accepted if isinstance(item, PortEvent)} == {
        f"p{number}" for number in range(50)
    }


def test_the_queue_of_watch_is_instant_while_it_has_room() -> None:
    sink = QueueSink()
    delivery = Delivery(sink)
    delivery.sync(fact("a"))
    delivery.run()
    number = 0
    while sink.instant:
        number += 1
        delivery.publish(fact("a", kind="vm" if number % 2 else "tunnel"))
    assert 5 < sink.batches.qsize() <= BATCHES
    delivery.publish(fact("a", kind="patch"))  # would wait for ever on this thread
    assert delivery.worker.undelivered() == 1


def test_a_message_with_much_in_it_is_left_to_the_worker() -> None:
    sink = ScriptedSink()
    delivery = waiting(sink)
    delivery.publish(*(fact(f"p{number}") for number in range(worker.FEW + 1)))
    assert sink.accepted == []
