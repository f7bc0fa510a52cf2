"""Table updates as the wire has them, and the Interface rows that they make. No I/O.

There are two encodings of the same news: `update` (RFC 7047, section 4.1.6) carries whole rows,
`update2` (ovsdb-server(7), monitor_cond) leaves out defaults and carries differences.
Whatever does not fit the rows that we hold means that our copy is wrong: a ProtocolError, and
the caller drops the connection and starts over.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import msgspec
from msgspec.structs import replace

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
        self._split = msgspec.json.Decoder(dict[str, dict[str, msgspec.Raw]]).decode

    def decode(self, updates: msgspec.Raw) -> Tables:
        """Return the row updates by table and uuid.

        :raises ProtocolError: they cannot be read, or name a table, a row or a column twice.
        """
        try:
            tables = self._split(updates)
        except UNREADABLE as error:
            raise ProtocolError(f"table updates cannot be read: {error}") from None
        # A decoder keeps the last of two members of one name. What the members take of the text
        # says whether there is more in it, which may be white space; only then it is read again.
        size = 1 if tables else 2
        for table, rows in tables.items():
            size += len(table) + (5 if rows else 6)  # two quotes, colon, brace, and comma or brace
            for uuid, update in rows.items():
                size += len(uuid) + len(update) + 4
        if size != len(updates):
            json.loads(bytes(updates), object_pairs_hook=_refuse_repetition)
        return tables


def _refuse_repetition(members: list[tuple[str, Any]]) -> None:
    """Refuse an object that has a name twice.

    :raises ProtocolError: names the name.
    """
    names = [name for name, _ in members]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ProtocolError(f"an update has {twice!r:.80} twice")


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
        self._whole_rows = method == "monitor"
        self._action = action_of_update if self._whole_rows else action_of_update2
        # Row by row, so that the lists of a large snapshot do not all live at once.
        self._row_update = row_update_decoder(method, row)

    def rows(self, updates: Mapping[str, msgspec.Raw]) -> dict[str, Interface]:
        """Return the rows of a whole table.

        :raises ProtocolError: an update cannot be read, or is not one of a new row.
        """
        decode, action_of, new = self._row_update.decode, self._action, self._new
        try:
            return {
                uuid: new(uuid, action_of(uuid, decode(raw), held=False)[1])
                for uuid, raw in updates.items()
            }
        except UNREADABLE as error:
            raise ProtocolError(f"an update of table {TABLE} cannot be read: {error}") from None

    def deltas(
        self, updates: Mapping[str, msgspec.Raw], get: Callable[[str], Interface | None]
    ) -> list[RowDelta]:
        """Return what each row update makes of the row that is held.

        :param get: returns the row that is held of a uuid.
        :raises ProtocolError: an update cannot be read, or does not fit.
        """
        decode, action_of = self._row_update.decode, self._action
        deltas: list[RowDelta] = []
        try:
            for uuid, raw in updates.items():
                old = get(uuid)
                if old is not None:
                    uuid = old.uuid  # the same object finds its way faster through every dict
                action, row = action_of(uuid, decode(raw), held=old is not None)
                if action == "delete":
                    new = None
                elif old is None or self._whole_rows:
                    new = self._new(uuid, row)
                else:
                    new = self._modified(old, row)
                deltas.append(RowDelta(uuid, old, new))
        except UNREADABLE as error:
            raise ProtocolError(f"an update of table {TABLE} cannot be read: {error}") from None
        return deltas

    def _new(self, uuid: str, row: _Row) -> Interface:
        """Return a row in which omitted columns have their default (ovsdb-server(7),
        <row-update2>).

        What nearly every row has is read here, without a further call.
        """
        unset, intern = msgspec.UNSET, sys.intern
        name, type_, admin, link = row.name, row.type, row.admin_state, row.link_state
        mac, error, ofport = row.mac_in_use, row.error, row.ofport
        options, external_ids = row.options, row.external_ids
        return Interface(
            uuid=uuid,
            name="" if name is unset else name,
            type="" if type_ is unset else intern(type_),
            ofport=number_value(ofport),
            admin_state=intern(admin) if type(admin) is str else _text(admin),
            link_state=intern(link) if type(link) is str else _text(link),
            mac_in_use=mac if type(mac) is str else self._no_mac if mac is unset else _text(mac),
            error=None if error is unset else _text(error),
            external_ids=NOTHING if external_ids is unset else read_only(map_value(external_ids)),
            options=NOTHING if options is unset else read_only(map_value(options)),
            columns=read_only(new_columns(self._extra, row)) if self._extra else NOTHING,
        )

    def _modified(self, old: Interface, row: _Row) -> Interface:
        """Return a row in which omitted columns keep their value, and maps are differences."""
        unset = msgspec.UNSET
        new = _scalars(row)
        if row.external_ids is not unset:
            ids = map_changed(old.external_ids, map_value(row.external_ids))
            new["external_ids"] = read_only(ids)
        if row.options is not unset:
            new["options"] = read_only(map_changed(old.options, map_value(row.options)))
        if self._extra:
            new["columns"] = read_only(modified_columns(self._extra, old.columns, row))
        return replace(old, **new)


def _scalars(row: _Row) -> dict[str, Any]:
    """Return the scalar and optional columns that a difference has."""
    unset = msgspec.UNSET
    new: dict[str, Any] = {}
    if row.name is not unset:
        new["name"] = row.name
    if row.type is not unset:
        new["type"] = sys.intern(row.type)
    if row.ofport is not unset:
        new["ofport"] = number_value(row.ofport)
    if row.admin_state is not unset:
        new["admin_state"] = _word(row.admin_state)
    if row.link_state is not unset:
        new["link_state"] = _word(row.link_state)
    if row.mac_in_use is not unset:
        new["mac_in_use"] = _text(row.mac_in_use)
    if row.error is not unset:
        new["error"] = _text(row.error)
    return new


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
    if initial and not held and modify is insert is delete is unset:
        return "insert", initial  # as in a first reply
    if modify and held and initial is insert is delete is unset:
        return "modify", modify
    return _unusual_action(uuid, update, held)


def _unusual_action(uuid: str, update: Any, held: bool) -> tuple[Action, Any]:
    unset = msgspec.UNSET
    modify, insert, initial, delete = update.modify, update.insert, update.initial, update.delete
    if (modify is unset) + (insert is unset) + (initial is unset) + (delete is unset) != 3:
        said = (modify, insert, initial, delete) != (unset,) * 4
        what = "more than one thing" if said else "nothing"
        raise ProtocolError(f"an update says {what} of its row: {uuid}")
    if modify:
        raise ProtocolError(f"a row that we do not hold is changed: {uuid}")
    if delete is not unset:
        if not held:
            raise ProtocolError(f"a row that we do not hold is deleted: {uuid}")
        return "delete", None
    row = initial or insert
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
    return sys.intern(value) if type(value) is str else _text(value)


def map_value(value: Map) -> dict[str, str]:
    """Return a map of strings."""
    intern = sys.intern  # the same few keys in every row
    texts = {}
    for key, text in value[1]:
        texts[intern(key)] = text
    return texts


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
