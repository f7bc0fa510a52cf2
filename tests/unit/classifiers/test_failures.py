"""A classifier that fails on every row buries nothing: once a traceback, then a number."""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Mapping

import pytest

from dfovsdb.classifiers import failures
from dfovsdb.classifiers.base import Classifier
from dfovsdb.classifiers.chain import Chain
from dfovsdb.model import Interface
from dfovsdb.recording import replay
from dfovsdb.testing import interface
from tests.golden import RECORDING

Records = pytest.LogCaptureFixture


class Strict(Classifier):
    """Fails by class and place as a row asks for."""

    def __init__(self, kind: str = "strict") -> None:
        self.kind = kind

    def classify(self, interface: Interface) -> Mapping[str, str | None] | None:
        if interface.type == "lookup":
            return {"a": interface.external_ids["a"]}
        if interface.type == "other lookup":
            return {"b": interface.external_ids["b"]}
        if interface.type == "address":
            return {"a": str(ipaddress.ip_address(interface.name))}
        if interface.type == "other address":
            return {"b": str(ipaddress.ip_address(interface.name))}
        raise type(interface.type, (Exception,), {})(interface.name)


def fail(chain: Chain, *types: str, times: int = 1) -> None:
    for number in range(times):
        for kind in types:
            assert chain.port(interface(f"tap{number}", type=kind), None) is None


def said(caplog: Records) -> list[str]:
    return [
        f"{record.levelname}{' with traceback' if record.exc_info else ''}: {record.getMessage()}"
        for record in caplog.records
    ]


def test_a_mistake_has_its_traceback_once_and_is_counted_on_every_row(caplog: Records) -> None:
    chain = Chain([Strict()])
    fail(chain, "lookup", times=2000)
    assert chain.failures.by_kind == {"strict": 2000}
    (line,) = said(caplog)
    assert line.startswith("ERROR with traceback: classifier strict failed on interface 'tap0' (")
    chain.failures.sum_up()
    line = said(caplog)[1]
    assert line.startswith("WARNING: classifier strict failed as before 1999 more times: KeyError")
    assert " at test_failures.py:" in line


def test_what_was_summed_up_is_not_said_again(caplog: Records) -> None:
    chain = Chain([Strict()])
    fail(chain, "lookup", times=3)
    chain.failures.sum_up()
    chain.failures.sum_up()
    assert len(said(caplog)) == 2
    fail(chain, "lookup")
    chain.failures.sum_up()
    assert "failed as before 1 more times" in said(caplog)[2]


@pytest.mark.parametrize(
    "types",
    [
        ("lookup", "First"),  # another class
        ("First", "Second"),  # another class at the same place
        ("lookup", "other lookup"),  # another place
        ("address", "other address"),  # another place that leads to the same one in a library
    ],
)
def test_another_mistake_has_a_traceback_of_its_own(
    types: tuple[str, str], caplog: Records
) -> None:
    chain = Chain([Strict()])
    fail(chain, *types, times=5)
    assert [line.partition(":")[0] for line in said(caplog)] == ["ERROR with traceback"] * 2
    chain.failures.sum_up()
    assert [" 4 more times" in line for line in said(caplog)[2:]] == [True, True]


def test_each_classifier_has_a_traceback_of_its_own(caplog: Records) -> None:
    chain = Chain([Strict("one"), Strict("two")])
    fail(chain, "lookup", times=5)
    assert chain.failures.by_kind == {"one": 5, "two": 5}
    assert [line.split()[4] for line in said(caplog)] == ["one", "two"]


def test_a_sum_is_due_after_ten_times_then_hundred_then_thousand(caplog: Records) -> None:
    chain = Chain([Strict()])
    sums = []
    for number in range(2000):
        fail(chain, "lookup")
        if chain.failures.due:
            chain.failures.sum_up()
            sums.append(number)
    assert sums == [10, 110, 1110]
    assert len(said(caplog)) == 1 + len(sums)


def test_every_row_is_in_the_log_of_those_who_debug(caplog: Records) -> None:
    caplog.set_level(logging.DEBUG)
    fail(Chain([Strict()]), "lookup", times=3)
    lines = said(caplog)
    assert len(lines) == 3
    assert lines[2].startswith("DEBUG: classifier strict failed on interface 'tap2'")


def test_the_memory_of_mistakes_is_bounded(
    caplog: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failures, "_MOST_SAID", 5)
    chain = Chain([Strict()])
    for number in range(50):
        fail(chain, f"Error{number}", times=2)
    assert len(chain.failures._unsaid) <= 5
    chain.failures.sum_up()
    assert sum(" 1 more times" in line for line in said(caplog)) == 50


class Always(Classifier):
    kind = "always"

    def classify(self, interface: Interface) -> Mapping[str, str | None] | None:
        raise KeyError(interface.name)


def test_the_end_of_a_sync_says_how_many_more(caplog: Records) -> None:
    items = list(replay(RECORDING, classifiers=[Always()]))
    assert {item.action for item in items} == {"sync_started", "sync_finished"}
    first, *sums = said(caplog)
    assert first.startswith("ERROR with traceback: classifier always failed")
    assert 1 <= len(sums) <= 4  # of hundreds of changes
    assert all("classifier always failed as before " in line for line in sums)
