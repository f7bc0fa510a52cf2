"""dfovsdb doctor on switches that are well and on switches that are not."""

from __future__ import annotations

import grp
import json
import os
import pwd
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from dfovsdb import Classifier, Interface, Monitor, config
from dfovsdb.doctor import config_checks
from dfovsdb.doctor.context import Context
from dfovsdb.doctor.examine import examine
from dfovsdb.doctor.finding import Finding
from dfovsdb.plugins import default_classifiers
from dfovsdb.telemetry.switch_page import Web
from dfovsdb.testing import Sandbox, wait_until
from dfovsdb.testing.sandbox import find_schema
from tests import otheruser
from tests.functional import helpers
from tests.waiting import DEADLINE


def findings(connection: str, *, verify: bool = False, timeout: float = 20) -> list[Finding]:
    return list(
        examine(Context(connection, default_classifiers(), {}, timeout=timeout), verify=verify)
    )


def of(found: list[Finding], subject: str) -> list[Finding]:
    return [finding for finding in found if finding.subject == subject]


def add(switch: Sandbox, name: str, *settings: str) -> None:
    switch.vsctl(
        "--no-wait", "add-port", "br-int", name, "--", "set", "interface", name, *settings
    )


def doctor(*args: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dfovsdb", "doctor", *args],
        text=True,
        capture_output=True,
        timeout=DEADLINE,
        check=False,
        **options,
    )


def test_a_switch_that_is_well_has_nothing_wrong_and_status_0(ovs_sandbox: Sandbox) -> None:
    ovs_sandbox.add_bridge("br-int")
    add(ovs_sandbox, "tap0", "type=dummy", "external_ids:iface-id=v0")
    done = doctor(ovs_sandbox.connection, "--verify")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[-1] == "nothing is wrong"
    assert not [line for line in lines[:-1] if not line.startswith("fine")]
    me = pwd.getpwuid(os.geteuid()).pw_name
    for message in (
        f"exists and may be opened by {me}, the user who runs this",
        "log can be built; it was not opened",
        "bridge: 1",
        "vm: 1",
        "tunnel: 0",
        "2 interfaces are equal to what ovs.db.idl reads",
    ):
        assert message in done.stdout


def test_tcp_is_examined_too(ovs_sandbox: Sandbox) -> None:
    ovs_sandbox.add_bridge("br-int")
    found = findings(ovs_sandbox.tcp_connection, verify=True)
    assert {finding.level for finding in found} == {"fine"}
    assert "1 interface is equal" in found[-1].text


def test_a_socket_that_is_not_there_ends_the_examination(tmp_path: Path) -> None:
    done = doctor(f"unix:{tmp_path}/nobody")
    assert done.returncode == 1
    assert done.stdout.splitlines()[0].startswith("wrong  socket")
    assert "No such file" in done.stdout
    assert "->" in done.stdout


def test_a_file_that_is_no_socket_and_a_socket_without_a_server_are_distinguished(
    tmp_path: Path,
) -> None:
    file = tmp_path / "file"
    file.touch()
    assert "is not a socket" in findings(f"unix:{file}")[0].text
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "left"))
    (found,) = findings(f"unix:{tmp_path}/left")
    assert "Connection refused" in found.text


@otheruser.needs_root
@pytest.mark.parametrize("owner", [0, 1])
def test_a_socket_that_may_not_be_opened_names_its_owner_and_the_remedy(
    ovsdb_sandbox: Sandbox, owner: int
) -> None:
    code = """
from dfovsdb.doctor.context import Context
from dfovsdb.doctor.examine import examine
case = Context(sys.argv[1], [], {})
become_nobody()
print(*examine(case), sep="\\n")
"""
    otheruser.let_enter(ovsdb_sandbox.directory)
    os.chown(ovsdb_sandbox.connection.removeprefix("unix:"), owner, owner)
    done = otheruser.run(code, ovsdb_sandbox.connection)
    user, group = pwd.getpwuid(owner).pw_name, grp.getgrgid(owner).gr_name
    path = ovsdb_sandbox.connection.removeprefix("unix:")
    me = pwd.getpwuid(otheruser.UID).pw_name
    assert (
        f"{path} belongs to {user}:{group}, mode 0750: Permission denied (as {me})" in done.stdout
    )
    assert "let a group of this user write to it, at each start of its server: " in done.stdout
    assert (f"run as {user}, or let" in done.stdout) == (owner != 0)  # nobody is sent to root
    assert f"`chgrp GROUP {path}; chmod 0770 {path}`" in done.stdout
    assert "(every user of this host may then change the database)" in done.stdout


