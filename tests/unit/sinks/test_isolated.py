"""A sink in a process of its own keeps every promise of a sink."""

from __future__ import annotations

import ast
import contextlib
import errno
import io
import logging
import os
import pickle
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from dfovsdb.delivery.dispatcher import Dispatcher
from dfovsdb.errors import ConfigurationError, SinkUnavailable
from dfovsdb.logs import escape
from dfovsdb.model import PortEvent
from dfovsdb.sinks.base import Sink, SinkContext
from dfovsdb.sinks.isolated import IsolatedSink
from dfovsdb.sinks.isolated.pipe import pack
from dfovsdb.testing import SinkConformance, wait_until
from tests.unit.samples import event, marker, port
from tests.unit.sinks.file_sink import FileSink
from tests.waiting import DEADLINE


def lines(path: Path) -> list[list[str]]:
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


def names(path: Path) -> list[str]:
    text = path.read_text()
    found = [line.partition(" ")[2].rpartition(" ")[0] for line in text.splitlines()]
    return [ast.literal_eval(name) for name in found]


def of(name: str) -> PortEvent:
    return event(port(uuid=name, name=name))


def take(sink: Sink, event: PortEvent) -> None:
    """Offer an event until it is taken, as the worker does."""

    def taken() -> bool:
        try:
            sink.emit(event)
        except SinkUnavailable:
            return False
        return True

    wait_until(taken)


class Asked:
    """A context, and what was asked of it."""

    def __init__(self) -> None:
        self.replays = 0
        self.context = SinkContext("host", "epoch", self._replay, lambda: "synced, as it were")

    def _replay(self) -> None:
        self.replays += 1


@pytest.fixture
def asked() -> Asked:
    return Asked()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events"


@pytest.fixture
def sink(path: Path, asked: Asked) -> Iterator[IsolatedSink]:
    sink = IsolatedSink(FileSink, {"path": str(path)})
    sink.open(asked.context)
    yield sink
    sink.close()


class TestConformance(SinkConformance):
    def make(self) -> Sink:
        return IsolatedSink(FileSink, {"path": str(self.tmp_path / "events")})

    def again(self, sink: Sink) -> Sink:  # noqa: ARG002 - there is one
        return self.make()

    def arrived(self, sink: Sink) -> Sequence[str]:  # noqa: ARG002 - there is one
        text = (self.tmp_path / "events").read_text()
        found = [line.split(" ", 1) for line in text.splitlines()]
        return [f"{action} {ast.literal_eval(rest.rpartition(' ')[0])}" for action, rest in found]

    @contextlib.contextmanager
    def outage(self, sink: Sink, after: int) -> Iterator[None]:  # noqa: ARG002 - at once
        away = self.tmp_path.with_name("away")
        self.tmp_path.rename(away)
        yield
        away.rename(self.tmp_path)


def test_its_calls_are_made_in_one_other_process(sink: IsolatedSink, path: Path) -> None:
    sink.emit(of("a"))
    sink.emit_many((of("b"), of("c")))
    assert names(path) == ["a", "b", "c"]
    (pid,) = {int(pid) for _, _, pid in lines(path)}
    assert pid != os.getpid()


def test_what_it_receives_equals_what_was_sent() -> None:
    sent = event(port("vm", {"iface_id": "a", "vm_id": None}), previous=port(), action="updated")
    received = pickle.loads(pack(sent))
    assert received == sent
    assert received.port.interface == sent.port.interface
    with pytest.raises(TypeError):
        received.port.attributes["iface_id"] = "b"


def test_an_outage_of_it_is_one_here_with_all_that_it_says(sink: IsolatedSink) -> None:
    with pytest.raises(SinkUnavailable, match="not now") as raised:
        sink.emit_many((of("a"), of("later"), of("b")))
    assert (raised.value.delivered, raised.value.retry_after) == (1, 7)


