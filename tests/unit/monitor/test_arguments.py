"""Wrong arguments of the waits, of events() and of watch(), and what predicates raise."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Iterator
from typing import Any, cast

import pytest

from dfovsdb import aio, watch
from dfovsdb.errors import ConfigurationError
from dfovsdb.model import Port
from dfovsdb.monitor import Monitor
from dfovsdb.sinks.base import Sink
from dfovsdb.testing import CaptureSink, interface

NOWHERE = "unix:/nowhere"
ODD: Any = "\ud800"  # half of a surrogate pair


@pytest.fixture
def monitor() -> Iterator[Monitor]:
    with Monitor(NOWHERE) as started:
        yield started


async def later(_port: Port) -> bool:
    return True


class CalledLater:
    async def __call__(self, _port: object) -> None: ...


@pytest.mark.parametrize("timeout", ["5", b"5", float("nan"), float("inf"), 1e300, True, [5]])
@pytest.mark.parametrize("wait", ["wait_synced", "wait_for", "wait_gone"])
def test_a_time_that_cannot_be_waited_for_is_refused(
    monitor: Monitor, wait: str, timeout: object
) -> None:
    arguments = () if wait == "wait_synced" else (lambda _port: False,)

    async def asynchronous() -> None:
        async with aio.Monitor(NOWHERE) as other:
            await getattr(other, wait)(*arguments, timeout)

    with pytest.raises(ConfigurationError, match=r"^timeout: "):
        getattr(monitor, wait)(*arguments, timeout)
    with pytest.raises(ConfigurationError, match=r"^timeout: "):
        asyncio.run(asynchronous())


@pytest.mark.parametrize(
    "predicate",
    [None, "tap1", 5, {}, later, functools.partial(later), CalledLater()],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("wait", ["wait_for", "wait_gone"])
def test_a_predicate_that_cannot_be_called_is_refused_at_once(
    monitor: Monitor, wait: str, predicate: object
) -> None:
    with pytest.raises(ConfigurationError, match=r"^predicate: "):
        getattr(monitor, wait)(predicate, 5)


@pytest.mark.parametrize("wait", ["wait_for", "wait_gone"])
def test_a_timeout_of_the_predicate_is_not_one_of_the_wait(wait: str) -> None:
    def asks_elsewhere(_port: Port) -> bool:
        raise TimeoutError("elsewhere")

    def publish(monitor: Monitor) -> None:
        port = monitor._pipeline._chain.port(
            interface("tap1", external_ids={"iface-id": "x"}), None
        )
        assert port is not None
        monitor._dispatcher.publish_sync([(port.uuid, port)])

    async def asynchronous() -> None:
        async with aio.Monitor(NOWHERE) as other:
            publish(other._monitor)
            await getattr(other, wait)(asks_elsewhere, 10)

    with Monitor(NOWHERE) as monitor:
        publish(monitor)
        with pytest.raises(TimeoutError, match=r"^elsewhere$"):
            getattr(monitor, wait)(asks_elsewhere, 10)
    with pytest.raises(TimeoutError, match=r"^elsewhere$"):
        asyncio.run(asynchronous())


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"kinds": ["VM"]}, "^kinds: VM: no enabled classifier offers it; available: bridge"),
        ({"markers": "no"}, "markers: 'no' is not True or False"),
        ({"names": "tap*"}, "names: 'tap.' is not a collection"),
    ],
)
def test_what_events_cannot_select_is_refused(
    monitor: Monitor, arguments: dict[str, Any], why: str
) -> None:
    async def asynchronous() -> None:
        async with aio.Monitor(NOWHERE) as other:
            await anext(other.events(**arguments))

    with pytest.raises(ConfigurationError, match=why):
        next(monitor.events(**arguments))
    with pytest.raises(ConfigurationError, match=why):
        asyncio.run(asynchronous())


@pytest.mark.parametrize(
    "arguments",
    [{"sinks": []}, {"state_dir": None}, {"once": "no"}, {"markers": 1}],
    ids=str,
)
def test_what_watch_does_not_take_is_refused(arguments: dict[str, Any]) -> None:
    (name,) = arguments
    for function in (watch, aio.watch):
        with pytest.raises(ConfigurationError, match=f"^{name}: "):
            cast("Any", function)(NOWHERE, **arguments)


@pytest.mark.parametrize("option", ["host", "state_dir", "record", "ssl_key_file"])
def test_text_without_bytes_is_refused(option: str) -> None:
    options: Any = {option: ODD}
    with pytest.raises(ConfigurationError, match=f"^{option}: '.ud800' is not "):
        Monitor(NOWHERE, **options)


def test_a_socket_of_such_a_path_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="not the path of a unix socket"):
        Monitor(f"unix:{ODD}")


@pytest.mark.parametrize("name", ["", None, 5])
def test_an_attached_sink_has_a_name(monitor: Monitor, name: Any) -> None:
    with pytest.raises(ConfigurationError, match="is not the name of a sink"):
        monitor.attach(name, CaptureSink())


@pytest.mark.parametrize("error", [ValueError("odd"), SystemExit(1)], ids=repr)
@pytest.mark.parametrize("name", ["selection", "poll_interval", "emit"])
def test_a_sink_whose_properties_raise_is_refused(name: str, error: BaseException) -> None:
    def fail(_self: Sink) -> None:
        raise error

    plugin = type("OddSink", (CaptureSink,), {name: property(fail)})
    with pytest.raises(ConfigurationError, match="sink OddSink cannot be used: a property of it"):
        Monitor(NOWHERE, sinks=[plugin()])


@pytest.mark.parametrize("function", [functools.partial(later), CalledLater()])
def test_a_coroutine_function_in_disguise_is_refused_as_a_sink(function: Any) -> None:
    with pytest.raises(ConfigurationError, match="is a coroutine or generator function"):
        Monitor(NOWHERE, sinks=[function])
