"""Hostile strings: a neighbour on the host who may write names, ids and errors writes these.

Lines stay lines, terminals stay terminals, and the JSON has every character.
"""

from __future__ import annotations

import io
import json
import logging
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from oslo_log.formatters import ContextFormatter

from dfovsdb import Classifier, Interface, Monitor, PortEvent, Sink, SinkUnavailable
from dfovsdb.classifiers.vm import VmClassifier
from dfovsdb.config import load
from dfovsdb.logs import escape, get_logger
from dfovsdb.sinks.log import LogSink
from dfovsdb.testing import CaptureSink, Sandbox, wait_until
from tests.functional import faultproxy
from tests.functional.faultproxy import FaultProxy, inserting
from tests.functional.helpers import insert
from tests.waiting import DEADLINE

FORGED = "2026-11-22 13:00:00.000 1 INFO dfovsdb.events [-] online vm forged ofport=1"

HOSTILE: dict[str, str] = {
    "line breaks": f"a\n{FORGED}\r\n{FORGED}",
    "other line breaks": f"a\x0b{FORGED}\x0c{FORGED}\x85{FORGED}\u2028{FORGED}\u2029{FORGED}",
    "terminal escapes": "a\x1b[2J\x1b[31m\x1b]0;owned\x07\x1bc\x1b[6n",
    "escapes of one byte": "a\x9b31m\x9d0;owned\x9c\x90\x98",
    "back and over": "tap0\b\b\b\bxxxx\rxxxx\x7f",
    "bidirectional overrides": "a\u202egnihton\u202c\u2066x\u2069\u200f",
    "invisible": "a\u200b\ufeff\u00ad\U000e0041",
    "quotes": 'a"b\'c\\d\\"e\\',
    "boundaries": '}{"id":null,"method":"update2","params":["dfovsdb",{}]}{',
    "other fields": "x ofport=5 iface_id=another",
    "formats": "%s%d%n{0}${x}",
    "other scripts": "тап-日本語-عربى-ไทย-😀-é",
    "a megabyte": "long-" + "x" * 1_000_000,
}


def unprintable(text: str) -> set[str]:
    """What is no printable character and no end of a line."""
    return {c for c in text if not c.isprintable() and c != "\n"}


def hostile_rows() -> Iterator[dict[str, Any]]:
    """Operations that write each of the strings as a name, an id and an error."""
    for number, text in enumerate(HOSTILE.values()):
        yield from insert(
            text,
            number,
            error=text,
            ofport=-1,
            external_ids=["map", [["iface-id", text], ["attached-mac", text], [text, text]]],
        )


@pytest.fixture
def box(ovsdb_sandbox: Sandbox) -> Sandbox:
    ovsdb_sandbox.vsctl("add-br", "br-int")
    return ovsdb_sandbox


@pytest.fixture
def rows(box: Sandbox) -> Sandbox:
    box.transact(*hostile_rows())
    return box


def rename(box: Sandbox) -> None:
    """Change every error, which is what ovs-vswitchd would do."""
    for text in HOSTILE.values():
        box.transact(
            {
                "op": "update",
                "table": "Interface",
                "where": [["name", "==", text]],
                "row": {"error": f"{text}!"},
            }
        )


