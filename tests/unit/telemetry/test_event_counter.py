"""The internal sink that counts, and measures only what it has seen from its beginning."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from dfovsdb.histogram import Histogram
from dfovsdb.model import Port
from dfovsdb.telemetry.event_counter import EventCounter
from tests.unit.samples import TIME, event, port

PENDING = port(ofport=None)
READY = port(ofport=5)
INSTALLED = port(attributes={"ovn_installed": "true"})


def counted(*steps: tuple[str, Port, float], **facts: Any) -> EventCounter:
    observer = EventCounter()
    for action, now, seconds in steps:
        time = TIME + timedelta(seconds=seconds)
        observer.emit(event(now, action=action, **({"time": time} | facts)))
    return observer


def waits(waits: dict[str, Histogram]) -> dict[str, tuple[int, float]]:
    return {
        kind: (durations.read().buckets[-1][1], durations.read().total)
        for kind, durations in waits.items()
    }


def test_events_are_counted_by_action_and_kind() -> None:
    observer = counted(("online", PENDING, 0), ("updated", READY, 1), ("updated", READY, 2))
    assert observer.events == {("online", "vm"): 1, ("updated", "vm"): 2}


def test_a_wait_ends_when_the_switch_has_numbered_the_port() -> None:
    observer = counted(
        ("online", PENDING, 0),
        ("updated", PENDING, 1),
        ("updated", READY, 2.5),
        ("updated", READY, 9),
    )
    assert waits(observer.to_ready) == {"vm": (1, 2.5)}


def test_a_port_that_fails_first_waits_until_it_is_ready() -> None:
    failed = port(ofport=-1)
    for first in (PENDING, failed):
        observer = counted(("online", first, 0), ("updated", failed, 1), ("updated", READY, 60))
        assert waits(observer.to_ready) == {"vm": (1, 60.0)}


def test_a_wait_ends_when_ovn_has_installed_the_port() -> None:
    observer = counted(("online", PENDING, 0), ("updated", READY, 1), ("updated", INSTALLED, 3))
    assert waits(observer.to_ovn_installed) == {"vm": (1, 3.0)}


def test_what_was_there_before_is_not_measured() -> None:
    observer = EventCounter()
    observer.emit(event(PENDING, origin="initial"))
    observer.emit(event(INSTALLED, action="updated"))
    assert not observer.to_ready
    assert not observer.to_ovn_installed


def test_what_was_numbered_when_nobody_watched_is_not_measured() -> None:
    for origin, action in (("resync", "online"), ("catchup", "updated")):
        observer = counted(("online", PENDING, 0))
        observer.emit(event(INSTALLED, action=action, origin=origin, previous=PENDING))
        observer.emit(event(INSTALLED, action="updated"))
        assert not observer.to_ready
        assert not observer.to_ovn_installed


def test_a_port_that_leaves_is_forgotten() -> None:
    observer = counted(("online", PENDING, 0), ("offline", PENDING, 1), ("updated", READY, 2))
    assert not observer.to_ready


def test_a_histogram_counts_what_is_at_most_as_long_as_each_bound() -> None:
    durations = Histogram((1.0, 2.0))
    for seconds in (0.5, 1.0, 1.5, 99.0):
        durations.observe(seconds)
    assert durations.read() == ([(1.0, 2), (2.0, 3), (float("inf"), 4)], 102.0)
