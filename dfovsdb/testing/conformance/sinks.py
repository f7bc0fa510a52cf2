"""The promises of a sink."""

from __future__ import annotations

import contextlib
import gc
import os
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar

import pytest

from dfovsdb.delivery.worker import INSTANT
from dfovsdb.model import Port, PortEvent
from dfovsdb.sinks.base import Sink
from dfovsdb.testing.conformance import hooks, scenario, side_effects
from dfovsdb.testing.conformance.driven_sink import DrivenSink, TookNothing
from dfovsdb.testing.conformance.options import check_options

_ENDING = 1.0  # seconds for threads and processes that are about to end
_SOON = 1.0  # seconds of a poll_interval that a test waits for


class SinkConformance:
    """A sink, behind the real worker, handles everything that a worker does to it.

    Hooks let the suite see the destination; tests whose hook is not overridden are skipped.
    In `make()` and the hooks, `self.tmp_path` is a separate folder for each test.
    """

    #: The class under test.
    plugin: ClassVar[type[Sink]]
    #: Seconds that one test may take.
    deadline: ClassVar[float] = 20.0

    tmp_path: Path
    #: The error of every later test of this suite, once a sink has accepted nothing at all.
    _hopeless: ClassVar[dict[type, str]] = {}

    _was_down = False  # because of our outage()

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.tmp_path = tmp_path

    def make(self) -> Sink:
        """Return a new instance with an empty destination; override it if it needs arguments."""
        sink: Sink = hooks.built(self)
        return sink

    def arrived(self, sink: Sink) -> Sequence[str]:
        """Return what the destination received, in order: `online tap0`, `updated tap0`, …"""
        raise NotImplementedError

    def believes(self, sink: Sink) -> Iterable[str]:
        """Return the names of the ports that the destination holds to be present.

        This is for a destination that stores a state. If it stores events, override arrived().
        """
        return scenario.fold(self._arrived(sink))

    def outage(self, sink: Sink, after: int) -> contextlib.AbstractContextManager[object]:
        """Return a context in which the destination accepts that many more events and is then
        down.
        """
        raise NotImplementedError

    def again(self, sink: Sink) -> Sink:
        """Return another instance with the destination of this one, as after a restart."""
        raise NotImplementedError

    def wants(self, port: Port) -> bool:  # noqa: ARG002 - for those that override it
        """Return whether the destination is to have this port; override it if the sink filters.

        Ports that its `selection` excludes are left out already.
        """
        return True

    def test_its_options_are_arguments_of_its_init(self) -> None:
        check_options(type(self._made()))

    def test_it_is_built_without_touching_anything(self) -> None:
        """A sink is also built to check that it can be; `__init__` may read what it is given."""
        # everything that the first instance imports has been imported now
        plugin = type(self._made())
        with side_effects.touches_of_init(plugin) as touched:
            self._made()
        assert not touched, (
            f"{plugin.__name__}.__init__ did {touched[0] if touched else None}: only store "
            "its arguments there, and do that in open()"
        )

    def test_it_takes_every_port_that_a_switch_may_have(self) -> None:
        ports = scenario.every_port()
        with self._driven() as (_sink, driven):
            driven.sync(ports)
            driven.settle()
            driven.publish(*(scenario.changed(port) for port in ports))
            driven.settle()
            driven.publish(*(port.uuid for port in ports))
            for port in ports:
                driven.selects(port)  # or says that it cannot
        self._check(driven)

    def test_it_changes_nothing_that_it_receives(self) -> None:
        with self._driven() as (_sink, driven):
            driven.sync(scenario.every_port())
        assert not driven.changed, f"an event was changed: {driven.changed[0]:.300}"

    def test_events_arrive_in_order(self) -> None:
        if self._overrides("believes") and not self._overrides("arrived"):
            pytest.skip("a destination that stores ports has no order of events")
        self._needs("arrived")
        with self._driven() as (sink, driven):
            scenario.play(driven)
        sent, arrived = driven.accepted(self.wants), self._arrived(sink)
        assert arrived == sent, f"sent: {sent}, arrived: {arrived}"

    def test_the_destination_ends_with_the_ports_of_the_switch(self) -> None:
        self._needs("arrived", "believes")
        with self._driven() as (sink, driven):
            scenario.play(driven)
            driven.settle()
            self._check_end(sink, driven)

    def test_it_continues_after_a_restart(self) -> None:
        """Another instance finds the destination as the first one left it."""
        self._restart(None, scenario.vms(4))

    def test_it_continues_after_a_restart_with_state_dir(self) -> None:
        """The first sync of the other instance contains only what has changed meanwhile."""
        with tempfile.TemporaryDirectory() as folder:
            self._restart(Path(folder), scenario.vms(4)[1:])

    def test_a_batch_may_come_again_one_by_one(self) -> None:
        """If emit_many raises, its events are offered with emit."""
        with self._driven() as (sink, driven):
            driven.refuse_batches = True
            scenario.play(driven)
            driven.settle()
            self._check_end(sink, driven)
        self._check(driven)

    def test_what_is_offered_again_is_taken_again(self) -> None:
        """The event arrived, but the acknowledgement was lost: delivery is at least once."""
        with self._driven() as (sink, driven):
            driven.lost_answers = 2  # the marker, and the first batch
            driven.sync(scenario.vms(3))
            driven.settle()
            driven.lost_answers = 1
            driven.publish(scenario.vms(3)[0].uuid)
            driven.settle()
            self._check_end(sink, driven)
        self._check(driven)

    def test_an_event_that_was_refused_harms_no_other(self) -> None:
        """There may be no other event: `seq` has gaps, and the port is delivered later."""
        with self._driven() as (sink, driven):
            driven.refused_names = {"tap1"}
            driven.sync(scenario.vms(4))
            driven.until(lambda: driven.of("sync_finished"))
            driven.refused_names = set()
            driven.publish(*(scenario.changed(port) for port in scenario.vms(4)))
            driven.settle()
            self._check_end(sink, driven)
        self._check(driven)

    def test_an_outage_is_raised_as_sink_unavailable(self) -> None:
        self._needs("outage")
        with self._driven() as (sink, driven):
            driven.sync([])
            driven.until(lambda: driven.of("sync_finished"))
            with self._outage(sink, 0):
                driven.publish(*scenario.vms(3))
                driven.until(
                    lambda: driven.worker.counters["outages"] or driven.of("emit", "emit_many")
                )
            driven.settle()
        self._check(driven)
        assert driven.worker.counters["outages"], (
            "the destination was down, and nothing raised; or your outage() did not take it down"
        )

    @pytest.mark.parametrize("after", [0, 1, 3])
    def test_nothing_is_lost_in_an_outage(self, after: int) -> None:
        """`delivered=n` is not more than what arrived, the arrived events were in order, and a
        destination that has forgotten everything has it again.
        """
        self._needs("outage")
        self._needs("arrived", "believes")
        with self._driven() as (sink, driven):
            driven.sync(scenario.vms(2))
            driven.settle()
            with self._outage(sink, after):
                driven.publish(*scenario.vms(7)[2:])
                driven.until(
                    lambda: driven.worker.counters["outages"] or not driven.worker.undelivered()
                )
            driven.settle()
            self._check_end(sink, driven)

    def test_every_sync_is_taken_with_its_markers(self) -> None:
        """The first sync, one after a reconnect, one on request, and each marker more than
        once.
        """
        with self._driven() as (sink, driven):
            driven.lost_answers = 1
            driven.sync(scenario.vms(3))
            driven.settle()
            driven.sync(scenario.vms(2))
            driven.until(lambda: driven.syncs("resync"))
            asked = driven.syncs("replay")  # by the sink itself
            driven.replay()
            driven.until(lambda: driven.syncs("replay") > asked)
            driven.sync([])
            driven.until(lambda: driven.syncs("resync") >= 2)
            driven.settle()
            self._check_end(sink, driven)
        self._check(driven)

    def test_it_asks_for_no_replays_without_end(self) -> None:
        with self._driven() as (_sink, driven):
            driven.sync(scenario.vms(2))
            driven.settle()
            driven.publish(scenario.changed(scenario.vms(2)[0]))
            driven.settle()

    def test_reopen_and_poll_may_come_at_any_time(self) -> None:
        with self._driven(poll_interval=0.01) as (sink, driven):
            if sink.poll_interval is not None and sink.poll_interval < _SOON:
                driven.until(lambda: driven.of("poll"))
            driven.until(lambda: any(call.error is None for call in driven.of("open")))
            driven.reopen()
            driven.until(lambda: driven.of("reopen"))
            scenario.play(driven)
            driven.reopen()
            driven.settle()
            driven.until(lambda: len(driven.of("reopen")) == 2)
            driven.publish(*scenario.vms(2))
            driven.settle()
            self._check_end(sink, driven)
        self._check(driven)

    def test_it_is_opened_and_closed_once_and_leaves_nothing_behind(self) -> None:
        for _ in range(2):  # everything that is created once for each process has been created now
            gc.collect()
            before = (_files(), set(threading.enumerate()), _children_now())
            with self._driven() as (_sink, driven):
                scenario.play(driven)
            del _sink
            gc.collect()
        opened = [call for call in driven.of("open") if call.error is None]
        assert len(opened) == len(driven.of("close")) == 1
        self._check(driven)
        left = _still_running(set(threading.enumerate()) - before[1])
        assert not left, f"after close() these threads are still running: {left}"
        children = _children(before[2])
        assert not children, f"after close() these processes are still running: {children}"
        files = _files() - before[0]
        assert not files, f"after close() these files are still open: {sorted(files)}"

    def test_it_may_be_closed_before_it_received_anything(self) -> None:
        with self._driven() as (_sink, driven):
            pass
        self._check(driven)

    def test_it_works_on_a_thread_that_did_not_make_it(self) -> None:
        with self._driven() as (sink, driven):
            scenario.play(driven)
            is_instant = sink.instant  # then some calls come from the thread that publishes
        threads = {call.thread for call in driven.calls}
        assert is_instant or threads.isdisjoint({threading.get_ident()})
        self._check(driven)

    def test_a_sink_that_is_instant_never_waits(self) -> None:
        """The fastest call of each method counts: any one may be interrupted."""
        with self._driven() as (sink, driven):
            scenario.play(driven)
            driven.settle()
        if not sink.instant:
            return
        fastest: dict[str, float] = {}
        for call in driven.calls:
            fastest[call.method] = min(call.seconds, fastest.get(call.method, call.seconds))
        slow = {name: took for name, took in fastest.items() if took > INSTANT and name != "open"}
        assert not slow, f"instant is True, and these calls took longer than {INSTANT} s: {slow}"

    def test_every_call_returns(self) -> None:
        with self._driven() as (_sink, driven):
            scenario.play(driven)
            driven.settle()

    def _restart(self, state_dir: Path | None, ports: Sequence[Port]) -> None:
        """Restart with these ports, of which one changes then."""
        self._needs("again")
        self._needs("arrived", "believes")
        with self._driven(state_dir=state_dir) as (sink, driven):
            driven.sync(scenario.vms(3))
            driven.settle()
        with self._driven(sink, state_dir=state_dir) as (second, driven):
            driven.sync(ports)
            driven.publish(scenario.changed(ports[-2]))
            driven.settle()
            self._check_end(second, driven)
        self._check(driven)

    @contextlib.contextmanager
    def _driven(
        self,
        before: Sink | None = None,
        *,
        poll_interval: float | None = None,
        state_dir: Path | None = None,
    ) -> Iterator[tuple[Sink, DrivenSink]]:
        """Run a sink, or the next one on the destination of the one before.

        If one has accepted nothing, for example because of a wrong path in make(), the tests after
        it fail at once.
        """
        if hopeless := self._hopeless.get(type(self)):
            raise TookNothing(hopeless)
        sink = self._made() if before is None else self._again(before)
        if poll_interval and sink.poll_interval is not None:
            with contextlib.suppress(AttributeError):  # a property cannot be set
                # the worker reads it whenever it begins to wait
                object.__setattr__(sink, "poll_interval", poll_interval)
        try:
            with DrivenSink(sink, deadline=self.deadline, state_dir=state_dir) as driven:
                yield sink, driven
        except TookNothing as error:
            if not self._was_down:
                self._hopeless[type(self)] = str(error)
            raise

    def _made(self) -> Sink:
        return hooks.made(self.make, Sink)  # type: ignore[type-abstract]  # any of them

    def _again(self, before: Sink) -> Sink:
        make = partial(self.again, before)
        return hooks.made(make, Sink, "again")  # type: ignore[type-abstract]  # any of them

    def _arrived(self, sink: Sink) -> list[str]:
        return hooks.lines(partial(self.arrived, sink))

    def _outage(self, sink: Sink, after: int) -> contextlib.AbstractContextManager[None]:
        self._was_down = True
        return hooks.during(partial(self.outage, sink, after))

    def _check(self, driven: DrivenSink) -> None:
        failures = driven.failures()
        assert not failures, failures[0]

    def _check_end(self, sink: Sink, driven: DrivenSink) -> None:
        """Check that the destination has the present ports, if there is a hook for it."""
        if not self._overrides("arrived", "believes"):
            return
        ports = driven.ports().values()
        there = {port.name for port in ports if driven.selects(port) and self.wants(port)}
        believes = partial(self.believes, sink)
        believed = set(hooks.several("believes", believes, str, "names such as 'tap0'"))
        assert believed == there, f"it holds {believed} to be present; {there} are"

    def _overrides(self, *hooks: str) -> bool:
        return any(
            getattr(type(self), hook) is not getattr(SinkConformance, hook) for hook in hooks
        )

    def _needs(self, *hooks: str) -> None:
        if not self._overrides(*hooks):
            pytest.skip(
                f"override {' or '.join(f'{hook}()' for hook in hooks)} to have this checked"
            )


def _still_running(threads: Iterable[threading.Thread]) -> set[threading.Thread]:
    """Return the threads that do not end by themselves soon, as those of a destination do."""
    until = time.monotonic() + _ENDING
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    return {thread for thread in threads if thread.is_alive()}


def _children(known: set[str]) -> set[str]:
    """Return the child processes beside the known ones that do not end by themselves soon."""
    until = time.monotonic() + _ENDING
    while (found := _children_now() - known) and time.monotonic() < until:
        time.sleep(0.02)
    return found


def _children_now() -> set[str]:
    """Return the child processes of this one, by number and name."""
    found: set[str] = set()
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError):  # it has ended
            name, _, rest = (folder / "stat").read_text().partition("(")[2].rpartition(")")
            state, parent = rest.split()[:2]
            if int(parent) == os.getpid() and state not in "ZX":
                found.add(f"{folder.name} {name}")
    return found


def _files() -> set[str]:
    """Return the open files of this process, by number and target."""
    found: set[str] = set()
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # that of this listing
            found.add(f"{number} {os.readlink(f'/proc/self/fd/{number}')}")
    return found


def event_word(event: PortEvent) -> str:
    """Return an event as arrived() names it: `online tap0`."""
    return f"{event.action} {event.port.name}"
