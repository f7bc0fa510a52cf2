"""The chain: classifiers in configured order, the first that claims a row wins."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dfovsdb.classifiers.base import IGNORE, Classifier
from dfovsdb.classifiers.failures import Failures
from dfovsdb.errors import ConfigurationError
from dfovsdb.model import CORE_COLUMNS, TABLE, TABLES, Port, port_of

if TYPE_CHECKING:
    from dfovsdb.model import Interface

#: It becomes a label of metrics, a part of topics and subjects, an argument of commands.
_KIND = re.compile(r"[A-Za-z0-9._-]+")
_REFUSED_COLUMNS = frozenset({"statistics", "Port.statistics", "Port.rstp_statistics"})


class Chain:
    """Turns rows into ports.

    :raises ConfigurationError: a classifier names no kind that may be one, or wants columns that
        are refused.
    """

    def __init__(self, classifiers: Sequence[Classifier]) -> None:
        self._classifiers = tuple(classifiers)
        self.failures = Failures()
        for classifier in self._classifiers:
            check(classifier)

    @property
    def kinds(self) -> list[str]:
        """What they offer, by name."""
        return sorted({classifier.kind for classifier in self._classifiers})

    @property
    def extra_columns(self) -> frozenset[str]:
        """The columns that the classifiers need beyond the core's: NAME, or TABLE.NAME."""
        declared: frozenset[str] = frozenset().union(*(c.columns for c in self._classifiers))
        own = {name.removeprefix(f"{TABLE}.") for name in declared}
        return frozenset(own).difference(CORE_COLUMNS)

    @property
    def tables(self) -> frozenset[str]:
        """The tables of these columns, and what joins them to an Interface."""
        named = {name.partition(".")[0] for name in self.extra_columns if "." in name}
        return frozenset(named | {"Port"} if "Bridge" in named else named)

    def port(self, interface: Interface, last: Port | None) -> Port | None:
        """The port that a row is now, None where nobody claims it; `last` is what it was."""
        for classifier in self._classifiers:
            try:
                attributes = classifier.classify(interface)
                if attributes is None:
                    continue
                if attributes is IGNORE:
                    return None
                _check_attributes(attributes)
            except Exception as error:  # noqa: BLE001 - of a plugin; it is said
                self.failures.add(classifier.kind, interface, error)
                continue
            return port_of(interface, classifier.kind, attributes, last)
        return None


def check(classifier: Classifier) -> None:
    """What can be known of a classifier before it is asked.

    :raises ConfigurationError: it is none, names no kind that may be one, or wants columns that
        are refused.
    """
    if not isinstance(classifier, Classifier):
        raise ConfigurationError(
            f"{classifier!r:.80} is no classifier: it must be an instance of Classifier"
        )
    kind = getattr(classifier, "kind", None)
    if not isinstance(kind, str) or not kind:
        raise ConfigurationError(f"classifier {type(classifier).__name__} names no kind")
    if not _KIND.fullmatch(kind):
        raise ConfigurationError(
            f"classifier {type(classifier).__name__} names the kind {kind!r:.80}; a kind is made "
            "of letters, digits, '-', '_' and '.'"
        )
    columns = {str(name).removeprefix(f"{TABLE}.") for name in classifier.columns}
    if refused := _REFUSED_COLUMNS.intersection(columns):
        raise ConfigurationError(
            f"classifier {kind} declares the column {', '.join(sorted(refused))}, which the "
            "switch rewrites every five seconds for every port: it is never monitored"
        )
    for name in sorted(columns):
        table, dot, column = name.partition(".")
        if (dot and (table not in TABLES or not column)) or not name:
            raise ConfigurationError(
                f"classifier {kind} declares the column {name!r}; use NAME for a column of "
                "Interface, Port.NAME or Bridge.NAME for one of these tables"
            )


def _check_attributes(attributes: Any) -> None:
    if type(attributes) is not dict and not isinstance(attributes, Mapping):
        raise TypeError(f"classify() returned {attributes!r:.80}, not a mapping or None")
    for name, value in attributes.items():
        if not isinstance(name, str) or not (value is None or isinstance(value, str)):
            raise TypeError(f"attribute {name!r:.80} is {value!r:.80}, not a string or None")
