"""The kinds of work. Each yields samples; clients take turns, so that drift meets all of them."""

from __future__ import annotations

import contextlib
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from benchmarks.clients.observer import STORM
from benchmarks.process import (
    BARE,
    BEFORE,
    IDL,
    OURS,
    OVSDB_CLIENT,
    OVSDBAPP,
    Client,
    Peer,
    peers,
)
from benchmarks.relay import Relay
from benchmarks.rows import Writer
from dfovsdb.testing import Sandbox
from dfovsdb.testing.sandbox import find_schema

_SETTLE = 0.2  # seconds for what is still under way before CPU time is read
_PACE = 200.0  # changes a second, for latency

OURS_DIFF = Peer("dfovsdb-diff", "dfovsdb, resync = diff", "ours", arguments=("diff",))
OURS_TABLES = Peer(
    "dfovsdb-tables", "dfovsdb, Interface, Port and Bridge", "ours", arguments=("tables",)
)
OURS_BESIDE = Peer(
    "dfovsdb-beside", "dfovsdb beside a blocked sink", "ours", arguments=("blocked",)
)


class Sample(NamedTuple):
    """One figure of one run."""

    work: str
    peer: str
    figure: str
    unit: str
    value: float


class Scale(NamedTuple):
    """How much of everything is done."""

    rounds: int
    sync: tuple[int, ...]
    churn: tuple[int, ...]
    changes: int
    latency: int
    storm: int
    resync: tuple[int, ...]
    idle: float  #: seconds
    growth: tuple[int, ...]


FULL = Scale(
    3,
    (1000, 10_000, 50_000),
    (2000, 50_000),
    10_000,
    2000,
    1000,
    (10_000, 50_000),
    20,
    (1000, 10_000, 30_000, 100_000),
)
QUICK = Scale(2, (2000,), (1000,), 1000, 100, 200, (2000,), 3, (1000, 5000))


@contextlib.contextmanager
def server(rows: int) -> Iterator[tuple[Sandbox, Writer]]:
    """A real ovsdb-server whose Interface table holds so many rows."""
    with Sandbox(vswitchd=False) as sandbox:
        writer = Writer(sandbox.connection)
        writer.fill(rows)
        yield sandbox, writer
        writer.close()


def cold_sync(scale: Scale) -> Iterator[Sample]:
    """Connect, and receive the whole table."""
    for rows in scale.sync:
        work = f"cold sync of {rows:,}"
        with server(rows) as (sandbox, _):
            for turn in range(scale.rounds):
                for peer in peers():
                    yield from _sync(work, peer, sandbox, rows)
                    if turn == 0 and peer is not OVSDBAPP:  # which reads what ovs.db.idl reads
                        yield Sample(work, peer.name, "bytes", "MB", _bytes(sandbox, peer, rows))


def _sync(work: str, peer: Peer, sandbox: Sandbox, rows: int) -> Iterator[Sample]:
    with Client(peer, sandbox.connection, rows) as client:
        began = client.go()
        yield Sample(work, peer.name, "time", "s", client.wait("synced") - began)
        time.sleep(_SETTLE)
        yield Sample(work, peer.name, "peak memory", "MB", client.peak_memory())
        yield Sample(work, peer.name, "CPU", "s", client.cpu())


def _bytes(sandbox: Sandbox, peer: Peer, rows: int) -> float:
    """In a run of its own, as the relay is no part of what is measured."""
    with (
        Relay(sandbox.connection, sandbox.directory / f"{peer.name}.sock") as relay,
        Client(peer, relay.connection, rows) as client,
    ):
        client.go()
        client.wait("synced")
        return relay.received / 1e6


