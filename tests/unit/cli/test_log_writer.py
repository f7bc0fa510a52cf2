"""A log that cannot be written stops nobody."""

from __future__ import annotations

import errno
import io
import logging
import sys
import threading
from collections.abc import Iterator

import pytest

from dfovsdb.cli import log_writer
from dfovsdb.cli.log_writer import LogWriter
from dfovsdb.testing import wait_until
from tests.waiting import DEADLINE


class Kept(logging.Handler):
    """Writes when it may."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.may = threading.Event()
        self.may.set()

    def emit(self, record: logging.LogRecord) -> None:
        self.may.wait(DEADLINE)
        self.lines.append(record.getMessage())


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> Kept:
    monkeypatch.setattr(log_writer, "LIMIT", 5)
    monkeypatch.setattr(log_writer, "PATIENCE", 0.01)
    return Kept()


@pytest.fixture
def writer(kept: Kept) -> Iterator[LogWriter]:
    writer = LogWriter([kept], hurried=["in-a-hurry"])
    yield writer
    kept.may.set()
    writer.finish(DEADLINE)


def logger_of(writer: LogWriter) -> logging.Logger:
    logger = logging.getLogger("of this test")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.handlers = [writer]
    return logger


def test_lines_are_written_in_order(kept: Kept, writer: LogWriter) -> None:
    logger = logger_of(writer)
    for number in range(100):
        logger.info("line %d", number)
    assert writer.finish(DEADLINE)
    assert kept.lines == [f"line {number}" for number in range(100)]


def test_a_stuck_log_is_waited_for_once_and_says_how_much_it_missed(
    kept: Kept, writer: LogWriter
) -> None:
    logger = logger_of(writer)
    kept.may.clear()
    logger.info("the first")
    wait_until(lambda: writer._records.empty())  # its thread is stuck with it
    for number in range(50):
        logger.info("line %d", number)
    assert writer._stuck
    assert not writer.finish(0.01)
    kept.may.set()
    wait_until(lambda: not writer._stuck)
    logger.info("the last")
    assert writer.finish(DEADLINE)
    written, said = kept.lines[:1], kept.lines[1]
    assert written == ["the first"]
    assert said == "45 log lines were dropped here, because the log could not be written"
    assert kept.lines[2:] == [*(f"line {number}" for number in range(5)), "the last"]


def test_a_hurried_thread_never_waits(
    kept: Kept, writer: LogWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_writer, "PATIENCE", 10 * DEADLINE)
    logger = logger_of(writer)
    kept.may.clear()

    def hurry() -> None:
        for number in range(20):
            logger.info("line %d", number)

    thread = threading.Thread(target=hurry, name="in-a-hurry")
    thread.start()
    thread.join(DEADLINE)
    assert not thread.is_alive()


def test_each_handler_has_its_level(kept: Kept, writer: LogWriter) -> None:
    kept.setLevel(logging.WARNING)
    logger = logger_of(writer)
    logger.info("no")
    logger.warning("yes")
    assert writer.finish(DEADLINE)
    assert kept.lines == ["yes"]


class Failing(logging.StreamHandler[io.StringIO]):
    """Fails as a file on a full disk, or as one whose folder was deleted."""

    def __init__(self) -> None:
        super().__init__(io.StringIO())
        self.full = self.deleted = False

    def emit(self, record: logging.LogRecord) -> None:
        if self.deleted:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", "/var/log/a.log")
        super().emit(record)

    def flush(self) -> None:
        if self.full:
            self.stream.truncate(0)
            self.stream.seek(0)
            raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("how", ["full", "deleted"])
def test_a_log_that_fails_is_one_line_on_standard_error_and_goes_on_when_it_can(
    how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    failing = Failing()
    writer = LogWriter([failing])
    logger = logger_of(writer)
    setattr(failing, how, True)
    for number in range(3):
        logger.info("line %d", number)
    wait_until(lambda: writer._failures == 3)
    setattr(failing, how, False)
    logger.info("the next")
    logger.info("the last")
    assert writer.finish(DEADLINE)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("dfovsdb: the log cannot be written: No s")
    assert failing.stream.getvalue().splitlines() == [
        "the next",
        "up to 3 log lines are missing here, because the log could not be written",
        "the last",
    ]


def test_a_log_that_fails_writes_nothing_to_standard_output_where_there_is_no_other(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """There are events."""
    monkeypatch.setattr(sys, "stderr", None)
    failing = Failing()
    failing.deleted = True
    writer = LogWriter([failing])
    logger_of(writer).info("a line")
    assert writer.finish(DEADLINE)
    assert writer._failures == 1
    assert capsys.readouterr().out == ""


def test_a_line_that_cannot_be_formatted_is_named_and_is_no_failure_of_the_log(
    kept: Kept, writer: LogWriter, capsys: pytest.CaptureFixture[str]
) -> None:
    logger = logger_of(writer)
    logger.info("%d ports", "three")
    logger.info("the last")
    assert writer.finish(DEADLINE)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"dfovsdb: the log line of {__file__}:")
    assert "cannot be formatted: %d format: a real number is required" in line
    assert kept.lines == ["the last"]
