"""Where a port is: trunks, patch pairs, VLANs, bonds and bridges, each change delivered once."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from dfovsdb import Monitor, Port
from dfovsdb.model import TABLES
from dfovsdb.testing import CaptureSink, Sandbox
from tests.functional.helpers import insert, vm
from tests.waiting import DEADLINE

TRUNKS = 30


def ready(iface_id: str) -> Callable[[Port], bool]:
    return lambda port: port.attributes.get("iface_id") == iface_id and port.state == "ready"


def test_a_trunk_is_found_by_the_ids_of_its_parent_and_of_each_subport(
    ovs_sandbox: Sandbox,
) -> None:
    """As Neutron plugs it, its rows in any order: the parent by its tap, a subport by a patch."""
    chance = random.Random(0)
    ovs_sandbox.add_bridge("br-int")
    with Monitor(ovs_sandbox.connection, tables=TABLES) as monitor, ThreadPoolExecutor(3) as hands:
        for number in range(TRUNKS):
            bridge = f"tbr-{number}"
            ovs_sandbox.add_bridge(bridge)
            ids = [f"{what}-{number}" for what in ("parent", "sub1", "sub2")]

            waits = [hands.submit(monitor.wait_for, ready(one), DEADLINE) for one in ids]
            rows = [("tap", bridge, ids[0], "type=dummy")]
            for short, (iface_id, pair) in enumerate(
                zip(ids, [("tpi", "tpt"), ("spi", "spt"), ("spi", "spt")], strict=True)
            ):
                inside, outside = (f"{end}-{short}-{number}" for end in pair)
                for name, peer, where in (
                    (inside, outside, "br-int"),
                    (outside, inside, bridge),
                ):
                    rows.append((name, where, iface_id, f"type=patch options:peer={peer}"))
            chance.shuffle(rows)
            for name, where, iface_id, settings in rows:
                full = f"{name}{number}" if name == "tap" else name
                message = ["--", "set", "interface", full, *settings.split()]
                ovs_sandbox.vsctl(
                    "add-port", where, full, *message, f"external_ids:iface-id={iface_id}"
                )
            parent, *subports = [wait.result(DEADLINE) for wait in waits]
            assert parent.attributes["iface_id"] == ids[0]
            assert [one.type for one in subports] == ["patch", "patch"]
        # The VIF's own row, also where its patch ports were ready before it.
        for number in range(TRUNKS):
            found = monitor.wait_for(ready(f"parent-{number}"), DEADLINE)
            assert found.name == f"tap{number}"


def test_a_device_that_is_missing_has_failed_wherever_one_looks(ovs_sandbox: Sandbox) -> None:
    ovs_sandbox.add_bridge("br-ex")
    ovs_sandbox.vsctl("add-port", "br-ex", "eth7")
    for command in ("ports", "doctor"):
        done = subprocess.run(
            [sys.executable, "-m", "dfovsdb", command, ovs_sandbox.connection],
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )
        line = next(line for line in done.stdout.splitlines() if "eth7" in line)
        assert "failed" in line


def test_a_peer_that_leaves_and_returns_is_two_events_whatever_else_happens(
    ovs_sandbox: Sandbox,
) -> None:
    for bridge in ("br-a", "br-b", "br-c"):
        ovs_sandbox.add_bridge(bridge)

    def add(name: str, bridge: str, peer: str) -> None:
        ovs_sandbox.vsctl(
            *("add-port", bridge, name, "--", "set", "interface", name),
            *("type=patch", f"options:peer={peer}"),
        )

    add("pa", "br-a", "pb")
    add("pb", "br-b", "pa")
    sink = CaptureSink()
    with Monitor(ovs_sandbox.connection, sinks=[sink], tables=TABLES):
        sink.wait_until(
            lambda: [p.state for p in sink.ports.values() if p.name == "pa"] == ["ready"]
        )
        before = len(sink.of("pa"))

        def others() -> None:
            for number in range(100):
                name = f"tap{number}"
                ovs_sandbox.vsctl(
                    *("add-port", "br-c", name, "--", "set", "interface", name, "type=dummy")
                )
                if number % 2:
                    ovs_sandbox.vsctl("del-port", name)

        busy = threading.Thread(target=others)
        busy.start()
        ovs_sandbox.vsctl("del-port", "pb")
        sink.wait_until(lambda: sink.of("pa")[-1].port.state == "failed")
        add("pb", "br-b", "pa")
        sink.wait_until(lambda: sink.of("pa")[-1].port.state == "ready")
        busy.join()
        assert [event.port.state for event in sink.of("pa")[before:]] == ["failed", "ready"]


@pytest.fixture
def delivered(ovsdb_sandbox: Sandbox) -> Iterator[tuple[Sandbox, CaptureSink]]:
    """A port of a bridge, with its number, on a database that no switch writes to."""
    for bridge in ("br-int", "br-ex"):
        ovsdb_sandbox.vsctl("add-br", bridge)
    ovsdb_sandbox.transact(*insert("tap1", 1, ofport=7, **vm("v1")))
    sink = CaptureSink()
    with Monitor(ovsdb_sandbox.connection, sinks=[sink], tables=TABLES):
        sink.wait_for_sync()
        yield ovsdb_sandbox, sink


def changed(sink: CaptureSink, name: str) -> dict[str, Any]:
    """What the last and only new event of a port has changed."""
    sink.wait_until(lambda: len(sink.of(name)) == 2)
    assert sink.actions(name) == ["online", "updated"]
    return dict(sink.of(name)[1].changed)


def test_a_vlan_that_changes_is_one_event(delivered: tuple[Sandbox, CaptureSink]) -> None:
    box, sink = delivered
    box.vsctl("set", "port", "tap1", "tag=4095")
    assert changed(sink, "tap1") == {"tag": (None, 4095)}
    box.vsctl("set", "port", "tap1", "tag=5")
    sink.wait_until(lambda: len(sink.of("tap1")) == 3)
    assert dict(sink.of("tap1")[2].changed) == {"tag": (4095, 5)}


def test_a_port_that_moves_to_another_bridge_is_one_event(
    delivered: tuple[Sandbox, CaptureSink],
) -> None:
    box, sink = delivered
    (found,) = box.transact(
        {
            "op": "select",
            "table": "Port",
            "where": [["name", "==", "tap1"]],
            "columns": ["_uuid"],
        }
    )
    uuid = found["rows"][0]["_uuid"]
    box.transact(
        *(
            {
                "op": "mutate",
                "table": "Bridge",
                "where": [["name", "==", bridge]],
                "mutations": [["ports", do, uuid]],
            }
            for bridge, do in (("br-int", "delete"), ("br-ex", "insert"))
        )
    )
    assert changed(sink, "tap1") == {"bridge": ("br-int", "br-ex")}


def test_a_bond_that_is_made_and_broken_is_one_event_each(
    delivered: tuple[Sandbox, CaptureSink],
) -> None:
    box, sink = delivered
    second = {"op": "insert", "table": "Interface", "uuid-name": "i", "row": {"name": "tap2"}}
    port = {"op": "mutate", "table": "Port", "where": [["name", "==", "tap1"]]}
    results = box.transact(
        second, {**port, "mutations": [["interfaces", "insert", ["named-uuid", "i"]]]}
    )
    assert changed(sink, "tap1") == {"bond": (None, "tap1")}
    box.transact({**port, "mutations": [["interfaces", "delete", results[0]["uuid"]]]})
    sink.wait_until(lambda: len(sink.of("tap1")) == 3)
    assert dict(sink.of("tap1")[2].changed) == {"bond": ("tap1", None)}


def test_a_bridge_whose_device_is_taken_has_failed_and_is_not_offline(
    delivered: tuple[Sandbox, CaptureSink],
) -> None:
    box, sink = delivered
    box.transact(
        {
            "op": "update",
            "table": "Interface",
            "where": [["name", "==", "br-ex"]],
            "row": {"ofport": -1, "error": "could not open network device br-ex (File exists)"},
        }
    )
    sink.wait_until(lambda: len(sink.of("br-ex")) == 2)
    last = sink.of("br-ex")[1]
    assert (last.action, last.port.kind, last.port.state) == ("updated", "bridge", "failed")
