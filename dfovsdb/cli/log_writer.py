"""The log lines of the agent, written by a thread of their own.

Standard error may be a pipe that nobody reads, or a logging driver that hangs. A thread that then
writes a line waits without end. Here only this thread waits: the monitor, the sinks and the end of
the agent go on, and what could not be written is counted.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import queue
import sys
import threading
from collections.abc import Collection, Sequence

from dfovsdb.logs import get_logger, text_of
from dfovsdb.text.escape import clean

LIMIT = 10_000  #: lines that may wait
PATIENCE = 1.0  #: seconds that a thread which may wait does so while LIMIT lines are waiting


class LogWriter(logging.Handler):
    """Hands each record to other handlers, on a thread of its own.

    :param handlers: what writes.
    :param hurried: names of threads that never wait for room.
    """

    def __init__(self, handlers: Sequence[logging.Handler], hurried: Collection[str] = ()) -> None:
        super().__init__()
        self._handlers = handlers
        for handler in handlers:  # its own would print a traceback for every line
            failed = functools.partial(self._failed, handler)
            handler.handleError = failed  # type: ignore[method-assign]
        self._hurried = frozenset(hurried)
        self._records: queue.Queue[logging.LogRecord | None] = queue.Queue(LIMIT)
        self._stuck = False  # nothing was written while somebody waited for PATIENCE
        self._dropped = 0
        self._lock = threading.Lock()  # of the two above
        self._failures = 0  # lines that a handler has failed to write since one was written
        self._thread = threading.Thread(target=self._run, name="dfovsdb-log", daemon=True)
        self._thread.start()

    def handle(self, record: logging.LogRecord) -> bool:
        """Hold no lock: a thread that waits for room would keep others from dropping a line."""
        kept = bool(self.filter(record))
        if kept:
            self.emit(record)
        return kept

    def emit(self, record: logging.LogRecord) -> None:
        hurried = self._stuck or threading.current_thread().name in self._hurried
        try:
            self._records.put(record, block=not hurried, timeout=PATIENCE)
        except queue.Full:
            with self._lock:
                self._stuck = True
                self._dropped += 1

    def finish(self, timeout: float) -> bool:
        """Wait until everything is written, and end; return whether it was.

        :param timeout: seconds, for each of the two.
        """
        if self._thread.is_alive():
            try:
                self._records.put(None, timeout=timeout)
            except queue.Full:
                return False
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            record = self._records.get()
            if record is None:
                return
            before = self._failures
            self._write(record)
            if self._failures > before:
                continue
            with self._lock:
                self._stuck = False
                dropped, self._dropped = self._dropped, 0
            if dropped:
                self._say_here(
                    "%d log lines were dropped here, because the log could not be written", dropped
                )
            if self._failures:  # what a file holds back on a full disk may be written later
                self._say_here(
                    "up to %d log lines are missing here, because the log could not be written",
                    self._failures,
                )
                self._failures = 0

    def _say_here(self, text: str, number: int) -> None:
        """Write a line of our own: through the logger it would wait behind others."""
        logger = get_logger(__name__)
        self._write(
            logger.makeRecord(__name__, logging.WARNING, __file__, 0, text, (number,), None)
        )

    def _write(self, record: logging.LogRecord) -> None:
        for handler in self._handlers:
            if record.levelno >= handler.level:
                try:
                    handler.handle(record)
                except Exception:  # noqa: BLE001 - such as of a folder that is not there any more
                    self._failed(handler, record)

    def _failed(self, handler: logging.Handler, record: logging.LogRecord) -> None:
        """Say, where somebody may still read it, why a line was not written; of a log that cannot
        be written only once. Called while the exception is handled.
        """
        error = sys.exception() or Exception()
        why = (isinstance(error, OSError) and error.strerror) or text_of(error)
        if not _has_text(record):  # which says nothing about the log
            _say(f"the log line of {record.pathname}:{record.lineno} cannot be formatted: {why}")
            return
        self._failures += 1
        if self._failures == 1:
            name = getattr(handler, "baseFilename", "the log")
            _say(
                f"{name} cannot be written: {why}; it is tried again with the next line of the log"
            )


def _has_text(record: logging.LogRecord) -> bool:
    try:
        record.getMessage()
    except Exception:  # noqa: BLE001 - of whatever its arguments are
        return False
    return True


def _say(text: str) -> None:
    if sys.stderr is None:  # print() would use standard output
        return
    with contextlib.suppress(OSError, ValueError):  # it may be standard error that fails
        print(f"dfovsdb: {clean(text)}", file=sys.stderr, flush=True)
