"""How the log of a fleet is read: once each, and what it says in the end."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from dfovsdb.fleet.fold import Fold, Life, Seen
from dfovsdb.model import Port, PortEvent, SyncMarker
from tests.unit.samples import TIME, event, marker, port

TAP0, TAP1 = port(uuid="u-0", name="tap0"), port(uuid="u-1", name="tap1")


class Log:
    """Messages with their ids, as one run of an agent gives them."""

    def __init__(self, fold: Fold, epoch: str, host: str = "cmp-17") -> None:
        self.fold, self.epoch, self.host, self.seq = fold, epoch, host, 0

    def add(self, item: PortEvent | SyncMarker, *, seq: int | None = None) -> bool:
        self.seq += seq is None
        number = self.seq if seq is None else seq
        item = msgspec.structs.replace(item, host=self.host, seq=number)
        return self.fold.add(item, f"{self.host}:{self.epoch}:{number}")

    def sync(self, *ports: Port, count: int | None = None) -> None:
        self.add(marker())
        for one in ports:
            self.add(event(one, origin="initial"))
        count = len(ports) if count is None else count
        self.add(marker(action="sync_finished", ports=count))

    def names(self) -> list[str]:
        return sorted(one.name for one in self.fold.ports[self.host].values())


def test_a_message_that_is_there_twice_counts_once() -> None:
    log = Log(Fold(), "e1")
    log.sync(TAP0, TAP1)
    assert log.add(event(TAP0, action="offline"))
    assert not log.add(event(TAP0), seq=2)
    assert log.names() == ["tap1"]


def test_ports_that_left_while_the_agent_was_dead_are_missing_from_its_next_sync() -> None:
    fold = Fold()
    Log(fold, "e1").sync(TAP0, TAP1)
    reborn = Log(fold, "e2")
    reborn.sync(TAP1)
    assert reborn.names() == ["tap1"]


def test_a_sync_of_mere_differences_removes_nothing() -> None:
    log = Log(Fold(), "e1")
    log.sync(TAP0)
    log.sync(TAP1, count=2)
    assert log.names() == ["tap0", "tap1"]


def test_a_sync_of_one_host_is_nothing_to_another() -> None:
    fold = Fold()
    one, other = Log(fold, "e1", "cmp-1"), Log(fold, "e1", "cmp-2")
    one.sync(TAP0)
    other.add(marker())
    one.add(event(TAP1))
    other.add(marker(action="sync_finished", ports=0))
    assert one.names() == ["tap0", "tap1"]
    assert other.names() == []


def test_a_sync_whose_begin_was_not_seen_removes_nothing() -> None:
    log = Log(Fold(), "e1")
    log.add(event(TAP0))
    log.add(marker(action="sync_finished", ports=0))
    assert log.names() == ["tap0"]


@given(st.lists(st.integers(1, 300), max_size=200))
def test_an_id_is_seen_when_it_came_before(numbers: list[int]) -> None:
    seen, before = Seen(), set()
    for number in numbers:
        assert seen(f"h:e:{number}") == (number in before)
        before.add(number)


def test_what_is_remembered_is_bounded() -> None:
    seen = Seen()
    assert not any(seen(f"h:e:{number}") for number in range(1, 20_001))
    assert seen("h:e:1")
    assert seen("h:e:19999")
    assert sum(map(len, seen._recent.values())) < 5000


def test_what_has_no_id_of_ours_is_always_new() -> None:
    seen = Seen()
    assert not any(seen(one) for one in ("", "", "x", "x", "h:e:one", "h:e:one"))


VIF = port(uuid="u-1", name="tap1", attributes={"iface_id": "v1"})


def life(*items: PortEvent | SyncMarker) -> Life:
    found = Life("v1")
    for item in items:
        found.add(item)
    return found


def moments(found: Life) -> list[tuple[str, str, list[str]]]:
    return [(one.event.action, one.event.host, one.hosts) for one in found.moments()]


def sync(host: str, *ports: Port, count: int | None = None) -> list[PortEvent | SyncMarker]:
    count = len(ports) if count is None else count
    events = [event(one, host=host, origin="initial") for one in ports]
    finished = marker(action="sync_finished", host=host, ports=count)
    return [marker(host=host), *events, finished]


def test_a_vif_that_left_while_its_agent_was_dead_is_no_longer_there_after_its_sync() -> None:
    found = life(*sync("a", TAP0, VIF), event(VIF, host="b"), *sync("a", TAP0))
    assert moments(found) == [
        ("online", "a", ["a"]),
        ("online", "b", ["a", "b"]),
        ("offline", "a", ["b"]),
    ]
    last = list(found.moments())[-1].event
    assert (last.port, last.origin) == (VIF, "initial")


def test_the_waits_of_a_port_are_measured_from_its_row() -> None:
    def at(seconds: int, *, action: str = "updated", host: str = "a", **facts: Any) -> PortEvent:
        one = msgspec.structs.replace(VIF, **facts)
        return event(one, action=action, host=host, time=TIME + timedelta(seconds=seconds))

    wired: dict[str, Any] = {"attributes": {**VIF.attributes, "ovn_installed": "true"}}
    found = life(
        *sync("c", msgspec.structs.replace(VIF, state="pending")),  # since when is not known
        at(0, action="online", state="pending"),
        at(1, action="online", host="b"),
        at(2),
        at(5, host="b", **wired),
        at(7, **wired),
        at(8),
        at(9, **wired),
        at(9, host="c", **wired),
    )
    waits = [
        tuple(wait and wait.total_seconds() for wait in (one.ready, one.installed))
        for one in found.moments()
    ]
    none = (None, None)
    assert waits == [none, none, none, (2, None), (None, 4), (None, 7), none, none, none]


def test_a_sync_of_mere_differences_ends_no_life() -> None:
    assert moments(life(*sync("a", VIF), *sync("a", TAP0, count=2))) == [("online", "a", ["a"])]


def test_what_the_log_no_longer_has_is_known_from_what_came_after() -> None:
    found = life(event(VIF, host="b"), event(VIF, host="a", action="offline"))
    found.is_on("c", VIF)
    found.is_on("b", VIF)
    assert moments(found) == [("online", "b", ["a", "b", "c"]), ("offline", "a", ["b", "c"])]


def test_a_port_that_takes_another_vif_has_left_this_one() -> None:
    other = port(uuid="u-1", name="tap1", attributes={"iface_id": "v2"})
    found = life(
        event(VIF, host="a"),
        event(other, host="a", action="updated", previous=VIF),
        event(other, host="a", action="offline"),
        event(VIF, host="a", action="updated", previous=other),
    )
    assert moments(found) == [
        ("online", "a", ["a"]),
        ("updated", "a", []),
        ("updated", "a", ["a"]),
    ]
