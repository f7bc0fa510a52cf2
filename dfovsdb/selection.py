"""Which ports somebody asked for: by kind, state, name and iface-id."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from dfovsdb.classifiers.base import like

if TYPE_CHECKING:
    from dfovsdb.model import Port


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
