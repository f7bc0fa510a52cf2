"""The test kit: rows, matchers and fixtures that say what is wrong where something is."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import msgspec
import pytest
from testtools.assertions import assert_that
from testtools.matchers import Contains, Not

from dfovsdb import testing
from dfovsdb.model import Interface
from dfovsdb.testing import (
    CaptureSink,
    EndsAs,
    IsOffline,
    IsOnline,
    IsUpdated,
    corpus,
    interface,
    wait_until,
)
from dfovsdb.testing.rows import declaring
from tests.unit.samples import event, marker, port


def said(matcher: IsOnline | IsUpdated | EndsAs, what: object) -> str:
    mismatch = matcher.match(what)  # type: ignore[arg-type]  # each takes what it is for
    assert mismatch is not None
    return str(mismatch.describe())


def test_a_row_is_built_of_its_name_and_the_columns_that_matter() -> None:
    row = interface("br-int", type="internal", ofport=65534, mtu=1500)
    assert (row.name, row.type, row.ofport, row.columns) == (
        "br-int",
        "internal",
        65534,
        {"mtu": 1500},
    )
    assert interface().name == "tap0"


def test_a_row_has_the_uuid_of_its_name_unless_it_is_given_one() -> None:
    assert interface("a") == interface("a")
    assert interface("a").uuid != interface("b").uuid
    assert interface("a", uuid="u").uuid == "u"


def test_a_column_that_is_declared_is_empty_in_the_corpus_and_filled() -> None:
    values = [row.columns["bfd"] for row in corpus(frozenset({"bfd"}))]
    assert None in values
    assert {"enable": "true", "min_rx": "500"} in values
    assert {row.uuid for row in corpus()} >= {interface("br-int").uuid}


def test_a_declared_column_is_a_key_beside_those_that_a_row_was_given() -> None:
    given, lacking = interface("a", mtu=9000), interface("b", bfd={})
    rows = declaring([given, lacking], frozenset({"mtu", "name"}))
    assert [(row.name, row.columns) for row in rows] == [
        ("a", {"mtu": 9000}),
        ("b", {"bfd": {}, "mtu": None}),
        ("b", {"bfd": {}, "mtu": 1500}),
    ]


def test_an_event_is_online_with_the_facts_that_are_asked_for() -> None:
    online = event(port(name="tap1"))
    for matcher in (
        IsOnline(),
        IsOnline("tap1"),
        IsOnline(kind="vm", ofport=5, iface_id="vif-1", origin="update"),
    ):
        assert_that(online, matcher)
    assert_that(online, Not(IsOffline("tap1")))
    assert_that(online, Not(IsUpdated("tap1")))
    assert_that(marker(), Not(IsOnline()))


def test_what_differs_is_said_with_the_event() -> None:
    message = said(IsOnline("tap1", kind="bridge", peer="x"), event())
    assert message == (
        "online vm tap0 ofport=5 iface_id=vif-1: name is 'tap0', not 'tap1', "
        "kind is 'vm', not 'bridge', peer is 'no such attribute', not 'x'"
    )
    assert said(IsUpdated(), event()).endswith(": not updated")
    assert str(IsOnline(kind="vm")) == "IsOnline(kind='vm')"


def test_events_end_as_the_ports_that_they_add_up_to() -> None:
    tap0, tap1 = port(), port(uuid="u1", name="tap1")
    later = msgspec.structs.replace(tap0, ofport=6)
    delivered = [
        marker(),
        event(tap0),
        event(tap1),
        event(later, action="updated", previous=tap0),
        event(tap1, action="offline"),
    ]
    assert_that(delivered, EndsAs([later]))
    assert_that(delivered, EndsAs({later.uuid: later}))
    assert_that([], EndsAs([]))
    message = said(EndsAs([tap0, port(uuid="u2", name="tap2")]), delivered)
    assert message.splitlines()[:3] == [
        "tap0: ofport is 6, not 5",
        "tap2 is not reported",
        "what was received:",
    ]
    assert "offline vm tap1" in message
    assert said(EndsAs([]), delivered).startswith("tap0 is reported, but should not be present")


def test_a_capturing_sink_is_matched_as_it_is() -> None:
    capture = CaptureSink()
    capture.emit(event())
    assert_that(capture, EndsAs([port()]))


def test_waiting_says_what_did_not_come_true() -> None:
    with pytest.raises(AssertionError, match="the moon did not come true within 0 s"):
        wait_until(lambda: False, timeout=0, what="the moon")


def test_the_fixture_builds_rows(make_interface: Callable[..., Interface]) -> None:
    assert make_interface(type="patch") == interface(type="patch")


def test_the_sandbox_needs_neither_pytest_nor_testtools() -> None:
    code = "import sys, dfovsdb.testing; print(sorted({'pytest', 'testtools'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("name", testing.__all__)
def test_each_name_of_the_kit_is_there(name: str) -> None:
    assert getattr(testing, name).__name__ == name


def test_another_name_is_an_attribute_error() -> None:
    assert_that(dir(testing), Not(Contains("nosuch")))
    with pytest.raises(AttributeError, match="nosuch"):
        _ = testing.nosuch
