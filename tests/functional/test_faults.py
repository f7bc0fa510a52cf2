"""Networks and servers that fail, and a host that does: what is delivered in the end is the table.

Faults that no ovsdb-server makes come from a proxy before a real one (faultproxy.py).
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import os
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from dfovsdb import Classifier, Interface, Monitor, PortEvent, Sink
from dfovsdb.classifiers.vm import VmClassifier
from dfovsdb.delivery.dispatcher import Dispatcher
from dfovsdb.errors import ConnectionLost
from dfovsdb.ovsdb.address import Address
from dfovsdb.ovsdb.replica import Replica
from dfovsdb.ovsdb.session import Session
from dfovsdb.ovsdb.transport import Transport
from dfovsdb.sinks.jsonl import JsonlSink
from dfovsdb.testing import CaptureSink, Sandbox, wait_until
from tests.functional import faultproxy
from tests.functional.faultproxy import Fault, FaultProxy, inserting
from tests.functional.helpers import insert, vm
from tests.waiting import DEADLINE

SEED = int(os.environ.get("DFOVSDB_SEED", "1"))
STRANGER = "11111111-2222-3333-4444-555555555555"


@pytest.fixture
def box(ovsdb_sandbox: Sandbox) -> Sandbox:
    ovsdb_sandbox.vsctl("add-br", "br-int")
    return ovsdb_sandbox


@pytest.fixture
def proxy(box: Sandbox) -> Iterator[FaultProxy]:
    with FaultProxy(box.connection, SEED) as proxy:
        yield proxy


def losses(monitor: Monitor) -> dict[str, int]:
    return {str(reason): count for reason, count in monitor._loop.session.losses.items()}


def names(box: Sandbox) -> set[str]:
    (result,) = box.transact(
        {"op": "select", "table": "Interface", "where": [], "columns": ["name"]}
    )
    return {row["name"] for row in result["rows"]}


def delivered(sink: CaptureSink) -> set[str]:
    return {port.name for port in sink.ports.values()}


def churn(box: Sandbox, first: int, count: int) -> None:
    """Ports come, are changed, and every third leaves again."""
    for n in range(first, first + count):
        box.transact(*insert(f"tap{n}", n, **vm(f"v{n}")))
        box.transact(
            {
                "op": "update",
                "table": "Interface",
                "where": [["name", "==", f"tap{n}"]],
                "row": {"ofport": n + 1},
            }
        )
        if n % 3 == 0:
            box.vsctl("del-port", f"tap{n}")


#: Each fault, and the reason by which the lost connection is counted; None: nothing is lost.
FAULTS: list[tuple[type[Fault], str | None]] = [
    (faultproxy.Delay, None),
    (faultproxy.OneByteAtATime, None),
    (faultproxy.Flood, None),
    (faultproxy.CutAt, "closed"),
    (faultproxy.ResetAt, "closed"),
    (faultproxy.Silent, "silent"),
    (faultproxy.StallAt, "silent"),
    (faultproxy.SwallowEcho, "silent"),
    (faultproxy.Duplicate, "protocol"),
    (faultproxy.Reorder, "protocol"),
    (faultproxy.Corrupt, "protocol"),
    (faultproxy.EndlessMessage, "protocol"),
]


@pytest.mark.parametrize(("fault", "reason"), FAULTS, ids=[f.__name__ for f, _ in FAULTS])
def test_whatever_the_network_does_the_table_is_delivered_in_the_end(
    box: Sandbox, proxy: FaultProxy, fault: type[Fault], reason: str | None
) -> None:
    proxy.fault = fault
    sink = CaptureSink()
    with Monitor(
        proxy.connection,
        sinks=[sink],
        inactivity_probe=1,
        reconnect_max=1,
        max_message_size=1 << 20,
    ) as monitor:
        wait_until(lambda: monitor.wait_synced(0) or losses(monitor))
        churn(box, 0, 6)
        if reason is None:
            wait_until(lambda: delivered(sink) == names(box))
            assert losses(monitor) == {}
        else:
            wait_until(lambda: losses(monitor).get(reason))
        proxy.heal()
        churn(box, 6, 4)
        wait_until(lambda: delivered(sink) == names(box) and not monitor.trouble)
        assert {p.name: p.ofport for p in sink.ports.values() if p.kind == "vm"} == {
            f"tap{n}": n + 1 for n in range(10) if n % 3
        }


def update2(**row_update: Any) -> dict[str, Any]:
    return {
        "id": None,
        "method": "update2",
        "params": ["dfovsdb", {"Interface": {STRANGER: row_update}}],
    }


WRONG: dict[str, tuple[dict[str, Any] | bytes, ...]] = {
    "a change of a row that we do not hold": (update2(modify={"ofport": 1}),),
    "a delete of a row that we do not hold": (update2(delete=None),),
    "a second insert": (update2(insert={"name": "a"}), update2(insert={"name": "a"})),
    "a difference that cannot apply": (
        update2(insert={"name": "a"}),
        update2(modify={"external_ids": ["set", ["no map"]]}),
    ),
    "an update that says nothing": (update2(),),
    "a value of another type": (update2(insert={"name": ["set", []]}),),
    "unexpected reply": ({"id": 99, "result": {}, "error": None},),
    "a reply without a result": ({"id": 1, "error": None},),
    "an update of another monitor": (
        {"id": None, "method": "update2", "params": ["other", {"Interface": {}}]},
    ),
    "an update of the other method": (
        {"id": None, "method": "update", "params": ["dfovsdb", {"Interface": {}}]},
    ),
    "params that are none": ({"id": None, "method": "update2", "params": 7},),
    "no JSON": (b"{]}{",),
    "deep nesting": (b'{"id":null,"method":"x","params":' + b"[" * 100_000 + b"}{",),
    "bytes that are not UTF-8": (b'{"id":null,"method":"\xff\xfe","params":[]}{',),
}


@pytest.mark.parametrize("messages", WRONG.values(), ids=list(WRONG))
def test_what_cannot_be_right_is_dropped_counted_and_read_again(
    box: Sandbox, proxy: FaultProxy, messages: tuple[Any, ...]
) -> None:
    proxy.fault = inserting(*messages)
    sink = CaptureSink()
    with Monitor(proxy.connection, sinks=[sink]) as monitor:
        sink.wait_for_sync()
        proxy.fault = Fault  # the next connection is a good one
        box.transact(*insert("tap0", **vm("a")))
        sink.wait_for_sync(2)
        assert losses(monitor) == {"protocol": 1}
        wait_until(lambda: delivered(sink) == {"br-int", "tap0"})  # and no port named a


def test_a_canceled_monitor_is_asked_for_again(box: Sandbox, proxy: FaultProxy) -> None:
    proxy.fault = inserting({"id": None, "method": "monitor_canceled", "params": ["dfovsdb"]})
    sink = CaptureSink()
    with Monitor(proxy.connection, sinks=[sink]) as monitor:
        sink.wait_for_sync()
        proxy.fault = Fault
        box.transact(*insert("tap0", **vm("a")))
        sink.wait_for_sync(2)
        assert losses(monitor) == {"canceled": 1}


@pytest.mark.slow
def test_a_protocol_that_keeps_failing_backs_off_and_is_said_once(
    proxy: FaultProxy, caplog: pytest.LogCaptureFixture
) -> None:
    class EverySync(faultproxy.Messages):
        """After every snapshot a change of another row that nobody holds."""

        def change(self, message: dict[str, Any]) -> Iterator[dict[str, Any]]:
            yield message
            if message.get("id") == 1:
                uuid = f"{self.rng.randrange(16**8):08x}{STRANGER[8:]}"
                row = {"Interface": {uuid: {"modify": {"ofport": 1}}}}
                yield {"id": None, "method": "update2", "params": ["dfovsdb", row]}

    caplog.set_level(logging.WARNING)
    proxy.fault = EverySync
    with Monitor(proxy.connection, reconnect_max=2) as monitor:
        began = time.monotonic()
        wait_until(lambda: losses(monitor).get("protocol", 0) >= 4)
        assert time.monotonic() - began >= 1 + 2 + 2  # waits that only grow
    (said,) = [r.message for r in caplog.records if "do not hold" in r.message]
    assert said.startswith("waiting for the server: a row that we do not hold is changed")


def test_an_error_of_our_own_is_counted_said_once_and_followed_by_a_resync(
    box: Sandbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fails = ["apply", "publish"]  # before the replica has changed, and after

    def failing(where: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            if fails and fails[0] == where:
                del fails[0]
                raise LookupError("a mistake")
            return original(*args)

        return call

    monkeypatch.setattr(Replica, "apply", failing("apply", Replica.apply))
    monkeypatch.setattr(Dispatcher, "publish", failing("publish", Dispatcher.publish))
    sink = CaptureSink()
    with Monitor(box.connection, sinks=[sink]) as monitor:
        for number in range(2):
            sink.wait_for_sync(number + 1)
            box.transact(*insert(f"tap{number}", **vm("a")))
        sink.wait_for_sync(3)
        wait_until(lambda: delivered(sink) == {"br-int", "tap0", "tap1"})
        assert losses(monitor) == {"internal": 2}
    (said,) = [r for r in caplog.records if "internal error" in r.message]
    assert said.exc_info  # with its traceback


class FailsOnTaps(Classifier):
    kind = "broken"

    def classify(self, interface: Interface) -> Mapping[str, str | None] | None:
        if interface.name.startswith("tap"):
            raise LookupError(interface.name)
        return None


def test_a_classifier_that_fails_on_every_row_has_one_traceback_and_then_a_number(
    box: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(20):
        box.transact(*insert(f"tap{number}", **vm("a")))
    sink = CaptureSink()
    with Monitor(box.connection, sinks=[sink], classifiers=[FailsOnTaps(), VmClassifier()]):
        sink.wait_for_sync()
        box.transact(*insert("tap20", **vm("a")))
        sink.wait_until(lambda: sink.of("tap20"))  # the next classifier has it
    lines = [r for r in caplog.records if "classifier broken failed" in r.message]
    assert [bool(record.exc_info) for record in lines] == [True, False, False]
    assert "as before 19 more times: LookupError at test_faults.py:" in lines[1].message
    assert "as before 1 more times: " in lines[2].message  # at the end


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_ten_thousand_connections_leave_no_descriptor_and_no_thread(tmp_path: Path) -> None:
    """Without waiting: the clock is an argument. The server is a socket that hangs up, since
    a real one would take minutes."""
    path = str(tmp_path / "db.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(8)
        listener.setblocking(False)
        now = 0.0
        session = Session(now)
        with Transport(Address.parse(f"unix:{path}")) as transport:
            before, threads = descriptors(), threading.active_count()
            connections = 0
            while connections < 10_000:
                now += 10
                step = session.next_step(now)
                if step != "connect":
                    continue
                session.connecting(now)
                try:
                    transport.open()
                    session.begin(now)
                    transport.send(session.outgoing())
                    listener.accept()[0].close()
                    while True:
                        transport.wait(DEADLINE)
                except ConnectionLost as lost:
                    transport.close()
                    session.lost(lost, now)
                    connections += 1
            assert (descriptors(), threading.active_count()) == (before, threads)
            assert session.losses["closed"] == 10_000


def test_a_process_with_more_than_1024_descriptors_connects(box: Sandbox) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 3000 if hard == resource.RLIM_INFINITY else min(3000, hard)
    assert wanted > 1200
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    held: list[int] = []
    try:
        while not held or held[-1] <= 1100:
            held.append(os.open("/dev/null", os.O_RDONLY))
        for connection in (box.connection, box.tcp_connection):
            sink = CaptureSink()
            with Monitor(connection, sinks=[sink]) as monitor:
                sink.wait_for_sync()
                assert monitor._loop._transport is not None
                assert monitor._loop._transport._socket is not None
                assert monitor._loop._transport._socket.fileno() > 1023
    finally:
        for descriptor in held:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_without_a_descriptor_left_it_waits_until_there_is_one(box: Sandbox) -> None:
    program = (
        "import os, resource, sys, time\n"
        "from dfovsdb import Monitor\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200))\n"
        "held = []\n"
        "monitor = Monitor(sys.argv[1], reconnect_max=1)\n"
        "monitor._dispatcher.start()\n"
        "from dfovsdb.ovsdb.transport import Transport\n"
        "with Transport(monitor._loop.address) as transport:\n"
        "    try:\n"
        "        while True: held.append(os.open('/dev/null', os.O_RDONLY))\n"
        "    except OSError: pass\n"
        "    lost = monitor._loop.turn(monitor._loop.session, transport)\n"
        "    print(lost, flush=True)\n"
        "    monitor._loop.session.lost(lost, time.monotonic())\n"
        "    for fd in held: os.close(fd)\n"
        "    loop = monitor._loop\n"
        "    while not loop.session.synced: loop.turn(loop.session, transport)\n"
        "print('synced')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, box.connection],
        timeout=DEADLINE,
        capture_output=True,
        text=True,
        check=False,
    )
    first, second = done.stdout.splitlines()
    assert "too many descriptors are open" in first
    assert (second, done.stderr) == ("synced", "")


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_a_server_stopped_for_longer_than_the_probes_is_given_up_and_found_again(
    box: Sandbox, kind: str
) -> None:
    sink = CaptureSink()
    connection = box.tcp_connection if kind == "tcp" else box.connection
    with Monitor(connection, sinks=[sink], inactivity_probe=1) as monitor:
        sink.wait_for_sync()
        box.pause_database()
        try:
            wait_until(lambda: losses(monitor).get("silent", 0) >= 1)
        finally:
            box.resume_database()
        box.transact(*insert("tap0", **vm("a")))
        wait_until(lambda: delivered(sink) == {"br-int", "tap0"} and not monitor.trouble)


def test_a_server_stopped_for_less_than_the_probes_costs_nothing(box: Sandbox) -> None:
    sink = CaptureSink()
    with Monitor(box.connection, sinks=[sink], inactivity_probe=60) as monitor:
        sink.wait_for_sync()
        box.pause_database()
        box.resume_database()
        box.transact(*insert("tap0", **vm("a")))
        sink.wait_for_actions("tap0", ["online"])
        assert losses(monitor) == {}


@pytest.mark.parametrize("hours", [-1, 1, 24 * 365])
def test_system_time_that_is_set_moves_nothing(
    box: Sandbox, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    """In the process; whoever reads time.time() or datetime.now() gets the new time."""
    real_time, shift = time.time, hours * 3600.0

    class Shifted(dt.datetime):
        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> Shifted:
            return cls.fromtimestamp(real_time() + shift, tz)

    sink = CaptureSink()
    with Monitor(box.connection, sinks=[sink], inactivity_probe=1) as monitor:
        sink.wait_for_sync()
        monkeypatch.setattr(time, "time", lambda: real_time() + shift)
        for module in ("dispatcher", "worker", "work_queue", "emitter"):
            monkeypatch.setattr(f"dfovsdb.delivery.{module}.datetime", Shifted, raising=False)
        box.transact(*insert("tap0", **vm("a")))
        (event,) = sink.wait_for_actions("tap0", ["online"])
        assert abs(event.time.timestamp() - time.time()) < 600  # with the new time
        box.stop_database(kill=True)
        wait_until(lambda: monitor.trouble)
        box.start_database()
        sink.wait_for_sync(2)  # and the backoff has not become an hour
        assert losses(monitor).get("silent") is None
    assert sink.closed


def test_a_jump_of_the_clock_during_backoff_neither_hangs_nor_storms() -> None:
    """The monotonic clock, which jumps where a host was suspended; here it is an argument."""
    for jump in (0.0, 3600.0, 1e6):
        now = 100.0
        session = Session(now, reconnect_min=1, reconnect_max=8)
        for _ in range(5):
            while session.next_step(now) != "connect":
                timeout = session.timeout(now)
                assert timeout is not None
                assert timeout <= 8
                now += max(timeout, 0.001)
            session.connecting(now)
            session.lost(ConnectionLost("refused", "connect"), now)
        now += jump
        tries = 0
        for _ in range(20):  # at the same time: one try, and then it waits again
            if session.next_step(now) == "connect":
                session.connecting(now)
                session.lost(ConnectionLost("refused", "connect"), now)
                tries += 1
        assert tries == (1 if jump else 0)
        timeout = session.timeout(now)
        assert timeout is not None
        assert 0 < timeout <= 8


def test_a_jump_of_the_clock_while_connected_asks_before_it_gives_up() -> None:
    now = 100.0
    session = Session(now, inactivity_probe=5)
    assert session.next_step(now) == "connect"
    session.connecting(now)
    session.begin(now)
    session.outgoing()
    now += 3600
    assert session.next_step(now) is None
    assert list(session.received(b"", now)) == []
    assert session.next_step(now) is None
    assert b'"echo"' in session.outgoing()
    reply = b'{"id":"probe","result":[],"error":null}'
    assert list(session.received(reply, now + 1)) == []
    assert session.next_step(now + 4) is None


ROWS = 50_000


@pytest.mark.slow
def test_a_start_with_50000_interfaces_while_they_change_ends_with_the_table(
    box: Sandbox,
) -> None:
    for first in range(0, ROWS, 10_000):
        box.transact(
            *(
                {
                    "op": "insert",
                    "table": "Interface",
                    "uuid-name": f"i{n}",
                    "row": {"name": f"tap{n}", **vm(f"v{n}")},
                }
                for n in range(first, first + 10_000)
            ),
            {
                "op": "insert",
                "table": "Port",
                "uuid-name": "p",
                "row": {
                    "name": f"bond{first}",
                    "interfaces": [
                        "set",
                        [["named-uuid", f"i{n}"] for n in range(first, first + 10_000)],
                    ],
                },
            },
            {
                "op": "mutate",
                "table": "Bridge",
                "where": [],
                "mutations": [["ports", "insert", ["named-uuid", "p"]]],
            },
        )
    stop = threading.Event()
    changes: dict[str, int] = {}

    def change() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            name = f"tap{number * 7919 % ROWS}"
            box.transact(
                {
                    "op": "update",
                    "table": "Interface",
                    "where": [["name", "==", name]],
                    "row": {"ofport": number % 60_000 + 1},
                }
            )
            changes[name] = number % 60_000 + 1

    changer = threading.Thread(target=change)
    sink = CaptureSink()
    with Monitor(box.connection, sinks=[sink]) as monitor:
        changer.start()
        try:
            sink.wait_until(lambda: sink.syncs() >= 1, timeout=4 * DEADLINE)
        finally:
            stop.set()
            changer.join()
        expected = dict(changes)

        def right() -> bool:
            now = {port.name: port.ofport for port in monitor.ports().values()}
            return all(now[name] == ofport for name, ofport in expected.items())

        wait_until(right)
        assert len(monitor.ports()) == ROWS + 1
        wait_until(lambda: sink.ports == monitor.ports())
        assert losses(monitor) == {}


@pytest.mark.parametrize("replacement", ["empty", "different"])
def test_a_database_that_is_replaced_is_delivered_as_it_is_then(
    box: Sandbox, replacement: str
) -> None:
    box.transact(*insert("tap0", 0, **vm("a")), *insert("tap1", 1, **vm("b")))
    sink = CaptureSink()
    with Monitor(box.connection, sinks=[sink]) as monitor:
        sink.wait_for_sync()
        assert delivered(sink) == {"br-int", "tap0", "tap1"}
        box.stop_database(kill=True)
        box.database.unlink()
        with Sandbox(vswitchd=False) as other:
            if replacement == "different":
                other.vsctl("add-br", "br-int")
                other.transact(*insert("tap1", 0, **vm("b")), *insert("tap2", 1, **vm("c")))
            expected = names(other)
            other.stop_database()
            box.database.write_bytes(other.database.read_bytes())
        box.start_database()
        sink.wait_for_sync(2)
        wait_until(lambda: delivered(sink) == expected)
        assert {port.name for port in monitor.ports().values()} == expected
        assert sink.actions("tap0") == ["online", "offline"]


_LIMITED = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, resource.RLIM_INFINITY))
from dfovsdb.cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_a_full_disk_is_an_outage_of_the_sink_and_no_line_is_lost_or_halved(
    box: Sandbox, tmp_path: Path
) -> None:
    """In a process of its own, whose files may not grow past a limit until it is lifted."""
    file = tmp_path / "events.jsonl"
    configuration = tmp_path / "dfovsdb.conf"
    configuration.write_text(
        f"[ovsdb]\nconnection = {box.connection}\n[dfovsdb]\nsinks = jsonl\nstop_timeout = 20\n"
        f"[sink_jsonl]\npath = {file}\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", _LIMITED, "--config-file", str(configuration), "run"],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr
    try:
        for n in range(20):
            box.transact(*insert(f"tap{n}", n, **vm(f"v{n}")))
        for line in process.stderr:
            if "unavailable" in line:
                break
        assert "File too large" in line
        for text in file.read_text().splitlines():
            json.loads(text)
        resource.prlimit(
            process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        )

        def written() -> set[str]:
            lines = file.read_text().splitlines()
            return {json.loads(line).get("port", {}).get("name") for line in lines}

        wait_until(lambda: written() >= {f"tap{n}" for n in range(20)})
    finally:
        process.terminate()
        assert process.wait(DEADLINE) == 0
        process.stderr.close()
    events = [json.loads(line) for line in file.read_text().splitlines()]
    numbers = [event["seq"] for event in events]
    assert numbers == list(range(1, len(numbers) + 1))


def test_a_device_that_is_full_for_ever_stops_neither_the_rest_nor_the_end(box: Sandbox) -> None:
    healthy = CaptureSink()
    with Monitor(
        box.connection,
        sinks={"full": JsonlSink("/dev/full"), "healthy": healthy},
        stop_timeout=0.5,
    ) as monitor:
        healthy.wait_for_sync()
        wait_until(lambda: not monitor._dispatcher.workers[0].available)
        box.transact(*insert("tap0", **vm("a")))
        healthy.wait_for_actions("tap0", ["online"])
    assert healthy.closed


def test_watch_ends_quietly_when_its_reader_has_read_enough(box: Sandbox) -> None:
    for args in (["--json"], []):
        watch = subprocess.Popen(
            [sys.executable, "-m", "dfovsdb", "watch", box.connection, *args],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert watch.stdout
        assert watch.stderr
        assert watch.stdout.readline()
        watch.stdout.close()
        box.vsctl("set", "interface", "br-int", f"external_ids:a={len(args)}", "ofport_request=1")
        box.transact(
            {"op": "update", "table": "Interface", "where": [], "row": {"ofport": 10 + len(args)}}
        )
        assert watch.wait(DEADLINE) == 0
        assert watch.stderr.read() == b""
        watch.stderr.close()


def test_a_sink_that_raises_at_everything_harms_nobody_else(box: Sandbox) -> None:
    class Broken(Sink):
        def emit(self, event: PortEvent) -> None:
            raise RuntimeError(event.port.name)

    healthy = CaptureSink()
    sinks: dict[str, Sink] = {"broken": Broken(), "healthy": healthy}
    with Monitor(box.connection, sinks=sinks) as monitor:
        healthy.wait_for_sync()
        box.transact(*insert("tap0", **vm("a")))
        healthy.wait_for_actions("tap0", ["online"])
        wait_until(lambda: monitor._dispatcher.workers[0].counters["refused"] >= 2)
