"""Least privilege: what the agent opens, writes, imports and runs as, and nothing else."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dfovsdb import opts
from dfovsdb.testing import Sandbox, wait_until
from tests.functional.helpers import DEADLINE, insert, vm

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

if len(sys.argv) > 2 and sys.argv[2] == "--become-nobody":
    from dfovsdb.cli import main
    import dfovsdb.sinks.jsonl, dfovsdb.sinks.log, oslo_log.log  # while it may read them
    main(sys.argv[3:-1] + ["watch", "--once"])
    os.setgroups([]), os.setgid(65534), os.setuid(65534)
    sys.exit(main(sys.argv[3:]))
sys.addaudithook(note)
from dfovsdb.cli import main
status = main(sys.argv[2:])
noted.write(json.dumps(["modules", sorted(sys.modules)]) + "\\n")
sys.exit(status)
"""


@pytest.fixture
def box(ovsdb_sandbox: Sandbox) -> Sandbox:
    ovsdb_sandbox.vsctl("add-br", "br-int")
    return ovsdb_sandbox


def run_agent(box: Sandbox, folder: Path, connection: str, *first: str) -> list[Any]:
    """Run it with a log, a jsonl sink and a state_dir until a change is told; what was noted."""
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
            [sys.executable, "-c", WATCHED, str(folder / "noted"), *first,
             "--config-file", str(configuration), "run"],
            stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, env=environment, text=True,
        )  # fmt: skip
    finally:
        os.umask(previous)
    events = folder / "out" / "events.jsonl"
    try:
        wait_until(lambda: agent.poll() is not None
                   or (events.exists() and "sync_finished" in events.read_text()))  # fmt: skip
        box.transact(*insert("tap0", **vm("a")))
        wait_until(lambda: agent.poll() is not None or "tap0" in events.read_text())
        if agent.poll() is None:
            status = Path(f"/proc/{agent.pid}/status").read_text()
            (folder / "uids").write_text(" ".join(status.partition("Uid:")[2].split()[:4]))
    finally:
        agent.send_signal(signal.SIGTERM)
        _, said = agent.communicate(timeout=DEADLINE)
    assert agent.returncode == 0, said
    return [json.loads(line) for line in (folder / "noted").read_text().splitlines()]


@pytest.mark.parametrize("kind", ["unix", "tcp"])
def test_the_agent_opens_its_connection_and_its_files_and_nothing_else(
    box: Sandbox, tmp_path: Path, kind: str
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "state").mkdir(mode=0o700)
    connection = box.connection if kind == "unix" else box.tcp_connection
    *noted, (_, modules) = run_agent(box, tmp_path, connection)
    ours = [entry for entry in noted if not entry[1][0].endswith(".pyc")]
    assert {event for event, _ in ours} <= {"open", "socket.connect", "sqlite3.connect"}
    written = {args[0] for event, args in ours if event in ("open", "sqlite3.connect")}
    assert written <= {f"{tmp_path}/out/events.jsonl", f"{tmp_path}/state/told.sqlite"}
    (address,) = {args[1] for event, args in ours if event == "socket.connect"}
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
    run_agent(box, tmp_path, box.connection)
    modes = {
        path.name: stat.S_IMODE(path.stat().st_mode)
        for folder in ("out", "state")
        for path in (tmp_path / folder).iterdir()
    }
    assert modes.pop("events.jsonl") == 0o640
    assert modes
    assert {mode & 0o077 for mode in modes.values()} == {0}, modes


@pytest.mark.skipif(os.getuid() != 0, reason="this user is unprivileged: the others have shown it")
def test_the_agent_works_as_an_unprivileged_user(box: Sandbox, tmp_path: Path) -> None:
    for parent in (tmp_path, *tmp_path.parents[:2]):
        parent.chmod(0o755)
    for name in ("out", "state"):
        (tmp_path / name).mkdir()
        os.chown(tmp_path / name, 65534, 65534)
    run_agent(box, tmp_path, box.tcp_connection, "--become-nobody")
    assert (tmp_path / "uids").read_text() == "65534 65534 65534 65534"
    assert (tmp_path / "out" / "events.jsonl").stat().st_uid == 65534


def test_options_that_hold_a_secret_are_marked_so() -> None:
    """None does today: keys are files. A new one must not be logged."""
    for group, options in opts.list_opts():
        for option in options:
            words = option.name.replace("-", "_").split("_")
            if words[-1] != "file" and {"password", "secret", "token", "key"} & set(words):
                assert option.secret, f"[{group}] {option.name}"
