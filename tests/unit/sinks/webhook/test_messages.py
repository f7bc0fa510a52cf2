"""Events as CloudEvents: the format, and batches within their bounds."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from dfovsdb.model import PortEvent, SyncMarker, port_of
from dfovsdb.sinks.webhook import messages as cloudevents
from dfovsdb.testing.rows import interface

TIME = datetime(2026, 11, 22, 13, 0, 0, 123456, UTC)
EPOCH = "8c5b3a0e"


def event(seq: int, name: str = "tap0") -> PortEvent:
    port = port_of(interface(name, ofport=1), "vm", {})
    return PortEvent(
        action="online",
        port=port,
        previous=None,
        origin="update",
        seq=seq,
        time=TIME,
        host="cmp 17/ä",
    )


def messages(count: int, events: int = 100, size: int = 1 << 20) -> list[cloudevents.Request]:
    items = [event(number) for number in range(1, count + 1)]
    return list(cloudevents.messages(items, "h", EPOCH, most_events=events, most_bytes=size))


def test_an_event_has_the_attributes_that_are_required_and_its_json_as_data() -> None:
    one = json.loads(cloudevents.encode(event(7), "cmp 17/ä", EPOCH))
    data = one.pop("data")
    assert one == {
        "specversion": "1.0",
        "id": "cmp%2017%2F%C3%A4:8c5b3a0e:7",
        "source": "/dfovsdb/cmp%2017%2F%C3%A4",
        "type": "dfovsdb.port.online",
        "time": "2026-11-22T13:00:00.123456Z",
        "subject": data["port"]["uuid"],
        "datacontenttype": "application/json",
    }
    assert (data["v"], data["seq"], data["port"]["name"]) == (1, 7, "tap0")


@pytest.mark.parametrize("action", ["sync_started", "sync_finished"])
def test_a_marker_has_no_subject(action: str) -> None:
    marker = SyncMarker(action=action, origin="initial", seq=1, time=TIME, host="h", ports=None)  # type: ignore[arg-type]  # of a parameter
    one = json.loads(cloudevents.encode(marker, "h", EPOCH))
    assert one["type"] == f"dfovsdb.{action.replace('_', '.')}"
    assert "subject" not in one


def test_a_batch_is_bounded_in_events() -> None:
    assert [message.events for message in messages(7, events=3)] == [3, 3, 1]


def test_a_batch_of_one_is_a_single_event() -> None:
    (message,) = messages(1)
    assert message.content_type == "application/cloudevents+json"
    assert json.loads(message.body)["id"] == message.id == "h:8c5b3a0e:1"


def test_a_batch_is_an_array_whose_name_tells_its_first_and_last() -> None:
    (message,) = messages(3)
    assert message.content_type == "application/cloudevents-batch+json"
    assert message.id == "h:8c5b3a0e:1-3"
    assert [one["data"]["seq"] for one in json.loads(message.body)] == [1, 2, 3]


def test_a_batch_is_bounded_in_bytes_and_uses_them() -> None:
    size = len(messages(1)[0].body)
    three = 3 * size + 4
    assert [m.events for m in messages(7, size=three)] == [3, 3, 1]
    assert [m.events for m in messages(4, size=three - 1)] == [2, 2]
    assert all(len(m.body) <= three for m in messages(7, size=three))


def test_an_event_larger_than_the_bound_goes_alone() -> None:
    assert [message.events for message in messages(3, size=10)] == [1, 1, 1]
