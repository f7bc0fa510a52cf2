"""The chain: classifiers in configured order, the first that claims a row wins."""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dfovsdb.classifiers.base import IGNORE, Classifier
from dfovsdb.classifiers.failures import Failures
from dfovsdb.errors import ConfigurationError
from dfovsdb.model import CORE_COLUMNS, TABLE, TABLES, Port, port_of
from dfovsdb.plain_calls import place, properties_of, runs_nothing
from dfovsdb.text.escape import clean

if TYPE_CHECKING:
    from dfovsdb.model import Interface

#: It becomes a label of metrics, a part of topics and subjects, an argument of commands.
_KIND = re.compile(r"[A-Za-z0-9._-]+")
_REFUSED_COLUMNS = frozenset({"statistics", "Port.statistics", "Port.rstp_statistics"})


class Chain:
    """Turns rows into ports.

    :raises ConfigurationError: a classifier has no valid kind, or declares columns that are
        refused.
    """

    def __init__(self, classifiers: Sequence[Classifier]) -> None:
        self._classifiers = tuple(classifiers)
        self.failures = Failures()
        # The row that is being classified, since when, and the classifier that is running.
        self._row: Interface | None = None
        self._since = 0.0  # monotonic seconds
        self._asked: Classifier | None = None
        for classifier in self._classifiers:
            check(classifier)
        # What our own classifiers return is right, and not shared with anybody. A kind is read
        # once, and is a plain string: that of a plugin may be a property, or of an enum.
        self._asks = [(c, c.classify, _plain(c.kind), _is_ours(c)) for c in self._classifiers]

    @property
    def kinds(self) -> list[str]:
        """Return the kinds that they offer."""
        return sorted({kind for _, _, kind, _ in self._asks})

    @property
    def extra_columns(self) -> frozenset[str]:
        """Return the columns that the classifiers need beyond the core's: NAME, or TABLE.NAME."""
        declared: frozenset[str] = frozenset().union(*(c.columns for c in self._classifiers))
        own = {name.removeprefix(f"{TABLE}.") for name in declared}
        return frozenset(own).difference(CORE_COLUMNS)

    @property
    def tables(self) -> frozenset[str]:
        """Return the tables of these columns, and the columns that join them to an Interface."""
        named = {name.partition(".")[0] for name in self.extra_columns if "." in name}
        return frozenset(named | {"Port"} if "Bridge" in named else named)

    def port(self, interface: Interface, last: Port | None) -> Port | None:
        """Return the port that a row is now, None if no classifier claims it; `last` is what it
        was.
        """
        self._row, self._since = interface, time.monotonic()
        try:
            for classifier, classify, kind, ours in self._asks:
                self._asked = classifier
                try:
                    attributes = classify(interface)
                    if attributes is None:
                        continue
                    if attributes is IGNORE:
                        return None
                    if not ours:
                        attributes = _checked(attributes, classifier)
                except BaseException as error:  # noqa: BLE001 - of a plugin, SystemExit too; it is said
                    self.failures.add(kind, interface, error)
                    continue
                return port_of(interface, kind, attributes, last)
            return None
        finally:
            self._row = None

    def busy(self, longer_than: float = 1.0) -> str | None:
        """Return which classifier has been asked for so many seconds, and of which interface.

        None where none has. From any thread.
        """
        row, since, asked = self._row, self._since, self._asked
        if row is None or asked is None:
            return None
        seconds = time.monotonic() - since
        if seconds <= longer_than:
            return None
        return (
            f"classifier {asked.kind} ({type(asked).__module__}.{type(asked).__qualname__}) has "
            f"not answered for {seconds:.0f} s on interface {clean(row.name)!r}; "
            "meanwhile no change is seen"
        )


def check(classifier: Classifier) -> None:
    """Check what can be checked of a classifier before it is called.

    :raises ConfigurationError: it is not a classifier, has no valid kind, or declares columns that
        are refused.
    """
    if not isinstance(classifier, Classifier):
        raise ConfigurationError(
            f"{classifier!r:.80} is not a classifier: it must be an instance of Classifier"
        )
    with properties_of(f"classifier {type(classifier).__name__}"):
        _check(classifier)


def _check(classifier: Classifier) -> None:
    kind = getattr(classifier, "kind", None)
    if not isinstance(kind, str) or not kind:
        raise ConfigurationError(f"classifier {type(classifier).__name__} does not set kind")
    if not _KIND.fullmatch(kind):
        raise ConfigurationError(
            f"classifier {type(classifier).__name__} sets the kind {kind!r:.80}; a kind consists "
            "of letters, digits, '-', '_' and '.'"
        )
    if runs_nothing(classifier.classify):
        raise ConfigurationError(
            f"classifier {kind}: classify() is a coroutine or generator function, and a call of "
            f"it does nothing ({place(classifier.classify)}): use def without yield"
        )
    if (
        isinstance(classifier.columns, str)  # which is a collection of its letters
        or not isinstance(classifier.columns, Collection)
        or not all(isinstance(name, str) for name in classifier.columns)
    ):
        raise ConfigurationError(
            f"classifier {kind}: columns is {classifier.columns!r:.80}; use a set of names, such "
            'as frozenset({"mtu"})'
        )
    columns = {name.removeprefix(f"{TABLE}.") for name in classifier.columns}
    if refused := _REFUSED_COLUMNS.intersection(columns):
        raise ConfigurationError(
            f"classifier {kind} declares the column {', '.join(sorted(refused))}, which the "
            "switch rewrites every five seconds for every port: it is never monitored"
        )
    for name in sorted(columns):
        table, dot, column = name.partition(".")
        named = column if dot else table
        if (dot and table not in TABLES) or not (named.isascii() and named.isidentifier()):
            raise ConfigurationError(
                f"classifier {kind} declares the column {name!r}; use NAME for a column of "
                "Interface, Port.NAME or Bridge.NAME for one of these tables"
            )


def _is_ours(classifier: Classifier) -> bool:
    return type(classifier).__module__.startswith("dfovsdb.classifiers.")


def _checked(attributes: Any, classifier: Classifier) -> dict[str, str | None]:
    """Return a copy of what a plugin returned, which it may keep and change.

    :raises TypeError: it is not what classify() may return.
    """
    if type(attributes) is not dict and not isinstance(attributes, Mapping):
        raise TypeError(
            f"classify() returned {attributes!r:.80}, not a mapping or None "
            f"({place(classifier.classify)})"
        )
    for name, value in attributes.items():
        if not isinstance(name, str) or not (value is None or isinstance(value, str)):
            raise TypeError(
                f"attribute {name!r:.80} is {value!r:.80}, not a string or None "
                f"({place(classifier.classify)})"
            )
        if not _is_unicode(name) or not _is_unicode(value or ""):
            raise ValueError(
                f"attribute {name!r:.80} is {value!r:.80}, with half of a surrogate pair, which "
                f"no sink can write ({place(classifier.classify)})"
            )
    if all(type(text) is str or text is None for pair in attributes.items() for text in pair):
        return dict(attributes)
    # A string of a class of its own, such as of an enum, is no string for what writes JSON.
    return {
        _plain(name): None if value is None else _plain(value)
        for name, value in attributes.items()
    }


def _is_unicode(text: str) -> bool:
    """Return whether there is a UTF-8 form of the text: whether it has no lone surrogate."""
    try:
        return str.isascii(text) or bool(str.encode(text))
    except UnicodeEncodeError:
        return False


def _plain(text: str) -> str:
    return str.__str__(text)
