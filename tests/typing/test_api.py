"""The public API as its users write it, checked by mypy (`make lint`) and run here.

`assert_type` says what an expression is; an ignored error is one that mypy must find, as an
ignore that is not needed is an error itself.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import assert_type

import pytest
from oslo_config import cfg
from testtools.assertions import assert_that

import dfovsdb
from dfovsdb import (
    Classifier,
    DfovsdbError,
    Interface,
    Monitor,
    Port,
    PortEvent,
    Sink,
    SinkContext,
    SinkUnavailable,
    SyncMarker,
    aio,
    from_json,
    to_json,
    watch,
)
from dfovsdb.plugins import default_classifiers
from dfovsdb.recording import replay
from dfovsdb.sinks.dragonflow import DragonflowSink
from dfovsdb.testing import (
    CaptureSink,
    ClassifierConformance,
    EndsAs,
    IsOnline,
    Sandbox,
    SinkConformance,
    interface,
)
from dfovsdb.testing.conformance import event_word

SOMEWHERE = "tcp:127.0.0.1:1"  # where nobody listens


class DhcpClassifier(Classifier):
    kind = "dhcp"
    options = (cfg.ListOpt("names", default=["tap*"]),)
    columns = frozenset({"mtu"})

    def __init__(self, names: Sequence[str] = ("tap*",)) -> None:
        self.names = names

    def classify(self, interface: Interface) -> Mapping[str, str | None] | None:
        assert_type(interface.ofport, int | None)
        assert_type(interface.external_ids, Mapping[str, str])
        if interface.type != "internal":
            return None
        return {"iface_id": interface.external_ids.get("iface-id")}


class SmallClassifier(Classifier):
    kind = "small"

    def classify(self, interface: Interface) -> dict[str, str] | None:
        return {} if len(interface.name) < 3 else None


class WrongClassifier(Classifier):
    kind = "wrong"

    def classify(self, interface: Interface) -> dict[str, int]:  # type: ignore[override]  # numbers
        return {"length": len(interface.name)}


class QueueSink(Sink):
    poll_interval = 5

    def __init__(self) -> None:
        self.context: SinkContext | None = None
        self.names: list[str] = []

    def open(self, context: SinkContext) -> None:
        self.context = context
        assert_type(context.host, str)

    def emit(self, event: PortEvent) -> None:
        assert_type(event.previous, Port | None)
        if event.action == "offline":
            raise SinkUnavailable("nobody there", delivered=0)
        self.names.append(event.port.name)

    def emit_many(self, events: Sequence[PortEvent]) -> None:
        for event in events:
            self.emit(event)

    def sync_finished(self, marker: SyncMarker) -> None:
        assert_type(marker.ports, int | None)

    def poll(self) -> None:
        if self.context is not None:
            self.context.request_replay()


class TestDhcpClassifier(ClassifierConformance):
    plugin = DhcpClassifier


class TestCaptureSink(SinkConformance):
    plugin = CaptureSink

    def arrived(self, sink: Sink) -> list[str]:
        assert isinstance(sink, CaptureSink)
        return [event_word(event) for event in sink.events]

    @contextlib.contextmanager
    def outage(self, sink: Sink, after: int) -> Iterator[None]:
        assert_type(self.tmp_path, Path)
        pytest.skip(f"{type(sink).__name__} is never down, after {after} events or any")
        yield


def first(events: Iterator[PortEvent]) -> Port:
    for event in events:
        assert_type(event.port, Port)
        assert_type(event.port.attributes, Mapping[str, str | None])
        return event.port
    raise LookupError


def callback(table: str | None, key: str | None, action: str, value: str | None) -> None:
    assert_type((table, key, action, value), tuple[str | None, str | None, str, str | None])


def test_watching() -> None:
    events = watch(SOMEWHERE, once=True, timeout=0.01, classifiers=[DhcpClassifier()])
    assert_type(events, Generator[PortEvent, None, None])
    with pytest.raises(DfovsdbError):
        first(events)
    items = watch(SOMEWHERE, markers=True, inactivity_probe=5)
    assert_type(items, Generator[PortEvent | SyncMarker, None, None])
    items.close()


def test_monitoring() -> None:
    sinks = [QueueSink(), DragonflowSink(callback=callback)]
    with Monitor(SOMEWHERE, sinks=sinks, resync="diff", state_dir=None) as monitor:
        assert_type(monitor, Monitor)
        assert_type(monitor.wait_synced(timeout=0), bool)
        assert_type(monitor.ports(), dict[str, Port])
        assert_type(monitor.trouble, str)
        monitor.replay()
        with pytest.raises(TimeoutError):
            assert_type(monitor.wait_for(lambda port: port.state == "ready", timeout=0), Port)
    with pytest.raises(DfovsdbError, match="resync"):
        Monitor(SOMEWHERE, resync="sometimes")  # type: ignore[arg-type]  # replay or diff


def test_a_kind_may_be_put_before_the_default_ones() -> None:
    assert_type(default_classifiers(), list[Classifier])
    kinds = [SmallClassifier(), *default_classifiers()]
    Monitor(SOMEWHERE, classifiers=kinds)
    watch(SOMEWHERE, classifiers=kinds).close()


def test_fixtures_and_matchers_have_types(
    ovsdb_sandbox: Sandbox, capture_sink: CaptureSink, make_interface: Callable[..., Interface]
) -> None:
    ovsdb_sandbox.vsctl("add-br", "br-int")
    with Monitor(ovsdb_sandbox.connection, sinks=[capture_sink]) as monitor:
        capture_sink.wait_for_sync()
        assert_type(capture_sink.of("br-int"), list[PortEvent])
        assert_that(capture_sink, EndsAs(monitor.ports()))
        assert_that(capture_sink.events[0], IsOnline("br-int", kind="bridge"))
    assert_type(make_interface("tap0"), Interface)


def test_sinks_may_be_named() -> None:
    Monitor(SOMEWHERE, sinks={"audit": QueueSink()})
    with pytest.raises(DfovsdbError, match="is not a sink"):
        Monitor(SOMEWHERE, sinks=[SmallClassifier()])  # type: ignore[list-item]  # no sink


def test_asyncio() -> None:
    async def main() -> None:
        assert_type(aio.watch(SOMEWHERE), AsyncGenerator[PortEvent, None])
        both = aio.watch(SOMEWHERE, markers=True)
        assert_type(both, AsyncGenerator[PortEvent | SyncMarker, None])
        async with aio.Monitor(SOMEWHERE, sinks=[QueueSink()]) as monitor:
            assert_type(await monitor.wait_synced(timeout=0), bool)
            assert_type(monitor.ports(), dict[str, Port])

    asyncio.run(main())


def test_json(tmp_path: object) -> None:
    capture = CaptureSink()
    assert_type(capture.events, list[PortEvent])
    line = b'{"v":1,"seq":1,"time":"2026-11-22T13:00:00Z","host":"h","action":"sync_started",'
    item = from_json(line + b'"origin":"initial"}')
    assert_type(item, PortEvent | SyncMarker)
    assert_type(to_json(item), bytes)
    assert tmp_path


def test_values_are_frozen() -> None:
    row = interface("a", mtu=1500)
    assert_type(row, Interface)
    with pytest.raises(AttributeError):
        row.name = "b"  # type: ignore[misc]  # frozen
    assert SmallClassifier().classify(row) == {}
    assert WrongClassifier().classify(row) == {"length": 1}
    assert_type(dfovsdb.__version__, str)


def test_a_recording_is_replayed_with_the_same_types() -> None:
    for item in replay("tests/recordings/day.jsonl", classifiers=[SmallClassifier()]):
        assert_type(item, PortEvent | SyncMarker)
