"""The doctor on ten switches that are well and on fifteen that are ill, with what it advises."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dfovsdb.testing import Sandbox, wait_until
from tests.functional.helpers import json_lines
from tests.waiting import DEADLINE

Row = dict[str, Any]
Bridges = dict[str, list[Row]]


def examined(*arguments: str) -> tuple[int, list[dict[str, str]]]:
    """Run the doctor; return its status, and what it has found that is not fine, in order."""
    status, found = json_lines(*arguments)
    return status, [finding for finding in found if finding["level"] != "fine"]


# Healthy switches: their rows as the platforms write them.


def row(name: str, kind: str = "", *, port: str = "", options: Any = (), **ids: str) -> Row:
    """An interface of that type; `port` is the bond that it belongs to."""
    return {
        "name": name,
        "type": kind,
        "port": port or name,
        "options": dict(options),
        "external_ids": {key.replace("_", "-"): value for key, value in ids.items()},
    }


def patches(one: str, other: str) -> tuple[Row, Row]:
    return (
        row(one, "patch", options={"peer": other}),
        row(other, "patch", options={"peer": one}),
    )


def fill(switch: Sandbox, bridges: Bridges) -> None:
    """Write the rows, as the platform and ovs-vswitchd do together."""
    operations: list[dict[str, Any]] = []
    for bridge, rows in bridges.items():
        ports: dict[str, list[list[str]]] = {}
        for number, one in enumerate([row(bridge, "internal"), *rows]):
            uuid = f"i{len(operations)}"
            ports.setdefault(one["port"], []).append(["named-uuid", uuid])
            columns = {
                "name": one["name"],
                "type": one["type"],
                "ofport": number or 65534,
                "admin_state": "up",
                "link_state": "up",
                "options": ["map", list(one["options"].items())],
                "external_ids": ["map", list(one["external_ids"].items())],
            }
            insert = {"op": "insert", "table": "Interface", "row": columns, "uuid-name": uuid}
            operations.append(insert)
        names = []
        for port, interfaces in ports.items():
            columns = {"name": port, "interfaces": ["set", interfaces]}
            uuid = f"p{len(operations)}"
            names.append(["named-uuid", uuid])
            operations.append({"op": "insert", "table": "Port", "row": columns, "uuid-name": uuid})
        columns = {"name": bridge, "ports": ["set", names]}
        uuid = f"b{len(operations)}"
        operations += [
            {"op": "insert", "table": "Bridge", "row": columns, "uuid-name": uuid},
            {
                "op": "mutate",
                "table": "Open_vSwitch",
                "where": [],
                "mutations": [["bridges", "insert", ["named-uuid", uuid]]],
            },
        ]
    if operations:
        switch.transact(*operations)


def trunk(name: str, iface_id: str, *, mine: str, theirs: str) -> tuple[Row, Row]:
    both = patches(f"{mine}{name}", f"{theirs}{name}")
    for one in both:
        one["external_ids"] = {"iface-id": iface_id, "attached-mac": "fa:16:3e:00:00:01"}
    return both


PARENT = trunk("9a1c72a5-11", "parent", mine="tpi-", theirs="tpt-")
SUBPORT = trunk("5e2d83b6-22", "subport", mine="spi-", theirs="spt-")
INT, TUN = patches("patch-tun", "patch-int")
LOCALNET = patches("patch-br-int-to-ext", "patch-ext-to-br-int")

HEALTHY: dict[str, tuple[Bridges, str]] = {
    "Neutron with a trunk": (
        {
            "br-int": [
                INT,
                PARENT[0],
                SUBPORT[0],
                row("qr-11", "internal", iface_id="r1", attached_mac="fa:16:3e:00:00:02"),
                row("tap22", "internal", iface_id="d1", attached_mac="fa:16:3e:00:00:03"),
                row("qvo33", iface_id="v1", attached_mac="fa:16:3e:00:00:04", vm_uuid="i1"),
            ],
            "tbr-9a1c72a5-1": [PARENT[1], SUBPORT[1], row("tap9a1c72a5-11", iface_id="parent")],
            "br-tun": [TUN, row("vxlan-0a000002", "vxlan", options={"remote_ip": "10.0.0.2"})],
        },
        "",
    ),
    "OVN": (
        {
            "br-int": [
                LOCALNET[0],
                row("ovn-c2-0", "geneve", options={"remote_ip": "10.0.0.2", "key": "flow"}),
                row("ovn-c3-0", "geneve", options={"remote_ip": "10.0.0.3", "key": "flow"}),
                row("tap1", iface_id="v1", iface_id_ver="1", ovn_installed="true"),
            ],
            "br-ex": [LOCALNET[1], row("eno1")],
        },
        "",
    ),
    "Antrea": (
        {
            "br-int": [
                row("antrea-tun0", "geneve", options={"remote_ip": "flow", "key": "flow"}),
                row("antrea-gw0", "internal"),
                row("nginx-1-2f3a4b"),
            ]
        },
        "patch, tunnel, bridge, antrea, service, vm, uplink",
    ),
    "OVN-Kubernetes": (
        {
            "br-int": [
                LOCALNET[0],
                row("ovn-k8s-mp0", "internal", iface_id="k8s-node1"),
                row("0a1b2c3d4e5f678", iface_id="ns_web", sandbox="0a1b", ip_addresses="10.1.0.5"),
            ],
            "breth0": [LOCALNET[1], row("eth0")],
        },
        "patch, tunnel, bridge, ovn_kubernetes, service, vm, uplink",
    ),
    "Proxmox": (
        {"vmbr0": [row("eno1"), row("tap100i0"), row("fwln101o0", "internal")]},
        "patch, tunnel, bridge, proxmox, service, vm, uplink",
    ),
    "Mininet": ({"s1": [row("s1-eth1"), row("s1-eth2")], "s2": [row("s2-eth1")]}, ""),
    "DPDK": (
        {
            "br-phy": [
                row("dpdk0", "dpdk", options={"dpdk-devargs": "0000:04:00.0"}),
                row("vhu1", "dpdkvhostuserclient", iface_id="v1"),
            ]
        },
        "",
    ),
    "a bridge of NetworkManager with a bond": (
        {"br0": [row("eno1", port="bond0"), row("eno2", port="bond0"), row("port0", "internal")]},
        "",
    ),
    "nothing": ({}, ""),
    "5,000 ports": (
        {"br-int": [row(f"tap{number}", iface_id=f"v{number}") for number in range(5000)]},
        "",
    ),
}


@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_switch_has_nothing_wrong(
    name: str, ovsdb_sandbox: Sandbox, tmp_path: Path
) -> None:
    bridges, classifiers = HEALTHY[name]
    fill(ovsdb_sandbox, bridges)
    file = tmp_path / "dfovsdb.conf"
    file.write_text(f"[dfovsdb]\nclassifiers = {classifiers}\n" if classifiers else "")
    # over tcp, because there is no ovs-vswitchd whose process could be looked at
    status, found = examined("--config-file", str(file), "doctor", ovsdb_sandbox.tcp_connection)
    assert not [finding for finding in found if finding["level"] == "wrong"]
    assert status == 0


# Ill switches, on a real one.


def add(switch: Sandbox, bridge: str, name: str, *settings: str) -> None:
    more = ("--", "set", "interface", name, *settings) if settings else ()
    switch.vsctl("add-port", bridge, name, *more)


def interface(name: str, *settings: str) -> Callable[[Sandbox], object]:
    """What adds it."""
    return lambda switch: add(switch, "br-int", name, *settings)


def vsctl(*arguments: str) -> Callable[[Sandbox], object]:
    return lambda switch: switch.vsctl(*arguments)


def several(*doings: Callable[[Sandbox], object]) -> Callable[[Sandbox], object]:
    def do(switch: Sandbox) -> None:
        for doing in doings:
            doing(switch)

    return do


def stop_vswitchd(switch: Sandbox) -> None:
    os.kill(int((switch.directory / "ovs-vswitchd.pid").read_text()), signal.SIGSTOP)


def continue_vswitchd(switch: Sandbox) -> None:
    os.kill(int((switch.directory / "ovs-vswitchd.pid").read_text()), signal.SIGCONT)


ILL: dict[str, tuple[Callable[[Sandbox], object], str, str, Callable[[Sandbox], object]]] = {
    "ovsdb-server has ended": (
        Sandbox.stop_database,
        "No such file or directory",
        "is ovsdb-server running?",
        Sandbox.start_database,
    ),
    "ovsdb-server hangs": (
        Sandbox.pause_database,
        "within 2 s",
        "check that it is an ovsdb-server and that it is running",
        Sandbox.resume_database,
    ),
    "ovs-vswitchd has ended": (
        lambda switch: switch.stop_vswitchd(kill=True),
        "its process does not exist",
        "systemctl start openvswitch-switch",
        Sandbox.start_vswitchd,
    ),
    "ovs-vswitchd is stopped": (
        stop_vswitchd,
        "its process is stopped",
        "kill -CONT",
        continue_vswitchd,
    ),
    "a device that does not exist": (
        interface("eth7"),
        "uplink eth7: could not open network device eth7 (No such device)",
        "create a device",
        vsctl("del-port", "eth7"),
    ),
    "a device of nobody that does not exist": (
        interface("veth7"),
        "interface veth7: could not open network device veth7",
        " list Interface veth7",
        vsctl("del-port", "veth7"),
    ),
    "a VM without its device": (
        interface("tap7", "external_ids:iface-id=v7"),
        "vm tap7: could not open network device tap7",
        "create a device",
        vsctl("set", "interface", "tap7", "type=dummy"),
    ),
    "a type that does not exist": (
        interface("vx7", "type=vxlann"),
        "vx7: could not open network device vx7",
        "does not have the type vxlann: correct it, or delete the port",
        vsctl("set", "interface", "vx7", "type=vxlan", "options:remote_ip=10.0.0.2"),
    ),
    "a tunnel without a remote address": (
        interface("vx7", "type=vxlan"),
        "tunnel vx7: ",
        "remove this cause",
        vsctl("set", "interface", "vx7", "options:remote_ip=10.0.0.2"),
    ),
    "a tunnel whose remote address is none": (
        interface("vx7", "type=vxlan", "options:remote_ip=10.0.0.999"),
        "tunnel vx7: ",
        "remove this cause",
        vsctl("set", "interface", "vx7", "options:remote_ip=10.0.0.2"),
    ),
    "two tunnels to one address": (
        several(
            interface("vx7", "type=vxlan", "options:remote_ip=10.0.0.2"),
            interface("vx8", "type=vxlan", "options:remote_ip=10.0.0.2"),
        ),
        "are the same vxlan tunnel to 10.0.0.2",
        "delete one",
        vsctl("del-port", "vx8"),
    ),
    "a patch without its peer": (
        interface("p7", "type=patch", "options:peer=p8"),
        "patch p7: there is no usable patch port 'p8'",
        "create the other patch port",
        interface("p8", "type=patch", "options:peer=p7"),
    ),
    "a patch whose peer has another": (
        several(
            interface("p7", "type=patch", "options:peer=p8"),
            interface("p8", "type=patch", "options:peer=p9"),
            interface("p9", "type=patch", "options:peer=p8"),
        ),
        "patch p7: ",
        "options:peer",
        vsctl("del-port", "p7"),
    ),
    "a VIF on two interfaces": (
        several(
            interface("tap7", "type=dummy", "external_ids:iface-id=v7"),
            interface("tap8", "type=dummy", "external_ids:iface-id=v7"),
        ),
        "v7 is on tap7, tap8",
        "keep it on the one that its VM uses",
        vsctl("remove", "interface", "tap8", "external_ids", "iface-id"),
    ),
    "a device of DPDK where there is none": (
        interface("dpdk7", "type=dpdk", "options:dpdk-devargs=0000:04:00.0"),
        "uplink dpdk7: ",
        "correct it, or delete the port, or start a switch with DPDK",
        vsctl("del-port", "dpdk7"),
    ),
}


@pytest.mark.parametrize("name", ILL)
def test_the_first_line_names_what_is_wrong_and_a_remedy_that_cures_it(
    name: str, ovs_sandbox: Sandbox
) -> None:
    ail, text, remedy, cure = ILL[name]
    ovs_sandbox.add_bridge("br-int")
    add(ovs_sandbox, "br-int", "tap0", "type=dummy", "external_ids:iface-id=v0")
    ail(ovs_sandbox)
    try:
        status, found = examined("doctor", ovs_sandbox.connection, "--timeout", "2")
        assert status == 1
        assert text in found[0]["text"]
        assert remedy in found[0]["remedy"]
        wrong = [finding for finding in found if finding["level"] == "wrong"]
        assert len(wrong) == 1, "a fault is named once"
    finally:
        cure(ovs_sandbox)
    wait_until(lambda: examined("doctor", ovs_sandbox.connection)[0] == 0, DEADLINE)
    assert "tap0" in ovs_sandbox.vsctl("list-ports", "br-int")