def test_a_refused_connection_is_reported_with_what_makes_a_server_listen() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (found,) = findings(f"tcp:127.0.0.1:{port}")
    assert found.text.startswith(f"cannot connect to tcp:127.0.0.1:{port} (Connection refused)")
    assert "`ovs-vsctl set-manager ptcp:6640:127.0.0.1`" in found.text
    assert "every user of this host may then change the database" in found.text
    assert found.remedy == ""


def test_a_server_that_does_not_answer_is_reported(ovsdb_sandbox: Sandbox) -> None:
    ovsdb_sandbox.pause_database()
    try:
        found = findings(ovsdb_sandbox.connection, timeout=2)
    finally:
        ovsdb_sandbox.resume_database()
    assert found[-1][:3] == ("wrong", "server", "no answer within 2 s")


def test_a_database_of_another_program_is_reported(tmp_path: Path) -> None:
    schema = json.loads(find_schema().read_text())
    del schema["tables"]["Interface"]["columns"]["ofport"]
    file = tmp_path / "schema"
    file.write_text(json.dumps(schema))
    with Sandbox(vswitchd=False, schema=file) as box:
        found = findings(box.connection)
    assert found[-1][:3] == ("wrong", "columns", "it does not have ofport")


def test_columns_that_an_old_schema_lacks_are_named(tmp_path: Path) -> None:
    schema = json.loads(find_schema().read_text())
    del schema["tables"]["Interface"]["columns"]["error"]
    file = tmp_path / "schema"
    file.write_text(json.dumps(schema))
    with Sandbox(vswitchd=False, schema=file) as box:
        (found,) = of(findings(box.connection, timeout=2), "columns")
    assert found[:3] == ("note", "columns", "it does not have error")


@pytest.mark.parametrize("kill", [True, False])
def test_a_dead_vswitchd_is_reported_with_what_waits_for_it(
    ovs_sandbox: Sandbox, kill: bool
) -> None:
    ovs_sandbox.add_bridge("br-int")
    ovs_sandbox.stop_vswitchd(kill=kill)
    assert of(findings(ovs_sandbox.connection), "ovs-vswitchd")[0].level == "wrong"
    add(ovs_sandbox, "tap0", "external_ids:iface-id=v0")
    dead, waits = of(findings(ovs_sandbox.connection), "ovs-vswitchd")
    assert "systemctl" in dead.remedy
    assert waits[:3] == ("wrong", "ovs-vswitchd", "1 interface waits for it: tap0")


def test_a_vswitchd_that_is_stopped_is_reported_before_anything_waits_for_it(
    ovs_sandbox: Sandbox,
) -> None:
    ovs_sandbox.add_bridge("br-int")
    pid = int((ovs_sandbox.directory / "ovs-vswitchd.pid").read_text())
    os.kill(pid, signal.SIGSTOP)
    try:
        stat = Path(f"/proc/{pid}/stat")
        wait_until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T")
        (found,) = of(findings(ovs_sandbox.connection), "ovs-vswitchd")
    finally:
        os.kill(pid, signal.SIGCONT)
    assert found.level == "wrong"
    assert found.text.startswith("its process is stopped")
    assert f"`kill -CONT {pid}`" in found.remedy


@otheruser.needs_root
def test_a_folder_that_may_not_be_entered_is_named_and_tcp_is_not_recommended(
    ovsdb_sandbox: Sandbox,
) -> None:
    code = """
from dfovsdb.ovsdb.address import Address
from dfovsdb.doctor.context import Context
from dfovsdb.doctor.examine import examine
from dfovsdb.ovsdb.transport import Transport
cases = Context(sys.argv[1], [], {}), Context(sys.argv[1], [], {})
become_nobody()
print(*examine(cases[0]), sep="\\n")
try:
    Transport(Address.parse(sys.argv[1])).open()
except Exception as error:
    print(error)
"""
    folder = ovsdb_sandbox.directory

    def said() -> str:
        return otheruser.run(code, ovsdb_sandbox.connection).stdout

    otheruser.let_enter(folder)
    folder.chmod(0o700)
    closed = said()
    assert closed.count(f"this user may not enter the folder {folder}; run as the user") == 2
    folder.chmod(0o755)
    opened = said().splitlines()[-1]
    assert opened.startswith(f"cannot connect to {ovsdb_sandbox.connection} (Permission denied)")
    assert f"`dfovsdb doctor {ovsdb_sandbox.connection}` to see which user may" in opened
    assert "tcp" not in opened


