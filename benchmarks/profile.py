"""Where dfovsdb's own time goes: each stage of the road alone, and the delay of one change.

    python -m benchmarks.profile [ROWS]

Stages are CPU time: the bytes of a real server are fed through them, a whole snapshot and one
change after the other, warm; the best of some rounds. Phases are the delay of changes that come
200 a second to a monitor that else sleeps, from one phase to the next: medians.
"""

from __future__ import annotations

import bisect
import json
import multiprocessing
import socket
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Any

from benchmarks.clients.observer import COLUMNS
from benchmarks.rows import Writer
from benchmarks.work import server
from dfovsdb import Monitor, PortEvent, Sink, plugins
from dfovsdb.classifiers.chain import Chain
from dfovsdb.delivery.dispatcher import Dispatcher
from dfovsdb.delivery.work_queue import Fact, WorkQueue
from dfovsdb.model import RowDelta
from dfovsdb.ovsdb.replica import Replica
from dfovsdb.ovsdb.session import Session
from dfovsdb.ovsdb.transport import Transport

ROUNDS = 7
CHANGES = 3000
PACED = 1000
_PACE = 200.0  # changes a second
_READ_SIZE = 1 << 16
_MARK = "mark-"


def main() -> None:
    """Print both tables."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 50_000
    with server(rows) as (sandbox, writer):
        snapshot, changes = captured(sandbox.connection, writer)
        print(f"{rows:,} interfaces, snapshot of {len(snapshot) / 1e6:.1f} MB")
        for (what, stage), seconds in stages(snapshot, changes).items():
            unit, scale = ("ms", 1e3) if what == "snapshot" else ("µs", 1e6)
            print(f"  {what:<9} {stage:<16} {seconds * scale:7.1f} {unit}")
    with server(1000) as (sandbox, writer):
        print(f"a change of 1,000 interfaces, {_PACE:.0f} a second")
        for phase, seconds in phases(sandbox.connection, writer).items():
            print(f"  {phase:<26} {seconds * 1e6:7.1f} µs")


def captured(connection: str, writer: Writer) -> tuple[bytes, list[bytes]]:
    """The bytes of a snapshot and of some changes, as the server sends them."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(connection.removeprefix("unix:"))
        params = ["Open_vSwitch", "dfovsdb", {"Interface": [{"columns": COLUMNS}]}]
        sock.sendall(json.dumps({"method": "monitor_cond", "params": params, "id": 1}).encode())
        sock.sendall(b'{"method":"echo","params":[],"id":"drained"}')
        snapshot = bytearray()
        while (end := snapshot.find(b'{"id":"drained"', -200)) < 0:
            snapshot += sock.recv(_READ_SIZE)
        changes = []
        for change in writer.changes(CHANGES):
            writer.run([change])
            changes.append(sock.recv(_READ_SIZE))
        return bytes(snapshot[:end]), changes


class Publisher(Sink):
    """Keeps the ports, as any consumer of events would."""

    def __init__(self) -> None:
        self.ports: dict[str, Any] = {}
        self.came: list[tuple[str, float]] = []

    def emit(self, event: PortEvent) -> None:
        port = self.ports[event.port.uuid] = event.port
        mark = port.attributes.get("vm_id")
        if mark is not None and mark.startswith(_MARK):
            self.came.append((mark, time.monotonic()))


def stages(snapshot: bytes, changes: list[bytes]) -> dict[tuple[str, str], float]:
    """CPU seconds of each stage, for the snapshot and for one change."""
    chain = Chain(plugins.default_classifiers())
    taken: dict[tuple[str, str], list[float]] = defaultdict(list)
    for _ in range(ROUNDS):
        for stage, seconds in _round(snapshot, changes, chain):
            taken[stage].append(seconds)
    return {stage: min(seconds) for stage, seconds in taken.items()}