def churn(scale: Scale) -> Iterator[Sample]:
    """One-row transactions at full speed. CPU is per change written, whatever was merged."""
    for rows in scale.churn:
        work = f"churn with {rows:,}"
        with server(rows) as (sandbox, writer):
            for _ in range(scale.rounds):
                for peer in [*peers(), BEFORE]:
                    # The way of before takes so long that a few changes tell enough.
                    count = 10 if peer is BEFORE else scale.changes
                    yield from _churn(work, peer, sandbox, writer, rows, count)


def _churn(
    work: str, peer: Peer, sandbox: Sandbox, writer: Writer, rows: int, count: int
) -> Iterator[Sample]:
    changes = writer.changes(count)
    with Client(peer, sandbox.connection, rows) as client:
        client.go()
        client.wait("synced")
        time.sleep(_SETTLE)
        cpu = client.cpu()
        began = time.monotonic()
        writer.run(changes)
        written = time.monotonic()
        seen = client.wait_end(writer.end())
        done = time.monotonic()
        time.sleep(_SETTLE)
        yield Sample(work, peer.name, "CPU per change", "µs", (client.cpu() - cpu) / count * 1e6)
        yield Sample(work, peer.name, "behind the writer", "ms", (done - written) * 1e3)
        yield Sample(work, peer.name, "changes a second", "/s", count / (done - began))
        if seen["events"] and peer is not BARE:
            delivered = seen["events"] - (0 if peer is BEFORE else rows) - 1
            yield Sample(work, peer.name, "changes delivered", "%", 100 * delivered / count)