def test_what_else_it_raises_is_raised_here_with_its_line(sink: IsolatedSink, path: Path) -> None:
    with pytest.raises(Exception, match="this one never") as raised:
        sink.emit(of("refused"))
    assert any("file_sink.py" in note for note in raised.value.__notes__)
    sink.emit(of("a"))
    assert names(path) == ["a"]


def test_an_exception_without_a_text_does_not_end_its_process(sink: IsolatedSink) -> None:
    with pytest.raises(Exception, match="NoText: <no text: SystemExit>"):
        sink.emit(of("refused without a text"))
    with pytest.raises(SinkUnavailable, match="<no text: SystemExit>"):
        sink.emit(of("later without a text"))


@pytest.mark.parametrize("name", ["later with an odd wait", "later with an odd number"])
def test_an_outage_with_fields_that_mean_nothing_does_not_end_its_process(
    sink: IsolatedSink, path: Path, name: str
) -> None:
    with pytest.raises(SinkUnavailable, match="not now") as raised:
        sink.emit(of(name))
    assert (raised.value.delivered, raised.value.retry_after) == (0, None)
    sink.emit(of("a"))
    assert names(path) == ["a"]


def test_a_poll_interval_that_becomes_wrong_does_not_end_its_process(
    sink: IsolatedSink, path: Path
) -> None:
    sink.emit(of("polls"))
    assert sink.poll_interval is None
    sink.emit(of("a"))
    assert names(path) == ["polls", "a"]


def test_its_process_needs_no_more_of_the_path_than_an_import(
    path: Path, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [path, *sys.path])
    sink = IsolatedSink(FileSink, {"path": str(path)})
    sink.open(asked.context)
    sink.close()


def test_the_end_of_its_process_is_an_outage_and_it_is_sent_everything_again(
    sink: IsolatedSink, path: Path, asked: Asked
) -> None:
    with pytest.raises(SinkUnavailable, match="its process has ended with status 3"):
        sink.emit(of("dies"))
    take(sink, of("dies"))
    assert asked.replays > 0
    assert names(path) == ["dies"]


def test_its_process_may_be_killed_while_it_has_nothing_to_do(
    sink: IsolatedSink, path: Path, asked: Asked
) -> None:
    sink.emit(of("a"))
    os.kill(int(lines(path)[0][2]), signal.SIGKILL)
    wait_until(lambda: asked.replays)  # without a call, so that a quiet host is not left without
    with pytest.raises(SinkUnavailable, match="ended by signal 9"):
        sink.emit(of("b"))
    take(sink, of("b"))
    assert names(path) == ["a", "b"]


def test_what_its_process_has_started_does_not_hide_its_end(
    sink: IsolatedSink, path: Path
) -> None:
    with pytest.raises(SinkUnavailable, match="ended with status 4"):
        sink.emit(of("forks"))
    take(sink, of("a"))
    assert names(path) == ["a"]


def test_a_sync_whose_beginning_another_process_has_seen_is_not_ended_in_this_one(
    path: Path, asked: Asked
) -> None:
    sink = IsolatedSink(FileSink, {"path": str(path), "fails": "no marker"})
    sink.open(asked.context)
    sink.sync_started(marker(action="sync_started"))
    sink.emit(of("a"))
    os.kill(int(lines(path)[0][2]), signal.SIGKILL)
    take(sink, of("b"))
    sink.sync_finished(marker(action="sync_finished"))
    sink.sync_started(marker(action="sync_started"))
    sink.sync_finished(marker(action="sync_finished"))
    sink.close()
    assert names(path) == ["sync_started", "a", "b", "sync_started", "sync_finished"]


def test_a_process_that_cannot_be_started_is_an_outage(
    path: Path, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: object, **_options: object) -> None:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(subprocess, "Popen", refuse)
    sink = IsolatedSink(FileSink, {"path": str(path)})
    with pytest.raises(SinkUnavailable, match="cannot be started: Resource temporarily"):
        sink.open(asked.context)


