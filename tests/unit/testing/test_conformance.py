"""For each promise of the conformance suites a plugin that breaks it, and is caught."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import gc
import os
import random
import socket
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import msgspec
import pytest
from oslo_config import cfg

from dfovsdb import (
    Classifier,
    Interface,
    Port,
    PortEvent,
    Sink,
    SinkContext,
    SinkUnavailable,
    SyncMarker,
)
from dfovsdb.testing.conformance import (
    ClassifierConformance,
    SinkConformance,
    event_word,
    purity,
    sinks,
)

Answer = Mapping[str, str | None] | None


class Good(Classifier):
    kind = "good"

    def classify(self, interface: Interface) -> Answer:
        iface_id = interface.external_ids.get("iface-id")
        return {"iface_id": iface_id} if iface_id else None


class NamesNoKind(Good):
    kind = ""


class NamesAKindOfTwoWords(Good):
    kind = "router port"


class WantsStatistics(Good):
    columns = frozenset({"statistics"})


class OptionNobodyTakes(Good):
    options = (cfg.StrOpt("colour"),)


class OptionWithoutDefault(Good):
    options = (cfg.StrOpt("colour"),)

    def __init__(self, colour: str) -> None:
        self.colour = colour


class OptionsThatAreOne(Good):
    options = cfg.StrOpt("colour")  # type: ignore[assignment]  # the comma is forgotten


class Partial(Good):
    def classify(self, interface: Interface) -> Answer:
        return {"iface_id": interface.external_ids["iface-id"]}


class TrustsItsColumn(Good):
    columns = frozenset({"bfd"})

    def classify(self, interface: Interface) -> Answer:
        return {"bfd": interface.columns["bfd"].get("enable")}


class ReadsWhatItDidNotDeclare(Good):
    def classify(self, interface: Interface) -> Answer:
        return {"mtu": str(interface.columns["mtu"])}


class AnswersNumbers(Good):
    def classify(self, interface: Interface) -> Any:
        return {"number": interface.ofport}


class AnswersTrue(Good):
    def classify(self, interface: Interface) -> Any:
        return True


class NearlyFails(Good):
    def nearly(self, interface: Interface) -> str | None:
        return "its peer is " + interface.options["peer"]


class NearlyAsserts(Good):
    def nearly(self, interface: Interface) -> str | None:
        assert interface.options
        return None


class NearlyAnswersTrue(Good):
    def nearly(self, interface: Interface) -> Any:
        return True


class Counts(Good):
    def __init__(self) -> None:
        self.count = 0

    def classify(self, interface: Interface) -> Answer:
        self.count += 1
        return {"count": str(self.count)}


class AsksItsThread(Good):
    def classify(self, interface: Interface) -> Answer:
        return {"thread": threading.current_thread().name}


class ReusesItsAnswer(Good):
    def __init__(self) -> None:
        self.answer: dict[str, str | None] = {}

    def classify(self, interface: Interface) -> Answer:
        self.answer["name"] = interface.name
        return self.answer


class ChangesTheRow(Good):
    def classify(self, interface: Interface) -> Answer:
        interface.external_ids.pop("iface-id", None)  # type: ignore[attr-defined]  # on purpose
        return {}


class ReadsAFile(Good):
    def classify(self, interface: Interface) -> Answer:
        return {"host": Path("/proc/sys/kernel/hostname").read_text()}


class Laborious(Good):
    def classify(self, interface: Interface) -> Answer:
        return {"sum": str(sum(len(str(number)) for number in range(5000)))}


class Sleeps(Good):
    def classify(self, interface: Interface) -> Answer:
        time.sleep(0.005)
        return {}


class ClaimsNothing(Good):
    def classify(self, interface: Interface) -> Answer:
        return {} if interface.name.startswith("edge") else None


class MisspellsItsColumn(Good):
    columns = frozenset({"mtu_requests"})


class DeclaresAColumnOfAnotherTable(Good):
    columns = frozenset({"Port.datapath_type"})


class FirstComesFirst(Good):
    first: str | None = None

    def classify(self, interface: Interface) -> Answer:
        self.first = self.first or interface.name
        return {"first": self.first}


class ReadsTheClock(Good):
    def classify(self, interface: Interface) -> Answer:
        time.time()
        return {}


class AsksWhichDayItIs(Good):
    def classify(self, interface: Interface) -> Answer:
        dt.datetime.now(dt.UTC)
        return {}


class ReadsTheEnvironment(Good):
    def classify(self, interface: Interface) -> Answer:
        return {"region": os.environ.get("NO_SUCH_REGION")}


class LooksIntoSysfs(Good):
    def classify(self, interface: Interface) -> Answer:
        return {} if Path("/sys/class/net/lo").exists() else None


class Draws(Good):
    def classify(self, interface: Interface) -> Answer:
        random.random()
        return {}


class StartsAThread(Good):
    def classify(self, interface: Interface) -> Answer:
        threading.Thread(target=str).start()
        return {}


class StartsAProcess(Good):
    def classify(self, interface: Interface) -> Answer:
        subprocess.run(["true"], check=True)
        return {}


class LooksOnce(Good):
    """It reads a file for its first row only, so that a second pass would see nothing."""

    path: str | None = None

    def classify(self, interface: Interface) -> Answer:
        if self.path is None:
            self.path = os.readlink("/proc/self")
        return {}


class WaitsForEver(Good):
    def classify(self, interface: Interface) -> Answer:
        threading.Event().wait()
        return {}


class LoopsForEver(Good):
    def classify(self, interface: Interface) -> Answer:
        while True:
            with contextlib.suppress(Exception):
                len(interface.name)


class Exits(Good):
    def classify(self, interface: Interface) -> Answer:
        raise SystemExit(1)


class EncodesTheName(Good):
    def classify(self, interface: Interface) -> Answer:
        return {"hex": interface.name.encode().hex()}


class TellsTheHour(Good):
    def classify(self, interface: Interface) -> Answer:
        return {"hour": time.strftime("%H")}


class TellsTheHourInGreenwich(Good):
    def classify(self, interface: Interface) -> Answer:
        return {"hour": str(time.gmtime(None).tm_hour)}


class TellsTheTimeHere(Good):
    def classify(self, interface: Interface) -> Answer:
        return {"at": str(time.localtime(0).tm_hour)}


class AsksTheKernelForAnIndex(Good):
    def classify(self, interface: Interface) -> Answer:
        return {"known": str(interface.name in dict(socket.if_nameindex()).values())}


class AnswersHalfACharacter(Good):
    def classify(self, interface: Interface) -> Answer:
        return {"half": "\ud800"}


class ItsClassRemembers(Good):
    seen: ClassVar[set[str]] = set()

    def classify(self, interface: Interface) -> Answer:
        known = interface.uuid in self.seen
        self.seen.add(interface.uuid)
        return {"known": str(known)}


class FormatsAGivenTime(Good):
    """Good: the time comes from the row."""

    def classify(self, interface: Interface) -> Answer:
        return {"at": time.strftime("%H", time.gmtime(len(interface.name)))}


class DeclaresItsColumnsInOtherWays(Good):
    """Good: a Monitor takes a list, and the name of the table."""

    columns = ["Interface.mtu", "Port.tag"]  # type: ignore[assignment]  # noqa: RUF012

    def classify(self, interface: Interface) -> Answer:
        return {"mtu": str(interface.columns["mtu"]), "tag": str(interface.columns["Port.tag"])}


@dataclasses.dataclass(frozen=True, slots=True)
class FrozenClassifier(Good):
    """Good: nothing is set."""

    key: str = "iface-id"


class MakesManyObjects(Good):
    """Good: the garbage collector runs meanwhile, and somebody else reads a clock then."""

    def classify(self, interface: Interface) -> Answer:
        return {"at": str(len([[interface] for _ in range(2000)]))}


DEPENDS = "test_its_answer_depends_on_the_row_alone"
CLASSIFIERS: Sequence[tuple[type[Classifier], str, str]] = [
    (NamesNoKind, "test_it_names_its_kind_and_columns_that_can_be_monitored", "does not set kind"),
    (
        NamesAKindOfTwoWords,
        "test_it_names_its_kind_and_columns_that_can_be_monitored",
        "'router port'; a kind consists of letters",
    ),
    (WantsStatistics, "test_it_names_its_kind_and_columns_that_can_be_monitored", "statistics"),
    (MisspellsItsColumn, "test_its_columns_are_in_the_schema", "did you mean mtu_request"),
    (DeclaresAColumnOfAnotherTable, "test_its_columns_are_in_the_schema", "'Port.datapath_type'"),
    (ClaimsNothing, "test_it_claims_a_row", "add a row that is of the kind good, def rows"),
    (FirstComesFirst, "test_the_same_row_has_the_same_answer", "the answers differ"),
    (ReadsTheClock, DEPENDS, r"time.time\(\) at .*test_conformance.py:\d+"),
    (AsksWhichDayItIs, DEPENDS, r"datetime.now\(\) at .*test_conformance.py:\d+"),
    (ReadsTheEnvironment, DEPENDS, r"os.environ at .*test_conformance.py:\d+"),
    (LooksIntoSysfs, DEPENDS, r"os.stat\(\) at .*test_conformance.py:\d+"),
    (TellsTheHour, DEPENDS, r"time.strftime\(\) at .*test_conformance.py:\d+"),
    (TellsTheHourInGreenwich, DEPENDS, r"time.gmtime\(\) at .*test_conformance.py:\d+"),
    (TellsTheTimeHere, DEPENDS, r"time.localtime\(\) at .*test_conformance.py:\d+"),
    (AsksTheKernelForAnIndex, DEPENDS, r"socket.if_nameindex\(\) at .*test_conformance.py:\d+"),
    (ItsClassRemembers, "test_the_same_row_has_the_same_answer", "the answers differ"),
    (AnswersHalfACharacter, "test_attributes_are_strings_or_none", "is not valid Unicode"),
    (Draws, DEPENDS, r"random.random\(\) at .*test_conformance.py:\d+"),
    (StartsAThread, DEPENDS, r"start_(new|joinable)_thread\(\) at .*test_conformance.py:\d+"),
    (StartsAProcess, "test_it_does_no_input_or_output", "subprocess.Popen"),
    (LooksOnce, DEPENDS, r"os.readlink\(\) at .*test_conformance.py:\d+"),
    (WaitsForEver, "test_it_answers_every_row", r"not returned after 0.1 s, at .*py:\d+"),
    (LoopsForEver, "test_it_answers_every_row", r"not returned after 0.1 s, at .*py:\d+"),
    (Exits, "test_it_answers_every_row", r"SystemExit\(1\) at .*test_conformance.py:\d+"),
    (EncodesTheName, "test_it_answers_every_row", "surrogates not allowed.*conformance.py:"),
    (OptionNobodyTakes, "test_its_options_are_arguments_of_its_init", "not an argument"),
    (OptionWithoutDefault, "test_its_options_are_arguments_of_its_init", "no default"),
    (OptionsThatAreOne, "test_its_options_are_arguments_of_its_init", "not a list of oslo.config"),
    (Partial, "test_it_answers_every_row", "KeyError.*the row is"),
    (TrustsItsColumn, "test_it_answers_every_row", "AttributeError"),
    (ReadsWhatItDidNotDeclare, "test_it_answers_every_row", "KeyError"),
    (AnswersNumbers, "test_attributes_are_strings_or_none", "'number' is 65534"),
    (AnswersTrue, "test_attributes_are_strings_or_none", "not a mapping"),
    (
        NearlyFails,
        "test_what_a_row_lacks_is_words_or_none",
        "nearly.. raised KeyError.*the row is",
    ),
    (
        NearlyAsserts,
        "test_what_a_row_lacks_is_words_or_none",
        "nearly.. raised AssertionError.*test_conformance.py.*the row is",
    ),
    (NearlyAnswersTrue, "test_what_a_row_lacks_is_words_or_none", "nearly.. returned True"),
    (Counts, "test_the_same_row_has_the_same_answer", "the answers differ"),
    (AsksItsThread, "test_the_same_row_has_the_same_answer", "the answers differ"),
    (ReusesItsAnswer, "test_an_answer_is_not_changed_later", "by a later call"),
    (ChangesTheRow, "test_it_changes_no_row", "the row was changed"),
    (ReadsAFile, "test_it_does_no_input_or_output", "hostname"),
    (Laborious, "test_a_row_costs_few_calls", "calls for one row"),
    (Sleeps, "test_it_is_not_much_slower_than_the_default_classifiers", "times as slow"),
]


class Remembers(Sink):
    """Good: the destination is a list, which can be down."""

    def __init__(self) -> None:
        self.arrived: list[str] = []
        self.takes: int | None = None

    def emit(self, event: PortEvent) -> None:
        if self.takes is not None:
            if self.takes == 0:
                self.down()
            self.takes -= 1
        self.arrived.append(event_word(event))

    def down(self) -> None:
        raise SinkUnavailable("nobody there")


class Batches(Remembers):
    def emit_many(self, events: Sequence[PortEvent]) -> None:
        super().emit_many(events)


class SinkOptionNobodyTakes(Remembers):
    options = (cfg.StrOpt("path"),)


class ConnectsWhenItIsBuilt(Remembers):
    def __init__(self) -> None:
        super().__init__()
        sqlite3.connect(":memory:").close()


class WritesWhenItIsBuilt(Remembers):
    def __init__(self) -> None:
        super().__init__()
        with open("/dev/null", "a"):
            pass


class ReadsWhatItIsGiven(Remembers):
    """Good: that a file is missing or malformed is said before the start."""

    def __init__(self) -> None:
        super().__init__()
        self.text = Path("/proc/sys/kernel/hostname").read_text()


class ChokesOnNone(Remembers):
    def emit(self, event: PortEvent) -> None:
        super().emit(event)
        " ".join(event.port.attributes.values())  # type: ignore[arg-type]  # on purpose


class ChangesEvents(Remembers):
    def emit(self, event: PortEvent) -> None:
        msgspec.structs.force_setattr(event.port, "name", "changed")  # on purpose


class Sorts(Batches):
    def emit_many(self, events: Sequence[PortEvent]) -> None:
        super().emit_many(sorted(events, key=lambda event: event.port.name, reverse=True))


class IgnoresDepartures(Remembers):
    def emit(self, event: PortEvent) -> None:
        if event.action != "offline":
            super().emit(event)


class BatchesAlone(Batches):
    def emit(self, event: PortEvent) -> None:
        raise NotImplementedError

    def emit_many(self, events: Sequence[PortEvent]) -> None:
        self.arrived += map(event_word, events)


class RefusesRepetition(Remembers):
    def __init__(self) -> None:
        super().__init__()
        self.seen: set[int] = set()

    def emit(self, event: PortEvent) -> None:
        if event.seq in self.seen:
            raise ValueError("this came before")
        self.seen.add(event.seq)
        super().emit(event)


class WantsEverySeq(Remembers):
    last: int | None = None

    def emit(self, event: PortEvent) -> None:
        if self.last is not None and event.seq > self.last + 1:
            raise ValueError("a seq is missing")
        self.last = event.seq
        super().emit(event)

    def sync_started(self, marker: SyncMarker) -> None:
        self.last = marker.seq

    def sync_finished(self, marker: SyncMarker) -> None:
        self.last = marker.seq


class RaisesItsOwn(Remembers):
    def down(self) -> None:
        raise ConnectionError("nobody there")


class Swallows(Remembers):
    def emit(self, event: PortEvent) -> None:
        with contextlib.suppress(SinkUnavailable):
            super().emit(event)


class ClaimsTooMuch(Batches):
    def emit_many(self, events: Sequence[PortEvent]) -> None:
        try:
            super().emit_many(events)
        except SinkUnavailable:
            raise SinkUnavailable("nobody there", delivered=len(events)) from None


class WantsOneBracket(Remembers):
    def sync_started(self, marker: SyncMarker) -> None:
        if marker.origin != "initial":
            raise ValueError("we had that")


class AsksForEver(Remembers):
    def open(self, context: SinkContext) -> None:
        self.context = context

    def sync_finished(self, marker: SyncMarker) -> None:
        self.context.request_replay()


class CannotReopen(Remembers):
    def reopen(self) -> None:
        raise ValueError("I/O operation on closed file")


class FailsWhenPolled(Remembers):
    poll_interval = 5

    def poll(self) -> None:
        raise ValueError("nothing came yet")


class LeavesAThread(Remembers):
    leave: ClassVar[threading.Event]

    def open(self, context: SinkContext) -> None:
        threading.Thread(target=self.leave.wait, daemon=True).start()


class LeavesAFile(Remembers):
    def open(self, context: SinkContext) -> None:
        self.kept.append(open("/dev/null"))  # noqa: SIM115 - on purpose

    kept: ClassVar[list[Any]] = []


class ClosesWhatIsNotThere(Remembers):
    def close(self) -> None:
        self.arrived.pop()


class BelongsToItsThread(Remembers):
    def __init__(self) -> None:
        super().__init__()
        self.db = sqlite3.connect(":memory:")
        self.kept.append(self.db)

    kept: ClassVar[list[Any]] = []

    def emit(self, event: PortEvent) -> None:
        self.db.execute("SELECT 1")


class Hangs(Remembers):
    leave: ClassVar[threading.Event]

    def emit(self, event: PortEvent) -> None:
        self.leave.wait()


class StartsEmpty(Remembers):
    """A restart wipes what its destination has, and it continues in the middle."""

    def open(self, context: SinkContext) -> None:
        if self.arrived:
            self.arrived.append("offline tap0")

    def emit(self, event: PortEvent) -> None:
        if event.port.name != "tap0" or not self.arrived:
            super().emit(event)


class BeginsANewList(Remembers):
    """It relies on a first sync that contains every port."""

    def open(self, context: SinkContext) -> None:
        self.arrived.clear()


class IsNotInstant(Remembers):
    instant = True

    def emit(self, event: PortEvent) -> None:
        time.sleep(0.03)
        super().emit(event)


class RefusesOneOfABatch(Batches):
    def emit(self, event: PortEvent) -> None:
        if event.port.name == "tap4":
            raise ValueError("no room for this one")
        super().emit(event)


class IsACoroutine(Remembers):
    async def emit(self, event: PortEvent) -> None:  # type: ignore[override]  # on purpose
        super().emit(event)


class ReturnsAGenerator(Remembers):
    def emit(self, event: PortEvent) -> Any:
        return self._later(event)

    def _later(self, event: PortEvent) -> Iterator[None]:
        yield super().emit(event)


class LeavesAProcess(Remembers):
    left: ClassVar[list[subprocess.Popen[bytes]]] = []

    def open(self, context: SinkContext) -> None:
        super().open(context)
        self.left.append(subprocess.Popen(["sleep", "60"]))


class SelectsByWhatIsNotThere(Remembers):
    def selection(self, port: Port) -> bool:
        return port.attributes["colour"] == "red"


class SelectsLater(Remembers):
    def selection(self, port: Port) -> Any:
        return (name != "tap1" for name in [port.name])


class SelectsSome(Remembers):
    """Good: its selection says what it wants, so the suite needs no wants()."""

    def selection(self, port: Port) -> bool:
        return port.name != "tap1"


class HasProperties(Remembers):
    """Good: what the worker reads is a property."""

    @property
    def poll_interval(self) -> float:  # type: ignore[override]  # nobody has to set it
        return 60.0

    @property
    def instant(self) -> bool:  # type: ignore[override]  # nobody has to set it
        return True


class OpensLate(Remembers):
    """Good: when it is opened first, its destination is not there yet."""

    opened = False

    def open(self, context: SinkContext) -> None:
        if not self.opened:
            self.opened = True
            raise SinkUnavailable("not there yet")
        super().open(context)


@dataclasses.dataclass(frozen=True, slots=True)
class FrozenSink(Sink):
    """Good: nothing is set."""

    arrived: list[str] = dataclasses.field(default_factory=list)

    def emit(self, event: PortEvent) -> None:
        self.arrived.append(event_word(event))


SINKS: Sequence[tuple[type[Remembers], str, str]] = [
    (SinkOptionNobodyTakes, "test_its_options_are_arguments_of_its_init", "not an argument"),
    (ConnectsWhenItIsBuilt, "test_it_is_built_without_touching_anything", "sqlite3.connect"),
    (WritesWhenItIsBuilt, "test_it_is_built_without_touching_anything", "open.*/dev/null"),
    (ChokesOnNone, "test_it_takes_every_port_that_a_switch_may_have", "emit.. raised TypeError"),
    (ChangesEvents, "test_it_changes_nothing_that_it_receives", "an event was changed"),
    (IsACoroutine, "test_every_call_returns", "emit.. is a coroutine or generator function"),
    (
        ReturnsAGenerator,
        "test_every_call_returns",
        "emit.. raised TypeError.'.*emit returned <gener",
    ),
    (
        SelectsByWhatIsNotThere,
        "test_it_takes_every_port_that_a_switch_may_have",
        r"selection raised KeyError\('colour'\) at .*test_conformance.py",
    ),
    (
        SelectsLater,
        "test_it_takes_every_port_that_a_switch_may_have",
        "selection returned <generator.*, which is true of everything, of Port",
    ),
    (
        LeavesAProcess,
        "test_it_is_opened_and_closed_once_and_leaves_nothing_behind",
        r"these processes are still running: {'\d+ sleep'}",
    ),
    (Sorts, "test_events_arrive_in_order", "arrived: "),
    (IgnoresDepartures, "test_the_destination_ends_with_the_ports_of_the_switch", "to be present"),
    (BatchesAlone, "test_a_batch_may_come_again_one_by_one", "NotImplementedError"),
    (RefusesRepetition, "test_what_is_offered_again_is_taken_again", "came before"),
    (WantsEverySeq, "test_an_event_that_was_refused_harms_no_other", "seq is missing"),
    (RaisesItsOwn, "test_an_outage_is_raised_as_sink_unavailable", "ConnectionError"),
    (Swallows, "test_an_outage_is_raised_as_sink_unavailable", "nothing raised"),
    (Swallows, "test_nothing_is_lost_in_an_outage", "to be present"),
    (ClaimsTooMuch, "test_nothing_is_lost_in_an_outage", "to be present"),
    (WantsOneBracket, "test_every_sync_is_taken_with_its_markers", "we had that"),
    (AsksForEver, "test_it_asks_for_no_replays_without_end", "resends without end"),
    (CannotReopen, "test_reopen_and_poll_may_come_at_any_time", "closed file"),
    (FailsWhenPolled, "test_reopen_and_poll_may_come_at_any_time", "nothing came"),
    (
        LeavesAThread,
        "test_it_is_opened_and_closed_once_and_leaves_nothing_behind",
        "these threads",
    ),
    (LeavesAFile, "test_it_is_opened_and_closed_once_and_leaves_nothing_behind", "/dev/null"),
    (ClosesWhatIsNotThere, "test_it_may_be_closed_before_it_received_anything", "IndexError"),
    (BelongsToItsThread, "test_it_works_on_a_thread_that_did_not_make_it", "ProgrammingError"),
    (StartsEmpty, "test_it_continues_after_a_restart", "to be present"),
    (IsNotInstant, "test_a_sink_that_is_instant_never_waits", "took longer than 0.02 s"),
    (BeginsANewList, "test_it_continues_after_a_restart_with_state_dir", "to be present"),
    (
        RefusesOneOfABatch,
        "test_it_works_on_a_thread_that_did_not_make_it",
        r"^emit\(\) raised ValueError.* at .*test_conformance.py:\d+ of \(PortEvent.*'tap4'",
    ),
    (Hangs, "test_every_call_returns", "emit.. does not return"),
]


class OfFrozen(SinkConformance):
    def arrived(self, sink: Sink) -> Sequence[str]:
        assert isinstance(sink, FrozenSink)
        return sink.arrived


class OfRemembers(SinkConformance):
    deadline = 5.0

    def arrived(self, sink: Sink) -> Sequence[str]:
        assert isinstance(sink, Remembers)
        return sink.arrived

    def again(self, sink: Sink) -> Sink:
        assert isinstance(sink, Remembers)
        second = type(sink)()
        second.arrived = sink.arrived
        return second

    @contextlib.contextmanager
    def outage(self, sink: Sink, after: int) -> Iterator[None]:
        assert isinstance(sink, Remembers)
        sink.takes = after
        yield
        sink.takes = None


def promises(suite: type) -> dict[str, Callable[..., None]]:
    return {name: getattr(suite, name) for name in dir(suite) if name.startswith("test_")}


def ask(suite: Any, promise: str) -> None:
    arguments = {"after": 1} if promise == "test_nothing_is_lost_in_an_outage" else {}
    getattr(suite, promise)(**arguments)


def broken(plugin: type, promise: str, message: str) -> Any:
    return pytest.param(plugin, promise, message, id=f"{plugin.__name__}-{promise}")


@pytest.mark.parametrize(("plugin", "promise", "message"), [broken(*case) for case in CLASSIFIERS])
def test_a_classifier_that_breaks_a_promise_is_caught(
    plugin: type[Classifier], promise: str, message: str
) -> None:
    suite = type("Suite", (ClassifierConformance,), {"plugin": plugin})()
    if plugin in (WaitsForEver, LoopsForEver):
        suite.deadline = 0.1
    if plugin is OptionWithoutDefault:
        suite.make = lambda: OptionWithoutDefault("red")
    with pytest.raises(AssertionError, match=message):
        ask(suite, promise)


def test_what_the_garbage_collector_calls_is_not_the_authors() -> None:
    def read_a_clock(_phase: str, _info: object) -> None:
        time.perf_counter()

    gc.callbacks.append(read_a_clock)
    try:
        ask(type("Suite", (ClassifierConformance,), {"plugin": MakesManyObjects})(), DEPENDS)
    finally:
        gc.callbacks.remove(read_a_clock)


@pytest.mark.parametrize(
    "plugin", [Good, FormatsAGivenTime, DeclaresItsColumnsInOtherWays, FrozenClassifier]
)
@pytest.mark.parametrize("promise", promises(ClassifierConformance))
def test_a_classifier_that_keeps_its_promises_passes(
    plugin: type[Classifier], promise: str
) -> None:
    ask(type("Suite", (ClassifierConformance,), {"plugin": plugin})(), promise)


@pytest.mark.parametrize("promise", promises(ClassifierConformance))
def test_a_classifier_that_hangs_lets_no_test_hang(promise: str) -> None:
    suite = type("Suite", (ClassifierConformance,), {"plugin": LoopsForEver})()
    suite.deadline = 0.01
    with contextlib.suppress(AssertionError):  # those that do not call it pass
        ask(suite, promise)
    with pytest.raises(AssertionError, match=r"classify.. has not returned after"):
        ask(suite, "test_it_claims_a_row")


@pytest.fixture
def leave() -> Iterator[threading.Event]:
    """Ends what broken sinks leave behind."""
    event = LeavesAThread.leave = Hangs.leave = threading.Event()
    yield event
    event.set()
    for kept in (LeavesAFile.kept, BelongsToItsThread.kept):
        while kept:
            kept.pop().close()
    while LeavesAProcess.left:
        process = LeavesAProcess.left.pop()
        process.kill()
        process.wait()


@pytest.mark.usefixtures("leave")
@pytest.mark.parametrize(("plugin", "promise", "message"), [broken(*case) for case in SINKS])
def test_a_sink_that_breaks_a_promise_is_caught(
    plugin: type[Remembers], promise: str, message: str, tmp_path: Path
) -> None:
    suite = type("Suite", (OfRemembers,), {"plugin": plugin, "tmp_path": tmp_path})()
    if plugin is Hangs:
        suite.deadline = 0.3
    with pytest.raises(AssertionError, match=message):
        ask(suite, promise)


@pytest.mark.parametrize(
    "plugin",
    [
        Remembers,
        Batches,
        ReadsWhatItIsGiven,
        SelectsSome,
        HasProperties,
        OpensLate,
    ],
)
@pytest.mark.parametrize("promise", promises(SinkConformance))
def test_a_sink_that_keeps_its_promises_passes(
    plugin: type[Remembers], promise: str, tmp_path: Path
) -> None:
    ask(type("Suite", (OfRemembers,), {"plugin": plugin, "tmp_path": tmp_path})(), promise)


@pytest.mark.parametrize("promise", promises(SinkConformance))
def test_a_sink_that_is_a_frozen_dataclass_passes(promise: str, tmp_path: Path) -> None:
    namespace = {"plugin": FrozenSink, "tmp_path": tmp_path}
    ask(type("Suite", (OfFrozen,), namespace)(), promise)


def test_a_child_that_was_there_before_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(monotonic=time.monotonic, sleep=lambda _: pytest.fail("it waits"))
    monkeypatch.setattr(sinks, "time", clock)
    with subprocess.Popen("cat", stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin
        assert child.stdout
        child.stdin.write(b"\n")
        child.stdin.flush()
        child.stdout.readline()  # it has begun
        known = sinks._children_now()
        assert f"{child.pid} cat" in known
        assert sinks._children(known) == set()


def test_the_clocks_that_another_thread_reads_are_not_noted() -> None:
    asked, told = threading.Event(), threading.Event()

    def tell() -> None:
        asked.wait()
        time.strftime("%H")
        told.set()

    def ask() -> None:
        asked.set()
        told.wait()

    thread = threading.Thread(target=tell)
    thread.start()
    assert purity.impurities(ask) == []
    thread.join()


def test_each_promise_has_a_plugin_that_breaks_it() -> None:
    assert {promise for _, promise, _ in CLASSIFIERS} == set(promises(ClassifierConformance))
    assert {promise for _, promise, _ in SINKS} == set(promises(SinkConformance))
