"""The main job on a real switch: what is there, what comes, what changes, what leaves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from dfovsdb import Monitor, watch
from dfovsdb.classifiers.base import Classifier
from dfovsdb.model import Interface
from dfovsdb.testing import CaptureSink, Sandbox
from tests.waiting import DEADLINE

IFACE_ID = "4aa64e21-d9d6-497e-bfa9-cf6dbb574054"
VM = (
    "type=dummy",
    f"external_ids:iface-id={IFACE_ID}",
    'external_ids:attached-mac="fa:16:3e:00:00:01"',
    "external_ids:iface-status=active",
)


@pytest.fixture
def switch(ovs_sandbox: Sandbox) -> Sandbox:
    ovs_sandbox.add_bridge("br-int")
    return ovs_sandbox


@pytest.fixture
def sink(switch: Sandbox) -> Iterator[CaptureSink]:
    """What a monitor tells that was there before anything happened."""
    capture = CaptureSink()
    with Monitor(switch.connection, sinks=[capture]):
        capture.wait_for_sync()
        capture.wait_until(lambda: capture.ports and all(_settled(capture)))
        yield capture


def _settled(capture: CaptureSink) -> Iterator[bool]:
    return (port.link_state is not None for port in capture.ports.values())


def add_port(switch: Sandbox, name: str, *settings: str, bridge: str = "br-int") -> None:
    switch.vsctl("add-port", bridge, name, "--", "set", "interface", name, *settings)


def test_ports_that_are_there_are_delivered_once_between_the_markers(switch: Sandbox) -> None:
    add_port(switch, "tap0", *VM)
    add_port(switch, "vxlan0", "type=vxlan", "options:remote_ip=10.10.10.10")
    items = list(watch(switch.connection, once=True, timeout=DEADLINE, markers=True))
    started, *events, finished = items
    assert (started.action, started.origin) == ("sync_started", "initial")
    assert (finished.action, finished.origin) == ("sync_finished", "initial")
    assert sorted((e.port.name, e.action, e.origin) for e in events) == [  # type: ignore[union-attr]  # no marker is among them
        ("br-int", "online", "initial"),
        ("tap0", "online", "initial"),
        ("vxlan0", "online", "initial"),
    ]
    assert finished.ports == 3  # type: ignore[union-attr]  # it is a marker
    assert [item.seq for item in items] == [1, 2, 3, 4, 5]


def test_a_vm_comes_online_is_updated_with_its_ofport_and_goes_offline_as_last_known(
    switch: Sandbox, sink: CaptureSink
) -> None:
    switch.stop_vswitchd()  # so that the row and its port number are two changes
    add_port(switch, "tap0", *VM)
    sink.wait_for_actions("tap0", ["online"])
    switch.start_vswitchd()
    sink.wait_until(lambda: len(sink.of("tap0")) >= 2)
    online, updated = sink.of("tap0")[:2]
    assert (online.action, online.port.kind, online.port.state) == ("online", "vm", "pending")
    assert (updated.action, updated.port.state) == ("updated", "ready")
    assert updated.previous == online.port
    assert updated.port.ofport is not None
    assert updated.port.attributes == {
        "iface_id": IFACE_ID,
        "attached_mac": "fa:16:3e:00:00:01",
        "vm_id": None,
        "iface_status": "active",
        "ovn_installed": None,
    }
    switch.vsctl("del-port", "tap0")
    sink.wait_until(lambda: sink.actions("tap0")[-1] == "offline")
    *_, last_delivered, offline = sink.of("tap0")
    assert offline.port == last_delivered.port
    assert {event.origin for event in sink.of("tap0")} == {"update"}


@pytest.mark.parametrize(
    ("type_", "options"),
    [
        ("vxlan", {"remote_ip": "10.10.10.10", "key": "42"}),
        ("geneve", {"remote_ip": "10.10.10.10", "local_ip": "10.10.10.1"}),
        ("gre", {"remote_ip": "10.10.10.10"}),
        ("ip6gre", {"remote_ip": "fc00::10"}),
        ("erspan", {"remote_ip": "10.10.10.10", "erspan_ver": "1", "erspan_idx": "1"}),
        ("gtpu", {"remote_ip": "10.10.10.10"}),
        ("bareudp", {"remote_ip": "10.10.10.10", "payload_type": "mpls", "dst_port": "6635"}),
        ("srv6", {"remote_ip": "fc00::10"}),
        ("lisp", {"remote_ip": "10.10.10.10"}),
        ("stt", {"remote_ip": "10.10.10.10"}),
    ],
)
def test_a_tunnel_of_every_type_comes_and_goes(
    switch: Sandbox, sink: CaptureSink, type_: str, options: dict[str, str]
) -> None:
    settings = [f'options:{key}="{value}"' for key, value in options.items()]
    add_port(switch, "tun0", f"type={type_}", "external_ids:df-chassis-id=cmp-18", *settings)
    sink.wait_until(lambda: sink.of("tun0") and sink.of("tun0")[-1].port.state != "pending")
    port = sink.of("tun0")[-1].port
    assert port.kind == "tunnel"
    assert dict(port.attributes) == {
        "remote_ip": options["remote_ip"],
        "local_ip": options.get("local_ip"),
        "key": options.get("key"),
        "tunnel_type": type_,
        "chassis_id": "cmp-18",
    }
    switch.vsctl("del-port", "tun0")
    sink.wait_until(lambda: sink.actions("tun0")[-1] == "offline")
    assert sink.actions("tun0")[0] == "online"


def test_a_patch_pair_comes_and_goes(switch: Sandbox, sink: CaptureSink) -> None:
    switch.add_bridge("br-tun")
    add_port(switch, "patch-tun", "type=patch", "options:peer=patch-int")
    add_port(switch, "patch-int", "type=patch", "options:peer=patch-tun", bridge="br-tun")
    for name, peer in (("patch-tun", "patch-int"), ("patch-int", "patch-tun")):
        sink.wait_until(lambda n=name: sink.of(n) and sink.of(n)[-1].port.state == "ready")  # type: ignore[misc]  # mypy cannot infer a lambda with a default
        assert sink.of(name)[-1].port.kind == "patch"
        assert sink.of(name)[-1].port.attributes["peer"] == peer
    switch.vsctl("del-br", "br-tun")
    sink.wait_until(lambda: sink.actions("patch-int")[-1] == "offline")
    sink.wait_until(lambda: sink.of("patch-tun")[-1].port.state == "failed")
    assert sink.of("patch-tun")[-1].port.error == (
        "there is no usable patch port 'patch-int' with this port as its peer"
    )
    switch.vsctl("del-port", "patch-tun")
    sink.wait_until(lambda: sink.actions("patch-tun")[-1] == "offline")


def test_a_patch_port_without_a_peer_fails_and_says_why(
    switch: Sandbox, sink: CaptureSink
) -> None:
    add_port(switch, "lonely", "type=patch")
    sink.wait_until(lambda: sink.of("lonely") and sink.of("lonely")[-1].port.state == "failed")
    assert "peer" in (sink.of("lonely")[-1].port.error or "")


def test_a_bridge_of_any_name_comes_and_goes(switch: Sandbox, sink: CaptureSink) -> None:
    switch.add_bridge("integration")
    sink.wait_until(lambda: sink.of("integration"))
    assert sink.of("integration")[0].port.kind == "bridge"
    assert sink.of("integration")[0].port.ofport == 65534
    switch.vsctl("del-br", "integration")
    sink.wait_until(lambda: sink.actions("integration")[-1] == "offline")


def test_a_dpdkvhostuser_vm_that_fails_says_why(switch: Sandbox, sink: CaptureSink) -> None:
    add_port(switch, "vhu0", "type=dpdkvhostuser", f"external_ids:iface-id={IFACE_ID}")
    sink.wait_until(lambda: sink.of("vhu0") and sink.of("vhu0")[-1].port.state == "failed")
    failed = sink.of("vhu0")[-1].port
    assert (failed.kind, failed.ofport) == ("vm", -1)
    assert failed.error


def test_an_iface_id_that_is_set_later_makes_a_vm_and_its_removal_ends_it(
    switch: Sandbox, sink: CaptureSink
) -> None:
    add_port(switch, "tap0", "type=dummy")
    switch.vsctl("wait-until", "interface", "tap0", "ofport!=[]")
    switch.vsctl("set", "interface", "tap0", f"external_ids:iface-id={IFACE_ID}")
    (online,) = sink.wait_for_actions("tap0", ["online"])
    assert online.port.state == "ready"
    switch.vsctl("remove", "interface", "tap0", "external_ids", "iface-id")
    offline = sink.wait_for_actions("tap0", ["online", "offline"])[-1]
    assert offline.port.attributes["iface_id"] == IFACE_ID
    switch.vsctl("del-port", "tap0")
    add_port(switch, "last", *VM)
    sink.wait_until(lambda: sink.of("last"))
    assert sink.actions("tap0") == ["online", "offline"]


def test_a_port_that_turns_into_another_kind_goes_offline_then_online(
    switch: Sandbox, sink: CaptureSink
) -> None:
    add_port(switch, "turncoat", "type=vxlan", "options:remote_ip=10.10.10.10")
    sink.wait_until(lambda: sink.of("turncoat") and sink.of("turncoat")[-1].port.ofport)
    before = len(sink.of("turncoat"))
    switch.vsctl(
        "set", "interface", "turncoat", *VM, "--", "clear", "interface", "turncoat", "options"
    )
    sink.wait_until(lambda: len(sink.of("turncoat")) >= before + 2)
    offline, online = sink.of("turncoat")[before : before + 2]
    assert (offline.action, offline.port.kind) == ("offline", "tunnel")
    assert (online.action, online.port.kind) == ("online", "vm")


def test_a_port_replaced_in_one_transaction_goes_offline_first_whatever_the_order_on_the_wire(
    switch: Sandbox, sink: CaptureSink
) -> None:
    for _ in range(8):  # the server writes rows in hash order; eight times see both orders
        sink.items.clear()
        add_port(switch, "tap0", *VM)
        sink.wait_until(lambda: sink.of("tap0") and sink.of("tap0")[-1].port.ofport)
        first = sink.of("tap0")[-1].port.uuid
        switch.vsctl(
            "del-port",
            "tap0",
            "--",
            "add-port",
            "br-int",
            "tap0",
            "--",
            "set",
            "interface",
            "tap0",
            *VM,
        )
        sink.wait_until(lambda f=first: sink.of("tap0")[-1].port.uuid != f)  # type: ignore[misc]  # mypy cannot infer a lambda with a default
        actions = [e.action for e in sink.of("tap0") if e.action != "updated"]
        assert actions == ["online", "offline", "online"], sink.transcript()
        switch.vsctl("del-port", "tap0")
        sink.wait_until(lambda: sink.actions("tap0")[-1] == "offline")


def test_statistics_wake_nobody(switch: Sandbox) -> None:
    """The switch writes statistics every stats-update-interval; nothing of it reaches us."""
    add_port(switch, "tap0", *VM)
    switch.vsctl("set", "Open_vSwitch", ".", "other_config:stats-update-interval=100")
    with Monitor(switch.connection, inactivity_probe=0) as monitor:
        monitor.wait_for(lambda port: port.name == "tap0" and port.state == "ready", 20)
        received: list[bytes] = []
        session = monitor._loop.session
        original = session.received
        session.received = lambda data, now: (received.append(data), original(data, now))[1]  # type: ignore[method-assign,func-returns-value]  # a tap on the line
        before = switch.vsctl("get", "interface", "br-int", "statistics")
        for number in range(3):
            switch.vsctl("set", "interface", "br-int", f"statistics:rx_packets={1000 + number}")
        assert switch.vsctl("get", "interface", "br-int", "statistics") != before
        switch.vsctl("set", "interface", "tap0", "external_ids:iface-status=seen")
        monitor.wait_for(lambda port: port.attributes.get("iface_status") == "seen", DEADLINE)
    assert b"statistics" not in b"".join(received)
    assert b"seen" in b"".join(received)
    assert b"".join(received).count(b'"update2"') == 1


class _WithColumns(Classifier):
    kind = "any"
    columns = frozenset({"lldp", "mtu_request", "cfm_remote_mpids", "bfd"})

    def classify(self, interface: Interface) -> dict[str, str | None]:
        return {
            name: repr(dict(value) if isinstance(value, Mapping) else value)
            for name, value in sorted(interface.columns.items())
        }


def test_extra_columns_arrive_by_their_schema(switch: Sandbox) -> None:
    sink = CaptureSink()
    with Monitor(switch.connection, classifiers=[_WithColumns()], sinks=[sink]):
        sink.wait_until(lambda: sink.of("br-int"))
        assert sink.of("br-int")[-1].port.attributes == {
            "lldp": "{}",
            "mtu_request": "None",
            "cfm_remote_mpids": "()",
            "bfd": "{}",
        }
        switch.vsctl("set", "interface", "br-int", "mtu_request=1400", "bfd:enable=false")
        sink.wait_until(lambda: sink.of("br-int")[-1].port.attributes["mtu_request"] == "1400")
        assert sink.of("br-int")[-1].port.attributes["bfd"] == "{'enable': 'false'}"
        switch.vsctl("clear", "interface", "br-int", "bfd")
        sink.wait_until(lambda: sink.of("br-int")[-1].port.attributes["bfd"] == "{}")