def test_a_log_call_that_is_wrong_breaks_nothing(sink: IsolatedSink, path: Path) -> None:
    sink.emit(of("logs wrongly"))
    assert names(path) == ["logs wrongly"]


def test_where_it_failed_is_in_the_log(
    sink: IsolatedSink, caplog: pytest.LogCaptureFixture
) -> None:
    handler = logging.StreamHandler(text := io.StringIO())
    escape(handler)
    with pytest.raises(Exception, match="this one never") as raised:
        sink.emit(of("refused"))
    record = logging.makeLogRecord({"msg": "refused", "exc_info": (None, raised.value, None)})
    handler.handle(record)
    assert "file_sink.py" in text.getvalue()
    assert not caplog.records


def test_it_may_ask_and_log(
    sink: IsolatedSink, asked: Asked, caplog: pytest.LogCaptureFixture
) -> None:
    sink.emit(of("asks"))
    wait_until(lambda: asked.replays == 1)
    assert "the condition is synced, as it were" in caplog.text
    assert caplog.records[0].name == "dfovsdb.tests.file_sink"


@pytest.mark.parametrize("fails", ["to be built", "to open"])
def test_a_sink_that_cannot_be_opened_says_why_and_leaves_no_process(
    path: Path, asked: Asked, fails: str
) -> None:
    sink = IsolatedSink(FileSink, {"path": str(path), "fails": fails})
    with pytest.raises(Exception, match="it cannot be"):
        sink.open(asked.context)
    assert sink._process is None


def test_what_another_process_cannot_import_is_refused() -> None:
    class Local(FileSink):
        pass

    with pytest.raises(ConfigurationError, match="isolate: Local cannot be built in another"):
        IsolatedSink(Local, {"path": "/dev/null"})


def test_a_call_that_hangs_ends_with_the_process_that_made_it(path: Path) -> None:
    program = f"""
import os, threading, time
from dfovsdb.sinks.base import SinkContext
from dfovsdb.sinks.isolated import IsolatedSink
from tests.unit.samples import event, marker, port
from tests.unit.sinks.file_sink import FileSink
sink = IsolatedSink(FileSink, {{"path": {str(path)!r}}})
sink.open(SinkContext("host", "epoch", lambda: None))
sink.emit(event(port(name="a")))
threading.Thread(target=sink.emit, args=[event(port(name="hangs"))], daemon=True).start()
time.sleep(0.2)
os._exit(0)
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=DEADLINE)
    pid = int(lines(path)[0][2])
    wait_until(lambda: not _is_there(pid))


def _is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("seed", range(3))
def test_whatever_ends_its_process_it_ends_with_the_ports_of_the_switch(
    path: Path, seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Its process is killed again and again while ports come and go."""
    caplog.set_level(logging.CRITICAL)
    chance = random.Random(seed)
    sink = IsolatedSink(FileSink, {"path": str(path)})
    delivery = Dispatcher({"file": sink}, host="host", resync="diff", queue_limit=50)
    delivery.start()
    delivery.publish_sync([])
    (worker,) = delivery.workers
    until = time.monotonic() + 1.5
    # On a busy machine it may take longer until the first one is noticed.
    while time.monotonic() < until + (0 if worker.counters["outages"] else DEADLINE):
        number = chance.randrange(30)
        if chance.random() < 0.3:
            delivery.publish([(f"p{number}", None)])
        else:
            new = port(uuid=f"p{number}", name=f"p{number}", ofport=chance.randrange(1, 100))
            delivery.publish([(new.uuid, new)])
        time.sleep(chance.random() * 0.003)
        process = sink._process
        if process is not None and chance.random() < 0.01:
            process._process.kill()
    wait_until(lambda: worker.available and worker.undelivered() == 0)
    assert delivery.stop(DEADLINE)
    there: set[str] = set()
    for action, name, _ in lines(path):
        (there.discard if action == "offline" else there.add)(ast.literal_eval(name))
    assert there == delivery.ports().keys()
    assert worker.counters["outages"] > 0
