"""The commands, as an operator runs them."""

from __future__ import annotations

import fcntl
import functools
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import pytest

import dfovsdb
from dfovsdb.testing import Sandbox, wait_until
from tests.waiting import DEADLINE, is_running

VM = ("type=dummy", "external_ids:iface-id=4aa64e21")


def dfovsdb_command(*args: str) -> list[str]:
    return [sys.executable, "-m", "dfovsdb", *args]


def run(*args: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        dfovsdb_command(*args),
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
        **options,
    )


def _keep(pipe: IO[str], lines: list[str]) -> None:
    for line in pipe:
        lines.append(line)  # noqa: PERF402 - one by one, as they come


class Command:
    """A command that goes on running; its output is read as it comes."""

    def __init__(self, *args: str, env: dict[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            dfovsdb_command(*args),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=env,
        )
        self.out: list[str] = []
        self.err: list[str] = []
        assert self.process.stdout
        assert self.process.stderr
        self._threads = [
            threading.Thread(target=_keep, args=(self.process.stdout, self.out)),
            threading.Thread(target=_keep, args=(self.process.stderr, self.err)),
        ]
        for thread in self._threads:
            thread.start()

    def wait_for(self, condition: Callable[[], object]) -> None:
        try:
            wait_until(condition)
        except AssertionError:
            said = "".join([*self.out, *self.err])
            raise AssertionError(f"the condition did not come true; said:\n{said}") from None

    def events(self, name: str) -> list[dict[str, Any]]:
        items = [json.loads(line) for line in self.out]
        return [item for item in items if item.get("port", {}).get("name") == name]

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        status = self.process.wait(DEADLINE)
        for thread in self._threads:
            thread.join(DEADLINE)
        return status


@pytest.fixture
def command() -> Iterator[Callable[..., Command]]:
    running: list[Command] = []

    def start(*args: str, env: dict[str, str] | None = None) -> Command:
        running.append(Command(*args, env=env))
        return running[-1]

    yield start
    for one in running:
        if one.process.poll() is None:
            one.end(signal.SIGKILL)
        one.process.stdout.close()  # type: ignore[union-attr]  # it is a pipe
        one.process.stderr.close()  # type: ignore[union-attr]  # it is a pipe


@pytest.fixture
def switch(ovs_sandbox: Sandbox) -> Sandbox:
    ovs_sandbox.add_bridge("br-int")
    ovs_sandbox.vsctl("wait-until", "interface", "br-int", "link_state=up")
    return ovs_sandbox


def configuration(tmp_path: Path, connection: str, text: str) -> str:
    file = tmp_path / "dfovsdb.conf"
    file.write_text(f"[ovsdb]\nconnection = {connection}\n{text}")
    return str(file)


def test_run_tells_its_sinks_and_ends_on_sigterm(
    switch: Sandbox, tmp_path: Path, command: Callable[..., Command]
) -> None:
    conf = configuration(tmp_path, switch.connection, "[dfovsdb]\nsinks = jsonl, log\nhost=cmp-17")
    agent = command("--config-file", conf, "run")
    agent.wait_for(lambda: any('"sync_finished"' in line for line in agent.out))
    switch.stop_vswitchd()  # so that the row and its port number are two changes
    switch.vsctl("add-port", "br-int", "tap0", "--", "set", "interface", "tap0", *VM)
    agent.wait_for(lambda: agent.events("tap0"))
    switch.start_vswitchd()
    agent.wait_for(lambda: any(e["port"]["state"] == "ready" for e in agent.events("tap0")))
    assert agent.end(signal.SIGTERM) == 0
    items = [json.loads(line) for line in agent.out]
    assert [item["seq"] for item in items] == list(range(1, len(items) + 1))
    assert {(item["v"], item["host"]) for item in items} == {(1, "cmp-17")}
    updated = next(e for e in agent.events("tap0") if e["port"]["ofport"])
    assert updated["changed"]["state"] == ["pending", "ready"]
    assert any("online vm tap0" in line for line in agent.err)


def test_run_reopens_its_file_on_sighup_and_tells_everything_again_on_sigusr1(
    switch: Sandbox, tmp_path: Path, command: Callable[..., Command]
) -> None:
    file, rotated = tmp_path / "events.jsonl", tmp_path / "events.jsonl.1"
    text = f"[dfovsdb]\nsinks = events=jsonl\n[sink_events]\npath={file}\n"
    conf = configuration(tmp_path, switch.connection, text)
    agent = command("--config-file", conf, "run")
    agent.wait_for(lambda: file.exists() and "sync_finished" in file.read_text())
    file.rename(rotated)
    agent.process.send_signal(signal.SIGHUP)
    agent.wait_for(file.exists)
    agent.process.send_signal(signal.SIGUSR1)
    agent.wait_for(lambda: "sync_finished" in file.read_text())
    replayed = [json.loads(line) for line in file.read_text().splitlines()]
    assert {item["origin"] for item in replayed} == {"replay"}
    assert [item["action"] for item in replayed] == ["sync_started", "online", "sync_finished"]
    assert agent.end() == 0
    assert "replay" not in rotated.read_text()


def test_an_agent_that_was_stopped_for_a_while_goes_on(
    switch: Sandbox, tmp_path: Path, command: Callable[..., Command]
) -> None:
    agent = command("--config-file", configuration(tmp_path, switch.connection, ""), "run")
    agent.wait_for(lambda: any("sync_finished" in line for line in agent.err))
    for _ in range(3):
        agent.process.send_signal(signal.SIGSTOP)
        time.sleep(1.5)  # longer than it waits for anything of its own
        agent.process.send_signal(signal.SIGCONT)
    switch.vsctl("add-port", "br-int", "tap0", "--", "set", "interface", "tap0", *VM)
    agent.wait_for(lambda: any("online vm tap0" in line for line in agent.err))
    assert agent.end(signal.SIGTERM) == 0
    assert not any("Traceback" in line for line in agent.err)


def test_an_agent_whose_log_nobody_reads_goes_on_and_ends(switch: Sandbox, tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    sinks = f"[dfovsdb]\nsinks = log, jsonl\n[sink_jsonl]\npath = {file}\n"
    config = configuration(tmp_path, switch.connection, sinks)
    agent = subprocess.Popen(
        [sys.executable, "-m", "dfovsdb", "--config-file", config, "--debug", "run"],
        stderr=subprocess.PIPE,
    )
    assert agent.stderr is not None
    try:
        fcntl.fcntl(agent.stderr, fcntl.F_SETPIPE_SZ, 4096)

        def is_delivered(name: str) -> bool:
            return file.exists() and f'"{name}"' in file.read_text()

        wait_until(lambda: is_delivered("br-int"))
        for round_ in range(3):
            switch.vsctl(
                *[
                    word
                    for name in [f"tap{round_}x{number}" for number in range(30)]
                    for word in (
                        *("--", "add-port", "br-int", name),
                        *("--", "set", "interface", name, *VM),
                    )
                ]
            )
            wait_until(functools.partial(is_delivered, f"tap{round_}x29"))
            switch.stop_database()
            switch.start_database()
        switch.vsctl("add-port", "br-int", "last", "--", "set", "interface", "last", *VM)
        wait_until(lambda: is_delivered("last"))
        agent.send_signal(signal.SIGTERM)
        assert agent.wait(DEADLINE) == 0
    finally:
        agent.kill()
        agent.wait()
        agent.stderr.close()


def test_the_first_line_says_with_what_it_runs(
    switch: Sandbox, tmp_path: Path, command: Callable[..., Command]
) -> None:
    conf = configuration(
        tmp_path, switch.connection, "tables = Interface,Port\n[dfovsdb]\nsinks = a=log"
    )
    agent = command("--config-file", conf, "run")
    agent.wait_for(lambda: agent.err)
    assert (
        agent.err[0]
        .rstrip()
        .endswith(
            f"dfovsdb {dfovsdb.__version__}: connection {switch.connection}, tables Interface, "
            f"Port, sinks a=log, state_dir none, configuration {conf}"
        )
    )


def test_under_the_journal_lines_have_priorities_and_no_time(
    switch: Sandbox, tmp_path: Path
) -> None:
    conf = configuration(tmp_path, switch.connection, "no_such = 1\n")
    with (tmp_path / "journal").open("w+") as journal:
        status = os.fstat(journal.fileno())
        stream = f"{status.st_dev}:{status.st_ino}"
        agent = subprocess.Popen(
            [sys.executable, "-m", "dfovsdb", "--config-file", conf, "run"],
            stderr=journal,
            env=os.environ | {"JOURNAL_STREAM": stream},
        )
        try:
            wait_until(lambda: "sync_finished" in Path(journal.name).read_text())
        finally:
            agent.terminate()
            agent.wait(DEADLINE)
        lines = Path(journal.name).read_text().splitlines()
    assert lines[0].startswith("<4>dfovsdb.cli.run configuration: ")
    assert all(re.match(r"<[46]>dfovsdb\.", line) for line in lines)


def test_check_says_whether_the_agent_would_start(switch: Sandbox, tmp_path: Path) -> None:
    conf = configuration(tmp_path, "unix:/nobody", "[dfovsdb]\nsinks = log\n")
    done = run("--config-file", conf, "run", "--check")
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1] == "nothing is wrong"
    conf = configuration(tmp_path, switch.connection, "[dfovsdb]\nsinks = lag\n")
    done = run("--config-file", conf, "run", "--check")
    assert done.returncode == 2
    assert "lag" in done.stdout
    assert done.stdout.splitlines()[-1] == "1 wrong"
    conf = configuration(tmp_path, switch.connection, "[dfovsdb]\nsink = log\n")
    done = run("--config-file", conf, "run", "--check")
    assert done.returncode == 1, "it would start, and warn"
    assert "there is no option [dfovsdb] sink; did you mean sinks?" in done.stdout
    for option, log_file, status in (
        (f"log_file = {tmp_path}/agent.log", tmp_path / "agent.log", 0),
        (f"log_dir = {tmp_path}", tmp_path / "dfovsdb.log", 0),
        (f"log_file = {tmp_path}/nowhere/agent.log", tmp_path / "nowhere/agent.log", 2),
        (f"log_file = {tmp_path}", tmp_path, 2),
    ):
        text = f"[DEFAULT]\n{option}\n[dfovsdb]\nsinks = log\n"
        done = run(
            "--config-file", configuration(tmp_path, switch.connection, text), "run", "--check"
        )
        assert done.returncode == status
        assert f"{log_file} {'may be' if status == 0 else 'cannot be'} written" in done.stdout


@pytest.mark.parametrize("command_name", ["run", "ports"])
def test_a_configuration_that_cannot_be_read_is_one_line(
    tmp_path: Path, command_name: str
) -> None:
    latin = tmp_path / "latin.conf"
    latin.write_bytes(b"[dfovsdb]\nhost = caf\xe9\n")
    marked = tmp_path / "marked.conf"
    marked.write_text("[dfovsdb]\nsinks = log\n", encoding="utf-8-sig")
    for file, message in (
        (latin, "it is not UTF-8"),
        (marked, "the file begins with a byte order mark"),
        (tmp_path, "it is a folder; use --config-dir"),
    ):
        done = run("--config-file", str(file), command_name)
        assert done.returncode == 2
        assert message in done.stderr
        assert done.stderr.count("\n") == 1


def test_a_file_where_a_folder_is_asked_for_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "dfovsdb.conf"
    file.write_text("[dfovsdb]\nsinks = log\n")
    done = run("--config-dir", str(file), "run", "--check")
    assert done.returncode == 2
    assert "it is not a folder; use --config-file" in done.stderr


@pytest.mark.parametrize("name", ["watch", "ports", "doctor"])
def test_an_empty_connection_is_wrong_use(name: str) -> None:
    done = run(name, "")
    assert done.returncode == 2
    assert "CONNECTION is empty, perhaps from a variable that is not set" in done.stderr


@pytest.mark.parametrize("option", ["--iface-id", "--name", "--kind", "--bridge"])
def test_an_empty_value_is_wrong_use_and_nothing_is_gone(option: str) -> None:
    done = run("wait", "unix:/nobody", option, "", "--gone", "--timeout", "1")
    assert done.returncode == 2
    assert "it is empty, perhaps from a variable that is not set" in done.stderr


@pytest.mark.parametrize(
    ("to", "message"),
    [(">&-", "standard output is closed"), (">/dev/full", "cannot write to standard output")],
)
@pytest.mark.parametrize("name", ["ports {}", "watch --once {}", "doctor {}", "plugins"])
def test_standard_output_that_takes_nothing_is_one_line(
    switch: Sandbox, name: str, to: str, message: str
) -> None:
    command = f'"$0" -m dfovsdb {name.format(switch.connection)} {to}'
    done = subprocess.run(
        ["sh", "-c", command, sys.executable],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert done.returncode == 1
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_interfaces_of_no_kind_are_never_silent(switch: Sandbox) -> None:
    switch.vsctl("add-port", "br-int", "veth1", "--", "set", "interface", "veth1", "type=dummy")
    line = "1 interface is of no kind: see `dfovsdb doctor`, or --all"
    assert run("ports", switch.connection).stdout.splitlines()[-1] == line
    assert run("watch", switch.connection, "--once").stdout.splitlines()[-1] == line
    assert line not in run("ports", switch.connection, "--json").stdout
    everything = run("ports", switch.connection, "--all")
    assert any(row.startswith("other   veth1") for row in everything.stdout.splitlines())
    assert line not in everything.stdout
    assert "other    veth1" in run("watch", switch.connection, "--once", "--all").stdout
    waited = run("wait", switch.connection, "--name", "veth1", "--timeout", "0.5")
    assert waited.returncode == 1
    assert "interface veth1 is there, ready, and of no kind" in waited.stderr
    for chosen in (("--name", "veth*"), ("--bridge", "br-int")):
        assert run("ports", switch.connection, *chosen).stdout.splitlines()[-1] == line
        done = run("watch", switch.connection, "--once", *chosen)
        assert done.stdout.splitlines()[-1] == line
    for others in (("--name", "tap*"), ("--kind", "vm")):
        assert line not in run("ports", switch.connection, *others).stdout
        assert line not in run("watch", switch.connection, "--once", *others).stdout


def test_an_interface_of_no_kind_is_not_gone_while_it_is_there(switch: Sandbox) -> None:
    switch.vsctl("add-port", "br-int", "veth1", "--", "set", "interface", "veth1", "type=dummy")
    gone = ("wait", switch.connection, "--name", "veth1", "--gone", "--timeout", "0.5")
    done = run(*gone)
    assert done.returncode == 1
    assert "interface veth1 is there, ready, and of no kind" in done.stderr
    assert run(*gone, "--kind", "vm").returncode == 0
    switch.vsctl("del-port", "veth1")
    assert run(*gone).returncode == 0


def test_a_wait_that_times_out_says_what_was_not_as_awaited(switch: Sandbox) -> None:
    vm = ("type=dummy", "external_ids:iface-id=v1")
    switch.vsctl("add-port", "br-int", "tap1", "--", "set", "interface", "tap1", *vm)
    wait = ("wait", switch.connection, "--iface-id", "v1", "--timeout", "0.5")
    done = run(*wait, "--link", "down", "--attribute", "ovn_installed=true")
    assert "vm tap1 is there, ready, link up, ovn_installed=none" in done.stderr
    done = run(*wait, "--attribute", "vm_id=", "--gone")
    assert done.returncode == 2
    assert "the value of vm_id is empty, perhaps from a variable" in done.stderr


def test_wait_finds_the_own_row_of_a_vif_before_its_patch_ports(switch: Sandbox) -> None:
    switch.add_bridge("tbr-1")
    for name, peer, bridge in (("tpi-1", "tpt-1", "br-int"), ("tpt-1", "tpi-1", "tbr-1")):
        options = ("type=patch", f"options:peer={peer}", "external_ids:iface-id=parent")
        switch.vsctl("add-port", bridge, name, "--", "set", "interface", name, *options)
    for name, peer, bridge in (("spi-1", "spt-1", "br-int"), ("spt-1", "spi-1", "tbr-1")):
        options = ("type=patch", f"options:peer={peer}", "external_ids:iface-id=subport")
        switch.vsctl("add-port", bridge, name, "--", "set", "interface", name, *options)
    parent = ("type=dummy", "external_ids:iface-id=parent")
    switch.vsctl("add-port", "tbr-1", "tap1", "--", "set", "interface", "tap1", *parent)
    for _ in range(5):
        done = run("wait", switch.connection, "--iface-id", "parent", "--state", "ready")
        assert json.loads(done.stdout)["name"] == "tap1"
    subport = json.loads(run("wait", switch.connection, "--iface-id", "subport").stdout)
    assert subport["name"].startswith("sp")
    assert subport["state"] == "ready"
    gone = run("wait", switch.connection, "--iface-id", "nosuch", "--gone")
    assert (gone.returncode, gone.stdout) == (0, "")
    wired = ("--attribute", "ovn_installed=true", "--link", "up", "--bridge", "tbr-*")
    switch.vsctl("set", "interface", "tap1", "external_ids:ovn-installed=true")
    done = run("wait", switch.connection, "--iface-id", "parent", *wired)
    assert json.loads(done.stdout)["bridge"] == "tbr-1"


def test_run_says_why_it_leaves_and_how_it_ended(
    switch: Sandbox, tmp_path: Path, command: Callable[..., Command]
) -> None:
    conf = configuration(tmp_path, switch.connection, "[dfovsdb]\nstop_timeout = 4\n")
    agent = command("--config-file", conf, "run")
    agent.wait_for(lambda: any("sync_finished" in line for line in agent.err))
    assert agent.end(signal.SIGTERM) == 0
    leaving, ended = agent.err[-2:]
    assert f"shutting down (SIGTERM of process {os.getpid()}); waiting up to 4 s" in leaving
    assert ended.endswith("stopped: all events were delivered\n")


def test_run_says_where_it_ended_with_something_left(
    switch: Sandbox, tmp_path: Path, command: Callable[..., Command]
) -> None:
    text = "[dfovsdb]\nsinks = full=jsonl\nstop_timeout = 0.1\n[sink_full]\npath = /dev/full\n"
    agent = command("--config-file", configuration(tmp_path, switch.connection, text), "run")
    agent.wait_for(lambda: any("No space left" in line for line in agent.err))
    assert agent.end(signal.SIGINT) == 0
    assert "shutting down (SIGINT" in agent.err[-3]
    assert "sink full: 1 port was left undelivered" in agent.err[-2]
    assert agent.err[-1].endswith("stopped: some events were not delivered (see above)\n")


def test_a_file_that_cannot_be_reopened_is_one_line_and_its_sink_goes_on_when_it_can(
    switch: Sandbox, tmp_path: Path, command: Callable[..., Command]
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    file = folder / "events.jsonl"
    text = f"[dfovsdb]\nsinks = events=jsonl\n[sink_events]\npath={file}\n"
    agent = command("--config-file", configuration(tmp_path, switch.connection, text), "run")
    agent.wait_for(lambda: file.exists() and "sync_finished" in file.read_text())
    file.unlink()
    folder.rmdir()
    agent.process.send_signal(signal.SIGHUP)
    agent.wait_for(lambda: any("sink events is unavailable: " in line for line in agent.err))
    begin = next(
        n
        for n, line in enumerate(agent.err)
        if "SIGHUP: reopening files; the configuration is not" in line
    )
    (down,) = [line for line in agent.err if "sink events is unavailable: " in line]
    assert f"; create its folder, writable for this user: mkdir -p {folder};" in down
    folder.mkdir()  # and nothing happens on the switch
    agent.wait_for(lambda: any("sink events is available again" in line for line in agent.err))
    switch.vsctl("add-port", "br-int", "tap0", "--", "set", "interface", "tap0", *VM)
    agent.wait_for(lambda: file.exists() and "tap0" in file.read_text())
    assert agent.end() == 0
    assert len(agent.err[begin + 1 :]) == 5  # deleted, unavailable, available, leaving, ended
    assert '"origin":"replay"' in file.read_text()  # what was in the deleted file


def test_a_slip_of_the_pen_in_the_configuration_is_a_line_of_the_log(
    tmp_path: Path, command: Callable[..., Command]
) -> None:
    text = "conection = x\n[sink_jsonl]\npath = x\n"
    conf = configuration(tmp_path, f"unix:{tmp_path}/nobody", text)
    agent = command("--config-file", conf, "run", env=os.environ | {"OS_OVSDB__MONITR": "x"})
    agent.wait_for(lambda: any("waiting for the server" in line for line in agent.err))
    assert agent.end() == 0
    said = [line.partition("configuration: ")[2].rstrip() for line in agent.err[:3]]
    assert said == [
        f"{conf}: there is no option [ovsdb] conection; did you mean connection?",
        f"{conf}: section [sink_jsonl] has no effect: sinks does not name jsonl",
        "OS_OVSDB__MONITR: there is no such option; did you mean OS_OVSDB__MONITOR?",
    ]
    assert all(" WARNING " in line for line in agent.err[:3])


def test_run_waits_for_a_server_that_is_not_there_and_says_so_once(
    tmp_path: Path, command: Callable[..., Command]
) -> None:
    conf = configuration(tmp_path, f"unix:{tmp_path}/nobody", "")
    agent = command("--config-file", conf, "run")
    agent.wait_for(lambda: agent.err)
    assert agent.end() == 0
    assert len([line for line in agent.err if "cannot connect" in line]) == 1


def test_a_server_that_goes_away_is_one_warning_that_says_what_to_do(
    ovsdb_sandbox: Sandbox, tmp_path: Path, command: Callable[..., Command]
) -> None:
    agent = command("--config-file", configuration(tmp_path, ovsdb_sandbox.connection, ""), "run")
    agent.wait_for(lambda: any("sync_finished" in line for line in agent.err))
    ovsdb_sandbox.stop_database(kill=True)
    agent.wait_for(lambda: any("cannot connect" in line for line in agent.err))
    assert agent.end() == 0
    waits = [line for line in agent.err if "waiting for the server" in line]
    assert " INFO " in waits[0]
    (warning,) = [line for line in waits if " WARNING " in line]
    assert "cannot connect" in warning


def test_watch_prints_events_and_ends_quietly_on_ctrl_c(
    switch: Sandbox, command: Callable[..., Command]
) -> None:
    watch = command("watch", switch.connection)
    watch.wait_for(lambda: any("is complete, 1 port " in line for line in watch.out))
    switch.stop_vswitchd()  # so that the row and its port number are two changes
    switch.vsctl("add-port", "br-int", "tap0", "--", "set", "interface", "tap0", *VM)
    watch.wait_for(lambda: any(" online   vm " in line for line in watch.out))
    switch.start_vswitchd()
    watch.wait_for(lambda: any("ofport=none->" in line for line in watch.out))
    assert watch.end(signal.SIGINT) == 0
    assert watch.err == []
    assert "\x1b" not in "".join(watch.out)
    assert re.search(r"^\d\d:\d\d:\d\d  online   vm       tap0 ", "".join(watch.out), re.MULTILINE)


def test_watch_once_prints_what_is_there(switch: Sandbox) -> None:
    done = run("watch", switch.tcp_connection, "--once", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    started, online, finished = map(dfovsdb.from_json, done.stdout.splitlines())
    assert (started.action, finished.action) == ("sync_started", "sync_finished")
    assert isinstance(online, dfovsdb.PortEvent)
    assert (online.port.name, online.port.kind) == ("br-int", "bridge")


def test_watch_is_coloured_on_a_terminal(switch: Sandbox) -> None:
    leader, follower = pty.openpty()
    environment = {k: v for k, v in os.environ.items() if k != "NO_COLOR"} | {"TERM": "xterm"}
    watch = subprocess.Popen(
        dfovsdb_command("watch", switch.connection, "--once"), stdout=follower, env=environment
    )
    assert watch.wait(DEADLINE) == 0
    os.close(follower)
    shown = b""
    while select.select([leader], [], [], 0)[0]:
        try:
            shown += os.read(leader, 4096)
        except OSError:  # the other end is closed
            break
    os.close(leader)
    assert b"\x1b[32monline \x1b[0m" in shown


def test_watch_live_draws_what_happens_and_gives_the_terminal_back(
    switch: Sandbox,
) -> None:
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    watch = subprocess.Popen(
        dfovsdb_command("watch", switch.connection, "--live"),
        stdout=follower,
        env=os.environ | {"TERM": "xterm"},
    )
    os.close(follower)
    shown = bytearray()

    def shows(message: bytes) -> bool:
        while select.select([leader], [], [], 0)[0]:
            try:
                shown.extend(os.read(leader, 65536))
            except OSError:  # the other end is closed
                break
        return message in shown

    try:
        wait_until(lambda: shows(b"synced") and shows(b"br-int"))
        switch.vsctl("add-port", "br-int", "tap0", "--", "set", "interface", "tap0", *VM)
        wait_until(lambda: shows(b"tap0") and shows(b"iface_id=4aa64e21"))
        switch.vsctl("add-port", "br-int", "v1", "--", "set", "interface", "v1", "type=dummy")
        wait_until(lambda: shows(b"synced  of no kind: 1 (--all)"))
        switch.stop_database()
        wait_until(lambda: shows(b"waiting: "))
        watch.send_signal(signal.SIGINT)
        assert watch.wait(DEADLINE) == 0
        assert shows(b"\x1b[?1049l")  # the screen as it was before
        assert b"Traceback" not in shown
    finally:
        watch.kill()
        watch.wait(DEADLINE)
        os.close(leader)


def test_watch_live_without_its_extra_names_it() -> None:
    code = (
        "import sys; sys.modules['rich'] = None; sys.stdout.isatty = lambda: True; "
        "from dfovsdb.cli import main; sys.exit(main(['watch', '--live']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=DEADLINE, check=False
    )
    assert done.returncode == 2
    assert done.stderr == (
        "dfovsdb: watch: --live needs an extra: install dfovsdb[tui] "
        "(pip install 'WHEEL[tui]' where dfovsdb is from a wheel, "
        ".venv/bin/pip install -e '.[tui]' in a clone)\n"
    )


def test_watch_once_with_a_timeout_says_for_what_it_waits_and_that_it_was_in_vain(
    tmp_path: Path,
) -> None:
    done = run("watch", f"unix:{tmp_path}/nobody", "--once", "--timeout", "0.5")
    assert (done.returncode, done.stdout) == (1, "")
    waits, ended = done.stderr.splitlines()
    assert re.match(
        r"\d\d:\d\d:\d\d  dfovsdb: waiting for the server: cannot connect to unix:", waits
    )
    assert "is ovsdb-server running?" in waits or "connect to unix:" in waits
    assert ended == f"dfovsdb: no sync in the time given{waits.partition('the server')[2]}"
    refused = run("watch", "tcp:127.0.0.1:9", "--once", "--timeout", "0.5").stderr
    assert "ovs-vsctl set-manager ptcp:6640:127.0.0.1" in refused
    assert "every user of this host may then change the database" in refused


def test_watch_waits_and_says_so(tmp_path: Path, command: Callable[..., Command]) -> None:
    watch = command("watch", f"unix:{tmp_path}/nobody")
    watch.wait_for(lambda: watch.err)
    assert watch.end(signal.SIGINT) == 0
    (line,) = watch.err
    assert "waiting" in line


def test_watch_ends_quietly_when_its_reader_leaves(switch: Sandbox) -> None:
    done = subprocess.run(
        [
            "sh",
            "-c",
            '"$0" -m dfovsdb watch "$1" --json --once | head -1',
            sys.executable,
            switch.connection,
        ],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert done.stderr == ""
    assert '"sync_started"' in done.stdout


def test_watch_tells_only_what_was_asked_for(switch: Sandbox) -> None:
    for name in ("tap0", "tap1"):
        switch.vsctl("add-port", "br-int", name, "--", "set", "interface", name, *VM)
    done = run("watch", switch.connection, "--once", "--json", "--kind", "vm", "--name", "*1")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [e["action"] for e in events] == ["sync_started", "online", "sync_finished"]
    assert events[1]["port"]["name"] == "tap1"
    done = run("watch", switch.connection, "--once", "--kind", "vm", "--name", "*1")
    assert "── initial sync is complete, 1 of 3 ports ─" in done.stdout.splitlines()[-1]


def test_ports_prints_a_table_of_what_is_there(switch: Sandbox) -> None:
    switch.vsctl("add-port", "br-int", "tap0", "--", "set", "interface", "tap0", *VM)
    done = run("ports", switch.connection)
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line.split() for line in done.stdout.splitlines()]
    assert lines[0] == ["kind", "name", "bridge", "state", "ofport", "link", "mac", "attributes"]
    assert lines[1][:4] == ["bridge", "br-int", "br-int", "ready"]
    assert lines[2][:4] == ["vm", "tap0", "br-int", "ready"]
    assert lines[2][-1] == "iface_id=4aa64e21"
    assert lines[3] == ["2", "ports:", "bridge", "1,", "vm", "1"]


def test_ports_as_json_is_filtered_by_kind_state_and_name(switch: Sandbox) -> None:
    switch.vsctl("add-port", "br-int", "tap0", "--", "set", "interface", "tap0", *VM)
    switch.vsctl(
        "--no-wait",
        "add-port",
        "br-int",
        "eth9",
        "--",
        "set",
        "interface",
        "eth9",
        "external_ids:iface-id=v9",
    )
    run("wait", switch.connection, "--name", "eth9", "--state", "failed")

    def names(*args: str) -> list[str]:
        lines = run("ports", switch.connection, "--json", *args).stdout.splitlines()
        return [json.loads(line)["name"] for line in lines]

    assert names() == ["br-int", "eth9", "tap0"]
    assert names("--kind", "vm") == ["eth9", "tap0"]
    assert names("--kind", "vm", "--state", "ready") == ["tap0"]
    assert names("--name", "br-*", "--name", "eth*") == ["br-int", "eth9"]


def test_ports_without_a_server_does_not_wait_for_one(tmp_path: Path) -> None:
    done = run("ports", f"unix:{tmp_path}/nobody", "--timeout", "11d")
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("dfovsdb: cannot connect to unix:")


def test_ports_waits_for_a_server_that_has_taken_the_connection_as_long_as_it_was_asked_to(
    ovsdb_sandbox: Sandbox,
) -> None:
    ovsdb_sandbox.pause_database()
    try:
        done = run("ports", ovsdb_sandbox.connection, "--timeout", "0.5")
    finally:
        ovsdb_sandbox.resume_database()
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"dfovsdb: {ovsdb_sandbox.connection}: no answer within 0.5 s\n"


def test_wait_says_at_once_that_there_is_no_server_and_gets_its_port_when_there_is(
    switch: Sandbox, command: Callable[..., Command]
) -> None:
    switch.stop_database()
    wait = command("wait", switch.connection, "--name", "br-int", "--timeout", "60")
    wait.wait_for(lambda: wait.err)
    assert wait.err[0].startswith("dfovsdb: waiting for the server: cannot connect to ")
    switch.start_database()
    assert wait.wait() == 0
    assert json.loads(wait.out[0])["name"] == "br-int"


@pytest.mark.parametrize("args", [("ports",), ("wait",), ("watch",), ("watch", "--once")])
def test_a_kind_that_no_enabled_classifier_offers_is_wrong_use(args: tuple[str, ...]) -> None:
    done = run(*args, "unix:/nobody", "--kind", "vmm")
    assert done.returncode == 2
    assert done.stderr == (
        "dfovsdb: --kind vmm: no enabled classifier offers it; available: bridge, patch, service, "
        "tunnel, uplink, vm; did you mean vm?\n"
    )


def test_a_kind_is_known_where_the_configuration_makes_it(switch: Sandbox, tmp_path: Path) -> None:
    text = "[dfovsdb]\nclassifiers = all=match\n[classifier_all]\nkind = every\nnames = br-*\n"
    conf = configuration(tmp_path, switch.connection, text)
    done = run("--config-file", conf, "ports", "--kind", "every", "--json")
    assert [json.loads(line)["name"] for line in done.stdout.splitlines()] == ["br-int"]
    assert "available: every\n" in run("--config-file", conf, "ports", "--kind", "vm").stderr


@pytest.mark.parametrize(
    ("args", "use"),
    [
        (("run", "--config-file", "F"), "dfovsdb --config-file FILE run"),
        (("run", "--config-file=F"), "dfovsdb --config-file FILE run"),
        (("ports", "--config-dir", "D"), "dfovsdb --config-dir DIR ports"),
        (("new-plugin", "edge", "--debug"), "dfovsdb --debug new-plugin"),
    ],
)
def test_an_option_of_the_program_after_the_command_is_answered_with_its_place(
    args: tuple[str, ...], use: str
) -> None:
    done = run(*args)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert f"{use.split()[1]} goes before the command: `{use}`" in line


def test_wait_prints_the_port_once_it_is_there(
    switch: Sandbox, command: Callable[..., Command]
) -> None:
    wait = command("wait", switch.connection, "--iface-id", "4aa64e21", "--state", "ready")
    switch.vsctl("add-port", "br-int", "tap0", "--", "set", "interface", "tap0", *VM)
    assert wait.wait() == 0
    (line,) = wait.out
    port = json.loads(line)
    assert (port["name"], port["state"], port["attributes"]["iface_id"]) == (
        "tap0",
        "ready",
        "4aa64e21",
    )


def test_wait_is_status_1_when_the_time_passes(switch: Sandbox) -> None:
    done = run("wait", switch.connection, "--name", "tap9", "--timeout", "0.2")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "dfovsdb: no such port within 0.2 s\n"


def test_wait_says_of_a_port_in_another_state_how_it_is(ovs_sandbox: Sandbox) -> None:
    ovs_sandbox.add_bridge("br-int")
    ovs_sandbox.vsctl(
        "add-port", "br-int", "tap1", "--", "set", "interface", "tap1", "external_ids:iface-id=v1"
    )
    ovs_sandbox.vsctl("wait-until", "interface", "tap1", "ofport=-1")
    done = run(
        "wait", ovs_sandbox.connection, "--iface-id", "v1", "--state", "ready", "--timeout", "2"
    )
    assert done.returncode == 1
    assert "; vm tap1 is there, failed: could not open network device tap1" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_sandbox_prints_its_connection_and_leaves_nothing(
    command: Callable[..., Command],
) -> None:
    sandbox = command("sandbox")
    sandbox.wait_for(lambda: len(sandbox.out) == 2)
    connection = sandbox.out[0].strip()
    done = run("watch", connection, "--once", "--timeout", "120")
    assert done.returncode == 0
    assert sandbox.end(signal.SIGINT) == 0
    assert not Path(connection.removeprefix("unix:")).parent.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_sandbox_that_is_killed_leaves_nothing(
    number: int, command: Callable[..., Command]
) -> None:
    sandbox = command("sandbox")
    sandbox.wait_for(lambda: len(sandbox.out) == 2)
    folder = Path(sandbox.out[0].strip().removeprefix("unix:")).parent
    pids = [int(file.read_text()) for file in folder.glob("*.pid")]
    assert len(pids) == 2
    sandbox.end(number)
    wait_until(lambda: not folder.exists())
    wait_until(lambda: not any(is_running(pid) for pid in pids))


def test_the_demo_plays_to_its_end() -> None:
    done = run("demo", "--fast")
    assert done.returncode == 0, done.stderr
    assert "The ports reported are exactly those of the switch." in done.stdout.splitlines()[-1]
    for kind in ("bridge", "vm", "tunnel", "patch"):
        assert re.search(rf"online   {kind} ", done.stdout)
        assert re.search(rf"offline  {kind} ", done.stdout)
    for type_ in ("vxlan", "gre", "geneve"):
        assert f"tunnel_type={type_}" in done.stdout


def test_plugins_lists_what_is_enabled_in_its_order(tmp_path: Path) -> None:
    text = "[dfovsdb]\nclassifiers = vm, dhcp=match, bridge\nsinks = audit=jsonl\n"
    text += "[classifier_dhcp]\nkind = dhcp\n"
    conf = configuration(tmp_path, "tcp:127.0.0.1:6640", text)
    done = run("--config-file", conf, "plugins")
    lines = [line.split() for line in done.stdout.splitlines()]
    assert lines[1:4] == [
        ["1", "vm", "dfovsdb", "dfovsdb.classifiers.vm:VmClassifier"],
        ["2", "dhcp=match", "dfovsdb", "dfovsdb.classifiers.match:MatchClassifier"],
        ["3", "bridge", "dfovsdb", "dfovsdb.classifiers.bridge:BridgeClassifier"],
    ]
    assert ["-", "tunnel", "dfovsdb", "dfovsdb.classifiers.tunnel:TunnelClassifier"] in lines
    assert ["1", "audit=jsonl", "dfovsdb", "dfovsdb.sinks.jsonl:JsonlSink"] in lines


def test_plugins_says_what_would_stop_the_start_and_why(tmp_path: Path) -> None:
    text = "[dfovsdb]\nclassifiers = vm, dhcp=match\nsinks = nosuch\n"
    done = run("--config-file", configuration(tmp_path, "tcp:127.0.0.1:6640", text), "plugins")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[2].split()[:2] == ["!", "dhcp=match"]
    assert lines[3].strip() == "[classifier_dhcp] kind is required"
    assert "sink 'nosuch' is not installed" in done.stdout


def test_plugins_prints_the_same_as_json(tmp_path: Path) -> None:
    text = "[dfovsdb]\nclassifiers = vm\nsinks = audit=jsonl, nosuch\n"
    conf = configuration(tmp_path, "tcp:127.0.0.1:6640", text)
    done = run("--config-file", conf, "plugins", "--json")
    assert done.returncode == 0
    listed = [json.loads(line) for line in done.stdout.splitlines()]
    assert listed[0] == {
        "type": "classifier",
        "instance": "vm",
        "plugin": "vm",
        "package": "dfovsdb",
        "plugin_class": "dfovsdb.classifiers.vm:VmClassifier",
        "position": 1,
        "problem": None,
    }
    audit, nosuch, *others = [one for one in listed if one["type"] == "sink"]
    assert (audit["instance"], audit["plugin"], audit["position"]) == ("audit", "jsonl", 1)
    assert (nosuch["package"], nosuch["plugin_class"], nosuch["position"]) == (None, None, 2)
    assert nosuch["problem"].startswith("sink 'nosuch' is not installed")
    assert {one["position"] for one in others} == {None}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[ovsdb]\nconnection = tcp:127.0.0.1", "'tcp:127.0.0.1' cannot be read: use tcp:HOST"),
        ("[ovsdb]\nmonitor = fast", "fast"),
        ("[ovsdb]\ninactivity_probe = soon", "inactivity_probe"),
        ("[dfovsdb]\nresync = sometimes", "sometimes"),
        ("[dfovsdb]\nqueue_limit = -1", "queue_limit"),
        ("[dfovsdb]\nclassifiers = vm, nosuch", "classifier 'nosuch' is not installed"),
        ("[dfovsdb]\nclassifiers = vm, vm", "vm occurs twice"),
        ("[dfovsdb]\nclassifiers = match", "[classifier_match] kind is required"),
        ("[dfovsdb]\nsinks = nosuch", "sink 'nosuch' is not installed"),
        ("[sink_log]\nlevel = LOUD", "LOUD"),
        (
            "[dfovsdb]\nsinks=jsonl\n[sink_jsonl]\npath=/nosuch/file",
            "for this user: mkdir -p /nosuch",
        ),
        ("[dfovsdb]\nstate_dir = /nosuch", "state_dir '/nosuch'"),
        ("[DEFAULT]\nlog_file = /nosuch/log", "'/nosuch/log'; change log_file"),
        ("[DEFAULT]\nlog_config_append = /nosuch", "/nosuch"),
        ("nonsense", "nonsense"),
    ],
)
def test_bad_configuration_is_one_line_and_status_2(
    tmp_path: Path, text: str, message: str
) -> None:
    file = tmp_path / "dfovsdb.conf"
    file.write_text(text + "\n")
    done = run("--config-file", str(file), "run")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert message in line


@pytest.mark.parametrize(
    "args",
    [
        ("nosuch",),
        ("watch", "--nosuch"),
        ("run", "more"),
        ("watch", "udp:x"),
        ("--config-file", "/no", "run"),
        ("ports", "--state", "odd"),
        ("ports", "--timeout", "nan"),
        ("wait", "--state", "ready"),
        ("watch", "--live"),
        ("watch", "--live", "--json"),
    ],
)
def test_wrong_use_is_one_line_and_status_2(args: tuple[str, ...]) -> None:
    done = run(*args)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1


def test_debug_shows_a_traceback() -> None:
    assert "Traceback" in run("--debug", "watch", "udp:x").stderr


@pytest.mark.parametrize(
    "args", [("--help",), ("run", "--help"), ("watch", "--help"), ("fleet", "--help")]
)
def test_help_imports_none_of_the_libraries(args: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "dfovsdb", *args],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=True,
    )
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert not imported & {
        "oslo_config",
        "stevedore",
        "ovs",
        "msgspec",
        "oslo_log",
        "prometheus_client",
        "rich",
        "http",
        "nats",
        "asyncio",
    }


def test_a_recording_of_watch_is_replayed_without_the_server(
    ovs_sandbox: Sandbox, tmp_path: Path
) -> None:
    ovs_sandbox.add_bridge("br-int")
    file = str(tmp_path / "recording")
    seen = run("watch", ovs_sandbox.connection, "--once", "--json", "--record", file)
    assert seen.returncode == 0, seen.stderr
    ovs_sandbox.stop()
    again = run("replay", file, "--json")
    assert again.returncode == 0
    timeless = [re.sub(r'"time":"[^"]*"', "", out) for out in (seen.stdout, again.stdout)]
    assert timeless[0] == timeless[1]
    assert '"name":"br-int"' in again.stdout
    assert re.search(r"online +bridge +br-int", run("replay", file).stdout)


def test_what_is_no_recording_is_wrong_use(tmp_path: Path) -> None:
    done = run("replay", str(tmp_path / "nothing"))
    assert done.returncode == 2
    assert re.fullmatch(r"dfovsdb: cannot read '.*': No such file or directory\n", done.stderr)


def test_the_status_is_right_where_standard_error_cannot_be_written() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "dfovsdb", "ports", ""], stderr=full, check=False
        )
    assert done.returncode == 2