def tables(scale: Scale) -> Iterator[Sample]:
    """What it costs to read Port and Bridge too: the first sync, and changes of one row."""
    for rows in scale.resync:
        with server(rows) as (sandbox, writer):
            for turn in range(scale.rounds):
                for peer in (OURS, OURS_TABLES):
                    work = f"tables, sync of {rows:,}"
                    yield from _sync(work, peer, sandbox, rows)
                    if turn == 0:
                        yield Sample(work, peer.name, "bytes", "MB", _bytes(sandbox, peer, rows))
                    work = f"tables, churn with {rows:,}"
                    churned = _churn(work, peer, sandbox, writer, rows, scale.changes // 3)
                    yield from (one for one in churned if one.figure == "CPU per change")


def start(scale: Scale) -> Iterator[Sample]:
    """From the command until it has printed 200 ports and ended; also with 300 more packages.

    The first round, in which Python may have to compile something, is not measured. In the others
    it must not, or what is installed and compiled would have an advantage over this tree.
    """
    environment = {
        name: text
        for name, text in os.environ.items()
        if not name.startswith("OS_") and name != "PYTHONDONTWRITEBYTECODE"
    }
    with server(200) as (sandbox, _), tempfile.TemporaryDirectory() as home:
        packages = Path(home, "packages")
        _install(packages, 300)
        works = {
            "start with 200": {**environment, "HOME": home},
            "start with 200, 300 packages": {
                **environment,
                "HOME": home,
                "PYTHONPATH": os.pathsep.join([str(packages), os.environ.get("PYTHONPATH", "")]),
            },
        }
        where = sandbox.connection
        commands = {
            "python": [sys.executable, "-c", "pass"],
            "dfovsdb": [sys.executable, "-m", "dfovsdb", "ports", where],
            "idl": [
                sys.executable,
                "-m",
                "benchmarks.clients.idl_once",
                where,
                str(find_schema()),
            ],
            "ovs-vsctl": ["ovs-vsctl", f"--db={where}", "list", "interface"],
        }
        for turn in range(1 + 5 * scale.rounds):
            for (work, variables), name in itertools.product(works.items(), commands):
                began = time.monotonic()
                subprocess.run(commands[name], check=True, capture_output=True, env=variables)
                if turn:
                    yield Sample(work, name, "time", "s", time.monotonic() - began)


def _install(folder: Path, count: int) -> None:
    """Make what importlib.metadata finds of so many packages with entry points."""
    for number in range(count):
        package = folder / f"package{number}-1.0.dist-info"
        package.mkdir(parents=True)
        (package / "METADATA").write_text(f"Name: package{number}\nVersion: 1.0\n")
        (package / "entry_points.txt").write_text(f"[console_scripts]\nrun{number} = a:b\n")


def latency(scale: Scale) -> Iterator[Sample]:
    """From the writer's commit reply until it was seen, paced; p50, p99, p99.9 of one run."""
    rows = 1000
    with server(rows) as (sandbox, writer):
        for _ in range(scale.rounds):
            for peer in [p for p in (*peers(), OURS_BESIDE) if p is not OVSDB_CLIENT]:
                with Client(peer, sandbox.connection, rows) as client:
                    client.go()
                    client.wait("synced")
                    time.sleep(_SETTLE)
                    delays = _delays(client, writer, scale.latency)
                quantiles = statistics.quantiles(delays, n=1000, method="inclusive")
                for name, at in (("p50", 499), ("p99", 989), ("p99.9", 998)):
                    value = quantiles[at] * 1e6
                    yield Sample("latency at 200/s", peer.name, name, "µs", value)


def _delays(client: Client, writer: Writer, count: int) -> list[float]:
    committed: dict[str, float] = {}
    began = time.monotonic()
    for number in range(count):
        time.sleep(max(0.0, began + number / _PACE - time.monotonic()))
        mark = f"mark-{time.monotonic_ns()}"
        committed[mark] = writer.set_mark(mark)
    time.sleep(_SETTLE)
    end = client.wait_end(writer.end())
    # A mark that was merged into the next was seen with it.
    delays = []
    seen = [(mark, at) for mark, at in end["marks"] if mark in committed]
    waiting = iter(committed.items())
    for mark, at in seen:
        for name, when in waiting:
            delays.append(at - when)
            if name == mark:
                break
    return delays


def boot_storm(scale: Scale) -> Iterator[Sample]:
    """Ports plugged into a real switch, until the last has its number where it is delivered."""
    for _ in range(max(2, scale.rounds - 1)):
        for peer in [p for p in peers() if p not in (BARE, OVSDB_CLIENT)]:
            with Sandbox() as sandbox:
                sandbox.add_bridge("br-int")
                with Client(peer, sandbox.connection, 1, storm=scale.storm) as client:
                    client.go()
                    client.wait("synced")
                    time.sleep(_SETTLE)
                    cpu = client.cpu()
                    began = time.monotonic()
                    plug(sandbox, scale.storm)
                    took = client.wait("storm") - began
                    time.sleep(_SETTLE)
                    work = f"boot storm of {scale.storm:,}"
                    yield Sample(work, peer.name, "time", "s", took)
                    yield Sample(work, peer.name, "CPU", "s", client.cpu() - cpu)


def plug(sandbox: Sandbox, count: int) -> None:
    """Add VM ports, in transactions of fifty."""
    for first in range(0, count, 50):
        arguments: list[str] = []
        for number in range(first, min(first + 50, count)):
            name = f"{STORM}{number}"
            mac = f"fa\\:16\\:3e\\:00\\:{number >> 8:02x}\\:{number & 255:02x}"
            iface_id = f"4aa64e21-d9d6-497e-bfa9-{number:012}"
            arguments += ["--", "add-port", "br-int", name, "--", "set", "interface", name]
            arguments += ["type=dummy", f"external_ids:iface-id={iface_id}"]
            arguments += [f"external_ids:attached-mac={mac}"]
        sandbox.vsctl("--no-wait", *arguments)


def resync(scale: Scale) -> Iterator[Sample]:
    """The connection is cut, one row of a hundred changes, the server is there again."""
    for rows in scale.resync:
        work = f"resync of {rows:,}"
        with server(rows) as (sandbox, writer):
            for _ in range(max(2, scale.rounds - 1)):
                for peer in [p for p in (*peers(), OURS_DIFF) if p is not OVSDB_CLIENT]:
                    yield from _resync(work, peer, sandbox, writer, rows)
                yield from _resync(
                    f"server restart with {rows:,}", OURS_DIFF, sandbox, writer, rows, restart=True
                )


def _resync(
    work: str, peer: Peer, sandbox: Sandbox, writer: Writer, rows: int, *, restart: bool = False
) -> Iterator[Sample]:
    path = sandbox.directory / "relay.sock"
    with (
        Relay(sandbox.connection, path) as relay,
        Client(peer, relay.connection, rows) as client,
    ):
        client.go()
        client.wait("synced")
        time.sleep(_SETTLE)
        relay.cut()
        if restart:
            sandbox.stop_database()
            sandbox.start_database()
            writer.connect()
        writer.run(writer.changes(rows // 100))
        relay.wait_for_client()
        time.sleep(_SETTLE)
        before, cpu = relay.received, client.cpu()
        began = time.monotonic()
        relay.resume()
        took = client.wait("synced") - began
        time.sleep(_SETTLE)
        yield Sample(work, peer.name, "time", "s", took)
        yield Sample(work, peer.name, "bytes", "MB", (relay.received - before) / 1e6)
        yield Sample(work, peer.name, "CPU", "s", client.cpu() - cpu)
        if peer in (OURS, OURS_DIFF):
            events = client.wait_end(writer.end())["events"]
            events -= rows + 1  # of the first sync, and the end
            yield Sample(work, peer.name, "events", "", events)


def idle(scale: Scale) -> Iterator[Sample]:
    """Nothing happens but traffic: the statistics of 500 ports change, a write each five s."""
    with Sandbox() as sandbox:
        sandbox.add_bridge("br-int")
        plug(sandbox, 500)
        traffic = threading.Event()
        threading.Thread(target=_traffic, args=(sandbox, traffic), daemon=True).start()
        time.sleep(2)
        for peer in (BARE, OURS, IDL):
            path = sandbox.directory / f"{peer.name}.sock"
            with (
                Relay(sandbox.connection, path) as relay,
                Client(peer, relay.connection, 501) as client,
            ):
                client.go()
                client.wait("synced")
                time.sleep(2)
                before, received = client.wake_ups(), relay.received
                time.sleep(scale.idle)
                minutes = scale.idle / 60
                wake_ups = (client.wake_ups() - before) / minutes
                received = relay.received - received
                yield Sample("idle", peer.name, "memory", "MB", client.memory())
                yield Sample("idle", peer.name, "wake-ups a minute", "", wake_ups)
                yield Sample("idle", peer.name, "bytes a minute", "B", received / minutes)
        traffic.set()


def _traffic(sandbox: Sandbox, stop: threading.Event) -> None:
    """Packets into some of the ports, so that their statistics change."""
    control = f"{sandbox.directory / 'ovs-vswitchd.ctl'}"
    packet = "in_port(1),eth(src=50:54:00:00:00:01,dst=50:54:00:00:00:02),eth_type(0x1234)"
    number = 0
    while not stop.wait(0.2):
        number = (number + 1) % 500
        command = ["ovs-appctl", "-t", control, "netdev-dummy/receive", f"{STORM}{number}", packet]
        subprocess.run(command, capture_output=True)


def growth(scale: Scale) -> Iterator[Sample]:
    """dfovsdb alone, as the table grows."""
    for rows in scale.growth:
        work = f"growth, {rows:,}"
        with server(rows) as (sandbox, writer):
            for _ in range(scale.rounds):
                with Client(OURS, sandbox.connection, rows) as client:
                    client.go()
                    client.wait("synced")
                    time.sleep(_SETTLE)
                    yield Sample(work, OURS.name, "memory", "MB", client.memory())
                yield from _churn(work, OURS, sandbox, writer, rows, scale.changes // 3)


ALL = (start, cold_sync, tables, churn, latency, boot_storm, resync, idle, growth)
