from __future__ import annotations

import pytest

from dfovsdb.errors import SinkUnavailable
from dfovsdb.model import PortEvent
from dfovsdb.sinks.base import Sink, SinkContext
from tests.unit.samples import event, marker


class Takes(Sink):
    """Takes so many events, and is then down."""

    def __init__(self, number: int) -> None:
        self.taken: list[PortEvent] = []
        self._number = number

    def emit(self, event: PortEvent) -> None:
        if len(self.taken) >= self._number:
            raise SinkUnavailable("full")
        self.taken.append(event)


def test_one_method_makes_a_sink() -> None:
    assert Sink.__abstractmethods__ == {"emit"}
    sink = Takes(1)
    sink.open(SinkContext("cmp-17", "epoch", lambda: None))
    sink.sync_started(marker())
    sink.emit(event())
    sink.sync_finished(marker())
    sink.poll()
    sink.reopen()
    sink.close()
    assert sink.poll_interval is None
    assert len(sink.taken) == 1


def test_several_events_are_emitted_in_order() -> None:
    sink, events = Takes(9), [event(seq=n) for n in range(1, 4)]
    sink.emit_many(events)
    assert sink.taken == events


@pytest.mark.parametrize("number", [0, 1, 2])
def test_an_outage_in_the_middle_says_how_many_arrived(number: int) -> None:
    with pytest.raises(SinkUnavailable, match="full") as raised:
        Takes(number).emit_many([event(), event(), event()])
    assert raised.value.delivered == number


def test_the_base_has_no_init_and_nothing_public_beyond_the_contract() -> None:
    assert "__init__" not in vars(Sink)
    assert {name for name in vars(Sink) if not name.startswith("_")} == {
        "options",
        "instant",
        "poll_interval",
        "selection",
        "open",
        "emit",
        "emit_many",
        "sync_started",
        "sync_finished",
        "poll",
        "reopen",
        "close",
    }
