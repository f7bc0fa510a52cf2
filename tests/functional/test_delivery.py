"""Sinks that are slow, fail, hang or die, on a real server under real traffic."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from dfovsdb import Monitor, PortEvent, SinkUnavailable
from dfovsdb.doctor.reference import Reference, differences
from dfovsdb.testing import CaptureSink, Sandbox, wait_until
from dfovsdb.testing.sandbox import find_schema
from tests.functional.helpers import insert, vm
from tests.waiting import DEADLINE

PORTS = 100
CHANGES = 10_000
PATIENCE = 3 * DEADLINE  # for a sink that is slow on purpose


class Database:
    """Raw transactions over one connection, many in flight."""

    def __init__(self, box: Sandbox) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(box.connection.removeprefix("unix:"))
        self._sent = 0

    def close(self) -> None:
        self._socket.close()

    def transact(self, *operations: dict[str, Any]) -> None:
        """Commit, and wait for the reply."""
        self._sent += 1
        mark = f'"id":"t{self._sent}"'.encode()
        request = {
            "method": "transact",
            "params": ["Open_vSwitch", *operations],
            "id": f"t{self._sent}",
        }
        self._socket.sendall(json.dumps(request).encode())
        seen = b""
        while mark not in seen:
            seen += self._socket.recv(1 << 16)

    def add(self, *names: str) -> None:
        self.transact(
            *(op for n, name in enumerate(names) for op in insert(name, n, **vm(f"vif-{name}")))
        )

    def set_number(self, name: str, number: int) -> None:
        self.transact(
            {
                "op": "update",
                "table": "Interface",
                "where": [["name", "==", name]],
                "row": {"ofport": number},
            }
        )


@pytest.fixture
def box(ovsdb_sandbox: Sandbox) -> Sandbox:
    ovsdb_sandbox.vsctl("add-br", "br-int")
    return ovsdb_sandbox


@pytest.fixture
def database(box: Sandbox) -> Iterator[Database]:
    with contextlib.closing(Database(box)) as database:
        yield database


class SlowSink(CaptureSink):
    """Takes 50 ms an event."""

    def emit(self, event: PortEvent) -> None:
        time.sleep(0.05)
        super().emit(event)


class FailingSink(CaptureSink):
    """Its destination is away while it is asked to be."""

    def __init__(self) -> None:
        super().__init__()
        self.away = False

    def emit_many(self, events: Sequence[PortEvent]) -> None:
        for delivered, event in enumerate(events):
            if self.away:
                raise SinkUnavailable("it is away", delivered)
            self.emit(event)


class HangingSink(CaptureSink):
    """Blocks for ever in emit, until the test is over."""

    def __init__(self) -> None:
        super().__init__()
        self.let_go = threading.Event()

    def emit(self, event: PortEvent) -> None:  # noqa: ARG002 - it takes nothing
        self.let_go.wait(PATIENCE)


def same(sink: CaptureSink, monitor: Monitor) -> bool:
    return not differences(sink.ports, monitor.ports())


def reference_of(box: Sandbox) -> dict[str, Any]:
    with Reference(box.connection, find_schema()) as reference:
        reference.refresh()
        return reference.ports()


@pytest.mark.slow
def test_a_fast_a_slow_and_a_failing_sink_all_end_with_what_the_switch_has(
    box: Sandbox, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    names = [f"tap{number}" for number in range(PORTS)]
    database.add(*names)
    fast, slow, failing = CaptureSink(), SlowSink(), FailingSink()
    sinks = {"fast": fast, "slow": slow, "failing": failing}
    with Monitor(box.connection, sinks=sinks) as monitor:
        for sink in (fast, failing):
            sink.wait_for_sync()
        memory = 0
        for number in range(CHANGES):
            if number == CHANGES // 2:
                failing.away = True
                memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            database.set_number(names[number % PORTS], 1 + number)
        # The fast one has everything while the others have not: nobody waits for them.
        fast.wait_until(lambda: differences(fast.ports, monitor.ports()) == [])
        assert slow.ports != monitor.ports()
        assert failing.ports != monitor.ports()
        failing.away = False
        for sink in (failing, slow):
            sink.wait_until(lambda s=sink: not differences(s.ports, monitor.ports()), PATIENCE)  # type: ignore[misc]  # mypy cannot infer a lambda with a default
        theirs = reference_of(box)
        for name, sink in sinks.items():
            assert differences(sink.ports, theirs) == [], name
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory
    assert grown < 20_000, f"{grown} KiB more at the end than in the middle"
    outage = [r.message for r in caplog.records if "sink failing is" in r.message]
    assert len(outage) == 2
    assert "unavailable: it is away" in outage[0]
    assert "available again" in outage[1]
    assert {e.origin for e in slow.events} >= {"initial", "catchup"}


def test_a_sink_that_hangs_harms_nobody_and_is_left_behind(
    box: Sandbox, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    hanging, other = HangingSink(), CaptureSink()
    monitor = Monitor(
        box.connection,
        sinks={"hanging": hanging, "other": other},
        stop_timeout=0.5,
        inactivity_probe=1,
    )
    try:
        with monitor:
            other.wait_for_sync()
            database.add("tap0")
            for number in range(1, 3001):
                database.set_number("tap0", number)
            other.wait_until(lambda: other.of("tap0")[-1].port.ofport == 3000)
            assert hanging.events == []
        messages = [record.message for record in caplog.records]
        assert "sink hanging: 2 ports were left undelivered" in messages
        assert any("sink hanging did not stop in time" in message for message in messages)
        assert other.closed
    finally:
        hanging.let_go.set()


HANG = """
import sys, time
from dfovsdb import Monitor, Sink
class Hanging(Sink):
    def emit(self, event):
        print("hangs", flush=True)
        time.sleep(3600)
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
with Monitor(sys.argv[1], sinks=[Hanging()], stop_timeout=0.5):
    signal.sigwait({signal.SIGTERM})
