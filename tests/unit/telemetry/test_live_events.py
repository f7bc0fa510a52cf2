"""What pages follow: the picture and the events add up, and memory is bounded."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dfovsdb.sinks.base import SinkContext
from dfovsdb.telemetry import live_events
from dfovsdb.telemetry.live_events import LiveEvents
from tests.unit.samples import event, marker, port


@pytest.fixture
def live() -> LiveEvents:
    live = LiveEvents(lambda: None)
    live.open(SinkContext("cmp-17", "e", lambda: None))
    return live


def resumed(live: LiveEvents, last_id: str) -> list[int] | None:
    later = live.since(last_id)
    return None if later is None else [one.seq for one in later]


def test_a_picture_and_what_comes_after_it_add_up(live: LiveEvents) -> None:
    live.sync_started(marker(seq=1))
    live.emit(event(port(uuid="u-1"), seq=2))
    live.sync_finished(marker(action="sync_finished", seq=3, ports=1))
    picture = live.picture()
    assert picture.id == "e:3"
    live.emit_many(
        [event(port(uuid="u-2"), seq=4), event(port(uuid="u-1"), action="offline", seq=5)]
    )
    ports: dict[str, Any] = {port.uuid: port.name for port in picture.ports}
    for one in live.since(picture.id) or ():
        data = json.loads(one.line)
        if data["action"] == "offline":
            del ports[data["port"]["uuid"]]
        else:
            ports[data["port"]["uuid"]] = data["port"]["name"]
    assert ports == {port.uuid: port.name for port in live.picture().ports}
    assert resumed(live, "e:5") == []


def test_what_is_not_remembered_is_a_picture(
    live: LiveEvents, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_events, "MOST_EVENTS", 3)
    for seq in range(1, 11):
        live.emit(event(seq=seq))
    assert resumed(live, "e:7") == [8, 9, 10]
    for last_id in ("e:6", "e:0", "e:11", "f:9", "", "e:", "e:-1", "e:\uff19", "e:" + "9" * 5000):
        assert resumed(live, last_id) is None


def test_memory_is_bounded_by_bytes_too(live: LiveEvents, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_events, "MOST_BYTES", 5000)
    for seq in range(1, 11):
        live.emit(event(port(name="x" * 2000), seq=seq))
    assert resumed(live, "e:10") == []
    assert live._size <= 5000
