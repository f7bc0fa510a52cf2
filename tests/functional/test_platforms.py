"""The page of platforms: each configuration and recipe is read and does what it says."""

from __future__ import annotations

import configparser
import re
from pathlib import Path
from typing import Any

import pytest

from dfovsdb import config, plugins
from dfovsdb.classifiers.chain import Chain
from dfovsdb.testing import Sandbox, interface
from tests.functional.helpers import insert, json_lines
from tests.unit import platforms

PAGE = (Path(__file__).parents[2] / "docs" / "platforms.md").read_text()
TABLE = re.findall(r"`(classifiers = [^`]*)`", PAGE)
RECIPES = re.findall(r"```ini\n(.*?)```", PAGE, re.DOTALL)

#: A row that each recipe is about, by the name of its classifier.
ROWS: dict[str, dict[str, Any]] = {
    "docker": {
        "name": "a1b2c3d4e5f6g_l",
        "external_ids": {"container_id": "web", "container_iface": "eth1"},
    },
    "nm": {"name": "eno1", "external_ids": {"NM.connection.uuid": "9d3f"}},
    "opennebula": {"name": "one-42-0"},
    "fwpr": {"name": "fwpr102p0"},
    "lxd": {"name": "veth1a2b3c4d"},
    "mininet": {"name": "s1-eth1"},
    "nic": {"name": "lan0", "columns": {"status": {"driver_name": "ixgbe"}, "mtu": 9000}},
    "physical": {"name": "eno1", "columns": {"Port.bond_mode": "balance-slb"}},
    "bfd": {
        "name": "vxlan-1",
        "type": "vxlan",
        "options": {"remote_ip": "10.0.0.1"},
        "columns": {"bfd_status": {"state": "up"}},
    },
    "representor": {"name": "enp4s0f0_1"},
    "dpf": {"name": "pf0hpf", "external_ids": {"dpf-id": "ns/name"}},
    "mirror": {"name": "mirror0", "type": "internal", "columns": {"Port.tag": 5}},
}


def chain(text: str, folder: Path) -> Chain:
    file = folder / "dfovsdb.conf"
    file.write_text(text)
    conf = config.load([str(file)])
    return Chain(list(plugins.CLASSIFIERS.build(conf.dfovsdb.classifiers, conf).values()))


@pytest.mark.parametrize("line", TABLE)
def test_each_configuration_of_the_table_is_read(line: str, tmp_path: Path) -> None:
    assert chain(f"[dfovsdb]\n{line}\n", tmp_path).kinds


def test_the_table_has_every_classifier_of_a_platform() -> None:
    named = {name for line in TABLE for name in line.partition("=")[2].replace(" ", "").split(",")}
    ours = {name for name, _ in plugins.CLASSIFIERS.ours()}
    assert named == ours - {"match"}


@pytest.mark.parametrize("recipe", RECIPES, ids=re.findall(r"(\w+)=match", PAGE))
def test_each_recipe_claims_its_rows(recipe: str, tmp_path: Path) -> None:
    (name,) = re.findall(r"(\w+)=match", recipe)
    parser = configparser.ConfigParser()
    parser.read_string(recipe)
    built = chain(recipe, tmp_path)
    columns = dict.fromkeys(built.extra_columns) | ROWS[name].get("columns", {})
    port = built.port(interface(**ROWS[name] | {"columns": columns}), None)
    assert port is not None
    assert port.kind == parser[f"classifier_{name}"]["kind"]
    declared = parser[f"classifier_{name}"].get("attributes", "")
    assert len(port.attributes) == len([one for one in declared.split(",") if one.strip()])
    assert set(ROWS) == set(re.findall(r"(\w+)=match", PAGE))


#: By classifier: its rows, what each workload is known by, and what a person would leave out.
PLATFORMS: dict[str, tuple[platforms.Rows, dict[str, str], set[str]]] = {
    "ovn_kubernetes": (
        platforms.OVN_KUBERNETES,
        {
            "3a5b9c1d2e4f601": "kube-system/coredns-7db6d8ff4d-x2l9k",
            "3a5b9c1d2e4f602": "default/web-0",
        },
        set(),
    ),
    "kube_ovn": (platforms.KUBE_OVN, {"5d7c0a1b2c3d_h": "default/web-0"}, {"mirror0"}),
    "antrea": (platforms.ANTREA, {"web-0-a1b2c3": "default/web-0"}, {"antrea-gw0"}),
    "ovs_cni": (
        platforms.OVS_CNI,
        {"veth7a2b3c4d": "1f2e3d4c", "veth00000001": "default_vm1"},
        set(),
    ),
    "xen": (platforms.XEN, {"vif5.0": "0c55", "tap5.0": "0c55"}, {"xenbr0"}),
    "proxmox": (
        platforms.PROXMOX,
        {"tap100i0": "100/net0", "veth101i1": "101/net1", "fwln102o0": "102/net0"},
        {"tap1a2b3c4d-5e"},
    ),
}


