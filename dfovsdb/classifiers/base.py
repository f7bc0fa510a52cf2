"""The contract of a classifier, which claims Interface rows for its kind."""

from __future__ import annotations

import abc
import fnmatch
import functools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, Final, overload

if TYPE_CHECKING:
    from oslo_config import cfg

    from dfovsdb.model import Interface


#: The result of classify() for a row that is of no kind, whatever other classifiers say.
IGNORE: Final[Mapping[str, str | None]] = MappingProxyType({})


class WhenRead(Sequence["cfg.Opt"]):
    """Options that are made when they are read.

    To import oslo.config takes longer than all the rest of a command. One that has no
    configuration reads no options.

    :param make: returns them.
    """

    def __init__(self, make: Callable[[], Sequence[cfg.Opt]]) -> None:
        self._make = functools.cache(make)

    @overload
    def __getitem__(self, index: int) -> cfg.Opt: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[cfg.Opt]: ...
    def __getitem__(self, index: int | slice) -> cfg.Opt | Sequence[cfg.Opt]:
        return self._make()[index]

    def __len__(self) -> int:
        return len(self._make())


class Classifier(abc.ABC):
    """Claims Interface rows for one kind of port.

    A classifier is a pure function of one row. It runs between the socket and the replica, so it
    must not block. It is called again whenever its row changes, and its results are compared to
    find out what has changed, so it need not remember anything.

    There is no `__init__` here: a class takes its options as keyword arguments, each with a
    default, so that it can be built without any configuration file.
    """

    #: The kind of the ports that it claims, such as "vm": letters, digits, `-`, `_` and `.`.
    kind: str
    #: Its options of oslo.config, read from [classifier_INSTANCE] and passed as keyword arguments.
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
        and the row of each distinct error once, and afterwards how often it has recurred.
        """

    def nearly(self, interface: Interface) -> str | None:  # noqa: ARG002 - for subclasses
        """Return what a row is missing to be of this kind, in a few words, for people who ask why.

        This is called only for rows that no classifier claims; None if the row is far from this
        kind.
        """
        return None


def like(patterns: Iterable[str]) -> Callable[[str], object]:
    """Return a function that tells whether a name matches one of the shell patterns.

    The patterns are those of fnmatch: `*`, `?`, `[seq]`; case matters. All of them form one
    regular expression, compiled once, because a row is classified at every change; `*` alone needs
    none.
    """
    patterns = list(patterns)
    if patterns == ["*"]:
        return _matches_all
    return re.compile("|".join(map(fnmatch.translate, patterns)) or r"(?!)").match


def _matches_all(_name: str) -> bool:
    return True
