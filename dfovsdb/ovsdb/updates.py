"""The replica: our copy of the Interface table, and the exact rules that keep it one. No I/O.

Two encodings of the same news: `update` (RFC 7047, section 4.1.6) carries whole rows,
`update2` (ovsdb-server(7), monitor_cond) leaves out defaults and carries differences.
Whatever cannot be applied means that the replica is wrong: a ProtocolError, and the caller
drops the connection and starts over. Nothing is half applied.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import msgspec

from dfovsdb.errors import ProtocolError
from dfovsdb.model import TABLE, UNREADABLE, Interface, RowDelta

MonitorMethod = Literal["monitor", "monitor_cond"]

# How values look on the wire (RFC 7047, section 5.1). An optional column is a set of at most
# one: ["set", []] when empty, the bare value otherwise.
_Set = tuple[Literal["set"], list[Any]]
_Text = str | _Set
_Number = int | _Set
_Map = tuple[Literal["map"], list[tuple[str, str]]]
_Unset = msgspec.UnsetType


class _Row(msgspec.Struct, gc=False):
    name: str | _Unset = msgspec.UNSET
    type: str | _Unset = msgspec.UNSET
    options: _Map | _Unset = msgspec.UNSET
    external_ids: _Map | _Unset = msgspec.UNSET
    ofport: _Number | _Unset = msgspec.UNSET
    mac_in_use: _Text | _Unset = msgspec.UNSET
    admin_state: _Text | _Unset = msgspec.UNSET
    link_state: _Text | _Unset = msgspec.UNSET
    error: _Text | _Unset = msgspec.UNSET


#: RFC 7047, section 5.2.1: of a column whose type does not allow an empty set.
_DEFAULTS: Mapping[str, Any] = {
    "integer": 0,
    "real": 0.0,
    "boolean": False,
    "string": "",
    "uuid": "00000000-0000-0000-0000-000000000000",
}


class ColumnType(NamedTuple):
    """What a schema says of one column (RFC 7047, section 3.2, <column-schema>)."""

    shape: Literal["scalar", "optional", "set", "map"]
    several: bool  # more than one element may be in it: update2 carries differences
    default: Any = None  # of a scalar, which is never empty

    @classmethod
    def of(cls, schema: Any) -> ColumnType:
        """Read a <column-schema>.

        :raises ProtocolError: it is none.
        """
        match schema:
            case {"type": str(atomic)}:
                return cls("scalar", several=False, default=_DEFAULTS.get(atomic))
            case {"type": {"key": str(atomic) | {"type": str(atomic)}} as declared}:
                maximum = declared.get("max", 1)
                several = maximum == "unlimited" or (isinstance(maximum, int) and maximum > 1)
                if "value" in declared:
                    return cls("map", several)
                if several:
                    return cls("set", several)
                if declared.get("min", 1) == 0:
                    return cls("optional", several)
                return cls("scalar", several, _DEFAULTS.get(atomic))
        raise ProtocolError(f"the schema has a column that cannot be read: {schema!r:.80}")


#: What a classifier declares and nobody sends: always empty.
ABSENT = ColumnType("optional", several=False)


class Codec:
    """Decodes the updates of one connection: its method and its extra columns are fixed."""

    def __init__(self, method: MonitorMethod, extra: Mapping[str, ColumnType]) -> None:
        self._extra = extra
        row = (
            msgspec.defstruct(
                "_RowWithExtras",
                [(name, Any, msgspec.UNSET) for name in extra],
                bases=(_Row,),
            )
            if extra
            else _Row
        )
        self._read = self._read_update if method == "monitor" else self._read_update2
        keys = ("old", "new") if method == "monitor" else ("initial", "insert", "modify", "delete")
        types: dict[str, Any] = dict.fromkeys(keys, row | None | _Unset)
        types |= {"old": Any} if method == "monitor" else {"delete": Any}
        row_update = msgspec.defstruct(
            "_RowUpdate", [(key, types[key], msgspec.UNSET) for key in keys], gc=False
        )
        self._tables = msgspec.json.Decoder(dict[str, dict[str, msgspec.Raw]])
        # Row by row, so that the lists of a large snapshot do not all live at once.
        self._row_update = msgspec.json.Decoder(row_update)

    def deltas(self, updates: msgspec.Raw, rows: Mapping[str, Interface]) -> Iterator[RowDelta]:
        try:
            for uuid, raw in self._tables.decode(updates).get(TABLE, {}).items():
                old = rows.get(uuid)
                if old is not None:
                    uuid = old.uuid  # the same object finds its way faster through every dict
                yield RowDelta(uuid, old, self._read(uuid, self._row_update.decode(raw), old))
        except UNREADABLE as error:
            raise ProtocolError(f"an update of table {TABLE} cannot be read: {error}") from None

    def _read_update(self, uuid: str, update: Any, old: Interface | None) -> Interface | None:
        if not update.new:
            if update.old is msgspec.UNSET:
                raise ProtocolError(f"an update says nothing of its row: {uuid}")
            if old is None:
                raise ProtocolError(f"a row that we do not hold is deleted: {uuid}")
            return None
        if (update.old is msgspec.UNSET) != (old is None):
            raise ProtocolError(
                f"a row that we do not hold is changed: {uuid}"
                if old is None
                else f"a row that we hold is inserted: {uuid}"
            )
        return self._new(uuid, update.new)

    def _read_update2(self, uuid: str, update: Any, old: Interface | None) -> Interface | None:
        if update.modify:
            if old is None:
                raise ProtocolError(f"a row that we do not hold is changed: {uuid}")
            return self._modified(old, update.modify)
        if row := update.insert or update.initial:
            if old is not None:
                raise ProtocolError(f"a row that we hold is inserted: {uuid}")
            return self._new(uuid, row)
        if update.delete is msgspec.UNSET:
            raise ProtocolError(f"an update says nothing of its row: {uuid}")
        if old is None:
            raise ProtocolError(f"a row that we do not hold is deleted: {uuid}")
        return None

    def _new(self, uuid: str, row: _Row) -> Interface:
        """A row of which what is left out holds its default (ovsdb-server(7), <row-update2>)."""
        unset = msgspec.UNSET
        name, type_, ofport = row.name, row.type, row.ofport
        options, external_ids = row.options, row.external_ids
        return Interface(
            uuid=uuid,
            name="" if name is unset else name,
            type="" if type_ is unset else sys.intern(type_),
            ofport=_number(ofport),
            admin_state=_word(row.admin_state),
            link_state=_word(row.link_state),
            mac_in_use=_text(row.mac_in_use),
            error=_text(row.error),
            external_ids={} if external_ids is unset else _map(external_ids),
            options={} if options is unset else _map(options),
            columns=self._new_columns(row) if self._extra else {},
        )

    def _modified(self, old: Interface, row: _Row) -> Interface:
        """A row of which what is left out stays, and maps are differences."""
        new: dict[str, Any] = {}
        for name, read in _SCALARS:
            if (value := getattr(row, name)) is not msgspec.UNSET:
                new[name] = read(value)
        if row.external_ids is not msgspec.UNSET:
            new["external_ids"] = _map_changed(old.external_ids, _map(row.external_ids))
        if row.options is not msgspec.UNSET:
            new["options"] = _map_changed(old.options, _map(row.options))
        if self._extra:
            new["columns"] = self._modified_columns(old.columns, row)
        return msgspec.structs.replace(old, **new)

    def _new_columns(self, row: _Row) -> dict[str, Any]:
        return {
            name: _column(column_type, getattr(row, name))
            for name, column_type in self._extra.items()
        }

    def _modified_columns(self, old: Mapping[str, Any], row: _Row) -> dict[str, Any]:
        columns = dict(old)
        for name, column_type in self._extra.items():
            value = getattr(row, name)
            if value is msgspec.UNSET:
                continue
            new = _column(column_type, value)
            if column_type.several and column_type.shape == "map":
                new = _map_changed(columns[name], new)
            elif column_type.several:
                new = _set_changed(columns[name], new)
            columns[name] = new
        return columns


def _optional(value: Any, expected: type) -> Any:
    """A scalar or optional column: the value, None where it is empty or left out."""
    if value is msgspec.UNSET:
        return None
    if type(value) is expected:
        return value
    match value:
        case ("set", []):
            return None
        case ("set", [element]) if type(element) is expected:
            return element
    raise ProtocolError(f"expected {expected.__name__} or nothing: {value!r:.80}")


def _number(value: _Number | _Unset) -> int | None:
    number: int | None = value if type(value) is int else _optional(value, int)
    return number


def _text(value: _Text | _Unset) -> str | None:
    text: str | None = value if type(value) is str else _optional(value, str)
    return text


def _word(value: _Text | _Unset) -> str | None:
    """Text that is one of a few words in every row, kept once."""
    text = _text(value)
    return None if text is None else sys.intern(text)


def _map(value: _Map) -> dict[str, str]:
    intern = sys.intern  # the same few keys in every row
    return {intern(key): text for key, text in value[1]}


def _map_changed(old: Mapping[Any, Any], difference: Mapping[Any, Any]) -> dict[Any, Any]:
    """Apply a difference of maps: a pair that is there with the same value is removed."""
    changed = dict(old)
    for key, value in difference.items():
        if key in changed and changed[key] == value:
            del changed[key]
        else:
            changed[key] = value
    return changed


def _set_changed(old: Sequence[Any], difference: Sequence[Any]) -> tuple[Any, ...]:
    """Apply a difference of sets: what is in both is removed, what is in one is there."""
    kept = [element for element in old if element not in difference]
    return _sorted(kept + [element for element in difference if element not in old])


def _sorted(elements: Sequence[Any]) -> tuple[Any, ...]:
    """A set in one order, so that it is equal however it came about."""
    return tuple(sorted(elements, key=lambda element: (isinstance(element, str), element)))


def _column(column_type: ColumnType, value: Any) -> Any:
    """The Python value of an extra column: None, a scalar, a tuple or a dict."""
    if column_type.shape == "map":
        return dict(_pairs(value))
    if column_type.shape == "set":
        return _sorted(_elements(value))
    if value is msgspec.UNSET:
        return column_type.default
    elements = _elements(value)
    if len(elements) > 1:
        raise ProtocolError(f"expected at most one value: {value!r:.80}")
    return elements[0] if elements else None


def _elements(value: Any) -> list[Any]:
    match value:
        case msgspec.UNSET:
            return []
        case ["set", list(elements)]:
            return [_atom(element) for element in elements]
    return [_atom(value)]


def _pairs(value: Any) -> list[tuple[Any, Any]]:
    match value:
        case msgspec.UNSET:
            return []
        case ["map", list(pairs)] if all(isinstance(p, list) and len(p) == 2 for p in pairs):
            return [(_atom(key), _atom(element)) for key, element in pairs]
    raise ProtocolError(f"expected a map: {value!r:.80}")


def _atom(value: Any) -> Any:
    """An <atom> (RFC 7047, section 5.1); a uuid is its string."""
    match value:
        case ["uuid" | "named-uuid", str(uuid)]:
            return uuid
        case str() | int() | float():
            return value
    raise ProtocolError(f"expected an atom: {value!r:.80}")


_SCALARS: tuple[tuple[str, Callable[[Any], Any]], ...] = (
    ("ofport", _number),
    ("mac_in_use", _text),
    ("admin_state", _word),
    ("link_state", _word),
    ("error", _text),
    ("name", str),
    ("type", sys.intern),
)