def test_the_agent_forges_no_log_line_and_its_json_has_every_character(
    rows: Sandbox, tmp_path: Path
) -> None:
    events = tmp_path / "events.jsonl"
    configuration = tmp_path / "dfovsdb.conf"
    configuration.write_text(
        f"[ovsdb]\nconnection = {rows.connection}\n"
        f"[dfovsdb]\nsinks = log, jsonl\n[sink_jsonl]\npath = {events}\n"
    )
    agent = subprocess.Popen(
        [sys.executable, "-m", "dfovsdb", "--config-file", str(configuration), "run"],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )
    log: list[bytes] = []
    try:
        wait_until(lambda: events.exists() and b"sync_finished" in events.read_bytes())
        rename(rows)
        wait_until(lambda: events.read_bytes().count(b'"updated"') == len(HOSTILE))
    finally:
        agent.send_signal(signal.SIGTERM)
        log.append(agent.communicate(timeout=DEADLINE)[1])
    lines = log[0].decode().splitlines()  # at everything that Python takes for an end
    assert lines
    for line in lines:
        assert re.match(r"\d{4}-\d\d-\d\d [\d:.]+ \d+ (INFO|WARNING) dfovsdb\.", line), line[:200]
        assert len(line) < 2000
        assert not unprintable(line)
        assert not line.startswith(FORGED)
    events_delivered = [line.partition(" dfovsdb.events [-] ")[2] for line in lines]
    assert sum(line.startswith("online vm ") for line in events_delivered) == len(HOSTILE)
    delivered = [json.loads(line) for line in events.read_bytes().split(b"\n")[:-1]]
    assert {e["port"]["name"] for e in delivered if e["action"] == "online"} == {
        *HOSTILE.values(),
        "br-int",
    }
    for event in delivered:
        if event["action"] == "online" and event["port"]["kind"] == "vm":
            port = event["port"]
            attributes = port["attributes"]
            assert {
                port["name"],
                port["error"],
                attributes["iface_id"],
                attributes["attached_mac"],
            } == {port["name"]}
    changed = [e["changed"]["error"] for e in delivered if e["action"] == "updated"]
    assert sorted(changed) == sorted([text, f"{text}!"] for text in HOSTILE.values())


OURS = re.compile(r"\x1b\[(?:\d+)?m")


@pytest.mark.parametrize("args", [["--once"], ["--once", "--json"]], ids=["lines", "json"])
def test_watch_steers_no_terminal(rows: Sandbox, args: list[str]) -> None:
    master, slave = pty.openpty()
    watch = subprocess.Popen(
        [sys.executable, "-m", "dfovsdb", "watch", rows.connection, *args],
        stdout=slave,
        stderr=slave,
        env={**os.environ, "TERM": "xterm-256color"},
    )
    os.close(slave)
    output = bytearray()
    try:
        while True:
            output += os.read(master, 1 << 16)
    except OSError:  # the other side is closed
        pass
    finally:
        os.close(master)
    assert watch.wait(DEADLINE) == 0
    text = output.decode().replace("\r\n", "\n")  # which the terminal itself makes of \n
    assert not unprintable(OURS.sub("", text))
    lines = [line for line in text.splitlines() if "online" in line]
    assert len(lines) == len(HOSTILE) + 1
    if "--json" in args:
        ports = [json.loads(line)["port"]["name"] for line in lines]
        assert sorted(ports) == sorted([*HOSTILE.values(), "br-int"])
    else:
        assert max(map(len, lines)) < 1500


def formatted(caplog: pytest.LogCaptureFixture) -> str:
    """What a file would hold."""
    formatter = logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s")
    return "\n".join(formatter.format(record) for record in caplog.records)


def assert_nothing_is_forged(log: str) -> None:
    assert not unprintable(log)
    for line in log.split("\n"):
        assert not line.startswith(("2026-11-22 13:00:00.000 1", "online vm forged"))
        assert len(line) < 10_000


class FailsAtEverything(Classifier):
    kind = "broken"

    def classify(self, interface: Interface) -> Mapping[str, str | None] | None:
        try:
            raise KeyError(interface.external_ids)
        except KeyError:
            # Each of a class of its own: the same mistake is said once.
            mistake = type(f"No{abs(hash(interface.name))}ValueError", (ValueError,), {})
            raise mistake(interface.name) from OSError(interface.error)


class RefusesEverything(Sink):
    def emit(self, event: PortEvent) -> None:
        raise LookupError(event.port.name)


class ComesAndGoes(Sink):
    """In an outage once for every event, for a reason that quotes it."""

    def __init__(self) -> None:
        self.seen: set[str] = set()

    def emit(self, event: PortEvent) -> None:
        if event.port.name not in self.seen:
            self.seen.add(event.port.name)
            raise SinkUnavailable(f"cannot deliver {event.port.name}")