@otheruser.needs_root
def test_a_log_in_a_folder_that_may_not_be_entered_is_a_finding(tmp_path: Path) -> None:
    code = """
from pathlib import Path
from dfovsdb.doctor.config_checks import log_can_be_written
become_nobody()
print(log_can_be_written(Path(sys.argv[1])))
"""
    otheruser.let_enter(tmp_path)
    closed = tmp_path / "closed"
    closed.mkdir(0o700)
    (closed / "dfovsdb").mkdir()
    done = otheruser.run(code, str(closed / "dfovsdb" / "agent.log"))
    assert "Permission denied" in done.stdout, done.stderr
    assert done.stderr == ""


def test_over_tcp_a_dead_vswitchd_is_known_by_what_waits_for_it(ovsdb_sandbox: Sandbox) -> None:
    ovsdb_sandbox.add_bridge("br-int")
    (found,) = of(findings(ovsdb_sandbox.tcp_connection, timeout=2), "ovs-vswitchd")
    assert found[:3] == ("wrong", "ovs-vswitchd", "1 interface waits for it: br-int")


def test_rows_that_nobody_claims_say_what_they_lack(ovs_sandbox: Sandbox) -> None:
    ovs_sandbox.add_bridge("br-int")
    add(ovs_sandbox, "tap0", "type=internal")
    add(ovs_sandbox, "qr-1", "type=dummy", "external_ids:iface-id=v1")
    found = {
        finding.text: finding for finding in of(findings(ovs_sandbox.connection), "unclaimed")
    }
    tap, router = (
        found["no classifier claims tap0 (type internal)"],
        found["no classifier claims qr-1 (type dummy)"],
    )
    assert tap.level == "note"
    assert "bridge: its name is not among names" in tap.remedy
    assert "vm: its name is among exclude_names" in router.remedy


def test_failed_ports_and_iface_ids_on_two_rows_are_wrong(ovs_sandbox: Sandbox) -> None:
    ovs_sandbox.add_bridge("br-int")
    add(ovs_sandbox, "eth9", "external_ids:iface-id=v9")
    for name in ("tap0", "tap1"):
        add(ovs_sandbox, name, "type=dummy", "external_ids:iface-id=v0")
    found = findings(ovs_sandbox.connection)
    (failed,) = of(found, "failed port")
    assert failed.level == "wrong"
    assert "vm eth9: could not open network device eth9" in failed.text
    assert failed.remedy.startswith(
        "create a device of this name, or delete the port; "
        f"`ovs-vsctl --db={ovs_sandbox.connection} list Interface eth9`"
    )
    (twice,) = of(found, "iface-id")
    assert twice[:3] == ("wrong", "iface-id", "v0 is on tap0, tap1")
    assert twice.remedy.count("`ovs-vsctl --db=") == 2
    assert "remove Interface tap1 external_ids iface-id`" in twice.remedy
    ovs_sandbox.vsctl("set", "interface", "tap1", "external_ids:iface-status=inactive")
    (twice,) = of(findings(ovs_sandbox.connection), "iface-id")
    assert twice.level == "note"


def test_rows_that_nobody_claims_are_grouped_by_what_they_look_like(
    ovsdb_sandbox: Sandbox,
) -> None:
    ovsdb_sandbox.add_bridge("br-int")
    names = [f"v{number:02}" for number in range(30)] + ["lxc3f9ab07c1", "lxcbe0d77a2"]
    rows = [helpers.insert(name, number, ofport=-1) for number, name in enumerate([*names, "odd"])]
    ovsdb_sandbox.transact(*(operation for row in rows for operation in row))
    found = of(findings(ovsdb_sandbox.connection, timeout=2), "unclaimed")
    assert [finding.text for finding in found] == [
        "no classifier claims 30 interfaces like v* (type system): v00, v01, v02 and 27 more",
        "no classifier claims 2 interfaces like lx* (type system): lxc3f9ab07c1, lxcbe0d77a2",
        "no classifier claims odd (type system)",
    ]
    (remedy,) = {finding.remedy for finding in found}
    assert remedy.startswith("vm: it has no external_ids:iface-id; a classifier `match` can claim")
    assert remedy.endswith("docs/platforms.md has recipes")


