"""watch() in the caller's thread. The server is a fake that says exactly what a test wants."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dfovsdb import watching
from dfovsdb.classifiers.match import MatchClassifier
from dfovsdb.errors import ConfigurationError, WaitTimeout
from dfovsdb.model import PortEvent, SyncMarker
from dfovsdb.monitor import Monitor
from dfovsdb.watching import watch
from tests.waiting import DEADLINE


def row(name: str, **columns: Any) -> dict[str, Any]:
    return {"name": name, "external_ids": ["map", [["iface-id", name]]], **columns}


class Server:
    """Answers the monitor request of each connection with its rows, and sends what it receives."""

    def __init__(self) -> None:
        self.rows = {"u1": row("tap1"), "u2": row("tap2", ofport=2)}
        self.answers = True
        self._connection: socket.socket | None = None
        self._answered = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def connection(self) -> str:
        return f"tcp:127.0.0.1:{self._listener.getsockname()[1]}"

    def update(self, **rows: Any) -> None:
        """Send one notification."""
        assert self._answered.wait(DEADLINE)
        assert self._connection is not None
        params = ["dfovsdb", {"Interface": rows}]
        self._send({"id": None, "method": "update2", "params": params})

    def stop(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        if self._connection is not None:
            self._connection.close()
        self._thread.join(DEADLINE)

    def _serve(self) -> None:
        try:
            self._connection, _ = self._listener.accept()
            data = b""
            while not data.endswith(b"}"):
                data += self._connection.recv(1 << 16)
        except OSError:
            return
        if self.answers:
            rows = {uuid: {"initial": columns} for uuid, columns in self.rows.items()}
            self._send({"id": json.loads(data)["id"], "result": {"Interface": rows}})
            self._answered.set()

    def _send(self, message: dict[str, Any]) -> None:
        assert self._connection is not None
        self._connection.sendall(json.dumps(message).encode())


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.stop()


def eventually(true: Callable[[], bool]) -> None:
    end = time.monotonic() + DEADLINE
    while not true():
        assert time.monotonic() < end
        time.sleep(0.005)


def running() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("dfovsdb-")]


def shown(item: PortEvent | SyncMarker) -> str:
    if isinstance(item, SyncMarker):
        return f"{item.action} {item.origin}"
    return f"{item.action} {item.port.name} {item.origin}"


def ended(events: Generator[Any, None, None]) -> None:
    events.close()
    eventually(lambda: not running())


def test_what_is_there_is_reported_online_and_then_what_changes(server: Server) -> None:
    events = watch(server.connection)
    assert {shown(next(events)) for _ in range(2)} == {
        "online tap1 initial",
        "online tap2 initial",
    }
    server.update(u2={"modify": {"ofport": 3}}, u1={"delete": None})
    assert [shown(next(events)) for _ in range(2)] == [
        "offline tap1 update",
        "updated tap2 update",
    ]
    server.update(u3={"insert": row("tap3")})
    assert shown(next(events)) == "online tap3 update"
    ended(events)


def test_once_ends_after_the_first_sync(server: Server) -> None:
    assert len(list(watch(server.connection, once=True))) == 2
    eventually(lambda: not running())


def test_an_empty_table_is_a_first_sync_too(server: Server) -> None:
    server.rows = {}
    assert list(watch(server.connection, once=True)) == []


def test_markers_are_delivered_where_they_are_asked_for(server: Server) -> None:
    delivered = list(watch(server.connection, once=True, markers=True))
    assert [shown(delivered[0]), shown(delivered[-1])] == [
        "sync_started initial",
        "sync_finished initial",
    ]
    assert len(delivered) == 4
    assert isinstance(delivered[-1], SyncMarker)
    assert delivered[-1].ports == 2


def test_classifiers_and_the_options_of_a_monitor_are_taken(server: Server) -> None:
    anything = MatchClassifier(kind="anything", names=("tap2",))
    (event,) = watch(server.connection, once=True, classifiers=[anything], host="cmp-17")
    assert (event.port.kind, event.port.name, event.host) == ("anything", "tap2", "cmp-17")


def test_a_first_sync_that_does_not_come_is_a_timeout(server: Server) -> None:
    server.answers = False
    with pytest.raises(WaitTimeout, match="no sync in the time given"):
        list(watch(server.connection, timeout=0.05))
    eventually(lambda: not running())


def test_a_timeout_says_what_the_trouble_is(tmp_path: Path) -> None:
    with pytest.raises(WaitTimeout, match="No such file or directory"):
        next(watch(f"unix:{tmp_path}/none.sock", timeout=1))
    eventually(lambda: not running())


def test_the_timeout_is_over_once_the_first_sync_is_reported(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(now=0.0)
    fake = SimpleNamespace(monotonic=lambda: clock.now)
    monkeypatch.setattr(watching, "time", fake)
    events = watch(server.connection, timeout=5, markers=True)
    while not shown(next(events)).startswith("sync_finished"):
        pass
    clock.now = 1e6
    server.update(u1={"delete": None})
    assert shown(next(events)) == "offline tap1 update"
    ended(events)


def test_leaving_the_loop_ends_the_monitor(server: Server) -> None:
    for event in watch(server.connection):
        assert running()
        assert event.action == "online"
        break
    eventually(lambda: not running())


def test_nothing_is_started_before_the_loop(server: Server) -> None:
    events = watch(server.connection)
    assert running() == []
    events.close()


def test_a_body_that_is_far_behind_can_still_leave(server: Server) -> None:
    events = watch(server.connection)
    next(events)
    for number in range(200):
        server.update(u1={"modify": {"ofport": number + 10}})
    ended(events)


def test_a_body_that_is_slow_receives_the_latest_state(server: Server) -> None:
    events = watch(server.connection, queue_limit=5)
    assert {shown(next(events)) for _ in range(2)} == {
        "online tap1 initial",
        "online tap2 initial",
    }
    for number in range(200):
        server.update(u1={"modify": {"ofport": number + 10}})
    numbers = [0]
    while numbers[-1] != 209:
        numbers.append(next(events).port.ofport or 0)
    assert numbers == sorted(numbers)
    ended(events)


def test_what_cannot_be_used_is_said_at_the_call() -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        watch("nonsense")
    with pytest.raises(ConfigurationError, match="resync"):
        watch("tcp:127.0.0.1:1", resync="maybe")  # type: ignore[call-overload]  # on purpose


def test_the_status_after_stop_is_neither_connected_nor_synced(server: Server) -> None:
    with Monitor(server.connection) as monitor:
        assert monitor.wait_synced(DEADLINE)
        assert monitor.status().synced
    assert not monitor.status().synced
    assert not monitor.status().connected


@pytest.mark.parametrize("error", [ValueError("no log"), SystemExit("no log")], ids=repr)
def test_a_log_handler_that_raises_ends_nothing(
    server: Server, error: BaseException, capsys: pytest.CaptureFixture[str]
) -> None:
    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:  # noqa: ARG002
            raise error

    logger, handler = logging.getLogger("dfovsdb"), Broken()
    logger.addHandler(handler)
    level = logger.level
    logger.setLevel(logging.DEBUG)
    try:
        with Monitor(server.connection) as monitor:
            assert monitor.wait_synced(DEADLINE)
            eventually(lambda: "no log" in capsys.readouterr().err)
            server.update(u9={"initial": row("tap9", ofport=9)})
            monitor.wait_for(lambda port: port.name == "tap9", DEADLINE)
            assert monitor.condition == "synced"
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
