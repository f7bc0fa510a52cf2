"""The agent as a service: what it tells the service manager, and the files of contrib/."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dfovsdb.testing import Sandbox, wait_until
from tests.waiting import DEADLINE

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "contrib" / "dfovsdb.service"


class Service:
    """`dfovsdb run` under a manager; nothing but environment variables configures it."""

    def __init__(self, folder: Path, connection: str) -> None:
        self.folder = folder
        self.manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.manager.settimeout(DEADLINE)
        self.manager.bind(str(folder / "notify"))
        environment = os.environ | {
            "NOTIFY_SOCKET": str(folder / "notify"),
            "WATCHDOG_USEC": "300000",
            "OS_OVSDB__CONNECTION": connection,
            "OS_DFOVSDB__SINKS": "events=jsonl",
            "OS_SINK_EVENTS__PATH": str(folder / "events"),
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "dfovsdb", "run"], env=environment, stderr=subprocess.DEVNULL
        )

    def states(self, enough: Callable[[list[str]], object]) -> list[str]:
        """What the manager receives until it is enough."""
        said: list[str] = []
        while not enough(said):
            said += self.manager.recv(4096).decode().splitlines()
        return said

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(DEADLINE)
        self.manager.close()


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Callable[[str], Service]]:
    running: list[Service] = []

    def start(connection: str) -> Service:
        running.append(Service(tmp_path, connection))
        return running[-1]

    yield start
    for one in running:
        one.end()


def test_it_is_ready_and_fed_while_open_vswitch_is_not_there_yet(
    ovsdb_sandbox: Sandbox, service: Callable[[str], Service]
) -> None:
    ovsdb_sandbox.add_bridge("br-int")
    ovsdb_sandbox.stop_database()
    agent = service(ovsdb_sandbox.connection)
    said = agent.states(lambda said: said.count("WATCHDOG=1") >= 3 and len(said[-2]) > 60)
    assert said[0] == "READY=1"
    assert "STATUS=0 ports; waiting for the server" in said[-2]
    assert "is ovsdb-server running?" in said[-2] or "connect to unix:" in said[-2]
    ovsdb_sandbox.start_database()
    agent.states(lambda said: "STATUS=1 port" in said)
    wait_until(lambda: "br-int" in (agent.folder / "events").read_text())
    agent.process.send_signal(signal.SIGTERM)
    agent.states(lambda said: "STOPPING=1" in said)
    assert agent.process.wait(DEADLINE) == 0


def test_a_loop_that_stands_still_starves_the_watchdog(
    ovsdb_sandbox: Sandbox, tmp_path: Path
) -> None:
    """Where systemd would end it: the main thread reports, and says what is wrong."""
    code = """
import sys, threading
from dfovsdb.cli import parser as cli
from dfovsdb.monitor import loop
from tests.waiting import DEADLINE
loop.PULSE = 0.1
turn = loop.Loop.turn
def hang(self, session, transport):
    return threading.Event().wait() if session.synced else turn(self, session, transport)
loop.Loop.turn = hang
sys.exit(cli.main(["run"]))
"""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(DEADLINE)
        manager.bind(str(tmp_path / "notify"))
        environment = os.environ | {
            "NOTIFY_SOCKET": str(tmp_path / "notify"),
            "WATCHDOG_USEC": "300000",
            "OS_OVSDB__CONNECTION": ovsdb_sandbox.connection,
        }
        agent = subprocess.Popen(
            [sys.executable, "-c", code], env=environment, stderr=subprocess.DEVNULL
        )
        try:
            said = ""
            while "the monitor thread is not responding" not in said:
                said = manager.recv(4096).decode()
            assert "WATCHDOG=1" not in said
        finally:
            agent.kill()
            agent.wait(DEADLINE)


def test_the_unit_is_well_hardened(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed")
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/dfovsdb/bin/dfovsdb", sys.executable))
    done = subprocess.run(
        [analyze, "security", "--offline=true", str(unit)],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    if not (level := re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)):
        pytest.skip(f"this systemd-analyze cannot look at a file: {done.stderr}")
    assert float(level[1]) < 2.5
    verify = subprocess.run(
        [analyze, "verify", "--man=no", str(unit)],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert unit.name not in verify.stderr


def test_the_unit_does_not_run_as_root_and_gives_up_on_wrong_configuration() -> None:
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]  # case counts in a unit
    unit.read(UNIT)
    service = unit["Service"]
    assert service["Type"] == "notify"
    assert service["User"] not in ("", "root", "0")
    assert service["RestartPreventExitStatus"] == "2"
    assert float(service["WatchdogSec"]) > 30  # the loop turns every few seconds


def test_the_logrotate_file_is_valid(tmp_path: Path) -> None:
    logrotate = shutil.which("logrotate") or shutil.which("logrotate", path="/usr/sbin")
    text = (ROOT / "contrib" / "dfovsdb.logrotate").read_text()
    assert "systemctl reload dfovsdb" in text
    if logrotate is None:
        pytest.skip("logrotate is not installed")
    file = tmp_path / "dfovsdb"
    text = text.replace("/var/log/dfovsdb", str(tmp_path))
    file.write_text(
        "".join(
            line
            for line in text.splitlines(keepends=True)
            if not line.strip().startswith(("su ", "create "))
        )
    )
    done = subprocess.run(
        [logrotate, "--debug", "--state", str(tmp_path / "state"), str(file)],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert done.returncode == 0
    assert "error" not in done.stderr
