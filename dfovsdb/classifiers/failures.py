"""Exceptions of classifiers: one traceback for each distinct error, and then how often it recurs.

A classifier that fails on one row often fails on every row, and every row is classified between
the socket and the replica. A traceback for each would flood the log and slow down the loop.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple

from dfovsdb.logs import get_logger

if TYPE_CHECKING:
    from dfovsdb.model import Interface

LOG = get_logger(__name__)

_MOST_SAID = 100  # distinct errors that are remembered, before they may be logged again
_FIRST_SUM = 10  # occurrences before an error is summed up; then 100, and so on


class _Mistake(NamedTuple):
    """The same class of exception raised at the same place."""

    kind: str
    error: str
    asked_at: str  # the line in classify()
    raised_at: str


class Failures:
    """Counts exceptions, and logs the first of each kind; sum_up() logs how many followed."""

    def __init__(self) -> None:
        self.by_kind: Counter[str] = Counter()
        self.due = False  #: an error recurred so often that it is time to sum up
        self._unsaid: dict[_Mistake, int] = {}
        self._sum_at: dict[_Mistake, int] = {}

    def add(self, kind: str, interface: Interface, error: BaseException) -> None:
        """Count an exception of a classifier; called while it is being handled."""
        self.by_kind[kind] += 1
        mistake = _mistake(kind, error)
        unsaid = self._unsaid.get(mistake)
        if unsaid is None:
            if len(self._unsaid) >= _MOST_SAID:
                self.sum_up()
                self._unsaid.clear()
            self._unsaid[mistake], self._sum_at[mistake] = 0, _FIRST_SUM
        else:
            self._unsaid[mistake] = unsaid + 1
            self.due = self.due or unsaid + 1 >= self._sum_at[mistake]
        LOG.log(
            logging.ERROR if unsaid is None else logging.DEBUG,
            "classifier %s failed on interface %r (%s); asking the next one",
            kind,
            interface.name,
            interface.uuid,
            exc_info=error if unsaid is None else None,
        )

    def sum_up(self) -> None:
        """Log how often each error has recurred since this was last logged."""
        self.due = False
        for mistake, unsaid in self._unsaid.items():
            if unsaid:
                LOG.warning(
                    "classifier %s failed as before %d more times: %s at %s",
                    mistake.kind,
                    unsaid,
                    mistake.error,
                    mistake.raised_at,
                )
                self._unsaid[mistake] = 0
                if unsaid >= self._sum_at[mistake]:
                    self._sum_at[mistake] *= 10


def _mistake(kind: str, error: BaseException) -> _Mistake:
    first = last = error.__traceback__  # its first frame is the caller in this package
    while last is not None and last.tb_next is not None:
        if last is error.__traceback__:
            first = last.tb_next
        last = last.tb_next
    return _Mistake(kind, type(error).__name__, _place(first), _place(last))


def _place(traceback: TracebackType | None) -> str:
    if traceback is None:
        return "?"
    code = traceback.tb_frame.f_code
    return f"{os.path.basename(code.co_filename)}:{traceback.tb_lineno}"
