"""Least privilege: what the agent opens, writes, imports and runs as, and nothing else."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from dfovsdb import unknown_options
from dfovsdb.testing import Sandbox, wait_until
from tests import otheruser
from tests.functional.helpers import insert, vm
from tests.waiting import DEADLINE

#: Runs the command with everything that it opens, connects to or starts noted on the way.
WATCHED = """
import json, os, sys

noted = open(sys.argv[1], "w", buffering=1)
WATCHED = {"open", "socket.connect", "socket.bind", "sqlite3.connect", "os.mkdir", "os.rename",
           "os.remove", "os.chmod", "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn",
           "os.fork"}

def note(event, args):
    if event == "open" and not (isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR)):
        return
    if event in WATCHED:
        noted.write(json.dumps([event, [str(arg) for arg in args]]) + "\\n")

sys.addaudithook(note)
from dfovsdb.cli import main
status = main(sys.argv[2:])
noted.write(json.dumps(["modules", sorted(sys.modules)]) + "\\n")
sys.exit(status)
"""

UNPRIVILEGED = """
become_nobody()
from dfovsdb.cli import main
sys.exit(main(sys.argv[2:]))
"""


@pytest.fixture
def box(ovsdb_sandbox: Sandbox) -> Sandbox:
    ovsdb_sandbox.vsctl("add-br", "br-int")
    return ovsdb_sandbox


def watched() -> list[str]:
    """Python writes no byte code: whether there is some already is not the agent's doing."""
    return [sys.executable, "-B", "-c", WATCHED]


def run_agent(box: Sandbox, folder: Path, connection: str, command: list[str]) -> None:
    """Run it with a log, a jsonl sink and a state_dir until a change is delivered."""
    (folder / "home").mkdir()
    configuration = folder / "dfovsdb.conf"
    configuration.write_text(
        f"[ovsdb]\nconnection = {connection}\n"
        f"[dfovsdb]\nsinks = log, jsonl\nstate_dir = {folder}/state\n"
        f"[sink_jsonl]\npath = {folder}/out/events.jsonl\n"
    )
    environment = {**os.environ, "HOME": str(folder / "home")}
    environment.pop("XDG_CACHE_HOME", None)
    previous = os.umask(0)  # which widens nothing
    try:
        agent = subprocess.Popen(
            [*command, str(folder / "noted"), "--config-file", str(configuration), "run"],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            env=environment,
            text=True,
        )
    finally:
        os.umask(previous)
    events = folder / "out" / "events.jsonl"
    try:
        wait_until(
            lambda: (
                agent.poll() is not None
                or (events.exists() and "sync_finished" in events.read_text())
            )
        )
        box.transact(*insert("tap0", **vm("a")))
        wait_until(lambda: agent.poll() is not None or "tap0" in events.read_text())
        if agent.poll() is None:
            status = Path(f"/proc/{agent.pid}/status").read_text()
            (folder / "uids").write_text(" ".join(status.partition("Uid:")[2].split()[:4]))
    finally:
        agent.send_signal(signal.SIGTERM)
        _, said = agent.communicate(timeout=DEADLINE)
    assert agent.returncode == 0, said


@pytest.mark.parametrize("kind", ["unix", "tcp"])
def test_the_agent_opens_its_connection_and_its_files_and_nothing_else(
    box: Sandbox, tmp_path: Path, kind: str
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "state").mkdir(mode=0o700)
    connection = box.connection if kind == "unix" else box.tcp_connection
    run_agent(box, tmp_path, connection, watched())
    *noted, (_, modules) = map(json.loads, (tmp_path / "noted").read_text().splitlines())
    assert {event for event, _ in noted} <= {"open", "socket.connect", "sqlite3.connect"}
    written = {args[0] for event, args in noted if event in ("open", "sqlite3.connect")}
    assert written <= {f"{tmp_path}/out/events.jsonl", f"{tmp_path}/state/told.sqlite"}
    (address,) = {args[1] for event, args in noted if event == "socket.connect"}
    assert (
        address == connection.removeprefix("unix:")
        or str(int(connection.rpartition(":")[2])) in address
    )
    assert list((tmp_path / "home").rglob("*")) == []  # stevedore would keep a cache there
    # A plugin that is not named is not imported, nor is what only it needs.
    for absent in (
        "dfovsdb.sinks.dragonflow.sink",
        "dfovsdb.classifiers.match",
        "zmq",
        "eventlet",
    ):
        assert absent not in modules
    assert not [name for name in modules if name.startswith(("dfovsdb.testing", "ctypes.util"))]


def test_what_it_writes_is_for_its_user_whatever_the_umask(box: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "state").mkdir(mode=0o700)
    run_agent(box, tmp_path, box.connection, watched())
    modes = {
        path.name: stat.S_IMODE(path.stat().st_mode)
        for folder in ("out", "state")
        for path in (tmp_path / folder).iterdir()
    }
    assert modes.pop("events.jsonl") == 0o640
    assert modes
    assert {mode & 0o077 for mode in modes.values()} == {0}, modes


@otheruser.needs_root  # any other user is unprivileged: the tests above have shown it
def test_the_agent_works_as_an_unprivileged_user(box: Sandbox, tmp_path: Path) -> None:
    otheruser.let_enter(tmp_path)
    for name in ("out", "state"):
        (tmp_path / name).mkdir()
        os.chown(tmp_path / name, otheruser.UID, otheruser.UID)
    run_agent(box, tmp_path, box.tcp_connection, otheruser.program(UNPRIVILEGED))
    assert (tmp_path / "uids").read_text() == " ".join([str(otheruser.UID)] * 4)
    assert (tmp_path / "out" / "events.jsonl").stat().st_uid == otheruser.UID


def test_options_that_hold_a_secret_are_marked_so() -> None:
    """None does today: keys are files. A new one must not be logged."""
    for group, options in unknown_options.list_opts():
        for option in options:
            message = option.name.replace("-", "_").split("_")
            if message[-1] != "file" and {"password", "secret", "token", "key"} & set(message):
                assert option.secret, f"[{group}] {option.name}"
