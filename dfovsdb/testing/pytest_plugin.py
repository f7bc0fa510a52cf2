"""Fixtures for pytest. They are found by an entry point, so nothing has to be imported."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from dfovsdb.model import Interface
    from dfovsdb.monitor import Monitor
    from dfovsdb.testing.capture import CaptureSink
    from dfovsdb.testing.sandbox import Sandbox


@pytest.fixture
def ovs_sandbox() -> Iterator[Sandbox]:
    """Provide a private, real Open vSwitch: ovsdb-server and ovs-vswitchd, new for each test."""
    from dfovsdb.testing.sandbox import Sandbox

    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def ovsdb_sandbox() -> Iterator[Sandbox]:
    """Provide the same without ovs-vswitchd: rows stay as they are written."""
    from dfovsdb.testing.sandbox import Sandbox

    with Sandbox(vswitchd=False) as sandbox:
        yield sandbox


@pytest.fixture
def capture_sink() -> CaptureSink:
    """Provide a sink that keeps everything, whose assertions wait and show the transcript."""
    from dfovsdb.testing.capture import CaptureSink

    return CaptureSink()


@pytest.fixture
def ovs_monitor(ovs_sandbox: Sandbox, capture_sink: CaptureSink) -> Iterator[Monitor]:
    """Provide a monitor with the default classifiers on `ovs_sandbox`, which feeds
    `capture_sink`.
    """
    from dfovsdb.monitor import Monitor

    with Monitor(ovs_sandbox.connection, sinks=[capture_sink]) as monitor:
        capture_sink.wait_for_sync()
        yield monitor


@pytest.fixture
def make_interface() -> Callable[..., Interface]:
    """Provide the builder of Interface rows: `make_interface("tap0", type="internal")`."""
    from dfovsdb.testing.rows import interface

    return interface
