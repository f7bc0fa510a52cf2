"""The sandbox, as plugin authors use it."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

import pytest

from dfovsdb import watch
from dfovsdb.testing import Sandbox, SandboxError


def test_any_number_of_sandboxes_stand_side_by_side() -> None:
    with ExitStack() as stack:
        boxes = [stack.enter_context(Sandbox()) for _ in range(4)]
        for number, box in enumerate(boxes):
            box.add_bridge(f"br-{number}")
        told = [
            [event.port.name for event in watch(box.tcp_connection, once=True, timeout=20)]
            for box in boxes
        ]
    assert told == [["br-0"], ["br-1"], ["br-2"], ["br-3"]]


def test_nothing_is_left_behind() -> None:
    with Sandbox() as box:
        folder = box.directory
        pids = [int(file.read_text()) for file in folder.glob("*.pid")]
        assert len(pids) == 2
    assert not folder.exists()
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_a_command_that_fails_says_what_it_said(ovsdb_sandbox: Sandbox) -> None:
    with pytest.raises(SandboxError, match="no bridge named nosuch"):
        ovsdb_sandbox.vsctl("del-br", "nosuch")
    with pytest.raises(SandboxError, match="No table named Nosuch"):
        ovsdb_sandbox.transact({"op": "select", "table": "Nosuch", "where": []})


def test_a_port_that_is_taken_is_named(ovsdb_sandbox: Sandbox) -> None:
    port = int(ovsdb_sandbox.tcp_connection.rpartition(":")[2])
    before = set(os.listdir("/tmp"))
    with pytest.raises(SandboxError, match=f"ptcp:{port}:127.0.0.1: listen failed"):
        Sandbox(port=port).start()
    assert not [new for new in set(os.listdir("/tmp")) - before if new.startswith("dfovsdb-")]


def test_without_open_vswitch_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr("dfovsdb.testing.sandbox._WHERE", ())
    with pytest.raises(SandboxError, match="apt-get install openvswitch-switch"):
        Sandbox().start()


def test_the_database_keeps_its_port_over_a_restart(ovsdb_sandbox: Sandbox) -> None:
    before = ovsdb_sandbox.tcp_connection
    ovsdb_sandbox.stop_database(kill=True)
    ovsdb_sandbox.start_database()
    assert ovsdb_sandbox.tcp_connection == before
