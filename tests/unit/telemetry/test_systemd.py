"""The service manager hears of it over a real datagram socket."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dfovsdb.status import SinkStatus, Status
from dfovsdb.telemetry.systemd import notify, report, watchdog_interval
from tests.waiting import DEADLINE


@pytest.fixture(params=["path", "abstract"])
def manager(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[socket.socket]:
    """What systemd has at the other end."""
    path = str(tmp_path / "notify")
    name = path if request.param == "path" else f"@dfovsdb-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.settimeout(DEADLINE)
        receiver.bind(name.replace("@", "\0"))
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        yield receiver


def status(**facts: Any) -> Status:
    known: dict[str, Any] = {
        "alive": True,
        "connected": True,
        "synced": True,
        "trouble": "",
        "unsynced_for": None,
        "next_try": None,
        "message_age": 1.0,
        "losses": {},
        "syncs": 1,
        "sync_seconds": 0.1,
        "rows": 3,
        "kinds": (),
        "ports": {("x", "ready"): 3},
        "classifier_errors": {},
        "sinks": (),
    }
    return Status(**(known | facts))


def test_assignments_are_one_datagram_of_lines(manager: socket.socket) -> None:
    notify("READY=1", "STATUS=here")
    assert manager.recv(4096) == b"READY=1\nSTATUS=here"


def test_without_a_manager_nothing_happens(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for path in (None, "", "relative", f"{tmp_path}/nobody"):
        if path is None:
            monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
        else:
            monkeypatch.setenv("NOTIFY_SOCKET", path)
        notify("READY=1")


def test_a_manager_that_does_not_read_holds_nobody_up(manager: socket.socket) -> None:
    for _ in range(10_000):
        notify("STATUS=" + "x" * 100)
    assert manager.recv(4096).startswith(b"STATUS=x")


def test_the_watchdog_is_fed_where_the_loop_turns(manager: socket.socket) -> None:
    report(status())
    assert manager.recv(4096) == b"STATUS=3 ports\nWATCHDOG=1"
    report(status(alive=False))
    assert manager.recv(4096) == b"STATUS=3 ports; the monitor thread is not responding"


def test_the_status_says_what_is_waited_for(manager: socket.socket) -> None:
    down = SinkStatus("events", False, 0, 0.0, {}, None)
    waits = {"connected": False, "synced": False, "trouble": "no\nREADY=1", "unsynced_for": 7.4}
    report(status(**waits, next_try=2.6, ports={}, sinks=(down,)))
    text = manager.recv(4096).decode().splitlines()[0]
    assert text == (
        r"STATUS=0 ports; waiting for the server for 7 s, next try in 3 s: no\nREADY=1; "
        "sink events is unavailable"
    )


def test_while_an_attempt_is_made_there_is_no_next_one() -> None:
    waits = {"connected": False, "synced": False, "unsynced_for": 61.0}
    assert status(**waits).problems() == ["waiting for the server for 61 s, trying now"]


def test_a_connection_that_stands_makes_the_last_error_an_old_one() -> None:
    waits: dict[str, Any] = {"synced": False, "unsynced_for": 3.0, "next_try": 1.0}
    assert status(**waits).problems() == ["waiting for the table for 3 s"]
    assert status(**waits, trouble="it broke").problems() == [
        "waiting for the table for 3 s; before: it broke"
    ]


@pytest.mark.parametrize(
    ("usec", "pid", "seconds"),
    [
        ("30000000", "", 30.0),
        ("500000", "own", 0.5),
        ("500000", "1", None),
        ("", "", None),
        ("0", "", None),
        ("soon", "", None),
    ],
)
def test_the_watchdog_is_for_the_process_that_it_names(
    monkeypatch: pytest.MonkeyPatch, usec: str, pid: str, seconds: float | None
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", usec)
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()) if pid == "own" else pid)
    assert watchdog_interval() == seconds