def test_interfaces_of_many_looks_are_counted_and_not_all_named(ovsdb_sandbox: Sandbox) -> None:
    ovsdb_sandbox.add_bridge("br-int")
    rows = [
        helpers.insert(f"x{letter}", number, ofport=-1)
        for number, letter in enumerate("ghijklmnopqrstuvwxyz")
    ]
    ovsdb_sandbox.transact(*(operation for row in rows for operation in row))
    found = of(findings(ovsdb_sandbox.connection, timeout=2), "unclaimed")
    assert len(found) == 11
    assert found[-1].text == "and 10 more with other names or types"


def test_two_tunnels_that_the_switch_cannot_tell_apart_are_one_fault(ovs_sandbox: Sandbox) -> None:
    for bridge in ("br-a", "br-b"):
        ovs_sandbox.add_bridge(bridge)
    for bridge, name, key in (
        ("br-a", "vx1", "flow"),
        ("br-b", "vx2", "flow"),
        ("br-b", "vx3", "7"),
    ):
        options = ("type=vxlan", "options:remote_ip=10.0.0.2", f"options:key={key}")
        ovs_sandbox.vsctl("add-port", bridge, name, "--", "set", "interface", name, *options)
    case = Context(
        ovs_sandbox.connection,
        default_classifiers(),
        {"tables": ("Interface", "Port", "Bridge")},
        timeout=20,
    )
    (wrong,) = [finding for finding in examine(case) if finding.level == "wrong"]
    assert wrong.subject == "tunnel"
    assert wrong.text == (
        "vx1 of br-a and vx2 of br-b are the same vxlan tunnel to 10.0.0.2: the switch opens only "
        "one of them"
    )
    assert "options:key" in wrong.remedy
    ovs_sandbox.vsctl("set", "interface", "vx2", "options:key=8")  # as the remedy says
    assert not [f for f in findings(ovs_sandbox.connection) if f.level == "wrong"]


def test_tunnels_are_compared_as_the_switch_does(ovs_sandbox: Sandbox) -> None:
    ovs_sandbox.add_bridge("br-a")
    for name, type_, options in (
        ("l2", "gre", ""),
        ("l3", "gre", "options:packet_type=legacy_l3"),
        ("vx1", "vxlan", "options:key=100"),
        ("vx2", "vxlan", "options:key=0x64 options:dst_port=4789"),
    ):
        set_ = ("set", "interface", name, f"type={type_}", "options:remote_ip=10.0.0.2")
        ovs_sandbox.vsctl("add-port", "br-a", name, "--", *set_, *options.split())
    case = Context(ovs_sandbox.connection, default_classifiers(), {}, timeout=20)
    (wrong,) = [finding for finding in examine(case) if finding.level == "wrong"]
    assert wrong.text.startswith("vx1 and vx2 are the same vxlan tunnel to 10.0.0.2")


def test_a_type_that_the_switch_does_not_have_is_named(ovs_sandbox: Sandbox) -> None:
    ovs_sandbox.add_bridge("br-a")
    for name in ("dpdk", "nosuch"):
        ovs_sandbox.vsctl("add-port", "br-a", name, "--", "set", "interface", name, f"type={name}")
    by_dpdk, by_nosuch = of(findings(ovs_sandbox.connection), "failed port")
    assert "does not have the type dpdk" in by_dpdk.remedy
    assert "other_config:dpdk-init=true`" in by_dpdk.remedy
    assert "does not have the type nosuch: correct it, or delete the port; " in by_nosuch.remedy


def test_a_type_that_the_host_refuses_is_not_missing(ovsdb_sandbox: Sandbox) -> None:
    """As where the kernel has no IPv6: the switch has opened the port, and could not add it."""
    ovsdb_sandbox.add_bridge("br-int")
    error = "could not add network device vx6 to ofproto (Address family not supported)"
    ovsdb_sandbox.transact(*helpers.insert("vx6", type="vxlan", ofport=-1, error=error))
    (failed,) = of(findings(ovsdb_sandbox.connection, timeout=2), "failed port")
    assert failed.remedy.startswith("remove this cause")


