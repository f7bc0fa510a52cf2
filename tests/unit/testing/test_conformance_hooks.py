"""A mistake of the author, in what he overrides in a suite, is said to be his."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest

from dfovsdb import Interface, SinkContext, SinkUnavailable
from dfovsdb.testing import ClassifierConformance, SinkConformance, interface
from tests.unit.testing.test_conformance import Good, OfRemembers, Remembers, promises

OUTAGE = "test_an_outage_is_raised_as_sink_unavailable"
END = "test_the_destination_ends_with_the_ports_of_the_switch"
ORDER = "test_events_arrive_in_order"
OPTIONS = "test_its_options_are_arguments_of_its_init"


class WantsAPath(Remembers):
    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path


def raises(_suite: object, *_args: object) -> Any:
    raise KeyError("away")


@contextlib.contextmanager
def raises_at_its_end(_suite: object, sink: Remembers, after: int) -> Iterator[None]:
    sink.takes = after
    yield
    sink.takes = None
    raises(None)


@contextlib.contextmanager
def never_ends(_suite: object, sink: Remembers, after: int) -> Iterator[None]:
    sink.takes = after
    yield


@contextlib.contextmanager
def never_begins(_suite: object, _sink: Remembers, _after: int) -> Iterator[None]:
    yield


def forgot_the_decorator(_suite: object, _sink: Remembers, _after: int) -> Iterator[None]:
    yield


def answers(value: object) -> Any:
    return lambda _suite, *_args: value


HOOKS = [
    ("arrived", raises, ORDER, r"your arrived\(\) raised KeyError\('away'\)"),
    ("arrived", raises, END, r"your arrived\(\) raised KeyError\('away'\)"),
    ("arrived", raises, "test_nothing_is_lost_in_an_outage", r"your arrived\(\) raised"),
    (
        "arrived",
        answers(None),
        ORDER,
        r"your arrived\(\) returned None; it must return lines such as",
    ),
    ("arrived", answers("online tap0"), ORDER, r"returned 'online tap0'; it must return lines"),
    (
        "arrived",
        answers([b"online tap0"]),
        END,
        r"returned \[b'online tap0'\]; it must return lines",
    ),
    ("arrived", answers(["tap0 online"]), END, r"the line 'tap0 online'; each is an action"),
    ("believes", raises, END, r"your believes\(\) raised KeyError\('away'\)"),
    ("believes", answers(5), END, r"your believes\(\) returned 5; it must return names such as"),
    ("outage", raises, OUTAGE, r"your outage\(\) raised KeyError\('away'\)"),
    ("outage", raises_at_its_end, OUTAGE, r"your outage\(\) raised KeyError\('away'\)"),
    ("outage", never_ends, OUTAGE, r"not in time: emit\(\) still raises SinkUnavailable\('nobody"),
    ("outage", never_begins, OUTAGE, r"or your outage\(\) did not take it down"),
    ("outage", forgot_the_decorator, OUTAGE, r"decorate it with contextlib.contextmanager"),
    ("make", raises, END, r"your make\(\) raised KeyError\('away'\)"),
    ("make", answers(None), OPTIONS, r"your make\(\) returned None, not a Sink"),
    ("plugin", WantsAPath, END, r"your WantsAPath\(\) raised TypeError.*override make\(\)"),
    ("plugin", None, OPTIONS, r"Suite does not name what it tests: set `plugin`"),
]


def suite_of(base: type, **overridden: Any) -> Any:
    return type("Suite", (base,), overridden)()


def ask(suite: Any, promise: str) -> None:
    getattr(suite, promise)(**({"after": 1} if "nothing_is_lost" in promise else {}))


@pytest.mark.parametrize(("hook", "mistake", "promise", "text"), HOOKS)
def test_a_mistake_in_a_hook_of_a_sinks_suite_is_said_to_be_there(
    hook: str, mistake: Any, promise: str, text: str, tmp_path: Any
) -> None:
    suite = suite_of(OfRemembers, **{"plugin": Remembers, "tmp_path": tmp_path, hook: mistake})
    suite.deadline = 0.5 if mistake is never_ends else 20.0
    with pytest.raises(AssertionError, match=text) as raised:
        ask(suite, promise)
    if "raised KeyError" in text:
        assert isinstance(raised.value.__cause__, KeyError)  # its traceback has the line


@pytest.mark.parametrize(
    ("hook", "mistake", "text"),
    [
        ("make", raises, r"your make\(\) raised KeyError\('away'\)"),
        ("make", answers(Remembers()), r"your make\(\) returned .*, not a Classifier"),
        ("rows", raises, r"your rows\(\) raised KeyError\('away'\)"),
        (
            "rows",
            answers(["tap0"]),
            r"your rows\(\) returned \['tap0'\]; it must return Interface row",
        ),
        ("plugin", None, "Suite does not name what it tests: set `plugin`"),
    ],
)
def test_a_mistake_in_a_hook_of_a_classifiers_suite_is_said_to_be_there(
    hook: str, mistake: Any, text: str
) -> None:
    suite = suite_of(ClassifierConformance, **{"plugin": Good, hook: mistake})
    with pytest.raises(AssertionError, match=text):
        ask(suite, "test_it_answers_every_row")


def test_rows_of_the_author_have_the_columns_that_are_declared() -> None:
    class Asks(Good):
        columns = frozenset({"mtu"})
        seen: ClassVar[list[object]] = []

        def classify(self, interface: Interface) -> dict[str, str | None] | None:
            self.seen.append(interface.columns["mtu"])
            return {}

    suite = suite_of(ClassifierConformance, plugin=Asks, rows=answers([interface("qr-")]))
    for promise in promises(ClassifierConformance):
        ask(suite, promise)
    assert {None, 1500} == set(Asks.seen)


def test_what_the_core_monitors_is_no_key_of_columns_in_the_suite_either() -> None:
    class Asks(Good):
        columns = frozenset({"name"})

        def classify(self, interface: Interface) -> dict[str, str | None] | None:
            return {"name": interface.columns["name"]}

    with pytest.raises(AssertionError, match="KeyError"):
        ask(suite_of(ClassifierConformance, plugin=Asks), "test_it_answers_every_row")


def test_a_hook_may_skip_the_test_that_asks_it(tmp_path: Any) -> None:
    def skips(_suite: object, _sink: object) -> Any:
        pytest.skip("not on this machine")

    suite = suite_of(SinkConformance, plugin=Remembers, tmp_path=tmp_path, arrived=skips)
    with pytest.raises(pytest.skip.Exception, match="not on this machine"):
        ask(suite, ORDER)


def test_hooks_may_answer_any_iterable(tmp_path: Any) -> None:
    def lines(_suite: object, sink: Remembers) -> Iterator[str]:
        yield from sink.arrived

    suite = suite_of(SinkConformance, plugin=Remembers, tmp_path=tmp_path, arrived=lines)
    ask(suite, ORDER)
    ask(suite, END)


class NeverOpens(Remembers):
    def open(self, context: SinkContext) -> None:
        raise SinkUnavailable("no folder /nowhere")


class NeverTakes(Remembers):
    def __init__(self) -> None:
        super().__init__()
        self.takes = 0


@pytest.mark.parametrize(
    ("plugin", "text"),
    [
        (NeverOpens, r"not in time: open\(\) still raises SinkUnavailable\('no folder /nowhere"),
        (NeverTakes, r"not in time: emit\(\) still raises SinkUnavailable\('nobody there"),
    ],
)
def test_a_sink_that_takes_nothing_costs_its_suite_the_time_of_one_test(
    plugin: type[Remembers], text: str, tmp_path: Any
) -> None:
    made: list[Remembers] = []

    def make(_suite: object) -> Remembers:
        made.append(plugin())
        return made[-1]

    suite = suite_of(OfRemembers, make=make, tmp_path=tmp_path, deadline=0.3)
    with pytest.raises(AssertionError, match=text) as first:
        ask(suite, "test_it_changes_nothing_that_it_receives")
    suite.deadline = 3600
    for promise in promises(SinkConformance):
        if promise not in (OPTIONS, "test_it_is_built_without_touching_anything"):
            before = len(made)
            with pytest.raises(AssertionError) as then:
                ask(type(suite)(), promise)
            assert str(then.value) == str(first.value)
            assert len(made) == before
    ask(suite_of(OfRemembers, plugin=Remembers, tmp_path=tmp_path), END)  # another suite


def test_an_outage_that_never_ends_is_not_held_against_the_sink(tmp_path: Any) -> None:
    suite = suite_of(
        OfRemembers, plugin=Remembers, outage=never_ends, tmp_path=tmp_path, deadline=0.5
    )
    with pytest.raises(AssertionError, match="still raises"):
        suite.test_nothing_is_lost_in_an_outage(after=0)
    again = type(suite)()
    again.tmp_path, again.deadline = tmp_path, 20.0
    ask(again, END)
