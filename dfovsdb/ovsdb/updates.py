"""Table updates as the wire has them, and the Interface rows that they make. No I/O.

There are two encodings of the same news: `update` (RFC 7047, section 4.1.6) carries whole rows,
`update2` (ovsdb-server(7), monitor_cond) leaves out defaults and carries differences.
Whatever does not fit the rows that we hold means that our copy is wrong: a ProtocolError, and
the caller drops the connection and starts over.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import msgspec

from dfovsdb.errors import ProtocolError
from dfovsdb.model import NOTHING, TABLE, UNREADABLE, Interface, RowDelta

MonitorMethod = Literal["monitor", "monitor_cond"]

# How values look on the wire (RFC 7047, section 5.1). An optional column is a set of at most
# one: ["set", []] when empty, the bare value otherwise.
_Set = tuple[Literal["set"], list[Any]]
Text = str | _Set
Number = int | _Set
Map = tuple[Literal["map"], list[tuple[str, str]]]
_Unset = msgspec.UnsetType


class _Row(msgspec.Struct, gc=False):
    name: str | _Unset = msgspec.UNSET
    type: str | _Unset = msgspec.UNSET
    options: Map | _Unset = msgspec.UNSET
    external_ids: Map | _Unset = msgspec.UNSET
    ofport: Number | _Unset = msgspec.UNSET
    mac_in_use: Text | _Unset = msgspec.UNSET
    admin_state: Text | _Unset = msgspec.UNSET
    link_state: Text | _Unset = msgspec.UNSET
    error: Text | _Unset = msgspec.UNSET


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
    ephemeral: bool = False  # the server forgets it when it restarts

    @classmethod
    def of(cls, schema: Any) -> ColumnType:
        """Read a <column-schema>.

        :raises ProtocolError: it is not one.
        """
        column_type = cls._of(schema)
        return column_type._replace(ephemeral=schema.get("ephemeral") is True)

    @classmethod
    def _of(cls, schema: Any) -> ColumnType:
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


Tables = Mapping[str, Mapping[str, msgspec.Raw]]  #: the row updates by table and uuid


class TablesDecoder:
    """Splits table updates into row updates. Nothing in them may be there twice."""

    def __init__(self) -> None:
        self._split_tables = msgspec.json.Decoder(dict[str, msgspec.Raw])
        self._split_rows = msgspec.json.Decoder(dict[str, msgspec.Raw])

    def decode(self, updates: msgspec.Raw) -> Tables:
        """Return the row updates by table and uuid.

        :raises ProtocolError: they cannot be read, or name a table or a row twice.
        """
        try:
            tables = self._split_tables.decode(updates)
            _refuse_repetition(updates, tables)
            split = {name: self._split_rows.decode(rows) for name, rows in tables.items()}
        except UNREADABLE as error:
            raise ProtocolError(f"table updates cannot be read: {error}") from None
        for name, rows in split.items():
            _refuse_repetition(tables[name], rows)
        return split


def _refuse_repetition(text: msgspec.Raw, members: Mapping[str, msgspec.Raw]) -> None:
    """Refuse a JSON object that has a name twice, of which a decoder keeps the last.

    What the members take of the text says whether there is more; only then it is read again.

    :raises ProtocolError: names the name.
    """
    if len(members) == 1:  # as most messages have it, and cheaper
        ((name, value),) = members.items()
        size = len(name) + len(value) + 5
    else:
        size = sum(map(len, members)) + sum(map(len, members.values())) + 4 * len(members) + 1
    if size == len(text) or (not members and len(text) == 2):
        return

    def pairs(found: list[tuple[str, Any]]) -> object:
        names = [name for name, _ in found]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise ProtocolError(f"an update has {twice!r:.80} twice")
        return None

    json.loads(bytes(text), object_pairs_hook=pairs)


class Codec:
    """Decodes the Interface updates of one connection: its method and extra columns are fixed.

    :param extra: the columns beyond the core's, by name.
    :param absent: core columns that the server does not have.
    """

    def __init__(
        self,
        method: MonitorMethod,
        extra: Mapping[str, ColumnType],
        absent: frozenset[str] = frozenset(),
    ) -> None:
        self._extra = extra
        self._no_mac = "" if "mac_in_use" in absent else None
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
        # Row by row, so that the lists of a large snapshot do not all live at once.
        self._row_update = row_update_decoder(method, row)

    def deltas(
        self, updates: Mapping[str, msgspec.Raw], get: Callable[[str], Interface | None]
    ) -> Iterator[RowDelta]:
        """Yield what each row update makes of the row that is held.

        :param get: returns the row that is held of a uuid.
        :raises ProtocolError: an update cannot be read, or does not fit.
        """
        try:
            for uuid, raw in updates.items():
                old = get(uuid)
                if old is not None:
                    uuid = old.uuid  # the same object finds its way faster through every dict
                yield RowDelta(uuid, old, self._read(uuid, self._row_update.decode(raw), old))
        except UNREADABLE as error:
            raise ProtocolError(f"an update of table {TABLE} cannot be read: {error}") from None

    def _read_update(self, uuid: str, update: Any, old: Interface | None) -> Interface | None:
        action, row = action_of_update(uuid, update, held=old is not None)
        return None if action == "delete" else self._new(uuid, row)

    def _read_update2(self, uuid: str, update: Any, old: Interface | None) -> Interface | None:
        action, row = action_of_update2(uuid, update, held=old is not None)
        if action == "delete":
            return None
        return self._new(uuid, row) if old is None else self._modified(old, row)

    def _new(self, uuid: str, row: _Row) -> Interface:
        """Return a row in which omitted columns have their default (ovsdb-server(7),
        <row-update2>).
        """
        unset = msgspec.UNSET
        name, type_, ofport = row.name, row.type, row.ofport
        options, external_ids = row.options, row.external_ids
        return Interface(
            uuid=uuid,
            name="" if name is unset else name,
            type="" if type_ is unset else sys.intern(type_),
            ofport=number_value(ofport),
            admin_state=_word(row.admin_state),
            link_state=_word(row.link_state),
            mac_in_use=self._no_mac if row.mac_in_use is unset else _text(row.mac_in_use),
            error=_text(row.error),
            external_ids=NOTHING if external_ids is unset else read_only(map_value(external_ids)),
            options=NOTHING if options is unset else read_only(map_value(options)),
            columns=read_only(new_columns(self._extra, row)) if self._extra else NOTHING,
        )

    def _modified(self, old: Interface, row: _Row) -> Interface:
        """Return a row in which omitted columns keep their value, and maps are differences."""
        new: dict[str, Any] = {}
        for name, read in _SCALARS:
            if (value := getattr(row, name)) is not msgspec.UNSET:
                new[name] = read(value)
        if row.external_ids is not msgspec.UNSET:
            new["external_ids"] = read_only(
                map_changed(old.external_ids, map_value(row.external_ids))
            )
        if row.options is not msgspec.UNSET:
            new["options"] = read_only(map_changed(old.options, map_value(row.options)))
        if self._extra:
            new["columns"] = read_only(modified_columns(self._extra, old.columns, row))
        return msgspec.structs.replace(old, **new)


def new_columns(extra: Mapping[str, ColumnType], row: Any) -> dict[str, Any]:
    """Return the extra columns of a whole row; what is left out holds its default.

    :param extra: their types by name, with the table before a dot where it is not Interface.
    """
    return {name: column_value(kind, _wire(row, name)) for name, kind in extra.items()}


def modified_columns(
    extra: Mapping[str, ColumnType], old: Mapping[str, Any], row: Any
) -> dict[str, Any]:
    """Return the extra columns after a difference; what is left out stays."""
    columns = dict(old)
    for name, kind in extra.items():
        value = _wire(row, name)
        if value is msgspec.UNSET:
            continue
        new = column_value(kind, value)
        if kind.several and kind.shape == "map":
            new = read_only(map_changed(columns[name], new))
        elif kind.several:
            new = set_changed(columns[name], new)
        columns[name] = new
    return columns


def _wire(row: Any, name: str) -> Any:
    value = getattr(row, name.rpartition(".")[2])
    return list(value) if isinstance(value, tuple) else value  # typed columns are tuples


#: Plugins are handed the mappings of a row, and cannot change them for others.
read_only = MappingProxyType

Action = Literal["insert", "modify", "delete"]


def row_update_decoder(method: MonitorMethod, row: type) -> msgspec.json.Decoder[Any]:
    """Return the decoder of one <row-update> or <row-update2> of rows of this type."""
    keys = ("old", "new") if method == "monitor" else ("initial", "insert", "modify", "delete")
    types: dict[str, Any] = dict.fromkeys(keys, row | None | _Unset)
    types |= {"old": Any} if method == "monitor" else {"delete": Any}
    return msgspec.json.Decoder(
        msgspec.defstruct("_RowUpdate", [(k, types[k], msgspec.UNSET) for k in keys], gc=False)
    )


def action_of_update(uuid: str, update: Any, *, held: bool) -> tuple[Action, Any]:
    """Return what a <row-update> does (RFC 7047, section 4.1.6), and its whole row.

    :param held: whether we hold the row.
    :raises ProtocolError: it does not fit.
    """
    if not update.new:
        if update.old is msgspec.UNSET:
            raise ProtocolError(f"an update says nothing of its row: {uuid}")
        if not held:
            raise ProtocolError(f"a row that we do not hold is deleted: {uuid}")
        return "delete", None
    if (update.old is msgspec.UNSET) == held:
        raise ProtocolError(
            f"a row that we hold is inserted: {uuid}"
            if held
            else f"a row that we do not hold is changed: {uuid}"
        )
    return ("modify" if held else "insert"), update.new


def action_of_update2(uuid: str, update: Any, *, held: bool) -> tuple[Action, Any]:
    """Return what a <row-update2> does (ovsdb-server(7)), and its row or difference.

    :param held: whether we hold the row.
    :raises ProtocolError: it does not fit, or says more than one thing.
    """
    unset = msgspec.UNSET
    modify, insert, initial, delete = update.modify, update.insert, update.initial, update.delete
    if (modify is unset) + (insert is unset) + (initial is unset) + (delete is unset) != 3:
        said = (modify, insert, initial, delete) != (unset,) * 4
        what = "more than one thing" if said else "nothing"
        raise ProtocolError(f"an update says {what} of its row: {uuid}")
    if modify is not unset:
        if not modify:
            raise ProtocolError(f"an update says nothing of its row: {uuid}")
        if not held:
            raise ProtocolError(f"a row that we do not hold is changed: {uuid}")
        return "modify", modify
    if delete is not unset:
        if not held:
            raise ProtocolError(f"a row that we do not hold is deleted: {uuid}")
        return "delete", None
    row = initial if insert is unset else insert
    if not row:
        raise ProtocolError(f"an update says nothing of its row: {uuid}")
    if held:
        raise ProtocolError(f"a row that we hold is inserted: {uuid}")
    return "insert", row


def _optional(value: Any, expected: type) -> Any:
    """Return the value of a scalar or optional column, None if it is empty or left out."""
    if value is msgspec.UNSET:
        return None
    if type(value) is expected:
        return value
    match value:
        case ("set", []):
            return None
        case ("set", [element]) if type(element) is expected:
            return _atom(element)
    raise ProtocolError(f"expected {expected.__name__} or nothing: {value!r:.80}")


def number_value(value: Number | _Unset) -> int | None:
    """Return the integer of a scalar or optional column, None where it is empty or left out."""
    number: int | None = value if type(value) is int else _optional(value, int)
    if number is not None and not -(2**63) <= number < 2**63:  # RFC 7047, section 3.1
        raise ProtocolError("an integer has more than 64 bits")
    return number


def _text(value: Text | _Unset) -> str | None:
    text: str | None = value if type(value) is str else _optional(value, str)
    return text


def _word(value: Text | _Unset) -> str | None:
    """Return the text of a column with few different values, stored only once."""
    text = _text(value)
    return None if text is None else sys.intern(text)


def map_value(value: Map) -> dict[str, str]:
    """Return a map of strings."""
    intern = sys.intern  # the same few keys in every row
    return {intern(key): text for key, text in value[1]}


def map_changed(old: Mapping[Any, Any], difference: Mapping[Any, Any]) -> dict[Any, Any]:
    """Apply a difference of maps: a pair that is there with the same value is removed."""
    changed = dict(old)
    for key, value in difference.items():
        if key in changed and changed[key] == value:
            del changed[key]
        else:
            changed[key] = value
    return changed


def set_changed(old: Sequence[Any], difference: Sequence[Any]) -> tuple[Any, ...]:
    """Apply a difference of sets: what is in both is removed, what is in one is there."""
    return in_order(set(old) ^ set(difference))


def in_order(elements: Iterable[Any]) -> tuple[Any, ...]:
    """Return a set in a fixed order, so that equal sets are equal tuples."""
    return tuple(sorted(elements, key=lambda element: (isinstance(element, str), element)))


def column_value(column_type: ColumnType, value: Any) -> Any:
    """Return the Python value of an extra column: None, a scalar, a tuple or a dict."""
    if column_type.shape == "map":
        return read_only(dict(_pairs(value)))
    if column_type.shape == "set":
        return in_order(_elements(value))
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
        case ["map", list(pairs)] if all(map(_is_pair, pairs)):
            return [(_atom(key), _atom(element)) for key, element in pairs]
    raise ProtocolError(f"expected a map: {value!r:.80}")


def _is_pair(value: object) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2  # of a typed column it is a tuple


def _atom(value: Any) -> Any:
    """Return the value of an <atom> (RFC 7047, section 5.1); a uuid is its string."""
    match value:
        case ["uuid" | "named-uuid", str(uuid)]:
            return uuid
        case int() if not -(2**63) <= value < 2**63:  # RFC 7047, section 3.1
            raise ProtocolError("an integer has more than 64 bits")
        case str() | int() | float():
            return value
    raise ProtocolError(f"expected an atom: {value!r:.80}")


_SCALARS: tuple[tuple[str, Callable[[Any], Any]], ...] = (
    ("ofport", number_value),
    ("mac_in_use", _text),
    ("admin_state", _word),
    ("link_state", _word),
    ("error", _text),
    ("name", str),
    ("type", sys.intern),
)
