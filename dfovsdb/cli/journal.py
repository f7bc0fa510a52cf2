"""Log lines for the journal of systemd, which keeps time, process and priority itself.

systemd connects standard error to the journal and says so in JOURNAL_STREAM (systemd.exec(5)). A
line that begins with `<N>` has the priority N (sd-daemon(3)).
"""

from __future__ import annotations

import logging
import os

_PRIORITIES = (
    (logging.CRITICAL, 2),
    (logging.ERROR, 3),
    (logging.WARNING, 4),
    (logging.INFO, 6),
    (logging.NOTSET, 7),
)


def is_journal(handler: logging.Handler) -> bool:
    """Return whether a handler writes to the stream that the journal reads."""
    if not isinstance(handler, logging.StreamHandler):
        return False
    try:
        status = os.fstat(handler.stream.fileno())
    except (OSError, ValueError, AttributeError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


class JournalFormatter(logging.Formatter):
    """Write the logger and the message, with the priority before each line."""

    def __init__(self) -> None:
        super().__init__("%(name)s %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        priority = next(number for level, number in _PRIORITIES if record.levelno >= level)
        return "\n".join(f"<{priority}>{line}" for line in super().format(record).split("\n"))
