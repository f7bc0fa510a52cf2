"""A new kind by configuration alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oslo_config import cfg

from dfovsdb.classifiers.base import Classifier, like
from dfovsdb.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dfovsdb.model import Interface


class MatchClassifier(Classifier):
    """Claims rows that have everything that its options name.

    An attribute's name is that of its external_id with `-` as `_`.
    """

    options = (
        cfg.StrOpt(
            "kind",
            required=True,
            help="The kind of the ports, a word of your own: letters, digits, `-`, `_` and `.`.",
        ),
        cfg.ListOpt(
            "types",
            default=[],
            help="Interface types, one must match; none given matches all. The type of a "
            "system interface is empty: name it `system`.",
        ),
        cfg.ListOpt("names", default=["*"], help="Shell patterns of names, one must match."),
        cfg.ListOpt("external_ids", default=[], help="external_ids that the row must have."),
        cfg.ListOpt("option_keys", default=[], help="Keys of options that the row must have."),
        cfg.ListOpt("attributes", default=[], help="external_ids that become attributes."),
    )

    def __init__(
        self,
        kind: str,
        types: Sequence[str] = (),
        names: Sequence[str] = ("*",),
        external_ids: Sequence[str] = (),
        option_keys: Sequence[str] = (),
        attributes: Sequence[str] = (),
    ) -> None:
        if not kind:
            raise ConfigurationError("option kind is required: the word for these ports")
        self.kind = kind
        self._types = frozenset(types)
        self._is_named = like(names)
        self._external_ids = tuple(external_ids)
        self._option_keys = tuple(option_keys)
        self._attributes = tuple((name.replace("-", "_"), name) for name in attributes)

    def classify(self, interface: Interface) -> Mapping[str, str | None] | None:
        if self._types and (interface.type or "system") not in self._types:
            return None
        if not self._is_named(interface.name):
            return None
        if not all(key in interface.external_ids for key in self._external_ids):
            return None
        if not all(key in interface.options for key in self._option_keys):
            return None
        return {name: interface.external_ids.get(key) for name, key in self._attributes}

    def nearly(self, interface: Interface) -> str | None:
        """What it lacks, where that is one thing only."""
        missing = [
            f"external_ids:{key}"
            for key in self._external_ids
            if key not in interface.external_ids
        ]
        missing += [f"options:{key}" for key in self._option_keys if key not in interface.options]
        lacks = [f"it has no {what}" for what in missing]
        if self._types and (interface.type or "system") not in self._types:
            lacks.append("its type is not among types")
        if not self._is_named(interface.name):
            lacks.append("its name is not among names")
        return lacks[0] if len(lacks) == 1 else None