"""


def test_a_process_whose_sink_hangs_ends(box: Sandbox) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", HANG, box.connection],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert process.stdout.readline() == "hangs\n"
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=DEADLINE)
    assert process.returncode == 0
    assert "1 port was left undelivered" in said


class Agent:
    """`dfovsdb run` with a state_dir and a file of events."""

    def __init__(self, box: Sandbox, folder: Path, resync: str, isolate: str = "false") -> None:
        self.events = folder / "events.jsonl"
        self._conf = folder / "dfovsdb.conf"
        (folder / "state").mkdir()
        self._conf.write_text(
            f"[ovsdb]\nconnection = {box.connection}\n[dfovsdb]\nsinks = jsonl\n"
            f"state_dir = {folder / 'state'}\nresync = {resync}\n"
            f"[sink_jsonl]\npath = {self.events}\nisolate = {isolate}\n"
        )

    def start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "dfovsdb", "--config-file", str(self._conf), "run"],
            stderr=subprocess.DEVNULL,
        )

    def delivered(self) -> list[dict[str, Any]]:
        if not self.events.exists():
            return []
        lines = self.events.read_text().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def story(self, begin: int = 0) -> list[tuple[str, str]]:
        return [
            (item["action"], item.get("port", {}).get("name", ""))
            for item in self.delivered()[begin:]
        ]


@pytest.mark.parametrize("isolate", ["false", "true"])
@pytest.mark.parametrize("resync", ["replay", "diff"])
def test_departures_while_a_killed_agent_is_down_are_reported_when_it_is_back(
    box: Sandbox, database: Database, tmp_path: Path, resync: str, isolate: str
) -> None:
    agent = Agent(box, tmp_path, resync, isolate)
    database.add("stays", "leaves1", "leaves2", "left")
    process = agent.start()
    wait_until(lambda: ("sync_finished", "") in agent.story())
    box.vsctl("del-port", "left")
    wait_until(lambda: ("offline", "left") in agent.story())
    process.kill()
    process.wait()
    begin = len(agent.delivered())
    box.vsctl("del-port", "leaves1", "--", "del-port", "leaves2")
    process = agent.start()
    wait_until(lambda: ("sync_finished", "") in agent.story(begin))
    process.terminate()
    assert process.wait(DEADLINE) == 0
    story = agent.story(begin)
    assert story[0] == ("sync_started", "")
    assert set(story[1:3]) == {("offline", "leaves1"), ("offline", "leaves2")}
    back = {("online", "stays"), ("online", "br-int")}
    # What was in flight at the kill may come twice: the departure of `left`, nothing else.
    assert set(story[3:-1]) - {("offline", "left")} == (back if resync == "replay" else set())


def test_a_sink_in_a_process_of_its_own_outlives_that_process_and_ends_with_the_agent(
    box: Sandbox, database: Database, tmp_path: Path
) -> None:
    agent = Agent(box, tmp_path, "diff", "true")
    process = agent.start()

    def children() -> list[int]:
        lists = Path(f"/proc/{process.pid}/task").glob("*/children")
        return [int(pid) for children in lists for pid in children.read_text().split()]

    database.add("before")
    wait_until(lambda: ("online", "before") in agent.story())
    (first,) = children()
    os.kill(first, signal.SIGKILL)
    database.add("after")
    # A change may come within the resend, or after it.
    wait_until(lambda: ("online", "after") in agent.story())
    wait_until(
        lambda: (
            ("sync_finished", "replay")
            in [(item["action"], item["origin"]) for item in agent.delivered()]
        )
    )
    (second,) = children()
    assert second != first
    process.kill()
    process.wait()
    wait_until(lambda: not Path(f"/proc/{second}").exists())
    begin = len(agent.story())
    process = agent.start()
    wait_until(lambda: ("sync_finished", "") in agent.story(begin))
    (third,) = children()
    process.terminate()
    assert process.wait(DEADLINE) == 0
    assert not Path(f"/proc/{third}").exists()


def test_a_replay_that_one_sink_asks_for_is_delivered_to_it_alone(box: Sandbox) -> None:
    one, other = CaptureSink(), CaptureSink()
    with Monitor(box.connection, sinks=[one, other]) as monitor:
        for sink in (one, other):
            sink.wait_for_sync()
        assert one.context
        one.context.request_replay()
        one.wait_for_sync(2)
        assert [(i.action, i.origin) for i in one.items[3:]] == [
            ("sync_started", "replay"),
            ("online", "replay"),
            ("sync_finished", "replay"),
        ]
        assert other.syncs() == 1
        monitor.replay()
        one.wait_for_sync(3)
        other.wait_for_sync(2)


def test_a_state_file_that_is_torn_is_set_aside(
    box: Sandbox, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "told.sqlite").write_bytes(b"no database at all" * 100)
    sink = CaptureSink()
    with Monitor(box.connection, sinks=[sink], state_dir=str(tmp_path)):
        sink.wait_for_sync()
    assert any("set aside" in record.message for record in caplog.records)
    assert [path.suffix for path in tmp_path.iterdir() if path.suffix == ".bad"] == [".bad"]
