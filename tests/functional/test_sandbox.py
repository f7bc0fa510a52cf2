"""The sandbox, as plugin authors use it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from dfovsdb import watch
from dfovsdb.testing import Sandbox, SandboxError
from tests.waiting import DEADLINE, is_running

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[2]


def test_any_number_of_sandboxes_stand_side_by_side() -> None:
    with ExitStack() as stack:
        boxes = [stack.enter_context(Sandbox()) for _ in range(4)]
        for number, box in enumerate(boxes):
            box.add_bridge(f"br-{number}")
        bridges = [
            [event.port.name for event in watch(box.tcp_connection, once=True, timeout=DEADLINE)]
            for box in boxes
        ]
    assert bridges == [["br-0"], ["br-1"], ["br-2"], ["br-3"]]


def test_nothing_is_left_behind() -> None:
    with Sandbox() as box:
        folder = box.directory
        pids = [int(file.read_text()) for file in folder.glob("*.pid")]
        assert len(pids) == 2
    assert not folder.exists()
    assert not any(is_running(pid) for pid in pids)


def test_a_command_that_fails_says_what_it_said(ovsdb_sandbox: Sandbox) -> None:
    with pytest.raises(SandboxError, match="no bridge named nosuch"):
        ovsdb_sandbox.vsctl("del-br", "nosuch")
    with pytest.raises(SandboxError, match="No table named Nosuch"):
        ovsdb_sandbox.transact({"op": "select", "table": "Nosuch", "where": []})


def test_a_port_that_is_taken_is_named(
    ovsdb_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    port = int(ovsdb_sandbox.tcp_connection.rpartition(":")[2])
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(SandboxError, match=f"ptcp:{port}:127.0.0.1: listen failed"):
        Sandbox(port=port).start()
    assert list(tmp_path.iterdir()) == []


def test_without_open_vswitch_it_says_what_to_install_and_in_a_clone_what_fetches_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    packages = "apt-get install openvswitch-switch openvswitch-common"
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr("dfovsdb.testing.sandbox._WHERE", ())
    with pytest.raises(SandboxError, match=f"ovsdb-tool was not found: .*{packages}"):
        Sandbox().start()
    monkeypatch.setattr("dfovsdb.testing.sandbox._SCHEMAS", ())
    monkeypatch.delenv("OVS_PKGDATADIR", raising=False)
    wrapper = ROOT / "tools" / "openvswitch.sh"
    with pytest.raises(SandboxError, match=f"without root, {wrapper} COMMAND") as raised:
        Sandbox().start()
    assert f"vswitch.ovsschema was not found: the sandbox needs Open vSwitch ({packages})" in str(
        raised.value
    )
    monkeypatch.setattr("dfovsdb.testing.sandbox._WRAPPER", tmp_path / "of-no-clone")
    with pytest.raises(SandboxError) as raised:
        Sandbox().start()
    assert str(raised.value).endswith(f"({packages})")


def test_what_the_hint_says_to_type_is_found_in_another_terminal(
    ovsdb_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Although a program is on this PATH alone, as with tools/openvswitch.sh."""
    program = tmp_path / "ovs-vsctl"
    program.write_text("")
    program.chmod(0o755)
    assert "\nand:  ovs-vsctl --db=" in ovsdb_sandbox.hint or ".ovs/" in ovsdb_sandbox.hint
    monkeypatch.setattr("dfovsdb.testing.sandbox._ON_EVERY_PATH", "/nonexistent")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert f"\nand:  {program} --db={ovsdb_sandbox.connection} add-br br-int" in ovsdb_sandbox.hint
    ours = Path(sys.executable).parent / "dfovsdb"
    assert f"\nTry:  {ours} watch {ovsdb_sandbox.connection}\n" in ovsdb_sandbox.hint


def test_make_sandbox_is_what_the_guides_say() -> None:
    """With `--dry-run`, as a real one would make .venv/ here."""
    for guide in ("README.md", "docs/operating.md"):
        assert re.search(r"^    make sandbox( |$)", (ROOT / guide).read_text(), re.MULTILINE)
    done = subprocess.run(
        ["make", "--dry-run", "--no-print-directory", "sandbox"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=DEADLINE,
    )
    assert done.stdout.splitlines()[-1] == "tools/openvswitch.sh .venv/bin/dfovsdb sandbox"


def test_the_database_keeps_its_port_over_a_restart(ovsdb_sandbox: Sandbox) -> None:
    before = ovsdb_sandbox.tcp_connection
    ovsdb_sandbox.stop_database(kill=True)
    ovsdb_sandbox.start_database()
    assert ovsdb_sandbox.tcp_connection == before


def test_the_fixtures_are_found_without_an_import(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        from testtools.assertions import assert_that
        from dfovsdb.testing import EndsAs, IsOnline

        def test_a_bridge_is_reported(ovs_sandbox, ovs_monitor, capture_sink, make_interface):
            ovs_sandbox.add_bridge("br-int")
            capture_sink.wait_until(lambda: capture_sink.of("br-int"))
            assert_that(capture_sink.of("br-int")[0], IsOnline(kind="bridge"))
            ovs_monitor.wait_for(lambda port: port.link_state is not None, timeout=30)
            capture_sink.wait_until(lambda: capture_sink.ports == ovs_monitor.ports())
            assert_that(capture_sink, EndsAs(ovs_monitor.ports()))
            assert make_interface("tap0").name == "tap0"
        """
    )
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=1)


def test_a_port_that_the_switch_cannot_set_up_is_no_error_of_ovs_vsctl(
    ovs_sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ovs_sandbox.add_bridge("br-int")
    ovs_sandbox.vsctl("add-port", "br-int", "absent0")  # whichever version this machine has
    assert "absent0" in ovs_sandbox.vsctl("list-ports", "br-int")
    newer = tmp_path / "ovs-vsctl"
    newer.write_text(
        "#!/bin/sh\necho \"ovs-vsctl: Error detected while setting up 'absent0': could not open"
        ' network device absent0 (No such device)." >&2\nexit 1\n'
    )
    newer.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    ovs_sandbox.vsctl("add-port", "br-int", "absent0")
    newer.write_text("#!/bin/sh\necho 'ovs-vsctl: no row br-int' >&2\nexit 1\n")
    with pytest.raises(SandboxError, match="no row br-int"):
        ovs_sandbox.vsctl("add-port", "br-int", "absent0")
