"""Every promise that a plugin must keep, as tests that one subclass runs.

    class TestMyClassifier(ClassifierConformance):
        plugin = MyClassifier

    class TestMySink(SinkConformance):
        plugin = MySink

Where a plugin needs arguments, override `make()`. They need pytest and nothing else.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import inspect
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest

from dfovsdb.classifiers.base import Classifier
from dfovsdb.classifiers.chain import Chain
from dfovsdb.errors import DfovsdbError
from dfovsdb.model import Interface, Port, PortEvent, port_of
from dfovsdb.plugins import default_classifiers
from dfovsdb.sinks.base import Sink
from dfovsdb.testing.driven import DrivenSink
from dfovsdb.testing.rows import corpus, interface


class ClassifierConformance:
    """A classifier is pure, total and quick, and answers with strings."""

    #: The class under test.
    plugin: ClassVar[type[Classifier]]
    #: Python-level calls that one row may cost.
    calls_limit: ClassVar[int] = 2000
    #: How many times as long as the default chain it may take.
    ratio_limit: ClassVar[float] = 200

    def make(self) -> Classifier:
        """A fresh instance; override it where the class needs arguments."""
        return self.plugin()

    def rows(self) -> list[Interface]:
        """The rows that it is asked about; extend it by what is special to yours."""
        return corpus(self.make().columns)

    def test_it_names_its_kind_and_columns_that_can_be_monitored(self) -> None:
        try:
            Chain([self.make()])
        except DfovsdbError as error:
            raise AssertionError(str(error)) from None

    def test_its_options_are_arguments_of_its_init(self) -> None:
        _check_options(type(self.make()))

    def test_it_answers_every_row(self) -> None:
        classifier = self.make()
        for row in self.rows():
            _classify(classifier, row)

    def test_attributes_are_strings_or_none(self) -> None:
        classifier = self.make()
        for row in self.rows():
            answer: object = _classify(classifier, row)
            if answer is None:
                continue
            assert isinstance(answer, Mapping), f"{answer!r:.80} is no mapping; {_shown(row)}"
            for name, value in answer.items():
                fine = isinstance(name, str) and (value is None or isinstance(value, str))
                assert fine, f"attribute {name!r} is {value!r:.80}; {_shown(row)}"

    def test_the_same_row_has_the_same_answer(self) -> None:
        """Whatever was asked before, of whatever instance, on whatever thread."""
        classifier, rows = self.make(), self.rows()
        first = [_copy(_classify(classifier, row)) for row in rows]
        backwards = [_copy(_classify(classifier, row)) for row in reversed(rows)][::-1]
        other = self.make()
        elsewhere: list[Any] = []
        thread = threading.Thread(
            target=lambda: elsewhere.extend(_answer_or_error(other, row) for row in rows)
        )
        thread.start()
        thread.join()
        for row, *answers in zip(rows, first, backwards, elsewhere, strict=True):
            same = all(answer == answers[0] for answer in answers)
            assert same, f"the answers differ: {answers}; {_shown(row)}"

    def test_an_answer_is_not_changed_later(self) -> None:
        classifier, rows = self.make(), self.rows()
        answers = [(answer := _classify(classifier, row), _copy(answer)) for row in rows]
        for answer, as_it_was in answers:
            assert answer == as_it_was, f"{as_it_was} became {answer} by a later question"

    def test_it_changes_no_row(self) -> None:
        classifier = self.make()
        for row in self.rows():
            before = _plain(row)
            _classify(classifier, row)
            assert _plain(row) == before, f"the row was changed; {_shown(row)}"

    def test_it_does_no_input_or_output(self) -> None:
        classifier, rows = self.make(), self.rows()
        for row in rows:  # what is imported at the first question has been imported now
            _classify(classifier, row)
        with _watching_io() as seen:
            for row in rows:
                _classify(classifier, row)
        assert not seen, f"classify() runs between socket and replica, and did {seen[0]}"

    def test_a_row_costs_few_calls(self) -> None:
        classifier = self.make()
        for row in self.rows():
            calls = _calls(lambda row=row: _classify(classifier, row))  # type: ignore[misc]  # row=row
            assert calls <= self.calls_limit, f"{calls} calls for one row; {_shown(row)}"

    def test_it_is_not_much_slower_than_the_default_classifiers(self) -> None:
        classifier, rows = self.make(), self.rows()
        chain = default_classifiers()

        def reference() -> None:
            for row in rows:
                for one in chain:
                    one.classify(row)

        def ours() -> None:
            for row in rows:
                _classify(classifier, row)

        ratio = _quickest(ours) / _quickest(reference)
        assert ratio <= self.ratio_limit, f"{ratio:.0f} times as slow as the default classifiers"


class SinkConformance:
    """A sink, behind the real worker, takes what it is told, as often and as it comes.

    Three hooks let the suite look behind the sink; what needs one that is not overridden is
    skipped. In `make()` and the hooks `self.tmp_path` is a folder of this test's own.
    """

    #: The class under test.
    plugin: ClassVar[type[Sink]]
    #: Seconds that one test may take.
    deadline: ClassVar[float] = 20.0

    tmp_path: Path

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.tmp_path = tmp_path

    def make(self) -> Sink:
        """A fresh instance with an empty destination; override it where it needs arguments."""
        return self.plugin()

    def arrived(self, sink: Sink) -> Sequence[str]:
        """What the destination was told, in order: `online tap0`, `updated tap0`, …"""
        raise NotImplementedError

    def believes(self, sink: Sink) -> Iterable[str]:
        """The names of the ports that the destination believes to be there.

        For a destination that keeps a state; where it keeps events, override arrived().
        """
        return _fold(self.arrived(sink))

    def outage(self, sink: Sink, after: int) -> contextlib.AbstractContextManager[object]:
        """A context within which the destination takes that many events more and is then down."""
        raise NotImplementedError

    def test_its_options_are_arguments_of_its_init(self) -> None:
        _check_options(type(self.make()))

    def test_it_takes_every_port_that_a_switch_may_have(self) -> None:
        ports = _every_port()
        with self._driven() as (_sink, driven):
            driven.sync(ports)
            driven.settle()
            driven.publish(*(_changed(port) for port in ports))
            driven.settle()
            driven.publish(*(port.uuid for port in ports))
        self._check(driven)

    def test_it_changes_nothing_that_it_is_told(self) -> None:
        with self._driven() as (_sink, driven):
            driven.sync(_every_port())
        assert not driven.changed, f"an event was changed: {driven.changed[0]:.300}"

    def test_events_arrive_in_order(self) -> None:
        self._needs("arrived")
        with self._driven() as (sink, driven):
            _a_day(driven)
        told = driven.accepted()
        assert list(self.arrived(sink)) == told, f"told: {told}, arrived: {self.arrived(sink)}"

    def test_the_destination_ends_with_the_ports_of_the_switch(self) -> None:
        self._needs("arrived", "believes")
        with self._driven() as (sink, driven):
            _a_day(driven)
            driven.settle()
            self._check_end(sink, driven)

    def test_a_batch_may_come_again_one_by_one(self) -> None:
        """Where emit_many raises, its events are offered with emit."""
        with self._driven() as (sink, driven):
            driven.refuse_batches = True
            _a_day(driven)
            driven.settle()
            self._check_end(sink, driven)
        self._check(driven)

    def test_what_is_offered_again_is_taken_again(self) -> None:
        """It arrived, but the answer was lost: delivery is at least once."""
        with self._driven() as (sink, driven):
            driven.lost_answers = 2  # the marker, and the first batch
            driven.sync(_ports(3))
            driven.settle()
            driven.lost_answers = 1
            driven.publish(_ports(3)[0].uuid)
            driven.settle()
            self._check_end(sink, driven)
        self._check(driven)

    def test_an_event_that_was_refused_harms_no_other(self) -> None:
        """Another event may never come: `seq` has gaps, and its port is told later."""
        with self._driven() as (sink, driven):
            driven.refused_names = {"tap1"}
            driven.sync(_ports(4))
            driven.until(lambda: driven.of("sync_finished"))
            driven.refused_names = set()
            driven.publish(*(_changed(port) for port in _ports(4)))
            driven.settle()
            self._check_end(sink, driven)
        self._check(driven)

    def test_an_outage_is_raised_as_sink_unavailable(self) -> None:
        self._needs("outage")
        with self._driven() as (_sink, driven):
            driven.sync([])
            driven.until(lambda: driven.of("sync_finished"))
            with self.outage(_sink, 0):
                driven.publish(*_ports(3))
                driven.until(lambda: driven.of("emit", "emit_many")[-1:])
            driven.settle()
        self._check(driven)
        assert driven.worker.counters["outages"], "the destination was down, and nothing raised"

    @pytest.mark.parametrize("after", [0, 1, 3])
    def test_nothing_is_lost_in_an_outage(self, after: int) -> None:
        """`delivered=n` is no more than what arrived, and what did arrive was in order."""
        self._needs("outage")
        self._needs("arrived", "believes")
        with self._driven() as (sink, driven):
            driven.sync([])
            driven.until(lambda: driven.of("sync_finished"))
            with self.outage(sink, after):
                driven.publish(*_ports(5))
                driven.until(
                    lambda: driven.worker.counters["outages"] or not driven.worker.undelivered()
                )
            driven.settle()
            self._check_end(sink, driven)

    def test_every_sync_is_taken_with_its_markers(self) -> None:
        """The first, one after a reconnect, one on demand, and each marker more than once."""
        with self._driven() as (sink, driven):
            driven.lost_answers = 1
            driven.sync(_ports(3))
            driven.settle()
            driven.sync(_ports(2))
            driven.until(lambda: len(driven.of("sync_finished")) >= 2)
            driven.replay()
            driven.until(lambda: len(driven.of("sync_finished")) >= 3)
            driven.sync([])
            driven.until(lambda: len(driven.of("sync_finished")) >= 4)
            self._check_end(sink, driven)
        self._check(driven)

    def test_it_asks_for_no_replays_without_end(self) -> None:
        with self._driven() as (_sink, driven):
            driven.sync(_ports(2))
            driven.settle()
            driven.publish(_changed(_ports(2)[0]))
            driven.settle()

    def test_reopen_and_poll_may_come_at_any_time(self) -> None:
        with self._driven(poll_interval=0.01) as (sink, driven):
            if sink.poll_interval is not None:
                driven.until(lambda: driven.of("poll"))
            driven.reopen()
            driven.until(lambda: driven.of("reopen"))
            _a_day(driven)
            driven.reopen()
            driven.settle()
            driven.until(lambda: len(driven.of("reopen")) == 2)
            driven.publish(*_ports(2))
            driven.settle()
            self._check_end(sink, driven)
        self._check(driven)

    def test_it_is_opened_and_closed_once_and_leaves_nothing_behind(self) -> None:
        for _ in range(2):  # what is made once in a process has been made now
            gc.collect()
            before = (_files(), set(threading.enumerate()))
            with self._driven() as (_sink, driven):
                _a_day(driven)
            del _sink
            gc.collect()
        assert len(driven.of("open")) == len(driven.of("close")) == 1
        self._check(driven)
        left = set(threading.enumerate()) - before[1]
        assert not left, f"after close() there are still the threads {left}"
        files = _files() - before[0]
        assert not files, f"after close() there are still the open files {sorted(files)}"

    def test_it_may_be_closed_before_it_was_told_anything(self) -> None:
        with self._driven() as (_sink, driven):
            pass
        self._check(driven)

    def test_it_works_on_a_thread_that_did_not_make_it(self) -> None:
        with self._driven() as (_sink, driven):
            _a_day(driven)
        threads = {call.thread for call in driven.calls}
        assert threads.isdisjoint({threading.get_ident()})
        self._check(driven)

    def test_every_call_returns(self) -> None:
        with self._driven() as (_sink, driven):
            _a_day(driven)
            driven.settle()

    @contextlib.contextmanager
    def _driven(self, *, poll_interval: float | None = None) -> Iterator[tuple[Sink, DrivenSink]]:
        sink = self.make()
        if poll_interval and sink.poll_interval is not None:
            sink.poll_interval = poll_interval  # the worker reads it whenever it begins to wait
        with DrivenSink(sink, deadline=self.deadline) as driven:
            yield sink, driven

    def _check(self, driven: DrivenSink) -> None:
        failures = driven.failures()
        assert not failures, failures[0]

    def _check_end(self, sink: Sink, driven: DrivenSink) -> None:
        """Where one may look: the destination has the ports that there are."""
        if not self._overrides("arrived", "believes"):
            return
        there = {port.name for port in driven.ports().values()}
        believed = set(self.believes(sink))
        assert believed == there, f"it believes in {believed}, there are {there}"

    def _overrides(self, *hooks: str) -> bool:
        return any(
            getattr(type(self), hook) is not getattr(SinkConformance, hook) for hook in hooks
        )

    def _needs(self, *hooks: str) -> None:
        if not self._overrides(*hooks):
            pytest.skip(
                f"override {' or '.join(f'{hook}()' for hook in hooks)} to have it checked"
            )


def _check_options(plugin: type[Classifier | Sink]) -> None:
    parameters = inspect.signature(plugin).parameters
    for option in plugin.options:
        assert option.dest in parameters, (
            f"option {option.name} is no argument of {plugin.__name__}.__init__"
        )
        parameter = parameters[option.dest]
        assert option.required or parameter.default is not parameter.empty, (
            f"option {option.name} is not required, but argument {option.dest} has no default"
        )


# Classifiers.


def _classify(classifier: Classifier, row: Interface) -> Mapping[str, str | None] | None:
    try:
        return classifier.classify(row)
    except Exception as error:
        raise AssertionError(f"classify() raised {error!r}; {_shown(row)}") from error


def _answer_or_error(classifier: Classifier, row: Interface) -> object:
    try:
        return _copy(classifier.classify(row))
    except Exception as error:  # noqa: BLE001 - it is compared with the other answers
        return repr(error)


def _copy(answer: Mapping[str, str | None] | None) -> Any:
    return dict(answer) if isinstance(answer, Mapping) else answer


def _plain(row: Interface) -> Any:
    return msgspec.to_builtins(row)


def _shown(row: Interface) -> str:
    return f"the row is {row!r:.300}"


_IO = ("open", "socket.", "subprocess.", "os.", "shutil.", "urllib.", "time.sleep")
_io_seen: dict[int, list[str]] = {}  # by thread that is watched


@functools.cache  # once: an audit hook cannot be removed again
def _hook_in() -> None:
    def hook(event: str, args: tuple[Any, ...]) -> None:
        if _io_seen and event.startswith(_IO):
            seen = _io_seen.get(threading.get_ident())
            if seen is not None:
                seen.append(f"{event} {args!r:.80}")

    sys.addaudithook(hook)


@contextlib.contextmanager
def _watching_io() -> Iterator[list[str]]:
    """What this thread does that Python audits (docs.python.org/3/library/audit_events.html)."""
    _hook_in()
    seen = _io_seen[threading.get_ident()] = []
    try:
        yield seen
    finally:
        del _io_seen[threading.get_ident()]


def _calls(function: Callable[[], object]) -> int:
    """How many calls of functions, in Python and in C, it makes."""
    count = 0

    def profile(_frame: object, event: str, _arg: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        function()
    finally:
        sys.setprofile(before)
    return count


def _quickest(function: Callable[[], object]) -> float:
    """Seconds of the quickest of a few runs, which is what load disturbs least."""
    times = []
    for _ in range(5):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


# Sinks.


class _Anything(Classifier):
    kind = "anything"

    def classify(self, interface: Interface) -> Mapping[str, str | None]:
        return {"nothing": None, "empty": "", "é\n\x1b": interface.name}


def _every_port() -> list[Port]:
    """Every row of the corpus as a port; what nobody claims is of a kind that nobody knows."""
    chain = Chain([*default_classifiers(), _Anything()])
    ports = [chain.port(row, None) for row in corpus()]
    return list({port.uuid: port for port in ports if port is not None}.values())


def _ports(count: int) -> list[Port]:
    return [
        port_of(
            interface(f"tap{number}", ofport=number + 1, external_ids={"iface-id": f"v{number}"}),
            "vm",
            {"iface_id": f"v{number}"},
        )
        for number in range(count)
    ]


def _changed(port: Port) -> Port:
    return msgspec.structs.replace(port, ofport=4711, state="ready", mac_in_use="fe:16:3e:0:0:1")


def _a_day(driven: DrivenSink) -> None:
    """Ports come, change and go, in batches and alone; the database restarts once."""
    ports = _ports(6)
    driven.sync(ports[:3])
    driven.settle()
    driven.publish(*ports[3:])
    driven.publish(_changed(ports[0]))
    driven.publish(_changed(ports[3]), ports[1].uuid)
    driven.publish(msgspec.structs.replace(ports[4], kind="other", attributes={}))
    driven.settle()
    driven.sync([ports[0], ports[2], ports[5]])
    driven.publish(ports[5].uuid)


def _fold(arrived: Iterable[str]) -> set[str]:
    names: set[str] = set()
    for line in arrived:
        action, _, name = line.partition(" ")
        if action == "offline":
            names.discard(name)
        else:
            names.add(name)
    return names


def _files() -> set[str]:
    """The open files of this process, by number and what they are."""
    found: set[str] = set()
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # that of the listing itself
            found.add(f"{number} {os.readlink(f'/proc/self/fd/{number}')}")
    return found


def event_word(event: PortEvent) -> str:
    """`online tap0`: an event as arrived() says it."""
    return f"{event.action} {event.port.name}"
