"""Loggers whose lines cannot be forged.

Log messages may quote the database, the server or an exception of a plugin. The filter of these
loggers removes every line break, terminal escape and bidirectional override from messages and from
the text of exceptions; a traceback keeps its own lines. The filter is part of the logger, so it
works with any handlers and formatters that a program has set up.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import traceback
from collections.abc import Callable, Iterator

from dfovsdb.text.escape import clean

_LONGEST = 8000  # characters of one message, or of the text of one exception
_DEEPEST = 20  # exceptions in a chain of causes


def get_logger(name: str) -> logging.Logger:
    """Return the logger of this name, with the filter.

    What a handler or a filter of the program raises is printed, as logging does with errors of its
    own handlers, and ends nothing of ours.
    """
    logger = logging.getLogger(name)
    if _harmless not in logger.filters:
        logger.addFilter(_harmless)
        setattr(logger, "handle", _guarded(logger.handle))  # noqa: B010 - a method, for mypy
    return logger


def _guarded(handle: Callable[[logging.LogRecord], None]) -> Callable[[logging.LogRecord], None]:
    def call(record: logging.LogRecord) -> None:
        try:
            handle(record)
        except (Exception, SystemExit):  # noqa: BLE001 - of a handler of the program
            if logging.raiseExceptions and sys.stderr is not None:
                with contextlib.suppress(OSError, ValueError):  # nobody reads it
                    traceback.print_exc()

    return call


def escape(handler: logging.Handler) -> None:
    """Let a handler write nothing that could control a terminal, whatever is logged.

    This is for the programs of this package, which own their handlers: oslo.log adds the text of
    the exception that is being handled to a line, where no logger sees it.
    """
    handler.setFormatter(_Escaping(handler.formatter or logging.Formatter()))


class Hush(logging.Filter):
    """Drops what the loggers of a library say on a thread while that makes a call of ours.

    :param loggers: their names.
    """

    def __init__(self, *loggers: str) -> None:
        super().__init__()
        self._loggers = loggers
        self._callers: set[threading.Thread] = set()

    @contextlib.contextmanager
    def during_a_call(self) -> Iterator[None]:
        """Drop it on this thread, within the context."""
        for name in self._loggers:
            logging.getLogger(name).addFilter(self)  # once, however often it is called
        self._callers.add(threading.current_thread())
        try:
            yield
        finally:
            self._callers.discard(threading.current_thread())

    def filter(self, record: logging.LogRecord) -> bool:  # noqa: ARG002 - logging.Filter has it
        return threading.current_thread() not in self._callers


def text_of(error: BaseException) -> str:
    """Return the text of an exception of somebody else, whatever its __str__ does."""
    try:
        return str(error)
    except BaseException as broken:  # noqa: BLE001 - the __str__ of somebody's exception
        return f"<no text: {type(broken).__name__}>"


def harmless(error: BaseException, depth: int = 0) -> BaseException:
    """Return an exception that prints like the original, with its causes, but escaped."""
    kind = type(error)
    text = clean(text_of(error), _LONGEST)
    names = {"__module__": kind.__module__, "__qualname__": clean(kind.__qualname__)}
    twin = type(clean(kind.__name__), (Exception,), names)(text)
    twin.__traceback__ = error.__traceback__
    for note in getattr(error, "__notes__", ()):
        twin.add_note(clean(str(note), _LONGEST))
    if depth < _DEEPEST:
        if error.__cause__ is not None:
            twin.__cause__ = harmless(error.__cause__, depth + 1)
        elif error.__context__ is not None and not error.__suppress_context__:
            twin.__context__ = harmless(error.__context__, depth + 1)
    twin.__suppress_context__ = error.__suppress_context__
    return twin  # type: ignore[no-any-return]  # type() says nothing of its bases


class _Escaping(logging.Formatter):
    def __init__(self, inner: logging.Formatter) -> None:
        super().__init__()
        self._inner = inner

    def format(self, record: logging.LogRecord) -> str:
        text = self._inner.format(record)
        return "\n".join(clean(line, len(line)) for line in text.split("\n"))


def _harmless(record: logging.LogRecord) -> bool:
    try:
        text = record.getMessage()
    except BaseException as broken:  # noqa: BLE001 - the __str__ or __repr__ of somebody's object
        text = f"{record.msg} <no text: {type(broken).__name__}>"
    record.msg, record.args = clean(text, _LONGEST), None
    if record.exc_info and record.exc_info[1] is not None:
        twin = harmless(record.exc_info[1])
        record.exc_info = (type(twin), twin, twin.__traceback__)
    return True
