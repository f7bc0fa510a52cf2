"""Lines for the journal: a priority before each, and nothing that it knows itself."""

from __future__ import annotations

import io
import logging
import os
from pathlib import Path

import pytest

from dfovsdb.cli.journal import JournalFormatter, is_journal


@pytest.mark.parametrize(
    ("level", "priority"),
    [("DEBUG", 7), ("INFO", 6), ("WARNING", 4), ("ERROR", 3), ("CRITICAL", 2)],
)
def test_each_line_has_its_priority(level: str, priority: int) -> None:
    record = logging.LogRecord(
        "dfovsdb.x", getattr(logging, level), "f", 1, "one\ntwo %d", (3,), None
    )
    assert JournalFormatter().format(record) == (f"<{priority}>dfovsdb.x one\n<{priority}>two 3")


def test_the_journal_is_known_by_its_stream(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "a").open("w") as journal, (tmp_path / "b").open("w") as other:
        status = os.fstat(journal.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
        assert is_journal(logging.StreamHandler(journal))
        assert not is_journal(logging.StreamHandler(other))
        assert not is_journal(logging.StreamHandler(io.StringIO()))
        assert not is_journal(logging.NullHandler())
        monkeypatch.delenv("JOURNAL_STREAM")
        assert not is_journal(logging.StreamHandler(journal))
