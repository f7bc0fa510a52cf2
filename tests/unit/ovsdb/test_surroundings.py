"""The work for a change of a bridge is in proportion to the change, not to the bridge."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from dfovsdb.ovsdb.replica import Replica
from dfovsdb.ovsdb.updates import ColumnType, MonitorMethod
from tests.unit.counting import CountingDict, CountingSet

MAP, SET = ColumnType("map", several=True), ColumnType("set", several=True)
OPTIONAL, SCALAR = ColumnType("optional", several=False), ColumnType("scalar", several=False)


def raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))


def uuids(names: list[str]) -> Any:
    return ["set", [["uuid", name] for name in names]]


def bridge_of(count: int) -> Replica:
    """A bridge with so many ports, half of them patches, read with the tables Port and Bridge."""
    names = [f"p{number}" for number in range(count)]
    patches = {
        f"i-{name}": {
            "name": name,
            "type": "patch",
            "ofport": 1,
            "options": ["map", [["peer", "x"]]],
        }
        for name in names[count // 2 :]
    }
    rows = {f"i-{name}": {"name": name} for name in names} | patches
    replica = Replica()
    replica.replace(
        raw(
            {
                "Interface": {uuid: {"initial": row} for uuid, row in rows.items()},
                "Port": {
                    name: {"initial": {"name": name, "interfaces": ["uuid", f"i-{name}"]}}
                    for name in names
                },
                "Bridge": {"b": {"initial": {"name": "br-int", "ports": uuids(names)}}},
            }
        ),
        "monitor_cond",
        {},
        surrounded=True,
    )
    surroundings = replica._surroundings
    assert surroundings is not None
    surroundings._bridges["b"].ports = CountingSet(surroundings._bridges["b"].ports)
    replica.rows = CountingDict(replica.rows)
    return replica


CHANGES: dict[str, Any] = {
    "a port comes": {
        "Interface": {"i-new": {"insert": {"name": "new"}}},
        "Port": {"new": {"insert": {"name": "new", "interfaces": ["uuid", "i-new"]}}},
        "Bridge": {"b": {"modify": {"ports": ["uuid", "new"]}}},
    },
    "a port leaves": {
        "Interface": {"i-p5": {"delete": None}},
        "Port": {"p5": {"delete": None}},
        "Bridge": {"b": {"modify": {"ports": ["uuid", "p5"]}}},
    },
    "a port gets a tag": {"Port": {"p5": {"modify": {"tag": 7}}}},
    "an interface changes": {"Interface": {"i-p5": {"modify": {"ofport": 5}}}},
}


def counted(work: Callable[[], object]) -> int:
    """How many functions of Python and of C are called, and how much is copied or iterated."""
    calls = 0

    def count(_frame: Any, event: str, _what: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    CountingSet.copied = CountingDict.iterated = 0
    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    return calls + CountingSet.copied + CountingDict.iterated


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_costs_the_same_whatever_the_size_of_the_bridge(name: str) -> None:
    costs = []
    for count in (1000, 50_000):
        replica = bridge_of(count)
        changed: list[Any] = []
        update = raw(CHANGES[name])
        costs.append(counted(lambda r=replica, u=update, c=changed: c.extend(r.apply(u))))  # type: ignore[misc]  # bound on purpose
        assert len(changed) == 1
    assert costs[1] <= costs[0] + 10


def test_a_new_name_of_a_bridge_concerns_all_of_its_ports() -> None:
    replica = bridge_of(1000)
    renamed = replica.apply(raw({"Bridge": {"b": {"modify": {"name": "br-new"}}}}))
    assert {delta.new.bridge for delta in renamed if delta.new} == {"br-new"}
    assert len(renamed) == 1000


@pytest.mark.parametrize(
    ("column", "schema", "wire", "value"),
    [
        ("Port.external_ids", MAP, ["map", [["pod-name", "web-0"]]], {"pod-name": "web-0"}),
        ("Port.external_ids", MAP, ["map", []], {}),
        ("Port.tag", OPTIONAL, 5, 5),
        ("Port.tag", OPTIONAL, ["set", []], None),
        ("Port.trunks", SET, ["set", [2, 1]], (1, 2)),
        ("Port.fake_bridge", SCALAR, True, True),
        ("Port.name", SCALAR, "p0", "p0"),
        ("Port.bond_mode", OPTIONAL, "balance-slb", "balance-slb"),
        ("Bridge.name", SCALAR, "br-int", "br-int"),
        ("Bridge.datapath_type", SCALAR, "netdev", "netdev"),
    ],
)
@pytest.mark.parametrize("method", ["monitor_cond", "monitor"])
def test_a_classifier_may_declare_any_column_also_one_that_is_read_anyway(
    column: str, schema: ColumnType, wire: Any, value: Any, method: MonitorMethod
) -> None:
    table, _, name = column.partition(".")
    rows: dict[str, dict[str, Any]] = {
        "Port": {"name": "p0", "interfaces": ["uuid", "i-p0"]},
        "Bridge": {"name": "br-int", "ports": ["uuid", "p"]},
    }
    rows[table][name] = wire
    action = "new" if method == "monitor" else "initial"
    replica = Replica()
    replica.replace(
        raw(
            {
                "Interface": {"i-p0": {action: {"name": "p0"}}},
                "Port": {"p": {action: rows["Port"]}},
                "Bridge": {"b": {action: rows["Bridge"]}},
            }
        ),
        method,
        {column: schema},
        surrounded=True,
    )
    (row,) = replica.rows.values()
    assert row.columns[column] == value


@pytest.mark.parametrize("number", [None, -1])
def test_a_peer_that_the_switch_has_not_opened_is_no_peer_of_an_open_port(
    number: int | None,
) -> None:
    """As with a bridge whose datapath_type the switch does not have: "No usable peer"."""
    replica = Replica()

    def patch(name: str, peer: str, ofport: int | None) -> dict[str, Any]:
        row = {"name": name, "type": "patch", "options": ["map", [["peer", peer]]]}
        return row if ofport is None else {**row, "ofport": ofport}

    both = {"a": {"initial": patch("pa", "pb", None)}, "b": {"initial": patch("pb", "pa", None)}}
    replica.replace(raw({"Interface": both}), "monitor_cond", {})
    assert [row.peer for row in replica.rows.values()] == [True, True]  # both wait

    replica.apply(raw({"Interface": {"a": {"modify": {"ofport": 1}}}}))
    if number is not None:
        replica.apply(raw({"Interface": {"b": {"modify": {"ofport": number}}}}))
    assert [(row.name, row.peer) for row in replica.rows.values()] == [("pa", False), ("pb", True)]

    changes = replica.apply(raw({"Interface": {"b": {"modify": {"ofport": 2}}}}))
    assert {change.uuid for change in changes} == {"a", "b"}
    assert [row.peer for row in replica.rows.values()] == [True, True]


@pytest.mark.parametrize("method", ["monitor_cond", "monitor"])
def test_a_peer_on_a_bridge_of_another_datapath_type_is_no_peer(method: MonitorMethod) -> None:
    """As where br-int is of DPDK (netdev) and br-ex of the kernel: "No usable peer"."""
    replica = Replica()
    first = "new" if method == "monitor" else "initial"
    ports = {
        name: {first: {"name": name, "interfaces": ["uuid", f"i-{name}"]}} for name in ("pa", "pb")
    }
    interfaces = {
        f"i-{one}": {
            first: {
                "name": one,
                "type": "patch",
                "ofport": 1,
                "options": ["map", [["peer", other]]],
            }
        }
        for one, other in (("pa", "pb"), ("pb", "pa"))
    }
    bridges = {
        "b1": {"name": "br-int", "ports": ["uuid", "pa"], "datapath_type": "netdev"},
        "b2": {"name": "br-ex", "ports": ["uuid", "pb"], "datapath_type": ""},
    }

    def changed(datapath_type: str) -> set[str]:
        bridge = {**bridges["b2"], "datapath_type": datapath_type}
        update = (
            {"old": {"datapath_type": "x"}, "new": bridge}
            if method == "monitor"
            else {"modify": {"datapath_type": datapath_type}}
        )
        return {change.uuid for change in replica.apply(raw({"Bridge": {"b2": update}}))}

    tables = {"Interface": interfaces, "Port": ports}
    tables["Bridge"] = {uuid: {first: row} for uuid, row in bridges.items()}
    replica.replace(raw(tables), method, {}, surrounded=True)
    assert [row.peer for row in replica.rows.values()] == [False, False]
    assert changed("netdev") == {"i-pa", "i-pb"}
    assert [row.peer for row in replica.rows.values()] == [True, True]
    assert changed("system") == {"i-pa", "i-pb"}
    assert [row.peer for row in replica.rows.values()] == [False, False]


def test_a_peer_that_is_created_again_is_none_until_it_has_a_number() -> None:
    replica = Replica()

    def patch(name: str, peer: str, **columns: Any) -> dict[str, Any]:
        return {"name": name, "type": "patch", "options": ["map", [["peer", peer]]], **columns}

    pair = {"a": patch("pa", "pb", ofport=1), "b": patch("pb", "pa", ofport=2)}
    rows = {uuid: {"initial": row} for uuid, row in pair.items()}
    replica.replace(raw({"Interface": rows}), "monitor_cond", {})
    assert replica.rows["a"].peer is True
    again = {"b": {"delete": None}, "c": {"insert": patch("pb", "pa")}}
    replica.apply(raw({"Interface": again}))
    assert replica.rows["a"].peer is False
    replica.apply(raw({"Interface": {"c": {"modify": {"ofport": 3}}}}))
    assert replica.rows["a"].peer is True
