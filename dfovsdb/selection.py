"""The selection of ports: by kind, state, name, bridge, iface-id and more."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import msgspec

from dfovsdb.classifiers.base import like
from dfovsdb.errors import ConfigurationError
from dfovsdb.text.escape import clean, close_to, did_you_mean

if TYPE_CHECKING:
    from dfovsdb.model import Port

OTHER = "other"  #: the kind of interfaces that no classifier claims, if they are requested


def check_kinds(kinds: Iterable[str], offered: Sequence[str], asked: str) -> None:
    """Refuse a kind that no classifier offers.

    :param asked: how it was requested, such as `--kind `.
    :raises ConfigurationError: the error names it, the available kinds, and a similar one.
    """
    for kind in kinds:
        if kind not in offered:
            raise ConfigurationError(
                f"{asked}{clean(kind)}: no enabled classifier offers it; available: "
                + (", ".join(map(clean, offered)) or "none")
                + did_you_mean(map(clean, close_to(kind, offered)))
            )


class Selection(msgspec.Struct, frozen=True, dict=True):
    """True for a port that matches one value of each field; an empty field matches every port.

    `names` and `bridges` are shell patterns. The iface-id is that of the row's external_ids, so it
    is known whatever the kind, or the attribute `iface_id`. All of `attributes` must be equal.
    """

    kinds: Collection[str] = ()
    states: Collection[str] = ()
    names: Collection[str] = ()
    bridges: Collection[str] = ()
    iface_ids: Collection[str] = ()
    links: Collection[str] = ()
    attributes: Mapping[str, str] = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what would select other ports than those that are meant.

        :raises ConfigurationError: a field is one text, or does not consist of texts.
        """
        for name in ("kinds", "states", "names", "bridges", "iface_ids", "links"):
            values = getattr(self, name)
            if (
                isinstance(values, str)
                or not isinstance(values, Collection)  # an iterator would be empty after a look
                or not all(isinstance(value, str) for value in values)
            ):
                raise ConfigurationError(
                    f"{name}: {values!r:.80} is not a collection of strings, such as ['…']"
                )

    def __bool__(self) -> bool:
        """Return whether it selects anything."""
        return any(
            (
                self.kinds,
                self.states,
                self.names,
                self.bridges,
                self.iface_ids,
                self.links,
                self.attributes,
            )
        )

    @cached_property
    def _is_named(self) -> Callable[[str], object]:
        return like(self.names)

    @cached_property
    def _is_on(self) -> Callable[[str], object]:
        return like(self.bridges)

    def __call__(self, port: Port) -> bool:
        return (
            (not self.kinds or port.kind in self.kinds)
            and (not self.states or port.state in self.states)
            and (not self.names or bool(self._is_named(port.name)))
            and (not self.bridges or bool(self._is_on(port.bridge or "")))
            and (not self.iface_ids or not _iface_ids(port).isdisjoint(self.iface_ids))
            and (not self.links or port.link_state in self.links)
            and all(port.attributes.get(name) == self.attributes[name] for name in self.attributes)
        )


def _iface_ids(port: Port) -> set[str]:
    row = port.interface
    found = {port.attributes.get("iface_id"), row.external_ids.get("iface-id") if row else None}
    return {one for one in found if one}
