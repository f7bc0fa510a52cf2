"""What a Monitor promises to those who embed it and to those who write plugins for it."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from dfovsdb import Classifier, Interface, Monitor, Port, PortEvent, Sink, aio, watch
from dfovsdb.errors import ConfigurationError, MonitorStopped, SinkUnavailable, WaitTimeout
from dfovsdb.monitor.pipeline import Pipeline
from dfovsdb.plugins import default_classifiers
from dfovsdb.selection import Selection
from dfovsdb.sinks.base import SinkContext
from dfovsdb.testing import CaptureSink, Sandbox, wait_until
from tests.functional.helpers import insert
from tests.waiting import DEADLINE

VM: dict[str, Any] = {"ofport": 5, "external_ids": ["map", [["iface-id", "v1"]]]}


@pytest.fixture
def box(ovsdb_sandbox: Sandbox) -> Sandbox:
    ovsdb_sandbox.add_bridge("br-int")
    return ovsdb_sandbox


def is_tap0(port: Port) -> bool:
    return port.name == "tap0"


# Plugins.


class Coroutine(CaptureSink):
    async def emit(self, event: PortEvent) -> None:  # type: ignore[override]  # on purpose
        """Nobody awaits this."""


class Generator(CaptureSink):
    def emit_many(self, events: Sequence[PortEvent]) -> Any:
        yield from events


class Selects(CaptureSink):
    async def selection(self, port: Port) -> bool:  # type: ignore[override]  # on purpose
        return port.kind == "vm"


class Returns(CaptureSink):
    def emit(self, event: PortEvent) -> Any:
        super().emit(event)
        return (name for name in "")


@pytest.mark.parametrize(
    ("sink", "message"),
    [
        (Coroutine, "emit\\(\\) is a coroutine"),
        (Generator, "emit_many\\(\\) is a"),
        (Selects, "selection is a coroutine"),
    ],
)
def test_a_sink_whose_calls_would_do_nothing_is_refused(sink: type[Sink], message: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{message}.*test_contracts.py:"):
        Monitor("unix:/nobody", sinks=[sink()])


@pytest.mark.parametrize("sink", [print.__class__, 5, "log", object()])
def test_what_is_neither_a_sink_nor_a_function_is_refused(sink: Any) -> None:
    with pytest.raises(ConfigurationError, match="is not a sink"):
        Monitor("unix:/nobody", sinks=[sink])


def test_a_coroutine_function_as_a_sink_is_refused() -> None:
    async def came(event: PortEvent) -> None:
        """Nobody awaits this."""

    with pytest.raises(ConfigurationError, match="use a plain function"):
        Monitor("unix:/nobody", sinks=[came])


def test_what_a_generator_returned_was_not_delivered(box: Sandbox) -> None:
    sink = Returns()
    with Monitor(box.connection, sinks={"odd": sink}) as monitor:
        box.add_bridge("br-int")
        wait_until(lambda: monitor.status().sinks[0].counters["refused"])


class Later:
    """What a call of a coroutine function returns, without the warning that nobody awaited it."""

    def __await__(self) -> Any:
        yield


def test_what_a_function_leaves_for_later_was_not_delivered(box: Sandbox) -> None:
    with Monitor(box.connection, sinks={"odd": lambda _event: Later()}) as monitor:
        wait_until(lambda: monitor.status().sinks[0].counters["refused"])


def test_a_sink_may_return_what_one_can_iterate_over(box: Sandbox) -> None:
    def inserts(_event: PortEvent) -> Any:
        return sqlite3.connect(":memory:").execute("SELECT 1")

    with Monitor(box.connection, sinks={"rows": inserts}) as monitor:
        wait_until(lambda: monitor.status().sinks[0].counters["delivered"])
        assert not monitor.status().sinks[0].counters["refused"]


@pytest.mark.parametrize("error", [ZeroDivisionError, SystemExit, KeyboardInterrupt])
def test_a_selection_that_raises_selects_nothing_and_ends_nothing(
    box: Sandbox, error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    def raises(port: Port) -> bool:
        if port.name == "tap0":
            raise error("on purpose")
        return True

    sink = CaptureSink()
    sink.selection = raises
    with Monitor(box.connection, sinks={"picky": sink}) as monitor:
        box.transact(*insert("tap0", **VM))
        box.transact(*insert("tap1", **VM | {"ofport": 6}))
        sink.wait_for_actions("tap1", ["online"])
        assert monitor.status().sinks[0].counters["errors"]
        assert monitor.running
        assert monitor.stop()
    assert "tap0" not in {event.port.name for event in sink.events}
    assert caplog.text.count("sink picky failed in selection") == 1


def test_a_property_that_exits_ends_no_thread(box: Sandbox) -> None:
    class Exiting(CaptureSink):
        @property
        def instant(self) -> bool:  # type: ignore[override]  # on purpose
            raise SystemExit(3)

    sink = Exiting()
    with Monitor(box.connection, sinks=[sink]) as monitor:
        sink.wait_for_actions("br-int", ["online"])
        box.transact(*insert("tap0", **VM))
        sink.wait_for_actions("tap0", ["online"])
        assert monitor.running


def test_a_function_is_a_sink(box: Sandbox) -> None:
    came: list[str] = []
    with Monitor(box.connection, sinks=[lambda event: came.append(event.port.name)]):
        box.transact(*insert("tap0", **VM))
        wait_until(lambda: "tap0" in came)


class Exits(Classifier):
    kind = "exits"

    def classify(self, _interface: Interface) -> Mapping[str, str | None] | None:
        raise SystemExit(3)


def test_a_classifier_that_exits_ends_nothing(box: Sandbox) -> None:
    with Monitor(box.connection, classifiers=[Exits(), *default_classifiers()]) as monitor:
        box.transact(*insert("tap0", **VM))
        assert monitor.wait_for(is_tap0, DEADLINE).kind == "vm"
        assert monitor.status().classifier_errors["exits"] > 0
        assert monitor.running


class Hangs(Classifier):
    kind = "hangs"

    def __init__(self, go_on: threading.Event) -> None:
        self._go_on = go_on

    def classify(self, _interface: Interface) -> Mapping[str, str | None] | None:
        self._go_on.wait(DEADLINE)
        return None


def test_a_classifier_that_hangs_is_named_while_it_does(box: Sandbox) -> None:
    box.add_bridge("br-int")
    go_on = threading.Event()
    with Monitor(box.connection, classifiers=[Hangs(go_on)]) as monitor:
        wait_until(lambda: "classifier hangs" in monitor.condition, DEADLINE)
        assert "on interface 'br-int'" in str(monitor.busy_classifier)
        assert any("classifier hangs" in line for line in monitor.status().problems())
        go_on.set()
        wait_until(lambda: monitor.condition == "synced", DEADLINE)


def test_what_plugins_are_handed_cannot_be_changed(box: Sandbox) -> None:
    box.transact(*insert("tap0", **VM))
    with Monitor(box.connection) as monitor:
        port = monitor.wait_for(is_tap0, DEADLINE)
        row = port.interface
        assert row is not None
        for mapping in (port.attributes, row.external_ids, row.options, row.columns):
            with pytest.raises(TypeError):
                mapping["x"] = "y"  # type: ignore[index]  # nobody can


class Pops(CaptureSink):
    def emit_many(self, events: Sequence[PortEvent]) -> None:
        assert isinstance(events, tuple)
        super().emit_many(events)


def test_a_batch_is_a_tuple(box: Sandbox) -> None:
    sink = Pops()
    box.transact(*insert("tap0", **VM))
    with Monitor(box.connection, sinks=[sink]):
        sink.wait_for_actions("tap0", ["online"])


def test_what_leaves_the_selection_of_a_sink_goes_offline(box: Sandbox) -> None:
    sink = CaptureSink()
    sink.selection = Selection(names=["tap*"], states=["ready"])
    box.add_bridge("br-int")
    box.transact(*insert("tap0", **VM))
    with Monitor(box.connection, sinks=[sink]):
        sink.wait_for_actions("tap0", ["online"])
        update = {"op": "update", "table": "Interface", "where": [["name", "==", "tap0"]]}
        box.transact(update | {"row": {"ofport": -1}})
        sink.wait_for_actions("tap0", ["online", "offline"])
        box.transact(update | {"row": {"ofport": 6}})
        sink.wait_for_actions("tap0", ["online", "offline", "online"])
    assert {event.port.name for event in sink.events} == {"tap0"}


class Busy(CaptureSink):
    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def emit(self, event: PortEvent) -> None:
        self.asked += 1
        if self.asked == 1:
            raise SinkUnavailable("busy", retry_after=0.01)
        super().emit(event)

    def emit_many(self, events: Sequence[PortEvent]) -> None:
        Sink.emit_many(self, events)


def test_a_sink_may_say_when_to_try_again(box: Sandbox) -> None:
    sink = Busy()
    box.transact(*insert("tap0", **VM))
    with Monitor(box.connection, sinks=[sink]):
        sink.wait_for_actions("tap0", ["online"])
    assert sink.asked == len(sink.events) + 1
    assert SinkUnavailable("x", 3, 1.5).retry_after == 1.5


# Options.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"clasifiers": []}, "there is no option clasifiers; did you mean classifiers"),
        ({"inactivity_probe": "five"}, "inactivity_probe: 'five' is not a number of seconds"),
        ({"inactivity_probe": -1}, "inactivity_probe: -1 is not allowed: use 0 or more"),
        ({"inactivity_probe": float("nan")}, "inactivity_probe: nan is not allowed"),
        ({"reconnect_min": True}, "reconnect_min: True is not a number of seconds"),
        ({"queue_limit": "5"}, "queue_limit: '5' is not an integer"),
        ({"queue_limit": 0}, "queue_limit: 0 is not allowed: use 1 or more"),
        ({"stop_timeout": -1}, "stop_timeout: -1 is not allowed"),
        ({"reconnect_min": 9}, "reconnect_min: 9 is more than reconnect_max, which is 8: lower"),
        ({"host": ""}, "host: '' is not a string, or is empty"),
        ({"host": 5}, "host: 5 is not a string"),
        ({"resync": "maybe"}, "resync: 'maybe' is not allowed: use replay or diff"),
        ({"monitor": "x"}, "monitor: 'x' is not allowed: use auto or rfc7047"),
        ({"max_message_size": 1.5}, "max_message_size: 1.5 is not an integer"),
        ({"ssl_check_hostname": "yes"}, "ssl_check_hostname: 'yes' is not True or False"),
        ({"ssl_key_file": 5}, "ssl_key_file: 5 is not a path"),
        ({"state_dir": ""}, "state_dir: '' is not a path"),
        ({"classifiers": "vm"}, "classifiers: 'vm' is not a sequence"),
        ({"tables": ["Controller"]}, "there is no table 'Controller'"),
        ({"tables": ["Port"]}, "Interface must be among them"),
        ({"tables": 5}, "tables: 5 is not a sequence"),
        ({"tables": None}, "tables: None is not a sequence"),
        ({"tables": [["Port"]]}, "tables: [['Port']] does not consist of strings"),
        ({"stop_timeout": 1e300}, "stop_timeout: 1e+300 is not allowed"),
        ({"stop_timeout": None}, "stop_timeout: None is not a number of seconds"),
        ({"record": "a\0b"}, "record: 'a\\x00b' is not a path"),
    ],
)
def test_every_wrong_option_is_one_error_that_names_it(
    options: dict[str, Any], message: str
) -> None:
    for make in (Monitor, aio.Monitor, watch):
        if make is watch and "state_dir" in options:
            continue
        with pytest.raises(ConfigurationError) as raised:
            make("unix:/nobody", **options)
        assert message in str(raised.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"names": "tap*"}, "names: 'tap*' is not a collection of strings"),
        ({"kinds": "vm"}, "kinds: 'vm' is not a collection of strings"),
        ({"names": [1]}, "names: [1] is not a collection of strings"),
        ({"names": iter(["tap*"])}, "is not a collection of strings"),
        ({"kinds": 5}, "kinds: 5 is not a collection of strings"),
        ({"timeout": "3"}, "timeout: '3' is not a number of seconds"),
        ({"timeout": float("nan")}, "timeout: nan is not allowed"),
        ({"stop_event": True}, "stop_event: True is not a threading.Event"),
    ],
)
def test_what_watch_cannot_use_is_one_error_that_names_it(
    options: dict[str, Any], message: str
) -> None:
    for make in (watch, aio.watch):
        if make is aio.watch and "stop_event" in options:
            continue
        with pytest.raises(ConfigurationError) as raised:
            make("unix:/nobody", **options)
        assert message in str(raised.value)


@pytest.mark.parametrize(
    ("sinks", "message"),
    [
        (None, "sinks: None is not a sequence"),
        ({"": CaptureSink()}, "sinks: '' is not the name of a sink"),
        ({1: CaptureSink()}, "sinks: 1 is not the name of a sink"),
    ],
)
def test_sinks_need_names_that_are_texts(sinks: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Monitor("unix:/nobody", sinks=sinks)


# The end.


def test_after_stop_everybody_hears_of_it(box: Sandbox) -> None:
    with Monitor(box.connection) as monitor:
        assert monitor.wait_synced(DEADLINE)
        errors: list[Exception] = []

        def wait() -> None:
            try:
                monitor.wait_for(lambda _port: False)
            except MonitorStopped as error:
                errors.append(error)

        waiting = threading.Thread(target=wait)
        waiting.start()
        wait_until(lambda: len(monitor.waits))
        threads = threading.active_count()
    waiting.join(DEADLINE)
    assert len(errors) == 1
    assert not monitor.synced
    assert monitor.condition == "stopped"
    with pytest.raises(MonitorStopped, match="stopped"):
        monitor.wait_for(lambda _port: True)
    with pytest.raises(MonitorStopped):
        monitor.wait_synced()
    with pytest.raises(MonitorStopped):
        monitor.attach("late", CaptureSink())
    with pytest.raises(MonitorStopped):
        next(monitor.events())
    assert threading.active_count() < threads


def test_who_waits_for_a_monitor_that_was_not_started_hears_of_it(tmp_path: Path) -> None:
    monitor = Monitor(f"unix:{tmp_path}/nobody")
    coroutines = aio.Monitor(f"unix:{tmp_path}/nobody")
    waits: Sequence[Callable[[], object]] = [
        monitor.wait_synced,
        lambda: monitor.wait_for(is_tap0),
        lambda: monitor.wait_gone(is_tap0),
        lambda: next(monitor.events()),
        lambda: monitor.attach("early", CaptureSink()),
        lambda: asyncio.run(coroutines.wait_synced()),
        lambda: asyncio.run(coroutines.wait_for(is_tap0)),
        lambda: asyncio.run(coroutines.wait_gone(is_tap0)),
        lambda: asyncio.run(anext(coroutines.events())),
    ]
    for wait in waits:
        with pytest.raises(RuntimeError, match=r"not started: call its start\(\) first"):
            wait()
    with monitor:  # and it still can be
        assert not monitor.wait_synced(0)


def test_who_waits_while_a_start_fails_hears_of_it(tmp_path: Path) -> None:
    opening = threading.Event()
    errors: list[Exception] = []

    class Closed(CaptureSink):
        def open(self, context: SinkContext) -> None:  # noqa: ARG002 - of the contract
            opening.set()
            wait_until(lambda: len(monitor.waits))
            raise OSError("no")

    def wait() -> None:
        opening.wait(DEADLINE)
        try:
            monitor.wait_for(is_tap0)
        except MonitorStopped as error:
            errors.append(error)

    monitor = Monitor(f"unix:{tmp_path}/nobody", sinks=[Closed()])
    waiting = threading.Thread(target=wait)
    waiting.start()
    with pytest.raises(ConfigurationError, match="cannot be opened: no"):
        monitor.start()
    waiting.join(DEADLINE)
    assert len(errors) == 1
    with pytest.raises(MonitorStopped):
        monitor.wait_synced()


def test_a_loop_that_ends_by_itself_is_heard_of(
    box: Sandbox, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Monitor(box.connection) as monitor:
        assert monitor.wait_synced(DEADLINE)

        def out_of_memory(*_args: object) -> None:
            raise MemoryError("no memory")

        monkeypatch.setattr(monitor._loop, "_is_lost", out_of_memory)
        box.stop_database()
        with pytest.raises(MonitorStopped, match="ended by itself: MemoryError: no memory"):
            monitor.wait_for(lambda _port: False)
        assert not monitor.running
        assert not monitor.synced
        wait_until(lambda: not monitor.alive)
    assert "the monitor thread ended by itself" in caplog.text


@pytest.mark.parametrize("is_instant", [False, True])
def test_a_stop_within_a_sink_reports_nothing_that_is_delivered_afterwards(
    box: Sandbox, caplog: pytest.LogCaptureFixture, is_instant: bool
) -> None:
    monitors: list[Monitor] = []
    ended = threading.Event()

    class Stops(CaptureSink):
        instant = is_instant

        def emit(self, event: PortEvent) -> None:
            if event.port.name == "tap0":
                monitors[0].stop()
            super().emit(event)

        def emit_many(self, events: Sequence[PortEvent]) -> None:
            Sink.emit_many(self, events)

        def close(self) -> None:
            ended.set()

    sink = Stops()
    monitors.append(Monitor(box.connection, sinks={"stops": sink}, stop_timeout=DEADLINE))
    monitors[0].start()
    sink.wait_for_sync()
    box.transact(*insert("tap0", **VM))
    assert ended.wait(DEADLINE)
    wait_until(lambda: "dfovsdb-stops" not in [one.name for one in threading.enumerate()])
    assert {event.port.name for event in sink.events} == {"br-int", "tap0"}
    assert not {"undelivered", "abandoned"}.intersection(caplog.text.split())


def test_coroutines_hear_of_the_end_too(
    tmp_path: Path, box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def stopped() -> None:
        monitor = aio.Monitor(f"unix:{tmp_path}/nobody")
        await monitor.start()
        waiting = asyncio.create_task(monitor.wait_synced())
        await asyncio.sleep(0)
        await monitor.stop()
        await waiting

    async def died() -> None:
        async for _event in aio.watch(box.connection):
            """Nothing comes."""

    def out_of_memory(*_args: object) -> None:
        raise SystemExit("no memory")

    for case, message in ((stopped, "stopped"), (died, "ended by itself: SystemExit")):
        if case is died:
            monkeypatch.setattr(Pipeline, "apply", out_of_memory)
        with pytest.raises(MonitorStopped, match=message):
            asyncio.run(asyncio.wait_for(case(), DEADLINE))


@pytest.mark.parametrize(
    ("error", "raised"),
    [(ValueError, ValueError), (SystemExit, SystemExit), (StopIteration, RuntimeError)],
)
def test_what_a_predicate_raises_is_raised_where_it_is_awaited(
    box: Sandbox, error: type[BaseException], raised: type[BaseException]
) -> None:
    def predicate(_port: Port) -> bool:
        raise error("on purpose")

    async def awaited() -> None:
        async with aio.Monitor(box.connection) as monitor:
            await monitor.wait_for(predicate, DEADLINE)

    with Monitor(box.connection) as monitor:
        for wait in (monitor.wait_for, monitor.wait_gone):
            with pytest.raises(raised):
                wait(predicate, DEADLINE)
    with pytest.raises(raised):
        asyncio.run(awaited())


def test_a_predicate_that_is_a_coroutine_matches_nothing(box: Sandbox) -> None:
    with (
        Monitor(box.connection) as monitor,
        pytest.raises(TypeError, match=r"the predicate returned .*Later object"),
    ):
        monitor.wait_for(lambda _port: Later(), DEADLINE)  # type: ignore[arg-type, return-value]  # on purpose


def test_attach_raises_what_open_raises(box: Sandbox) -> None:
    class Closed(CaptureSink):
        def open(self, context: SinkContext) -> None:  # noqa: ARG002 - of the contract
            raise LookupError("no such destination")

    with Monitor(box.connection) as monitor:
        with pytest.raises(LookupError, match="no such destination"):
            monitor.attach("closed", Closed())
        with pytest.raises(ConfigurationError, match="is not a sink"):
            monitor.attach("odd", 5)  # type: ignore[arg-type]  # on purpose


# Events.


def test_the_events_of_a_monitor_begin_with_what_is_there_and_end_with_it(
    box: Sandbox,
) -> None:
    box.add_bridge("br-int")
    box.transact(*insert("tap0", **VM))
    with Monitor(box.connection) as monitor:
        assert monitor.wait_synced(DEADLINE)
        events = monitor.events(kinds=["vm"])
        assert next(events).port.name == "tap0"  # type: ignore[union-attr]  # no markers
        box.transact(*insert("tap1", **VM))
        assert next(events).port.name == "tap1"  # type: ignore[union-attr]  # no markers
        ending = threading.Timer(0.1, monitor.stop)
        ending.start()
        assert list(events) == []
        ending.join()


def test_the_same_for_coroutines(box: Sandbox) -> None:
    box.transact(*insert("tap0", **VM))

    async def names() -> list[str]:
        found: list[str] = []
        async with aio.Monitor(box.connection) as monitor:
            async for event in monitor.events(names=["tap*"]):
                assert isinstance(event, PortEvent)
                found.append(event.port.name)
                await monitor.stop()
        return found

    assert asyncio.run(names()) == ["tap0"]


def test_watch_ends_when_another_thread_says_so(box: Sandbox) -> None:
    box.transact(*insert("tap0", **VM))
    stop = threading.Event()
    seen = []
    for event in watch(box.connection, names=["tap*"], stop_event=stop):
        seen.append(event.port.name)
        stop.set()
    assert seen == ["tap0"]


def test_wait_gone_waits_until_no_such_port_is_left(box: Sandbox) -> None:
    box.transact(*insert("tap0", **VM))
    with Monitor(box.connection) as monitor:
        with pytest.raises(WaitTimeout, match="still there"):
            monitor.wait_gone(is_tap0, timeout=0.2)
        box.vsctl("del-port", "tap0")
        monitor.wait_gone(is_tap0, timeout=DEADLINE)
        monitor.wait_gone(is_tap0, timeout=DEADLINE)  # there is none at all


def test_an_event_says_what_changed(box: Sandbox) -> None:
    sink = CaptureSink()
    box.transact(*insert("tap0", **VM))
    with Monitor(box.connection, sinks=[sink]):
        sink.wait_for_actions("tap0", ["online"])
        where = [["name", "==", "tap0"]]
        row = {"ofport": 7}
        box.transact({"op": "update", "table": "Interface", "where": where, "row": row})
        sink.wait_for_actions("tap0", ["online", "updated"])
    online, updated = sink.of("tap0")
    assert online.changed == {}
    assert updated.changed == {"ofport": (5, 7)}


def test_one_instance_of_a_sink_has_one_monitor(ovsdb_sandbox: Sandbox) -> None:
    sink = CaptureSink()
    with Monitor(ovsdb_sandbox.connection, sinks=[sink]) as one:
        other = Monitor(ovsdb_sandbox.connection, sinks={"a": CaptureSink(), "again": sink})
        with pytest.raises(ConfigurationError, match="sink again: this instance of CaptureSink"):
            other.start()
        with pytest.raises(ConfigurationError, match="is in use already"):
            one.attach("again", sink)
        sink.wait_for_sync()
    with Monitor(ovsdb_sandbox.connection, sinks=[sink]):  # free again
        sink.wait_for_sync()