def write(box: Sandbox, rows: platforms.Rows) -> None:
    """Put the rows on the bridge br-int, each with its Port."""
    operations: list[dict[str, Any]] = []
    for number, row in enumerate(rows):
        facts = {"ofport": number + 1, **row}
        of_port = facts.pop("port_external_ids", {})
        for column in ("external_ids", "options"):
            if column in facts:
                facts[column] = ["map", list(facts[column].items())]
        made = insert(facts.pop("name"), number, **facts)
        made[1]["row"]["external_ids"] = ["map", list(of_port.items())]
        operations += made
    box.transact(*operations)


def lines(*args: str) -> list[dict[str, Any]]:
    return json_lines(*args)[1]


def identity(port: dict[str, Any]) -> str:
    known = port["attributes"]
    if known.get("pod"):
        return f"{known['namespace']}/{known['pod']}"
    return str(known.get("iface_id") or known.get("pod_uid"))


@pytest.mark.parametrize("name", PLATFORMS)
def test_the_doctor_names_the_classifier_and_with_it_every_workload_is_reported(
    name: str, ovsdb_sandbox: Sandbox, tmp_path: Path
) -> None:
    rows, workloads, left_out = PLATFORMS[name]
    ovsdb_sandbox.vsctl("add-br", "br-int")
    write(ovsdb_sandbox, rows)
    connection = ovsdb_sandbox.tcp_connection
    found = lines("doctor", connection, "--timeout", "2")
    (platform,) = [one for one in found if one["subject"] == "platform"]
    assert platform["remedy"].startswith(f"add {name} to [dfovsdb] classifiers")

    (configured,) = [line for line in TABLE if f" {name}," in line]
    conf = tmp_path / "dfovsdb.conf"
    conf.write_text(f"[dfovsdb]\n{configured}\n")
    ports = lines("--config-file", str(conf), "ports", connection)
    reported = {p["name"]: identity(p) for p in ports if p["kind"] in ("pod", "vm")}
    assert reported == workloads
    every = lines("--config-file", str(conf), "ports", connection, "--all")
    assert {port["name"] for port in every if port["kind"] == "other"} == left_out
    assert "platform" not in {
        one["subject"] for one in lines("--config-file", str(conf), "doctor", connection)
    }


@pytest.mark.parametrize("recipe", RECIPES, ids=re.findall(r"(\w+)=match", PAGE))
def test_each_recipe_claims_its_row_of_a_real_server(
    recipe: str, ovsdb_sandbox: Sandbox, tmp_path: Path
) -> None:
    """Its columns too, of whichever table, are read and delivered."""
    (name,) = re.findall(r"(\w+)=match", recipe)
    row = dict(ROWS[name])
    columns = row.pop("columns", {})
    for column, value in columns.items():
        if not column.startswith("Port."):
            row[column] = ["map", list(value.items())] if isinstance(value, dict) else value
    ovsdb_sandbox.vsctl("add-br", "br-int")
    write(ovsdb_sandbox, [row])
    for column, value in columns.items():
        if column.startswith("Port."):
            setting = f"{column.removeprefix('Port.')}={value}"
            ovsdb_sandbox.vsctl("set", "port", row["name"], setting)
    conf = tmp_path / "dfovsdb.conf"
    conf.write_text(recipe)
    parser = configparser.ConfigParser()
    parser.read_string(recipe)
    for tables in ("Interface", "Interface,Port,Bridge"):
        connection = ovsdb_sandbox.tcp_connection
        ports = lines("--config-file", str(conf), "ports", connection, "--tables", tables)
        (port,) = [one for one in ports if one["name"] == row["name"]]
        assert port["kind"] == parser[f"classifier_{name}"]["kind"]
        known = [value for value in port["attributes"].values() if value is not None]
        assert len(known) >= len(columns)
