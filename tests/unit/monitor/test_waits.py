"""Waits that begin while their monitor ends, and which of several ports they find."""

from __future__ import annotations

import subprocess
import sys
from typing import Any, cast

import pytest

from dfovsdb.delivery.worker import Worker
from dfovsdb.errors import MonitorStopped
from dfovsdb.monitor import Monitor
from dfovsdb.monitor.wait_for import WaitForPort
from dfovsdb.monitor.waits import Waits
from dfovsdb.sinks.base import Sink
from dfovsdb.testing import CaptureSink, wait_until
from tests.unit.samples import event, marker, port
from tests.waiting import DEADLINE


class EndsWhenLookedAt:
    """A loop that ends right after somebody has seen that it runs."""

    address, condition = "unix:db.sock", "stopped"
    waits: Waits
    started = True
    ended = False

    @property
    def over(self) -> bool:
        was, self.ended = self.ended, True
        self.waits.release()
        return was


def test_a_wait_that_begins_while_the_monitor_ends_ends_too() -> None:
    loop = EndsWhenLookedAt()
    loop.waits = Waits(cast("Any", loop), cast("Any", None))
    sink = WaitForPort(lambda _port: True)
    with loop.waits.ends(sink):
        assert isinstance(sink.future.exception(timeout=0), MonitorStopped)
    with pytest.raises(MonitorStopped), loop.waits.ends(sink):
        pytest.fail("the monitor has ended")
    assert not len(loop.waits)


def test_a_sink_that_is_attached_while_the_monitor_stops_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monitor = Monitor("unix:/nowhere", classifiers=[]).start()
    dispatcher = monitor._dispatcher
    attach = dispatcher.attach

    def late(name: str, sink: Sink) -> Worker:
        monitor.stop()
        return attach(name, sink)

    monkeypatch.setattr(dispatcher, "attach", late)
    sink = CaptureSink()
    with pytest.raises(MonitorStopped):
        monitor.attach("late", sink)
    wait_until(lambda: sink.closed)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"iface_status": "inactive"}, {"iface_status": "active"}),
        ({"iface_status": "inactive", "ovn_installed": "true"}, {"iface_status": None}),
        ({"ovn_installed": None}, {"ovn_installed": "true"}),
    ],
)
@pytest.mark.parametrize("turned", [False, True])
def test_of_both_ends_of_a_live_migration_the_one_in_use_is_found(
    one: dict[str, str | None], other: dict[str, str | None], turned: bool
) -> None:
    ids = {"iface_id": "v1"}
    ports = [port("vm", ids | one, uuid="u1"), port("vm", ids | other, uuid="u2")]
    sink = WaitForPort(lambda port: port.attributes["iface_id"] == "v1")
    sink.emit_many([event(one) for one in (reversed(ports) if turned else ports)])
    sink.sync_finished(marker(action="sync_finished"))
    assert sink.future.result(timeout=0).uuid == "u2"


FORK = """
import os, time
from dfovsdb import Monitor
from dfovsdb.errors import MonitorStopped
from dfovsdb.testing import CaptureSink

def refuses(wait):
    try:
        wait()
    except MonitorStopped as error:
        return "not in this fork" in str(error)

sink = CaptureSink()
with Monitor("unix:/nowhere", classifiers=[], sinks=[sink]) as monitor:
    while not monitor.trouble:  # then its threads import nothing, and hold no lock
        time.sleep(0.01)
    if child := os.fork():
        print(os.waitpid(child, 0)[1], monitor.running, sink.closed)
    else:
        fine = refuses(monitor.wait_synced)
        fine = fine and refuses(lambda: monitor.wait_for(lambda _port: True))
        fine = fine and refuses(lambda: monitor.attach("late", CaptureSink()))
        monitor.stop()
        os._exit(not fine or monitor.running or monitor.synced or monitor.alive)
print(sink.closed)
"""


def test_in_a_forked_process_a_monitor_does_not_run() -> None:
    """It says so there, and no wait hangs; the monitor of the parent goes on."""
    done = subprocess.run(
        [sys.executable, "-c", FORK], capture_output=True, text=True, timeout=DEADLINE, check=True
    )
    assert done.stdout == "0 True False\nTrue\n"


def test_a_selection_that_begins_to_raise_prevents_no_stop() -> None:
    class Moody(CaptureSink):
        is_moody = False

        @property
        def selection(self) -> None:  # type: ignore[override]  # nobody has to set it
            if self.is_moody:
                raise ValueError("not now")

    moody, other = Moody(), CaptureSink()
    monitor = Monitor("unix:/nowhere", classifiers=[], sinks=[moody, other]).start()
    moody.is_moody = True
    assert monitor.stop()
    assert moody.closed
    assert other.closed
