"""A new kind by configuration alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from dfovsdb.classifiers.base import Classifier, WhenRead, like
from dfovsdb.errors import ConfigurationError
from dfovsdb.model import CORE_COLUMNS, TABLE, TABLES

if TYPE_CHECKING:
    from oslo_config import cfg

    from dfovsdb.model import Interface

_RULES = "KEY must be present, KEY=PATTERN must match a shell pattern, !KEY must be absent"


def _options() -> Sequence[cfg.Opt]:
    from oslo_config import cfg

    return (
        cfg.StrOpt(
            "kind",
            required=True,
            help="The kind of the ports: one word of letters, digits, `-`, `_` and `.`.",
        ),
        cfg.ListOpt(
            "types",
            default=[],
            help="Shell patterns of Interface types, of which one must match. An empty list "
            "matches all. The type of a system interface is empty; write it as `system`.",
        ),
        cfg.ListOpt(
            "names", default=["*"], help="Shell patterns of names, of which one must match."
        ),
        cfg.ListOpt(
            "bridges",
            default=[],
            help="Shell patterns of names of bridges, of which one must match. An empty list "
            "matches all.",
        ),
        cfg.ListOpt("external_ids", default=[], help=f"external_ids of the row: {_RULES}."),
        cfg.ListOpt(
            "port_external_ids", default=[], help=f"external_ids of its Port row: {_RULES}."
        ),
        cfg.ListOpt(
            "options",
            default=[],
            deprecated_name="option_keys",
            help=f"options of the row: {_RULES}.",
        ),
        cfg.ListOpt(
            "attributes",
            default=[],
            help="Attributes of the port: KEY is the external_id of that name (with `-` as `_`); "
            "NAME:SOURCE gives it a name of your own, where SOURCE is external_ids:KEY, "
            "port_external_ids:KEY, options:KEY or a column (COLUMN, Port.COLUMN, Bridge.COLUMN).",
        ),
    )


class MatchClassifier(Classifier):
    """Claims rows for which all of its options hold. An empty value counts as absent."""

    options = WhenRead(_options)

    def __init__(
        self,
        kind: str,
        types: Sequence[str] = (),
        names: Sequence[str] = ("*",),
        bridges: Sequence[str] = (),
        external_ids: Sequence[str] = (),
        port_external_ids: Sequence[str] = (),
        options: Sequence[str] = (),
        attributes: Sequence[str] = (),
    ) -> None:
        if not kind:
            raise ConfigurationError("option kind is required: the word for these ports")
        self.kind = kind
        self._is_of_type = like(types) if types else None
        self._is_named = like(names)
        self._is_on = like(bridges) if bridges else None
        self._rules = (
            *_rules("external_ids", external_ids),
            *_rules("port_external_ids", port_external_ids),
            *_rules("options", options),
        )
        self._attributes = _attributes(attributes)
        self.columns = self.columns | _columns(self._attributes.values())
        if port_external_ids:
            self.columns |= {"Port.external_ids"}
        if bridges:
            self.columns |= {"Bridge.name"}

    def classify(self, interface: Interface) -> Mapping[str, str | None] | None:
        if self._is_of_type and not self._is_of_type(interface.type or "system"):
            return None
        if not self._is_named(interface.name):
            return None
        if self._is_on and not self._is_on(interface.bridge or ""):
            return None
        for rule in self._rules:
            if not rule.holds(interface):
                return None
        return {name: source(interface) for name, source in self._attributes.items()}

    def nearly(self, interface: Interface) -> str | None:
        """Say what is missing, where that is one thing only."""
        missing = [rule.why_not for rule in self._rules if not rule.holds(interface)]
        if self._is_of_type and not self._is_of_type(interface.type or "system"):
            missing.append("its type is not among types")
        if not self._is_named(interface.name):
            missing.append("its name is not among names")
        if self._is_on and not self._is_on(interface.bridge or ""):
            missing.append("its bridge is not among bridges")
        return missing[0] if len(missing) == 1 else None


class _Rule(NamedTuple):
    """One entry of external_ids, port_external_ids or options."""

    mapping: str  # the field of Interface
    key: str
    wanted: Callable[[str], object] | None  # None: it must not be there
    why_not: str

    def holds(self, interface: Interface) -> bool:
        value = getattr(interface, self.mapping).get(self.key)
        if not value:
            return self.wanted is None
        return self.wanted is not None and bool(self.wanted(value))


def _rules(mapping: str, entries: Sequence[str]) -> list[_Rule]:
    """Read the entries of one option.

    :raises ConfigurationError: one of them is not a rule, or two exclude each other.
    """
    rules: list[_Rule] = []
    for entry in entries:
        absent = entry.startswith("!")
        key, equals, pattern = entry.removeprefix("!").partition("=")
        key = key.strip()
        if not key or (absent and equals):
            raise ConfigurationError(f"{mapping}: {entry!r} is not a rule: {_RULES}")
        if equals and not pattern:
            raise ConfigurationError(
                f"{mapping}: {entry!r} can never hold, as an empty value counts as absent: "
                f"use !{key}"
            )
        if absent:
            rules.append(_Rule(mapping, key, None, f"it has {mapping}:{key}"))
        elif equals:
            why_not = f"its {mapping}:{key} is not like {pattern}"
            rules.append(_Rule(mapping, key, like([pattern]), why_not))
        else:
            rules.append(_Rule(mapping, key, like(["*"]), f"it has no {mapping}:{key}"))
    for key in {rule.key for rule in rules}:
        kinds = {rule.wanted is None for rule in rules if rule.key == key}
        if len(kinds) > 1:
            raise ConfigurationError(
                f"{mapping}: {key} must be present and must be absent: no port is both"
            )
    return rules


class _Source(NamedTuple):
    """Where the value of an attribute comes from."""

    mapping: str  # a field of Interface, or "" for a column
    name: str  # the key, or the column

    def __call__(self, interface: Interface) -> str | None:
        if self.mapping:
            return getattr(interface, self.mapping).get(self.name) or None
        if self.name in CORE_COLUMNS:
            return _text(getattr(interface, self.name))
        return _text(interface.columns.get(self.name))


_COLUMN = re.compile(r"(?:(\w+)\.)?\w+", re.ASCII)
_MAPPINGS = ("external_ids", "port_external_ids", "options")


def _attributes(entries: Sequence[str]) -> dict[str, _Source]:
    """Read the option of this name.

    :raises ConfigurationError: an entry cannot be read, or a name occurs twice.
    """
    sources: dict[str, _Source] = {}
    for entry in entries:
        name, source = _attribute(entry)
        if name in sources:
            raise ConfigurationError(f"attributes: {name} occurs twice")
        sources[name] = source
    return sources


def _attribute(entry: str) -> tuple[str, _Source]:
    name, colon, source = (part.strip() for part in entry.partition(":"))
    if not name or (colon and not source):
        raise ConfigurationError(f"attributes: {entry!r} is neither KEY nor NAME:SOURCE")
    if not colon:
        return name.replace("-", "_"), _Source("external_ids", name)
    mapping, colon, key = source.partition(":")
    if colon:
        if mapping not in _MAPPINGS or not key:
            raise ConfigurationError(
                f"attributes: {entry!r}: a source is external_ids:KEY, port_external_ids:KEY, "
                "options:KEY or a column"
            )
        return name, _Source(mapping, key)
    column = source.removeprefix(f"{TABLE}.")
    found = _COLUMN.fullmatch(column)
    if not found or (found[1] and found[1] not in TABLES):
        raise ConfigurationError(
            f"attributes: {entry!r}: {source!r} is not a column: use COLUMN for one of "
            "Interface, Port.COLUMN or Bridge.COLUMN"
        )
    return name, _Source("", column)


def _columns(sources: Any) -> frozenset[str]:
    columns = {source.name for source in sources if not source.mapping}
    if any(source.mapping == "port_external_ids" for source in sources):
        columns.add("Port.external_ids")
    return frozenset(columns.difference(CORE_COLUMNS))


def _text(value: Any) -> str | None:
    """Return the text of a column, as ovs-vsctl(8) prints it but for its brackets and quotes."""
    if value is None or value == "":
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return ",".join(f"{key}={value[key]}" for key in sorted(value)) or None
    if isinstance(value, tuple):
        return ",".join(map(str, value)) or None
    return str(value)
