"""The example package: installed by pip beside dfovsdb, at work by configuration alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dfovsdb.testing import Sandbox, wait_until
from tests.waiting import DEADLINE

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "dfovsdb-dhcp"


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which the example is installed, beside everything that we have."""
    target = tmp_path_factory.mktemp("site")
    source = tmp_path_factory.mktemp("source") / "dfovsdb-dhcp"
    subprocess.run(["cp", "-r", str(EXAMPLE), str(source)], check=True)
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--no-build-isolation",
            "--disable-pip-version-check",
            "--root-user-action=ignore",
            "--target",
            str(target),
            str(source),
        ],
        check=True,
        timeout=DEADLINE,
    )
    paths = [str(target), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


@pytest.fixture
def switch(ovs_sandbox: Sandbox) -> Sandbox:
    ovs_sandbox.add_bridge("br-int")
    ovs_sandbox.vsctl(
        "add-port",
        "br-int",
        "tapdhcp",
        "--",
        "set",
        "interface",
        "tapdhcp",
        "type=internal",
        "external_ids:iface-id=d1",
    )
    ovs_sandbox.vsctl(
        "add-port",
        "br-int",
        "tapvm",
        "--",
        "set",
        "interface",
        "tapvm",
        "type=dummy",
        "external_ids:iface-id=v1",
    )
    return ovs_sandbox


def configured(name: str, switch: Sandbox, tmp_path: Path) -> Path:
    text = (EXAMPLE / name).read_text().replace("ports.txt", str(tmp_path / "ports.txt"))
    file = tmp_path / name
    file.write_text(f"{text}\n[ovsdb]\nconnection = {switch.connection}\n")
    return file


def test_both_plugins_work_with_configuration_alone(
    environment: dict[str, str], switch: Sandbox, tmp_path: Path
) -> None:
    conf = configured("dfovsdb.conf", switch, tmp_path)
    command = [sys.executable, "-m", "dfovsdb", "--config-file", str(conf)]
    listed = subprocess.run(
        [*command, "plugins"], env=environment, capture_output=True, text=True, check=True
    )
    assert ["dhcp", "dfovsdb-dhcp", "dfovsdb_dhcp.classifier:DhcpClassifier"] in [
        line.split()[1:] for line in listed.stdout.splitlines()
    ]
    agent = subprocess.Popen([*command, "run"], env=environment, stderr=subprocess.DEVNULL)
    ports = tmp_path / "ports.txt"
    try:
        wait_until(lambda: ports.exists() and "vm tapvm 2" in ports.read_text())
        assert ports.read_text() == "bridge br-int 65534\ndhcp tapdhcp 1\nvm tapvm 2\n"
        switch.vsctl("del-port", "tapdhcp")
        wait_until(lambda: ports.read_text() == "bridge br-int 65534\nvm tapvm 2\n")
    finally:
        agent.send_signal(signal.SIGTERM)
        assert agent.wait(DEADLINE) == 0


def test_both_plugins_keep_every_promise(environment: dict[str, str]) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "-W",
            "error",
            str(EXAMPLE / "tests"),
        ],
        cwd=EXAMPLE,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE,
    )
    assert done.returncode == 0, done.stdout
    # In a file with the present state there is no order to see.
    assert "1 skipped" in done.stdout.splitlines()[-1]


def test_match_makes_the_same_kind_without_python(switch: Sandbox, tmp_path: Path) -> None:
    conf = configured("match.conf", switch, tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "dfovsdb", "--config-file", str(conf), "watch", "--once", "--json"],
        capture_output=True,
        text=True,
        check=True,
        timeout=DEADLINE,
    )
    ports = [json.loads(line).get("port", {}) for line in done.stdout.splitlines()]
    (dhcp,) = [port for port in ports if port.get("kind") == "dhcp"]
    assert dhcp["name"] == "tapdhcp"
    assert dhcp["attributes"] == {"iface_id": "d1", "attached_mac": None}


def test_no_file_of_the_core_knows_the_example() -> None:
    found = [path for path in (ROOT / "dfovsdb").rglob("*.py") if "dhcp" in path.read_text()]
    assert found == []


def test_the_core_names_no_kind_and_no_destination_but_as_defaults() -> None:
    core = [path for path in (ROOT / "dfovsdb").glob("*.py") if path.name != "defaults.py"]
    # Bridge and patch are words of the database too: a table, and a type of interfaces.
    names = "vm|tunnel|uplink|pod|dragonflow|nats|fleet"
    done = subprocess.run(
        ["grep", "-nwE", names, *map(str, core)], capture_output=True, text=True, check=False
    )
    assert done.stdout == ""