def test_the_two_rows_of_a_vif_of_xen_are_no_fault(ovsdb_sandbox: Sandbox) -> None:
    ovsdb_sandbox.add_bridge("xapi0")
    ids = ["map", [["iface-id", "v"], ["xs-vif-uuid", "v"]]]
    ovsdb_sandbox.add_bridge("br-int")
    for number, name in enumerate(("vif1.0", "tap1.0")):
        ovsdb_sandbox.transact(*helpers.insert(name, ofport=number + 1, external_ids=ids))
    (found,) = of(findings(ovsdb_sandbox.connection, timeout=2), "iface-id")
    assert found.level == "fine"


def test_an_internal_port_is_not_advised_to_be_named_like_a_bridge(ovs_sandbox: Sandbox) -> None:
    ovs_sandbox.add_bridge("br-int")
    gateway = ("set", "interface", "antrea-gw0", "type=internal")
    ovs_sandbox.vsctl("add-port", "br-int", "antrea-gw0", "--", *gateway)
    case = Context(
        ovs_sandbox.connection,
        default_classifiers(),
        {"tables": ("Interface", "Port", "Bridge")},
        timeout=20,
    )
    (found,) = [finding for finding in examine(case) if finding.subject == "unclaimed"]
    assert "names" not in found.remedy


def test_what_the_database_holds_steers_no_terminal(ovsdb_sandbox: Sandbox) -> None:
    ovsdb_sandbox.add_bridge("br-int")
    row: dict[str, Any] = {
        "external_ids": ["map", [["iface-id", "\x1b[2Jv"]]],
        "error": "\x1b]0;x\x07",
        "ofport": -1,
        "type": "\x1b[1m",
    }
    for name in ("tap\x1b[0m", "tap\n"):
        ovsdb_sandbox.transact(*helpers.insert(name, **row))
    done = doctor(ovsdb_sandbox.connection, "--timeout", "2", "--verify")
    assert "\x1b" not in done.stdout
    assert r"tap\x1b[0m" in done.stdout
    assert "equal" in done.stdout


