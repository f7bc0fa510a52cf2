"""The contract of a classifier: what claims an Interface for its kind."""

from __future__ import annotations

import abc
import fnmatch
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, Final

if TYPE_CHECKING:
    from oslo_config import cfg

    from dfovsdb.model import Interface


#: What classify() returns of a row that is of no kind, whatever other classifiers say.
IGNORE: Final[Mapping[str, str | None]] = MappingProxyType({})


class Classifier(abc.ABC):
    """Claims Interface rows for one kind of port.

    A classifier is a pure function of one row. It runs between the socket and the replica,
    so it does not block, and it is asked again whenever its row changes; what changed is
    found out by comparing, so it need not remember anything.

    There is no `__init__` here: a class takes its options as keyword arguments, each with a
    default, so that it can be built without any configuration file.
    """

    #: The kind of the ports that it claims, such as "vm": letters, digits, `-`, `_` and `.`.
    kind: str
    #: Its oslo.config options, read from [classifier_INSTANCE] and passed by keyword.
    options: ClassVar[Sequence[cfg.Opt]] = ()
    #: The columns that it needs beyond the core's: `NAME` for one of Interface, `Port.NAME` or
    #: `Bridge.NAME` for one of these tables, which are then read too. Each is a key of
    #: `interface.columns`, None where the server has no such column.
    #: `statistics` is refused: the switch rewrites it every five seconds.
    columns: frozenset[str] = frozenset()

    @abc.abstractmethod
    def classify(self, interface: Interface) -> Mapping[str, str | None] | None:
        """Return the attributes of the port, or None where the row is not of this kind.

        IGNORE says that the row is of no kind, and that no other classifier is to be asked.

        An exception is counted and the next classifier is asked. The log has the traceback
        and the row of each mistake once, and afterwards how often it came again.
        """

    def nearly(self, interface: Interface) -> str | None:  # noqa: ARG002 - for those who can tell
        """For people who ask why a row is not of this kind: what it lacks, in a few words.

        Asked only of rows that nobody claims; None where the row is far from this kind.
        """
        return None


def like(patterns: Iterable[str]) -> Callable[[str], object]:
    """What says of a name whether it is like one of the shell patterns.

    They are those of fnmatch: `*`, `?`, `[seq]`; case counts. All of them are one regular
    expression, made once: a row is classified at every change of it.
    """
    return re.compile("|".join(map(fnmatch.translate, patterns)) or r"(?!)").match