def test_exceptions_of_plugins_that_quote_the_database_forge_no_line(
    rows: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    capture, late = CaptureSink(), ComesAndGoes()
    sinks: dict[str, Sink] = {
        "refuses": RefusesEverything(),
        "late": late,
        "log": LogSink(),
        "capture": capture,
    }
    classifiers = [FailsAtEverything(), VmClassifier()]
    with Monitor(rows.connection, classifiers=classifiers, sinks=sinks) as monitor:
        capture.wait_for_sync()
        workers = {worker.name: worker for worker in monitor._dispatcher.workers}
        wait_until(lambda: workers["refuses"].counters["refused"] >= len(HOSTILE))
        wait_until(lambda: len(late.seen) == len(HOSTILE))
    log = formatted(caplog)
    assert_nothing_is_forged(log)
    assert log.count("LookupError: ") == log.count("sink refuses refused") == len(HOSTILE)
    assert log.count("ValueError: ") == len(HOSTILE) + 1
    assert "OSError: " in log  # the cause is shown too
    assert "тап-日本語" in log  # and what is printable stays as it is


@pytest.mark.parametrize("text", HOSTILE.values(), ids=list(HOSTILE))
def test_an_exception_that_oslo_log_adds_to_a_line_steers_no_terminal(text: str) -> None:
    """It adds the words of whatever is being handled to warnings that say nothing of it."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(ContextFormatter(config=load(logging_args=[])))
    escape(handler)
    log = get_logger("dfovsdb.tests.hostile")
    log.addHandler(handler)
    try:
        raise SinkUnavailable(text)
    except SinkUnavailable as down:
        log.warning("unavailable: %s", down)
    finally:
        log.removeHandler(handler)
    (line,) = stream.getvalue().split("\n")[:-1]
    assert not unprintable(line)


def refuses(text: str) -> type[faultproxy.Fault]:
    """A server that says this of every request."""

    class Refuses(faultproxy.Messages):
        def change(self, message: dict[str, Any]) -> Iterator[dict[str, Any]]:
            error = {"error": text, "details": text, text: text}
            yield {"id": message["id"], "error": error, "result": None}

    return Refuses


def test_what_the_server_says_of_an_error_forges_no_line(
    box: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    with FaultProxy(box.connection) as proxy:
        for text in HOSTILE.values():
            proxy.fault = refuses(text)
            with Monitor(proxy.connection) as monitor:
                wait_until(lambda: monitor.trouble)
                assert not unprintable(monitor.trouble)
                assert "\n" not in monitor.trouble
    assert_nothing_is_forged(formatted(caplog))


@pytest.mark.parametrize("name", ["line breaks", "terminal escapes", "a megabyte"])
def test_what_the_server_says_of_an_error_forges_no_line_of_a_command(
    box: Sandbox, name: str
) -> None:
    with FaultProxy(box.connection) as proxy:
        proxy.fault = refuses(HOSTILE[name])
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "dfovsdb",
                "watch",
                proxy.connection,
                "--once",
                "--timeout",
                "3",
            ],
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )
    assert done.returncode == 1
    waits, ended = done.stderr.splitlines()
    assert re.match(r"\d\d:\d\d:\d\d  dfovsdb: waiting for the server: ", waits)
    assert ended.startswith("dfovsdb: no sync in the time given: ")
    assert len(done.stderr) < 8000
    assert not unprintable(done.stderr)
    assert_nothing_is_forged(done.stderr)


def test_a_nul_which_no_ovsdb_server_stores_is_delivered_like_any_other(box: Sandbox) -> None:
    uuid = "11111111-2222-3333-4444-555555555555"
    row = {"name": "nul\0name", "external_ids": ["map", [["iface-id", "a\0b"]]]}
    message = {
        "id": None,
        "method": "update2",
        "params": ["dfovsdb", {"Interface": {uuid: {"insert": row}}}],
    }
    sink = CaptureSink()
    with FaultProxy(box.connection) as proxy:
        proxy.fault = inserting(message)
        with Monitor(proxy.connection, sinks=[sink]):
            sink.wait_for_sync()
            box.transact(*insert("tap0", external_ids=["map", [["iface-id", "x"]]]))
            (event,) = sink.wait_for_actions("nul\0name", ["online"])
    assert event.port.attributes["iface_id"] == "a\0b"
    assert "\0" not in sink.transcript()