def _round(
    snapshot: bytes, changes: list[bytes], chain: Chain
) -> Iterator[tuple[tuple[str, str], float]]:
    """Each stage is fed with what the one before made of everything."""
    chunks = [snapshot[at : at + _READ_SIZE] for at in range(0, len(snapshot), _READ_SIZE)]
    session, table = Session(0.0), Replica()
    session.begin(0.0)
    keeper = {"keeper": Publisher()}
    dispatcher = Dispatcher(keeper, host="bench", resync="diff", queue_limit=len(changes))
    (worker,) = dispatcher.workers
    worker.open()

    clock = time.process_time
    began = clock()
    (message,) = [message for chunk in chunks for message in session.received(chunk, 0.0)]
    yield ("snapshot", "framing"), clock() - began
    began = clock()
    deltas = table.replace(*message)
    yield ("snapshot", "replica"), clock() - began
    began = clock()
    facts = _facts(deltas, chain, dispatcher)
    yield ("snapshot", "classification"), clock() - began
    dispatcher.publish_sync(facts)
    began = clock()
    worker.step()
    yield ("snapshot", "delivery"), clock() - began

    began = clock()
    messages = [message for data in changes for message in session.received(data, 0.0)]
    yield ("a change", "message"), (clock() - began) / len(changes)
    began = clock()
    changed = [table.apply(message.updates) for message in messages]
    yield ("a change", "replica"), (clock() - began) / len(changes)
    began = clock()
    published = [_facts(deltas, chain, dispatcher) for deltas in changed]
    yield ("a change", "classification"), (clock() - began) / len(changes)
    began = clock()
    for facts in published:
        dispatcher.publish(facts)
    yield ("a change", "publishing"), (clock() - began) / len(changes)
    began = clock()
    worker.step()
    yield ("a change", "delivery"), (clock() - began) / len(changes)


def _facts(deltas: Sequence[RowDelta], chain: Chain, dispatcher: Dispatcher) -> list[Fact]:
    facts: list[Fact] = []
    for delta in deltas:
        assert delta.new is not None  # no row is deleted here
        if (port := chain.port(delta.new, dispatcher.last(delta.uuid))) is not None:
            facts.append((delta.uuid, port))
    return facts


def phases(connection: str, writer: Writer) -> dict[str, float]:
    """Seconds from one phase of a change to the next."""
    fork = multiprocessing.get_context("fork")  # the writer has its connection already
    ours, theirs = fork.Pipe()
    process = fork.Process(target=_pace, args=(writer, theirs))
    process.start()
    keeper = Publisher()
    read, published, woken = (
        _stamped(Transport, "wait", bool),
        _stamped(Dispatcher, "publish", lambda _: True),
        _stamped(WorkQueue, "next", lambda work: isinstance(work, list)),
    )
    with Monitor(connection, sinks=[keeper]) as monitor:
        assert monitor.wait_synced(timeout=30)
        time.sleep(0.2)
        read.clear()
        ours.send("go")
        committed: dict[str, float] = ours.recv()
        time.sleep(0.2)
    process.join()
    steps: dict[str, list[float]] = defaultdict(list)
    for mark, arrived in keeper.came:
        before = committed[mark]
        for phase, moments in (
            ("commit to read", read),
            ("read to published", published),
            ("published to woken", woken),
            ("woken to the sink", [arrived]),
        ):
            moment = moments[bisect.bisect_right(moments, arrived) - 1]
            steps[phase].append(moment - before)
            before = moment
        steps["commit to the sink"].append(arrived - committed[mark])
    return {name: statistics.median(taken) for name, taken in steps.items()}


def _stamped(owner: type, method: str, counts: Callable[[Any], bool]) -> list[float]:
    """Have every return of a method noted, where its result counts."""
    moments: list[float] = []
    original = getattr(owner, method)

    def stamp(*args: Any) -> Any:
        result = original(*args)
        if counts(result):
            moments.append(time.monotonic())
        return result

    setattr(owner, method, stamp)
    return moments


def _pace(writer: Writer, parent: Connection) -> None:
    parent.recv()
    committed: dict[str, float] = {}
    began = time.monotonic()
    for number in range(PACED):
        time.sleep(max(0.0, began + number / _PACE - time.monotonic()))
        mark = f"{_MARK}{number}"
        committed[mark] = writer.set_mark(mark)
    parent.send(committed)


if __name__ == "__main__":
    main()
