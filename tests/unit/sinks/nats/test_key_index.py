"""The list that a host keeps of its own keys: it may say too much, and never too little."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dfovsdb.sinks.nats.key_index import PARTS, KeyIndex

uuids = st.sampled_from([f"u-{number}" for number in range(6)])
vifs = st.none() | st.sampled_from(["a", "b", "c"])
#: A port that is published with a VIF; one that is gone; a message that never arrives.
steps = st.lists(
    st.tuples(st.sampled_from(["published", "gone", "cut"]), uuids, vifs), max_size=40
)


def reborn(kept: dict[str, bytes]) -> KeyIndex:
    index = KeyIndex()
    for part, value in kept.items():
        index.load(part, value)
    return index


@given(steps)
def test_what_is_in_the_buckets_is_always_in_the_list(
    day: list[tuple[str, str, str | None]],
) -> None:
    index, kept = KeyIndex(), dict[str, bytes]()
    buckets: dict[str, set[str]] = {}
    for what, uuid, vif in day:
        if what == "gone":
            buckets.pop(uuid, None)
            index.drop(uuid)
            continue
        index.cover(uuid, vif)
        parts = index.lacking()
        kept |= parts
        index.keep(parts)
        if what == "cut":  # the agent is killed when the list is kept, and some of the event
            buckets.setdefault(uuid, set()).update(set() if vif is None else {vif})
            index = reborn(kept)
            continue
        buckets[uuid] = set() if vif is None else {vif}
        index.settle(uuid, vif)
        listed = dict(reborn(kept))
        assert all(claims <= listed[one] for one, claims in buckets.items())


def test_the_list_is_true_after_what_changed_was_kept() -> None:
    index = KeyIndex()
    for uuid, vif in (("u-1", "a"), ("u-2", None), ("u-1", "b"), ("u-3", "c")):
        index.cover(uuid, vif)
        index.keep(index.lacking())
        index.settle(uuid, vif)
    index.drop("u-3")
    kept = index.changed()
    assert dict(reborn(kept)).items() <= {"u-1": {"b"}, "u-2": set()}.items()
    index.keep(kept)
    assert index.changed() == {}
    assert index.lacking() == {}


def test_what_is_known_already_costs_nothing() -> None:
    index = KeyIndex()
    index.cover("u-1", "a")
    index.keep(index.lacking())
    index.settle("u-1", "a")
    index.cover("u-1", "a")
    assert index.lacking() == {}


def test_a_change_writes_one_part_of_the_list() -> None:
    index = KeyIndex()
    for number in range(500):
        index.cover(f"u-{number}", f"v-{number}")
    assert set(index.lacking()) == set(PARTS)
    index.keep(index.lacking())
    index.cover("u-new", "v-new")
    assert len(index.lacking()) == 1


def test_a_part_that_somebody_else_has_written_is_nothing() -> None:
    index = KeyIndex()
    index.load("0", b'{"stream":"KV_dfovsdb-ports","seq":1}')
    index.load("1", b"\xff")
    assert dict(index) == {}