def test_verify_tells_what_differs(
    ovsdb_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    ovsdb_sandbox.add_bridge("br-int")
    monkeypatch.setattr("dfovsdb.doctor.reference.Reference.ports", lambda _self: {})
    found = of(findings(ovsdb_sandbox.connection, verify=True, timeout=2), "verify")
    assert [finding.level for finding in found] == ["wrong", "wrong"]
    assert "only here" in found[1].text


def test_a_reference_that_is_not_served_is_reported(
    ovsdb_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    ovsdb_sandbox.add_bridge("br-int")

    def refresh(_self: object, _timeout: float) -> None:
        raise TimeoutError("not served")

    monkeypatch.setattr("dfovsdb.doctor.reference.Reference.refresh", refresh)
    found = findings(ovsdb_sandbox.connection, verify=True, timeout=2)[-1]
    assert found[:3] == ("wrong", "verify", "not served")


def test_a_typo_in_the_configuration_is_reported(ovs_sandbox: Sandbox, tmp_path: Path) -> None:
    ovs_sandbox.add_bridge("br-int")
    file = tmp_path / "dfovsdb.conf"
    file.write_text(
        "[DEFAULT]\ndebug = true\n[dfovsdb]\nqueue_limt = 7\n[sink_jsonl]\npath = /x\n"
    )
    command = [sys.executable, "-m", "dfovsdb", "--config-file", str(file), "doctor"]
    done = subprocess.run(
        [*command, ovs_sandbox.connection],
        text=True,
        capture_output=True,
        timeout=DEADLINE,
        check=False,
    )
    assert done.returncode == 1
    wrong, note = [line for line in done.stdout.splitlines() if "  options  " in line]
    assert wrong.startswith("wrong")
    assert wrong.endswith("there is no option [dfovsdb] queue_limt; did you mean queue_limit?")
    assert note.startswith("note ")
    assert note.endswith("section [sink_jsonl] has no effect: sinks does not name jsonl")
    file.write_text("[dfovsdb]\nqueue_limit = 7\n")
    done = subprocess.run(
        [*command, ovs_sandbox.connection],
        text=True,
        capture_output=True,
        timeout=DEADLINE,
        check=False,
    )
    assert done.stdout.startswith(f"fine   options       every name is known in {file}\n")
    file.write_text("[dfovsdb]\nsinks = nosuch\n")
    done = subprocess.run(
        [*command, ovs_sandbox.connection],
        text=True,
        capture_output=True,
        timeout=DEADLINE,
        check=False,
    )
    assert done.stdout.startswith("wrong  sinks         sink 'nosuch' is not installed")
    assert done.stdout.count("nosuch") == 1


def start_points(*settings: str, tmp_path: Path) -> list[Finding]:
    file = tmp_path / "dfovsdb.conf"
    file.write_text("\n".join(settings))
    return list(config_checks.examine(config.load([str(file)])))


def test_what_the_start_would_refuse_is_reported_before_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        found = start_points(
            "[dfovsdb]",
            "sinks = jsonl",
            f"state_dir = {tmp_path}/state",
            "[http]",
            f"listen = {port}",
            "[sink_jsonl]",
            f"path = {tmp_path}/out/events",
            tmp_path=tmp_path,
        )
    assert [(point.level, point.subject) for point in found] == [
        ("fine", "options"),
        ("wrong", "sinks"),
        ("wrong", "state_dir"),
        ("wrong", "http"),
    ]
    _, sinks, state, metrics = found
    assert f"mkdir -p {tmp_path}/out" in sinks.text
    assert f"mkdir -p {tmp_path}/state" in state.text
    assert f"listen = {port}: Address already in use; run `ss -ltnp" in metrics.text


def test_what_the_start_would_take_is_fine_and_nothing_is_made(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    settings = (
        "[dfovsdb]",
        "sinks = log, jsonl",
        f"state_dir = {folder}",
        "[http]",
        "listen = 0",
        "[sink_jsonl]",
        f"path = {folder}/events",
    )
    found = start_points(*settings, tmp_path=tmp_path)
    assert [(point.level, point.subject) for point in found] == [
        ("fine", "options"),
        ("fine", "sink"),
        ("fine", "sink"),
        ("fine", "state_dir"),
        ("fine", "http"),
    ]
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("settings", "subject", "message"),
    [
        ("[ovsdb]\nconnection = /run/db.sock", "ovsdb", "use tcp:HOST:PORT"),
        ("[ovsdb]\ntables = Interface, Prt", "ovsdb", "no table 'Prt'"),
        ("[dfovsdb]\nsinks = json", "sinks", "did you mean jsonl? Available: "),
        ("[dfovsdb]\nclassifiers = tunel", "classifiers", "did you mean tunnel?"),
        ("[dfovsdb]\nsinks = jsonl\n[sink_jsonl]\npath = TMP", "sinks", "TMP is a folder"),
        (
            "[dfovsdb]\nsinks = jsonl\n[sink_jsonl]\nmax_bytes = 6k",
            "sinks",
            "[sink_jsonl] max_bytes: use a whole number, not '6k'",
        ),
        (
            "[dfovsdb]\nsinks = jsonl\n[sink_jsonl]\nkeep = 0",
            "sinks",
            "[sink_jsonl] keep: use 1 or more",
        ),
        ("[htpp]\nlisten = 1", "options", "did you mean [http]?"),
        ("[sink_log]\nkinds = vmm", "ovsdb", "[sink_log] kinds: vmm: no enabled classifier"),
    ],
)
def test_each_mistake_in_a_configuration_is_found_without_a_start(
    settings: str, subject: str, message: str, tmp_path: Path
) -> None:
    found = start_points(settings.replace("TMP", str(tmp_path)), tmp_path=tmp_path)
    (wrong,) = (finding for finding in found if finding.level == "wrong")
    assert wrong.subject == subject
    assert message.replace("TMP", str(tmp_path)) in wrong.text


def test_an_option_that_is_set_twice_is_noted(tmp_path: Path) -> None:
    (first, *_) = start_points("[dfovsdb]", "resync = diff", "resync = replay", tmp_path=tmp_path)
    assert (first.level, first.subject) == ("note", "options")
    assert first.text.endswith("[dfovsdb] resync is set 2 times; the last one applies")


@pytest.mark.parametrize("settings", [(), ("[sink_audit]", "isolate = true")])
def test_two_sinks_of_standard_output_are_noted(settings: Sequence[str], tmp_path: Path) -> None:
    enabled = ("[dfovsdb]", "sinks = jsonl, audit=jsonl")
    found = start_points(*enabled, *settings, tmp_path=tmp_path)
    (note,) = (finding for finding in found if finding.level == "note")
    assert note.text == "jsonl and audit all write to standard output"
    assert note.remedy == "set [sink_audit] path"


def test_a_state_dir_that_an_agent_has_in_use_names_its_process(tmp_path: Path) -> None:
    settings = ("[dfovsdb]", f"state_dir = {tmp_path}/state")
    (tmp_path / "state").mkdir()
    code = (
        "import sys\nfrom dfovsdb import Monitor\n"
        f"Monitor('unix:/nobody', sinks=[], state_dir={str(tmp_path / 'state')!r})\n"
        "print('held', flush=True)\nsys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        state = start_points(*settings, tmp_path=tmp_path)[-1]
        holder.kill()
    assert state.level == "fine"
    assert f"; process {holder.pid} has it in use: probably the running agent" in state.text
    (again,) = of(start_points(*settings, tmp_path=tmp_path), "state_dir")
    assert "in use" not in again.text


def test_the_port_of_the_agent_that_runs_is_not_wrong(tmp_path: Path) -> None:
    with Monitor(f"unix:{tmp_path}/nobody") as monitor, Web("0", monitor) as web:
        listen = web.url.rpartition(":")[2]
        metrics = start_points("[http]", f"listen = {listen}", tmp_path=tmp_path)[-1]
    assert metrics.level == "fine"
    assert metrics.text.endswith("dfovsdb already listens there: probably the running agent")


class Broken(Classifier):
    kind = "broken"

    def classify(self, interface: Interface) -> None:
        raise ValueError(interface.name)


class CannotSay(Classifier):
    kind = "mute"

    def classify(self, interface: Interface) -> None:
        """Claims nothing."""

    def nearly(self, interface: Interface) -> str:
        return interface.options["peer"]


def test_a_classifier_that_cannot_say_what_a_row_lacks_ends_no_examination(
    ovs_sandbox: Sandbox,
) -> None:
    ovs_sandbox.add_bridge("br-int")
    found = list(examine(Context(ovs_sandbox.connection, [CannotSay()], {})))
    (unclaimed,) = of(found, "unclaimed")
    assert unclaimed.remedy.startswith("mute: nearly() raised KeyError('peer'); ")
    assert of(found, "iface-id")  # the last check


def test_a_classifier_that_fails_is_reported_with_the_number_of_rows(ovs_sandbox: Sandbox) -> None:
    ovs_sandbox.add_bridge("br-int")
    case = Context(ovs_sandbox.connection, [Broken()], {})
    claims, failed = of(list(examine(case)), "classifier")
    assert claims.text == "broken: 0"
    assert failed[:3] == ("wrong", "classifier", "broken failed on 1 row")


def test_a_healthy_trunk_is_healthy(ovs_sandbox: Sandbox) -> None:
    for bridge in ("br-int", "tbr-1"):
        ovs_sandbox.add_bridge(bridge)
    for name, peer, bridge, iface_id in (
        ("tpi-1", "tpt-1", "br-int", "parent"),
        ("tpt-1", "tpi-1", "tbr-1", "parent"),
        ("spi-1", "spt-1", "br-int", "subport"),
        ("spt-1", "spi-1", "tbr-1", "subport"),
    ):
        options = ("type=patch", f"options:peer={peer}", f"external_ids:iface-id={iface_id}")
        ovs_sandbox.vsctl("add-port", bridge, name, "--", "set", "interface", name, *options)
    parent = ("type=dummy", "external_ids:iface-id=parent")
    ovs_sandbox.vsctl("add-port", "tbr-1", "tap1", "--", "set", "interface", "tap1", *parent)
    assert not [finding for finding in findings(ovs_sandbox.connection) if finding.level != "fine"]


def test_a_failed_row_is_wrong_whoever_claims_it(ovs_sandbox: Sandbox) -> None:
    ovs_sandbox.add_bridge("br-ex")
    for name in ("eth7", "veth7"):
        ovs_sandbox.vsctl("add-port", "br-ex", name)
    ovs_sandbox.vsctl(
        "add-port",
        "br-ex",
        "alone",
        "--",
        "set",
        "interface",
        "alone",
        "type=patch",
        "options:peer=nobody",
    )
    found = {
        finding.text: finding for finding in of(findings(ovs_sandbox.connection), "failed port")
    }
    assert any(text.startswith("uplink eth7: could not open") for text in found)
    assert any(text.startswith("interface veth7: could not open") for text in found)
    (patch,) = [finding for text, finding in found.items() if text.startswith("patch alone: ")]
    assert "there is no usable patch port 'nobody'" in patch.text
    assert "create the other patch port" in patch.remedy


def test_a_patch_port_whose_peer_is_not_opened_has_failed_and_the_remedy_names_the_peer(
    ovs_sandbox: Sandbox,
) -> None:
    """The bridge of the peer has a datapath type that the switch does not have."""
    ovs_sandbox.add_bridge("br-int")
    ovs_sandbox.vsctl("add-br", "br-no", "--", "set", "bridge", "br-no", "datapath_type=system")
    pair = [("br-int", "patch-no", "patch-int"), ("br-no", "patch-int", "patch-no")]
    for bridge, name, peer in pair:
        ovs_sandbox.vsctl(
            *("add-port", bridge, name, "--", "set", "interface", name),
            *("type=patch", f"options:peer={peer}"),
        )
    with Monitor(ovs_sandbox.connection) as monitor:
        failed = monitor.wait_for(lambda port: port.state == "failed", DEADLINE)
    assert failed.name == "patch-no"
    assert failed.error == "there is no usable patch port 'patch-int' with this port as its peer"
    (patch,) = of(findings(ovs_sandbox.connection, timeout=1), "failed port")
    assert patch.text == f"patch patch-no: {failed.error}"
    assert "has not opened patch-int, its peer" in patch.remedy
    assert "list Interface patch-int`" in patch.remedy


def test_a_patch_port_between_datapath_types_names_the_bridges(ovsdb_sandbox: Sandbox) -> None:
    for bridge in ("br-int", "br-ex"):
        ovsdb_sandbox.add_bridge(bridge)
    ovsdb_sandbox.vsctl("--no-wait", "set", "bridge", "br-int", "datapath_type=netdev")
    ovsdb_sandbox.vsctl("--no-wait", "set", "bridge", "br-ex", "datapath_type=system")
    for number, (bridge, name, peer) in enumerate([("br-int", "a", "b"), ("br-ex", "b", "a")]):
        ovsdb_sandbox.vsctl(
            *("--no-wait", "add-port", bridge, name, "--", "set", "interface", name),
            *("type=patch", f"options:peer={peer}", f"ofport={number + 1}"),
        )
    options = {"tables": ("Interface", "Port", "Bridge")}
    case = Context(ovsdb_sandbox.connection, default_classifiers(), options, timeout=2)
    found = of(list(examine(case)), "failed port")
    assert len(found) == 2
    assert "set the same datapath_type on the bridges of both, br-int and br-ex" in found[0].remedy


def test_a_patch_port_that_the_switch_refused_has_the_reason_of_the_switch(
    ovsdb_sandbox: Sandbox,
) -> None:
    ovsdb_sandbox.add_bridge("br-int")
    for name, peer, columns in (("a", "b", ["ofport=-1", "error=refused"]), ("b", "a", [])):
        ovsdb_sandbox.vsctl(
            *("--no-wait", "add-port", "br-int", name, "--", "set", "interface", name),
            *("type=patch", f"options:peer={peer}", *columns),
        )
    (found,) = of(findings(ovsdb_sandbox.connection, timeout=2), "failed port")
    assert found.text == "patch a: refused"
    assert "remove this cause" in found.remedy


def test_platforms_are_recognised_by_their_rows(ovsdb_sandbox: Sandbox) -> None:
    ovsdb_sandbox.add_bridge("br-int")
    sandbox_id = ["map", [["iface-id", "ns_pod"], ["sandbox", "x"]]]
    rows: tuple[tuple[str, dict[str, Any]], ...] = (
        ("tap100i0", {}),
        ("abc", {"external_ids": sandbox_id}),
        ("vif1.0", {"external_ids": ["map", [["xs-vif-uuid", "u"]]]}),
    )
    for name, columns in rows:
        ovsdb_sandbox.transact(*helpers.insert(name, ofport=5, **columns))
    found = of(findings(ovsdb_sandbox.connection, timeout=2), "platform")
    assert [finding.remedy.split()[1] for finding in found] == [
        "ovn_kubernetes",
        "xen",
        "proxmox",
    ]


def test_a_column_of_another_table_is_looked_for_in_that_table(
    ovs_sandbox: Sandbox, tmp_path: Path
) -> None:
    conf = tmp_path / "conf"
    conf.write_text(
        "[dfovsdb]\nclassifiers = nic=match\n[classifier_nic]\nkind = nic\ntypes = system\n"
        "attributes = mode:Port.bond_mode\n"
    )
    done = subprocess.run(
        [
            *(sys.executable, "-m", "dfovsdb", "--config-file", str(conf)),
            *("doctor", ovs_sandbox.connection),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE,
    )
    assert "monitored columns exist" in done.stdout
    assert "bond_mode" not in done.stdout
