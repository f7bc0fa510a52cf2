"""The table of the lifecycle, line by line, and then as a law for any facts."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfovsdb.delivery.event_order import in_order
from dfovsdb.delivery.lifecycle import NextEvent, next_event
from dfovsdb.model import Port
from tests.unit.samples import port

P = port()
SAME = port()
DIFFERENT = port(ofport=6)
OF_ANOTHER_KIND = port("tunnel", {"key": "7"})


@pytest.mark.parametrize(
    ("delivered", "now", "replaying", "following"),
    [
        (None, None, False, None),
        (None, None, True, None),
        (None, P, False, NextEvent("online", P, None)),
        (None, P, True, NextEvent("online", P, None)),
        (P, None, False, NextEvent("offline", P, None)),
        (P, None, True, NextEvent("offline", P, None)),
        (P, OF_ANOTHER_KIND, False, NextEvent("offline", P, None)),
        (P, OF_ANOTHER_KIND, True, NextEvent("offline", P, None)),
        (P, DIFFERENT, False, NextEvent("updated", DIFFERENT, P)),
        (P, DIFFERENT, True, NextEvent("online", DIFFERENT, P)),
        (P, SAME, False, None),
        (P, SAME, True, NextEvent("online", SAME, P)),
    ],
)
def test_each_line_of_the_table(
    delivered: Port | None, now: Port | None, replaying: bool, following: NextEvent | None
) -> None:
    assert next_event(delivered, now, replaying=replaying) == following


def test_a_port_goes_offline_as_it_was_delivered() -> None:
    following = next_event(P, OF_ANOTHER_KIND, replaying=False)
    assert following is not None
    assert following.port is P


def test_what_became_unknown_is_no_news() -> None:
    forgotten = port(admin_state=None, link_state=None)
    assert next_event(P, forgotten, replaying=False) is None
    replayed = next_event(P, forgotten, replaying=True)
    assert replayed is not None
    assert (replayed.port.admin_state, replayed.port.link_state) == ("up", "up")


def test_what_became_unknown_with_another_ofport_is_reported() -> None:
    now = port(ofport=6, link_state=None)
    assert next_event(P, now, replaying=False) == NextEvent("updated", now, P)


def test_an_error_of_a_port_that_is_not_failed_is_no_news() -> None:
    assert next_event(P, port(error="No usable peer"), replaying=False) is None
    failed = port(ofport=-1, error="first")
    assert next_event(failed, port(ofport=-1, error="second"), replaying=False) is not None


# The order of one message.


def named(uuid: str, kind: str = "vm", **facts: object) -> Port:
    return port(kind, {}, uuid=uuid, name=uuid, **facts)


DELIVERED = {uuid: named(uuid) for uuid in ("gone", "turned", "changed", "same")}


def test_ports_leave_then_change_then_turn_or_arrive() -> None:
    turned, changed = named("turned", "bridge"), named("changed", ofport=9)
    same, arrived = named("same"), named("arrived")
    facts = [
        ("arrived", arrived),
        ("changed", changed),
        ("same", same),
        ("turned", turned),
        ("gone", None),
    ]
    assert list(in_order(facts, DELIVERED.get)) == [
        ("gone", None),
        ("turned", None),
        ("changed", changed),
        ("same", same),
        ("turned", turned),
        ("arrived", arrived),
    ]


@pytest.mark.parametrize(
    ("fact", "order"),
    [
        (("gone", None), [("gone", None)]),
        (("unknown", None), [("unknown", None)]),
        (("changed", named("changed", ofport=9)), [("changed", named("changed", ofport=9))]),
        (("arrived", named("arrived")), [("arrived", named("arrived"))]),
        (
            ("turned", named("turned", "bridge")),
            [("turned", None), ("turned", named("turned", "bridge"))],
        ),
    ],
)
def test_one_fact_alone_makes_the_same_steps(
    fact: tuple[str, Port | None], order: list[tuple[str, Port | None]]
) -> None:
    assert list(in_order([fact], DELIVERED.get)) == order
    assert [s for s in in_order([fact, ("none", None)], DELIVERED.get) if s[0] != "none"] == order


def test_a_bridge_comes_before_the_ports_on_it_when_everything_is_sent_again() -> None:
    bridge = port("bridge", {}, name="br-int", ofport=65534)
    delivered = {"a": port(name="tap0"), "b": bridge, "c": port(name="tap1")}
    ordered = in_order(list(delivered.items()), delivered.get)
    assert [uuid for uuid, _ in ordered] == ["b", "a", "c"]


def test_no_facts_make_no_steps() -> None:
    assert list(in_order([], DELIVERED.get)) == []


# Whatever is delivered.

uuids = st.sampled_from(["u1", "u2", "u3", "u4"])
ports = st.builds(
    lambda kind, ofport, admin, owner: port(
        kind, {"iface_id": owner}, ofport=ofport, admin_state=admin
    ),
    kind=st.sampled_from(["vm", "bridge"]),
    ofport=st.sampled_from([None, -1, 1, 2]),
    admin=st.sampled_from([None, "up", "down"]),
    owner=st.sampled_from(["vif-1", "vif-2"]),
)


@st.composite
def tables(draw: st.DrawFn) -> dict[str, Port]:
    """A legal table: an iface-id is on one port at a time."""
    drawn = draw(st.dictionaries(uuids, ports, max_size=4))
    seen: dict[str | None, str] = {}
    for uuid, a_port in drawn.items():
        seen.setdefault(a_port.attributes["iface_id"], uuid)
    return {u: msgspec.structs.replace(drawn[u], uuid=u, name=u) for u in seen.values()}


def deliver(
    delivered: dict[str, Port], facts: Sequence[tuple[str, Port | None]], *, replaying: bool
) -> list[NextEvent]:
    """Deliver facts to a view that accepts everything."""
    events = []
    for uuid, now in in_order(facts, delivered.get):
        following = next_event(delivered.get(uuid), now, replaying=replaying)
        if following is None:
            continue
        events.append(following)
        if following.action == "offline":
            del delivered[uuid]
        else:
            delivered[uuid] = following.port
    return events


@given(tables(), tables(), st.booleans(), st.randoms(use_true_random=False))
def test_telling_the_difference_always_ends_at_the_table(
    before: dict[str, Port], table: dict[str, Port], replaying: bool, random: object
) -> None:
    delivered = dict(before)
    facts: list[tuple[str, Port | None]] = [
        (uuid, None) for uuid in delivered if uuid not in table
    ]
    facts += table.items()
    random.shuffle(facts)  # type: ignore[attr-defined]  # Hypothesis hands in a random.Random
    following = deliver(delivered, facts, replaying=replaying)

    assert set(delivered) == set(table)
    for uuid, a_port in table.items():
        assert delivered[uuid].kind == a_port.kind
        assert delivered[uuid].ofport == a_port.ofport
    left = deliver(delivered, list(table.items()), replaying=False)
    assert left == []

    actions = [following.action for following in following]
    first_other = next((i for i, a in enumerate(actions) if a != "offline"), len(actions))
    assert "offline" not in actions[first_other:]
    if replaying:
        assert actions.count("online") == len(table)


@given(tables(), tables())
def test_an_identity_that_moves_is_never_online_twice(
    before: dict[str, Port], table: dict[str, Port]
) -> None:
    """Where a port arrives with it; two ports that swap theirs are two changes in a row."""
    delivered = dict(before)
    facts: list[tuple[str, Port | None]] = [*table.items()]
    facts += [(uuid, None) for uuid in delivered if uuid not in table]
    owners = {uuid: a_port.attributes["iface_id"] for uuid, a_port in delivered.items()}
    for following in deliver(delivered, facts, replaying=False):
        owner, uuid = following.port.attributes["iface_id"], following.port.uuid
        if following.action == "online" and following.previous is None and uuid not in before:
            assert owner not in owners.values()
        if following.action == "offline":
            del owners[uuid]
        else:
            owners[uuid] = owner
