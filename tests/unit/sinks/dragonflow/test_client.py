"""What is published, to whom, and what becomes of who does not read. Subscribers are real."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from dfovsdb.delivery.dispatcher import Dispatcher
from dfovsdb.errors import ConfigurationError, SinkUnavailable
from dfovsdb.model import Port
from dfovsdb.sinks.base import SinkContext
from dfovsdb.sinks.dragonflow import DragonflowSink
from dfovsdb.sinks.dragonflow import client as dragonflow_zmq
from dfovsdb.testing import wait_until
from tests.controllers import Running, Subscriber, event, marker, ports
from tests.waiting import DEADLINE


class Opened:
    """The sink alone, in this thread; counts the replays that it asks for."""

    def __init__(self, endpoint: str) -> None:
        self.sink = DragonflowSink(endpoint=endpoint)
        self.replays = 0
        self.sink.open(SinkContext("cmp-17", "epoch", self._count))

    def _count(self) -> None:
        self.replays += 1

    def wait_for_subscriber(self) -> None:
        before = self.replays

        def noticed() -> bool:
            self.sink.poll()
            return self.replays > before

        wait_until(noticed)


@pytest.fixture
def endpoint(tmp_path: Path) -> str:
    return f"ipc://{tmp_path}/df"


@pytest.fixture
def opened(endpoint: str) -> Iterator[Opened]:
    sink = Opened(endpoint)
    yield sink
    sink.sink.close()


@pytest.fixture
def publishing(endpoint: str) -> Iterator[Dispatcher]:
    """A running sink that publishes on the endpoint; three ports were delivered to nobody."""
    with Running(DragonflowSink(endpoint=endpoint)) as dispatcher:
        dispatcher.publish_sync(ports(3))
        wait_for_delivered(dispatcher, 3)
        yield dispatcher


def wait_for_delivered(dispatcher: Dispatcher, number: int) -> None:
    wait_until(lambda: dispatcher.workers[0].counters["delivered"] == number)


def vm(number: int = 0, name: str = "tap") -> Port:
    (*_, (_, port)) = ports(number + 1, prefix=name)
    assert port is not None
    return port


# Messages.


@pytest.mark.usefixtures("publishing")
def test_a_message_is_the_map_that_the_controller_unpacks(endpoint: str) -> None:
    with Subscriber(endpoint) as subscriber:
        subscriber.wait_for_syncs()
    assert subscriber.topics == {b"D"}
    started, create, *_, finished = subscriber.messages
    assert started == {
        "table": None,
        "key": None,
        "action": "switch_sync_started",
        "value": None,
        "topic": "D",
    }
    assert finished == {**started, "action": "switch_sync_finished"}
    assert create == {
        "table": "switch_port",
        "key": "u0",
        "action": "create",
        "value": '{"id":"u0","name":"tap0","type":"compute"}',
        "topic": "D",
    }


def test_a_message_uses_only_the_types_that_an_old_msgpack_knows() -> None:
    """Of the specification of 2013: fixmap, nil, fixstr, str8 and str16."""
    names = ("table", "key", "action", "value", "topic")
    message = dragonflow_zmq.TableUpdate(None, "u" * 31, "s" * 32, "v" * 256, "D")
    packed = [
        b"\x85",
        *(bytes([0xA0 + len(name)]) + name.encode() for name in names),
        b"\xc0",
        b"\xbf" + b"u" * 31,
        b"\xd9\x20" + b"s" * 32,
        b"\xda\x01\x00" + b"v" * 256,
        b"\xa1D",
    ]
    first, *rest = packed
    expected = first + b"".join(rest[n] + rest[n + 5] for n in range(5))
    assert msgspec.msgpack.encode(message) == expected


def test_another_topic_is_in_the_frame_and_in_the_message(endpoint: str) -> None:
    with Running(DragonflowSink(endpoint=endpoint, topic="ports")) as dispatcher:
        dispatcher.publish_sync(ports(1))
        with Subscriber(endpoint, b"ports") as subscriber:
            subscriber.wait_for_syncs()
    assert subscriber.topics == {b"ports"}
    assert {message["topic"] for message in subscriber.messages} == {"ports"}


# Subscribers.


@pytest.mark.usefixtures("publishing")
def test_whoever_subscribes_late_the_first_or_the_second_receives_everything(
    endpoint: str,
) -> None:
    with Subscriber(endpoint) as first:
        first.wait_for_syncs()
        assert first.actions == ["switch_sync_started", *["create"] * 3, "switch_sync_finished"]
        with Subscriber(endpoint) as second:
            second.wait_for_syncs()
            assert second.messages == first.messages[:5]
            first.wait_for_syncs(2)


@pytest.mark.usefixtures("publishing")
def test_a_subscription_to_the_beginning_of_the_topic_counts(endpoint: str) -> None:
    with Subscriber(endpoint, b"") as subscriber:
        subscriber.wait_for_syncs()


def test_a_subscription_to_another_topic_is_no_reason_for_a_replay(
    opened: Opened, endpoint: str
) -> None:
    publisher = opened.sink._publisher
    assert publisher
    with Subscriber(endpoint, b"Dx"):
        assert publisher._socket.poll(int(DEADLINE * 1000))  # nothing else tells that it has come
        opened.sink.poll()
    assert opened.replays == 0


def test_a_subscriber_that_walks_into_a_sync_receives_no_end_of_it(
    opened: Opened, endpoint: str
) -> None:
    sink = opened.sink
    sink.sync_started(marker("sync_started"))
    with Subscriber(endpoint) as subscriber:
        opened.wait_for_subscriber()
        sink.emit(event("online", vm()))
        sink.sync_finished(marker("sync_finished"))
        sink.sync_started(marker("sync_started", "replay"))
        sink.emit(event("online", vm(), vm()))
        sink.sync_finished(marker("sync_finished", "replay"))
        subscriber.wait_for_syncs()
    assert subscriber.actions == [
        "create",
        "switch_sync_started",
        "create",
        "switch_sync_finished",
    ]


@pytest.mark.parametrize("call", ["emit", "sync_started", "sync_finished"])
def test_an_event_or_a_marker_notices_a_subscriber_before_the_next_poll(
    opened: Opened, endpoint: str, call: str
) -> None:
    item = event("online", vm()) if call == "emit" else marker("sync_started")
    with Subscriber(endpoint):
        wait_until(lambda: getattr(opened.sink, call)(item) or opened.replays == 1)


def test_a_delete_that_nobody_hears_is_reported_to_the_next_subscriber(
    publishing: Dispatcher, endpoint: str
) -> None:
    publishing.publish([("u1", None)])
    wait_for_delivered(publishing, 4)
    with Subscriber(endpoint) as subscriber:
        subscriber.wait_for_syncs()
    assert subscriber.actions == [
        "delete",
        "switch_sync_started",
        "create",
        "create",
        "switch_sync_finished",
    ]
    assert subscriber.messages[0]["key"] == "u1"


def test_after_the_last_subscriber_has_left_nobody_hears(
    publishing: Dispatcher, endpoint: str
) -> None:
    with Subscriber(endpoint) as first:
        first.wait_for_syncs()
    (worker,) = publishing.workers
    publisher = worker._sink._publisher  # type: ignore[attr-defined]  # nothing else tells of it
    wait_until(lambda: not publisher._subscriptions)
    publishing.publish([("u1", None)])
    wait_for_delivered(publishing, 7)
    with Subscriber(endpoint) as second:
        second.wait_for_syncs()
    assert second.actions[0] == "delete"


def test_the_deletes_that_nobody_hears_are_bounded(
    publishing: Dispatcher, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dragonflow_zmq, "UNHEARD_LIMIT", 2)
    publishing.publish([(uuid, None) for uuid, _ in ports(3)])
    wait_for_delivered(publishing, 6)
    with Subscriber(endpoint) as subscriber:
        subscriber.wait_for_syncs()
    assert [m["key"] for m in subscriber.messages if m["action"] == "delete"] == ["u1", "u2"]


# Who does not read.


def test_a_full_pipe_is_an_outage_that_says_how_many_of_a_batch_arrived(
    endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dragonflow_zmq, "PIPE_LIMIT", 10)
    opened = Opened(endpoint)
    batch = [event("online", vm(name="t" * 5000))] * 5000
    with Subscriber(endpoint, reads=False) as subscriber:
        opened.wait_for_subscriber()
        with pytest.raises(SinkUnavailable, match="does not read") as caught:
            opened.sink.emit_many(batch)
        assert 0 < caught.value.delivered < len(batch)
        with pytest.raises(SinkUnavailable, match="does not read"):
            opened.sink.sync_started(marker("sync_started"))
        closing = threading.Thread(target=opened.sink.close)
        closing.start()  # and does not wait until that subscriber reads
        closing.join(DEADLINE)
        assert not closing.is_alive()
        assert subscriber.messages == []


def test_a_sync_that_meets_a_full_pipe_goes_on_where_it_stopped(
    endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dragonflow_zmq, "PIPE_LIMIT", 10)
    running = Running(DragonflowSink(endpoint=endpoint))
    with running as dispatcher, Subscriber(endpoint, reads=False) as subscriber:
        dispatcher.publish_sync(ports(3000, prefix="t" * 2000))
        wait_until(lambda: running.worker.counters["outages"])
        dispatcher.publish([("u0", None)])
        subscriber.read_on()
        subscriber.wait_for(
            lambda: len(subscriber.keys) == 2999 and "delete" in subscriber.actions
        )
        subscriber.wait_for_syncs()
    finished = subscriber.actions.index("switch_sync_finished")
    (started,) = (n for n, a in enumerate(subscriber.actions[:finished]) if a.endswith("_started"))
    whole = subscriber.messages[started + 1 : finished]
    assert [message["key"] for message in whole] == [f"u{n}" for n in range(3000)]


def test_who_reads_slowly_is_no_outage(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dragonflow_zmq, "PIPE_LIMIT", 10)
    # on a busy machine the subscriber may have no turn for longer than a real one waits
    monkeypatch.setattr(dragonflow_zmq, "SEND_TIMEOUT", int(DEADLINE * 1000))
    running = Running(DragonflowSink(endpoint=endpoint))
    with running as dispatcher, Subscriber(endpoint) as subscriber:
        dispatcher.publish_sync(ports(3000, prefix="t" * 2000))
        subscriber.wait_for(lambda: len(subscriber.keys) == 3000)
        subscriber.wait_for_syncs()
    assert running.worker.counters["outages"] == 0


# Binding.


def open_error(endpoint: str) -> str:
    """Why the start is refused, in one line."""
    with pytest.raises(ConfigurationError) as caught, Running(DragonflowSink(endpoint=endpoint)):
        pass
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_tcp_port_in_use_stops_the_start() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        assert f"endpoint {taken} cannot be bound: Address already in use" in open_error(taken)


@pytest.mark.usefixtures("publishing")
def test_an_ipc_socket_in_use_stops_the_start_and_goes_on_to_be_used(endpoint: str) -> None:
    assert f"endpoint {endpoint} cannot be bound: Address already in use" in open_error(endpoint)
    with Subscriber(endpoint) as subscriber:
        subscriber.wait_for_syncs()


def test_an_ipc_socket_that_nobody_listens_on_is_replaced(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "df"))
    with Running(DragonflowSink(endpoint=f"ipc://{tmp_path}/df")) as dispatcher:
        dispatcher.publish_sync(ports(1))
        with Subscriber(f"ipc://{tmp_path}/df") as subscriber:
            subscriber.wait_for_syncs()


def test_a_file_that_is_no_socket_is_not_replaced(tmp_path: Path) -> None:
    file = tmp_path / "df"
    file.write_text("dear to me")
    assert "cannot be bound: File exists" in open_error(f"ipc://{file}")
    assert file.read_text() == "dear to me"


@pytest.mark.parametrize(
    ("endpoint", "says"),
    [
        ("tcp://no-such-interface:8866", "it must be an address of this host"),
        ("tcp://192.0.2.1:8866", "it must be an address of this host"),
        ("ipc:///no/such/folder/df", "No such file or directory"),
        (f"ipc:///tmp/{'x' * 200}", "File name too long"),
    ],
)
def test_an_endpoint_that_cannot_be_bound_says_why(endpoint: str, says: str) -> None:
    assert says in open_error(endpoint)


def test_owner_and_group_alone_may_connect_to_an_ipc_socket(tmp_path: Path) -> None:
    umask = os.umask(0)
    try:
        with Running(DragonflowSink(endpoint=f"ipc://{tmp_path}/df")):
            assert (tmp_path / "df").stat().st_mode & 0o777 == 0o660
    finally:
        os.umask(umask)


@pytest.mark.parametrize(
    ("endpoint", "warns"),
    [
        ("tcp://127.0.0.1:*", False),
        ("tcp://127.0.0.2:*", False),
        ("tcp://[::1]:*", False),
        ("tcp://*:*", True),
        ("tcp://0.0.0.0:*", True),
        ("ipc://*", False),
    ],
)
def test_an_endpoint_that_other_hosts_may_reach_is_warned_of(
    endpoint: str, warns: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING), Running(DragonflowSink(endpoint=endpoint)):
        assert ("other hosts can reach" in caplog.text) == warns


def test_a_sink_tells_which_port_it_has_bound() -> None:
    sink = DragonflowSink(endpoint="tcp://127.0.0.1:*")
    with Running(sink) as dispatcher:
        assert re.fullmatch(r"tcp://127\.0\.0\.1:\d+", sink.endpoint or "")
        dispatcher.publish_sync(ports(1))
        with Subscriber(sink.endpoint or "") as subscriber:
            subscriber.wait_for_syncs()


# Subscribers that want to harm.


@contextlib.contextmanager
def stranger(opened: Opened, subscribes: str) -> Iterator[None]:
    """A subscriber in a process of its own, which ends only when it is killed."""
    publisher = opened.sink._publisher
    assert publisher is not None
    program = (
        "import sys, time, zmq\n"
        "sub = zmq.Context().socket(zmq.SUB)\n"
        "sub.connect(sys.argv[1])\n"
        f"{subscribes}\n"
        "time.sleep(3600)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program, publisher.endpoint])
    try:
        yield
    finally:
        process.kill()
        process.wait(DEADLINE)


def test_a_subscription_of_megabytes_is_not_taken(opened: Opened) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with stranger(opened, "for n in range(20): sub.subscribe(bytes([n]) * 10_000_000)"):
        reader = Subscriber(opened.sink._publisher.endpoint)  # type: ignore[union-attr]  # it has one
        try:
            opened.wait_for_subscriber()
            time.sleep(1)  # what was sent before has arrived by then, if it arrives at all
            opened.sink.poll()
        finally:
            reader.close()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kB


def test_a_flood_of_subscriptions_ends_with_a_new_socket_and_subscribers_come_back(
    opened: Opened, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(dragonflow_zmq, "FOREIGN_LIMIT", 500)
    reader = Subscriber(opened.sink._publisher.endpoint)  # type: ignore[union-attr]  # it has one

    def is_bound_again() -> bool:
        opened.sink.poll()
        return "all subscribers are disconnected" in caplog.text

    try:
        opened.wait_for_subscriber()
        with stranger(opened, "for n in range(2000): sub.subscribe(b'x%d' % n)"):
            wait_until(is_bound_again)
        opened.wait_for_subscriber()  # the reader, again
    finally:
        reader.close()


def test_a_turn_ends_although_subscriptions_go_on(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher = opened.sink._publisher
    assert publisher is not None

    class Endless:
        reads = 0

        def recv(self, _flags: int) -> bytes:
            self.reads += 1
            return b"\x01D" if self.reads % 2 else b"\x00D"

    endless = Endless()
    real = publisher._socket
    monkeypatch.setattr(publisher, "_socket", endless)
    assert publisher.new_subscribers()
    assert endless.reads == dragonflow_zmq.SUBSCRIPTIONS_A_TURN
    monkeypatch.setattr(publisher, "_socket", real)


def test_a_topic_fits_into_a_subscription() -> None:
    with pytest.raises(ConfigurationError, match="option topic is longer than 255 bytes"):
        DragonflowSink(endpoint="tcp://127.0.0.1:*", topic="D" * 256)
