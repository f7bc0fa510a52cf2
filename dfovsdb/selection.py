"""Which ports somebody asked for: by kind, state, name and iface-id."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from dfovsdb.classifiers.base import like
from dfovsdb.errors import ConfigurationError
from dfovsdb.text.escape import clean, did_you_mean

if TYPE_CHECKING:
    from dfovsdb.model import Port


def check_kinds(kinds: Iterable[str], offered: Sequence[str], asked: str) -> None:
    """Refuse a kind that cannot be there.

    :param asked: how it was asked for, as `--kind `.
    :raises ConfigurationError: names it, what there is, and what is near.
    """
    for kind in kinds:
        if kind not in offered:
            raise ConfigurationError(
                f"{asked}{clean(kind)}: no enabled classifier offers it; there are "
                + (", ".join(map(clean, offered)) or "none")
                + did_you_mean(map(clean, difflib.get_close_matches(kind, offered, 1)))
            )


@dataclass(frozen=True)
class Selection:
    """True of a port that has one of each; what is empty asks for nothing.

    `names` are shell patterns. The iface-id is that of the row's external_ids, so it is known
    whatever the kind; a port without its row has none.
    """

    kinds: Collection[str] = ()
    states: Collection[str] = ()
    names: Collection[str] = ()
    iface_ids: Collection[str] = ()

    @cached_property
    def _is_named(self) -> Callable[[str], object]:
        return like(self.names)

    def __call__(self, port: Port) -> bool:
        return (
            (not self.kinds or port.kind in self.kinds)
            and (not self.states or port.state in self.states)
            and (not self.names or bool(self._is_named(port.name)))
            and (not self.iface_ids or _iface_id(port) in self.iface_ids)
        )


def _iface_id(port: Port) -> str | None:
    return port.interface.external_ids.get("iface-id") if port.interface else None
