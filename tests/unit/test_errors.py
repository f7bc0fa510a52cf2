"""The types of what can go wrong are a contract: except clauses and exit statuses hang on them."""

from __future__ import annotations

import inspect

import pytest

from dfovsdb import errors
from dfovsdb.errors import (
    ConfigurationError,
    ConnectionLost,
    DfovsdbError,
    ProtocolError,
    SinkUnavailable,
    WaitTimeout,
)


def test_every_error_is_a_dfovsdb_error_with_a_docstring() -> None:
    kinds = [kind for _, kind in inspect.getmembers(errors, inspect.isclass)]
    assert len(kinds) == 7
    for kind in kinds:
        assert issubclass(kind, DfovsdbError)
        assert kind.__doc__


def test_a_protocol_error_ends_a_connection() -> None:
    assert issubclass(ProtocolError, ConnectionLost)


@pytest.mark.parametrize("kind", [ConfigurationError, ConnectionLost, SinkUnavailable])
def test_the_others_are_distinguished(kind: type[DfovsdbError]) -> None:
    assert kind.__base__ is DfovsdbError


def test_a_wait_that_took_too_long_is_a_timeout_error() -> None:
    with pytest.raises(TimeoutError):
        raise WaitTimeout("too long")


def test_an_unavailable_sink_says_how_many_events_arrived() -> None:
    assert SinkUnavailable("down").delivered == 0
    down = SinkUnavailable("down", delivered=3)
    assert (str(down), down.delivered) == ("down", 3)


def test_an_outage_needs_no_reason() -> None:
    assert str(SinkUnavailable()) == "no reason was given"


def test_an_error_that_quotes_the_server_is_bounded() -> None:
    for kind in (ConnectionLost, ProtocolError):
        assert len(str(kind("x" * 100_000_000))) == 2001
