"""The replica against a truth, through an encoder that follows RFC 7047 and ovsdb-server(7)."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfovsdb.errors import ProtocolError
from dfovsdb.model import CORE_COLUMNS, Interface, RowDelta
from dfovsdb.ovsdb.replica import Replica
from dfovsdb.ovsdb.updates import ColumnType, MonitorMethod
from tests.unit.samples import OTHER_UUID, UUID, interface, json_values, raw, texts

EMPTY: Any = ["set", []]
METHODS: tuple[MonitorMethod, ...] = ("monitor", "monitor_cond")


def a_map(**pairs: str) -> Any:
    return ["map", [list(pair) for pair in pairs.items()]]


FULL: dict[str, Any] = {
    "name": "tap0",
    "type": "internal",
    "options": a_map(peer="x"),
    "external_ids": a_map(a="1", b="2"),
    "ofport": 5,
    "mac_in_use": "fe:16:3e:00:00:01",
    "admin_state": "up",
    "link_state": "down",
    "error": EMPTY,
}
FULL_ROW = Interface(
    uuid=UUID,
    name="tap0",
    type="internal",
    options={"peer": "x"},
    external_ids={"a": "1", "b": "2"},
    ofport=5,
    mac_in_use="fe:16:3e:00:00:01",
    admin_state="up",
    link_state="down",
)


def updates(**by_uuid: Any) -> msgspec.Raw:
    return raw({"Interface": {uuid: by_uuid[uuid] for uuid in by_uuid}})


def one(update: Any, uuid: str = UUID) -> msgspec.Raw:
    return raw({"Interface": {uuid: update}})


def table_of(
    *rows: dict[str, Any],
    method: MonitorMethod = "monitor_cond",
    extra: dict[str, ColumnType] | None = None,
) -> Replica:
    """A table of which the first row has UUID, the second OTHER_UUID."""
    key = "initial" if method == "monitor_cond" else "new"
    table = Replica()
    snapshot = {uuid: {key: row} for uuid, row in zip((UUID, OTHER_UUID), rows, strict=False)}
    table.replace(raw({"Interface": snapshot}), method, extra or {})
    return table


def modified(row: dict[str, Any], **difference: Any) -> Interface:
    """A row after an update2 modify."""
    table = table_of(row)
    (changed,) = table.apply(one({"modify": difference}))
    new = changed.new
    assert new is not None
    assert table.rows == {UUID: new}
    return new


# The whole table.


def test_a_full_row_is_read_from_both_encodings() -> None:
    assert table_of(FULL, method="monitor").rows == {UUID: FULL_ROW}
    assert table_of(FULL, method="monitor_cond").rows == {UUID: FULL_ROW}


def test_columns_that_are_left_out_hold_their_default() -> None:
    assert table_of({"name": "x"}).rows == {UUID: interface(name="x")}
    assert table_of({}).rows == {UUID: interface(name="")}


def test_a_column_that_an_old_server_lacks_is_empty() -> None:
    row = {key: value for key, value in FULL.items() if key != "link_state"}
    (read,) = table_of(row, method="monitor").rows.values()
    assert read.link_state is None
    assert read.admin_state == "up"


SURROUNDINGS = (
    "bridge",
    "port_name",
    "tag",
    "trunks",
    "bond",
    "port_external_ids",
    "fake_bridge",
    "peer",
)


def test_every_core_column_is_a_field_of_an_interface() -> None:
    assert {*CORE_COLUMNS} == {*Interface.__struct_fields__} - {
        "uuid",
        "columns",
        *SURROUNDINGS,
    }


@pytest.mark.parametrize("value", [["set", [7]], 7])
def test_an_optional_column_may_be_a_set_of_one(value: Any) -> None:
    (row,) = table_of({"name": "x", "ofport": value}).rows.values()
    assert row.ofport == 7


def test_a_snapshot_without_interfaces_is_an_empty_table() -> None:
    table = Replica()
    assert table.replace(raw({}), "monitor_cond", {}) == []
    assert table.replace(raw({"Interface": {}}), "monitor", {}) == []
    assert table.rows == {}


def test_replacing_tells_the_difference_to_the_rows_that_were_held() -> None:
    table = table_of({"name": "gone"}, {"name": "stays"})
    gone, stays = table.rows[UUID], table.rows[OTHER_UUID]
    snapshot = updates(new={"initial": {"name": "new"}})
    assert table.replace(snapshot, "monitor_cond", {}) == [
        RowDelta(UUID, gone, None),
        RowDelta(OTHER_UUID, stays, None),
        RowDelta("new", None, interface(uuid="new", name="new")),
    ]
    assert set(table.rows) == {"new"}


@pytest.mark.parametrize("method", METHODS)
def test_a_row_that_is_equal_after_a_reconnect_is_no_difference_and_keeps_its_identity(
    method: MonitorMethod,
) -> None:
    table = table_of(FULL, {"name": "changes"})
    kept, changed = table.rows[UUID], table.rows[OTHER_UUID]
    key = "initial" if method == "monitor_cond" else "new"
    snapshot = {UUID: {key: FULL}, OTHER_UUID: {key: {"name": "changes", "ofport": 3}}}
    (delta,) = table.replace(raw({"Interface": snapshot}), method, {})
    assert delta.uuid == OTHER_UUID
    assert delta.old is changed
    assert delta.new is table.rows[OTHER_UUID]
    assert table.rows[UUID] is kept


@pytest.mark.parametrize(
    "update",
    [
        {"modify": {"ofport": 1}},
        {"delete": None},
        {"old": {}, "new": FULL},
        {},
        {"initial": None},
        {"initial": {"name": 5}},
        {"initial": []},
        None,
        5,
    ],
)
def test_a_snapshot_that_cannot_be_read_leaves_the_rows_as_they_were(update: Any) -> None:
    for method in METHODS:
        table = table_of(FULL)
        rows = dict(table.rows)
        snapshot = raw({"Interface": {"first": {"initial": {}, "new": {}}, "second": update}})
        with pytest.raises(ProtocolError):
            table.replace(snapshot, method, {"mtu": ColumnType("optional", several=False)})
        assert table.rows == rows
        table.apply(one({"modify": {"ofport": 6}}))  # the encoding is the old one too


@pytest.mark.parametrize(
    "text", [b"", b"null", b"[]", b'{"Interface":[]}', b'{"Interface":{"\xff']
)
def test_updates_that_are_no_table_updates_are_a_protocol_error(text: bytes) -> None:
    table = table_of(FULL)
    with pytest.raises(ProtocolError, match="table updates cannot be read"):
        table.replace(msgspec.Raw(text), "monitor", {})
    with pytest.raises(ProtocolError, match="table updates cannot be read"):
        table.apply(msgspec.Raw(text))


# update (RFC 7047, section 4.1.6).


def test_update_inserts_changes_and_deletes_whole_rows() -> None:
    table = table_of(method="monitor")
    assert table.apply(one({"new": FULL})) == [RowDelta(UUID, None, FULL_ROW)]
    renumbered = msgspec.structs.replace(FULL_ROW, ofport=6)
    change = {"old": {"ofport": 5}, "new": FULL | {"ofport": 6}}
    assert table.apply(one(change)) == [RowDelta(UUID, FULL_ROW, renumbered)]
    assert table.apply(one({"old": FULL})) == [RowDelta(UUID, renumbered, None)]
    assert table.rows == {}


@pytest.mark.parametrize(
    ("update", "phrase"),
    [
        ({"new": FULL}, "that we hold is inserted"),
        ({}, "says nothing of its row"),
        ({"new": {"name": None}, "old": {}}, "cannot be read"),
        ({"new": {"options": ["map", [["a"]]]}, "old": {}}, "cannot be read"),
        ({"new": {"options": ["set", []]}, "old": {}}, "cannot be read"),
        ({"new": {"ofport": "5"}, "old": {}}, "cannot be read"),
        ({"new": {"ofport": ["set", [1, 2]]}, "old": {}}, "expected int or nothing"),
        ({"new": {"error": ["set", [1]]}, "old": {}}, "expected str or nothing"),
    ],
)
def test_update_of_a_held_row_that_does_not_fit_is_a_protocol_error(
    update: Any, phrase: str
) -> None:
    table = table_of(FULL, method="monitor")
    with pytest.raises(ProtocolError, match=phrase):
        table.apply(one(update))
    assert table.rows == {UUID: FULL_ROW}


@pytest.mark.parametrize(
    ("update", "phrase"),
    [
        ({"old": {"ofport": 1}, "new": FULL}, "do not hold is changed"),
        ({"old": FULL}, "do not hold is deleted"),
        ({}, "says nothing of its row"),
    ],
)
def test_update_of_a_row_that_is_not_held_is_a_protocol_error(update: Any, phrase: str) -> None:
    table = table_of(FULL, method="monitor")
    with pytest.raises(ProtocolError, match=phrase):
        table.apply(one(update, uuid=OTHER_UUID))
    assert table.rows == {UUID: FULL_ROW}


# update2 (ovsdb-server(7), monitor_cond).


def test_update2_inserts_changes_and_deletes() -> None:
    table = table_of()
    assert table.apply(one({"insert": FULL})) == [RowDelta(UUID, None, FULL_ROW)]
    renumbered = msgspec.structs.replace(FULL_ROW, ofport=6)
    assert table.apply(one({"modify": {"ofport": 6}})) == [RowDelta(UUID, FULL_ROW, renumbered)]
    assert table.apply(one({"delete": None})) == [RowDelta(UUID, renumbered, None)]
    assert table.rows == {}


def test_a_modify_changes_only_what_it_names() -> None:
    assert modified(FULL, link_state="up") == msgspec.structs.replace(FULL_ROW, link_state="up")
    assert modified(FULL) == FULL_ROW


@pytest.mark.parametrize("column", ["ofport", "mac_in_use", "admin_state", "link_state"])
def test_an_optional_column_is_cleared_by_an_empty_set(column: str) -> None:
    assert modified(FULL, **{column: EMPTY}) == msgspec.structs.replace(FULL_ROW, **{column: None})


def test_a_scalar_column_has_its_new_value() -> None:
    assert modified(FULL, type="").type == ""
    assert modified(FULL, name="tap1").name == "tap1"


@pytest.mark.parametrize("column", ["external_ids", "options"])
def test_a_map_column_is_a_difference(column: str) -> None:
    row = {column: a_map(same="1", gone="2", other="3")}
    new = modified(row, **{column: a_map(gone="2", other="4", added="5")})
    assert getattr(new, column) == {"same": "1", "other": "4", "added": "5"}


def test_an_empty_difference_changes_nothing() -> None:
    assert modified(FULL, external_ids=a_map()) == FULL_ROW


@pytest.mark.parametrize(
    ("update", "phrase"),
    [
        ({"insert": FULL}, "that we hold is inserted"),
        ({"initial": FULL}, "that we hold is inserted"),
        ({"insert": {}}, "that we hold is inserted"),
        ({}, "says nothing"),
        ({"modify": None}, "says nothing"),
        ({"modify": []}, "cannot be read"),
        ({"modify": {"ofport": None}}, "cannot be read"),
        ({"modify": {"ofport": True}}, "cannot be read"),
        ({"modify": {"ofport": 1.5}}, "cannot be read"),
        ({"modify": {"external_ids": ["map", [["a", 1]]]}}, "cannot be read"),
        ({"modify": {"mac_in_use": ["set", ["a", "b"]]}}, "expected str or nothing"),
        ({"modify": {"mac_in_use": ["sat", []]}}, "cannot be read"),
    ],
)
def test_update2_of_a_held_row_that_does_not_fit_is_a_protocol_error(
    update: Any, phrase: str
) -> None:
    table = table_of(FULL)
    with pytest.raises(ProtocolError, match=phrase):
        table.apply(one(update))
    assert table.rows == {UUID: FULL_ROW}


@pytest.mark.parametrize(
    ("update", "phrase"),
    [
        ({"modify": {"ofport": 1}}, "do not hold is changed"),
        ({"modify": {}}, "do not hold is changed"),
        ({"delete": None}, "do not hold is deleted"),
        ({}, "says nothing"),
    ],
)
def test_update2_of_a_row_that_is_not_held_is_a_protocol_error(update: Any, phrase: str) -> None:
    table = table_of(FULL)
    with pytest.raises(ProtocolError, match=phrase):
        table.apply(one(update, uuid=OTHER_UUID))
    assert table.rows == {UUID: FULL_ROW}


def test_an_insert_and_the_delete_of_the_same_name_may_come_in_any_order() -> None:
    table = table_of(FULL)
    table.apply(raw({"Interface": {OTHER_UUID: {"insert": FULL}, UUID: {"delete": None}}}))
    assert table.rows == {OTHER_UUID: msgspec.structs.replace(FULL_ROW, uuid=OTHER_UUID)}


@pytest.mark.parametrize("bad", [{"modify": {"ofport": 1}}, {"insert": {"name": 1}}, {}])
def test_nothing_of_a_message_with_one_bad_row_is_applied(bad: Any) -> None:
    table = table_of(FULL)
    good = {UUID: {"modify": {"ofport": 9}}, "new": {"insert": {"name": "new"}}}
    for message in (good | {"bad": bad}, {"bad": bad} | good):
        with pytest.raises(ProtocolError):
            table.apply(raw({"Interface": message}))
        assert table.rows == {UUID: FULL_ROW}


def test_other_tables_are_not_read() -> None:
    table = table_of(FULL)
    assert table.apply(raw({"Bridge": {"x": {"modify": 5}}})) == []


# Extra columns.


@pytest.mark.parametrize(
    ("schema", "column_type"),
    [
        ("string", ColumnType("scalar", several=False, default="")),
        ("integer", ColumnType("scalar", several=False, default=0)),
        ({"key": "real"}, ColumnType("scalar", several=False, default=0.0)),
        ({"key": {"type": "boolean"}}, ColumnType("scalar", several=False, default=False)),
        (
            {"key": {"type": "string", "enum": ["set", ["a", "b"]]}},
            ColumnType("scalar", several=False, default=""),
        ),
        (
            {"key": {"type": "uuid", "refTable": "Bridge"}},
            ColumnType("scalar", several=False, default="00000000-0000-0000-0000-000000000000"),
        ),
        ({"key": "integer", "min": 0}, ColumnType("optional", several=False)),
        ({"key": "integer", "min": 0, "max": 1}, ColumnType("optional", several=False)),
        ({"key": "integer", "min": 0, "max": 3}, ColumnType("set", several=True)),
        ({"key": "integer", "min": 0, "max": "unlimited"}, ColumnType("set", several=True)),
        ({"key": "integer", "min": 1, "max": "unlimited"}, ColumnType("set", several=True)),
        (
            {"key": "string", "value": "string", "min": 0, "max": "unlimited"},
            ColumnType("map", several=True),
        ),
        ({"key": "string", "value": "uuid", "min": 0}, ColumnType("map", several=False)),
    ],
)
def test_a_column_type_is_read_from_the_schema(schema: Any, column_type: ColumnType) -> None:
    assert ColumnType.of({"type": schema, "mutable": False}) == column_type


@pytest.mark.parametrize("schema", [None, 5, {}, {"type": 5}, {"type": {}}, {"type": ["set"]}, []])
def test_a_schema_of_a_column_that_is_none_is_a_protocol_error(schema: Any) -> None:
    with pytest.raises(ProtocolError, match="cannot be read"):
        ColumnType.of(schema)


@given(json_values)
def test_any_schema_of_a_column_is_read_or_a_protocol_error(schema: Any) -> None:
    for candidate in (schema, {"type": schema}, {"type": {"key": schema, "max": schema}}):
        with contextlib.suppress(ProtocolError):
            ColumnType.of(candidate)


EXTRA = {
    "mtu": ColumnType.of({"type": {"key": "integer", "min": 0, "max": 1}}),
    "ingress_policing_rate": ColumnType.of({"type": {"key": {"type": "integer"}}}),
    "enabled": ColumnType.of({"type": "boolean"}),
    "bfd": ColumnType.of({"type": {"key": "string", "value": "string", "max": "unlimited"}}),
    "counts": ColumnType.of({"type": {"key": "string", "value": "integer", "min": 0}}),
    "mpids": ColumnType.of({"type": {"key": "integer", "min": 0, "max": "unlimited"}}),
    "queues": ColumnType.of({"type": {"key": {"type": "uuid"}, "min": 0, "max": 5}}),
    "queue": ColumnType.of({"type": {"key": {"type": "uuid"}, "min": 0, "max": 1}}),
}


@pytest.mark.parametrize(
    ("column", "wire", "value"),
    [
        ("mtu", EMPTY, None),
        ("mtu", 1500, 1500),
        ("mtu", ["set", [1500]], 1500),
        ("ingress_policing_rate", 7, 7),
        ("enabled", True, True),
        ("bfd", a_map(), {}),
        ("bfd", a_map(a="1"), {"a": "1"}),
        ("counts", ["map", [["a", 1]]], {"a": 1}),
        ("mpids", EMPTY, ()),
        ("mpids", 3, (3,)),
        ("mpids", ["set", [3, 4]], (3, 4)),
        ("queues", ["uuid", UUID], (UUID,)),
        ("queues", ["set", [["uuid", UUID], ["uuid", OTHER_UUID]]], (OTHER_UUID, UUID)),
        ("queue", ["uuid", UUID], UUID),
        ("queue", EMPTY, None),
    ],
)
def test_an_extra_column_has_the_shape_that_the_schema_says(
    column: str, wire: Any, value: Any
) -> None:
    for method in METHODS:
        (row,) = table_of({column: wire}, method=method, extra=EXTRA).rows.values()
        assert row.columns[column] == value
        expected = MappingProxyType if isinstance(value, dict) else type(value)
        assert type(row.columns[column]) is expected
        with pytest.raises(TypeError):
            row.columns[column] = value  # type: ignore[index]  # nobody can


def test_extra_columns_that_are_left_out_hold_their_default() -> None:
    (row,) = table_of({"name": "x"}, extra=EXTRA).rows.values()
    assert row.columns == {
        "mtu": None,
        "ingress_policing_rate": 0,
        "enabled": False,
        "bfd": {},
        "counts": {},
        "mpids": (),
        "queues": (),
        "queue": None,
    }


@pytest.mark.parametrize(
    ("column", "before", "difference", "after"),
    [
        ("mtu", 1500, EMPTY, None),
        ("mtu", 1500, 9000, 9000),
        ("mtu", EMPTY, 9000, 9000),
        ("ingress_policing_rate", 7, 0, 0),
        ("enabled", False, True, True),
        ("bfd", a_map(a="1", b="2"), a_map(a="1", b="3", c="4"), {"b": "3", "c": "4"}),
        ("counts", ["map", [["a", 1]]], ["map", [["a", 1]]], {"a": 1}),  # at most one: replaced
        ("counts", ["map", [["a", 1]]], ["map", []], {}),
        ("mpids", ["set", [1, 2]], 2, (1,)),
        ("mpids", ["set", [1, 2]], 3, (1, 2, 3)),
        ("mpids", 1, 1, ()),
        ("mpids", EMPTY, 1, (1,)),
        ("mpids", ["set", [1, 2]], ["set", [2, 3]], (1, 3)),
        ("queues", ["uuid", UUID], ["uuid", UUID], ()),
        ("queues", ["uuid", UUID], ["uuid", OTHER_UUID], (OTHER_UUID, UUID)),
        ("queue", ["uuid", UUID], ["uuid", OTHER_UUID], OTHER_UUID),
    ],
)
def test_a_modify_of_an_extra_column_goes_by_its_type(
    column: str, before: Any, difference: Any, after: Any
) -> None:
    table = table_of({"name": "x", "mtu": 1, column: before}, extra=EXTRA)
    old = table.rows[UUID]
    (changed,) = table.apply(one({"modify": {column: difference}}))
    new = changed.new
    assert new is not None
    assert dict(new.columns) == dict(old.columns) | {column: after}


def test_a_modify_does_not_change_the_row_that_was_held() -> None:
    row = {"external_ids": a_map(a="1"), "bfd": a_map(a="1"), "mpids": 1}
    table = table_of(row, extra=EXTRA)
    (changed,) = table.apply(
        one({"modify": {"external_ids": a_map(a="1"), "bfd": a_map(a="1"), "mpids": 1}})
    )
    old, new = changed.old, changed.new
    assert old is not None
    assert new is not None
    assert (old.external_ids, old.columns["bfd"], old.columns["mpids"]) == (
        {"a": "1"},
        {"a": "1"},
        (1,),
    )
    assert (new.external_ids, new.columns["bfd"], new.columns["mpids"]) == ({}, {}, ())


@pytest.mark.parametrize(
    ("column", "wire"),
    [
        ("mtu", ["set", [1, 2]]),
        ("mtu", None),
        ("mtu", {}),
        ("mtu", ["uuid", 5]),
        ("mtu", ["set", [["set", []]]]),
        ("mtu", ["map", []]),
        ("bfd", 1),
        ("bfd", EMPTY),
        ("bfd", ["map", [["a"]]]),
        ("bfd", ["map", [["a", []]]]),
        ("bfd", ["map", ["ab"]]),
        ("mpids", ["set", [[]]]),
        ("mpids", ["set", 5]),
        ("queues", ["set", [["uuid"]]]),
    ],
)
def test_an_extra_column_of_another_shape_is_a_protocol_error(column: str, wire: Any) -> None:
    with pytest.raises(ProtocolError):
        table_of({column: wire}, extra=EXTRA)
    table = table_of({"name": "x"}, extra=EXTRA)
    with pytest.raises(ProtocolError):
        table.apply(one({"modify": {column: wire}}))


def test_a_set_is_the_same_in_whatever_order_it_came_about() -> None:
    table = table_of({"mpids": ["set", [2, 10]]}, extra=EXTRA)
    table.apply(one({"modify": {"mpids": 1}}))
    snapshot = one({"initial": {"mpids": ["set", [1, 2, 10]]}})
    assert table.replace(snapshot, "monitor_cond", EXTRA) == []
    (row,) = table.rows.values()
    assert row.columns["mpids"] == (1, 2, 10)


# Whatever happens in the database, both encodings replay to it.

Truth = dict[str, dict[str, Any]]  # uuid -> column -> value as an Interface holds it

SCHEMA = {
    "name": ColumnType.of({"type": "string"}),
    "type": ColumnType.of({"type": "string"}),
    "ofport": ColumnType.of({"type": {"key": "integer", "min": 0}}),
    "options": EXTRA["bfd"],
    "external_ids": EXTRA["bfd"],
    **{
        name: ColumnType.of({"type": {"key": "string", "min": 0}})
        for name in ("mac_in_use", "admin_state", "link_state", "error")
    },
    **EXTRA,
}


def default(column_type: ColumnType) -> Any:
    return {"map": {}, "set": ()}.get(column_type.shape, column_type.default)


def encoded(column: str, value: Any) -> Any:
    """A <value> (RFC 7047, section 5.1); a set of one is bare, as ovsdb-server writes it."""

    def atom(element: Any) -> Any:
        return ["uuid", element] if column in ("queue", "queues") else element

    if value is None:
        return ["set", []]
    if isinstance(value, dict):
        return ["map", [[key, element] for key, element in value.items()]]
    if isinstance(value, tuple):
        return atom(value[0]) if len(value) == 1 else ["set", [atom(e) for e in value]]
    return atom(value)


def whole(row: dict[str, Any]) -> Any:
    return {column: encoded(column, value) for column, value in row.items()}


def without_defaults(row: dict[str, Any]) -> Any:
    kept = {c: value for c, value in row.items() if value != default(SCHEMA[c])}
    return whole(kept)


def changed_columns(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    return [column for column in old if old[column] != new[column]]


def difference(column: str, old: Any, new: Any) -> Any:
    """A column of a <row-update2> modify (ovsdb-server(7))."""
    if not SCHEMA[column].several:
        return encoded(column, new)
    if isinstance(new, dict):
        removed = {key: value for key, value in old.items() if key not in new}
        changed = {key: value for key, value in new.items() if old.get(key) != value}
        return encoded(column, removed | changed)
    return encoded(column, tuple(sorted({*old} ^ {*new})))


def update(old: dict[str, Any] | None, new: dict[str, Any] | None) -> Any:
    if old is None:
        assert new is not None
        return {"new": whole(new)}
    if new is None:
        return {"old": whole(old)}
    changed = {column: encoded(column, old[column]) for column in changed_columns(old, new)}
    return {"old": changed, "new": whole(new)}


def update2(old: dict[str, Any] | None, new: dict[str, Any] | None) -> Any:
    if old is None:
        assert new is not None
        return {"insert": without_defaults(new)}
    if new is None:
        return {"delete": None}
    columns = changed_columns(old, new)
    return {"modify": {column: difference(column, old[column], new[column]) for column in columns}}


def notification(method: MonitorMethod, old: Truth, new: Truth) -> msgspec.Raw:
    encode = update if method == "monitor" else update2
    uuids = [uuid for uuid in {**old, **new} if old.get(uuid) != new.get(uuid)]
    return raw({"Interface": {uuid: encode(old.get(uuid), new.get(uuid)) for uuid in uuids}})


def snapshot(method: MonitorMethod, truth: Truth) -> msgspec.Raw:
    if method == "monitor":
        return raw({"Interface": {uuid: {"new": whole(row)} for uuid, row in truth.items()}})
    rows = {uuid: {"initial": without_defaults(row)} for uuid, row in truth.items()}
    return raw({"Interface": rows})


def interfaces(truth: Truth) -> dict[str, Interface]:
    return {
        uuid: Interface(
            uuid=uuid,
            columns={name: row[name] for name in EXTRA},
            **{name: row[name] for name in CORE_COLUMNS},
        )
        for uuid, row in truth.items()
    }


def known(held: dict[str, Interface], rows: dict[str, Interface]) -> dict[str, Interface]:
    """The rows, with what was known of those whose ephemeral columns are all empty now."""
    kept = dict(rows)
    for uuid, new in rows.items():
        old = held.get(uuid)
        ephemeral = ("admin_state", "link_state", "mac_in_use")
        if (
            old is not None
            and old.ofport == new.ofport
            and (old.admin_state, old.link_state, old.mac_in_use or None) != (None, None, None)
            and not any(getattr(new, name) for name in ephemeral if name == "mac_in_use")
            and new.admin_state is None
            and new.link_state is None
        ):
            last = {name: getattr(old, name) for name in ephemeral}
            kept[uuid] = msgspec.structs.replace(new, **last)
    return kept


phrase = texts | st.sampled_from(["up", "down"])
small_maps = st.dictionaries(st.sampled_from("abc"), phrase, max_size=3)
uuids = st.sampled_from([UUID, OTHER_UUID, "c" * 36])


def sets(elements: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.sets(elements, max_size=4).map(lambda some: tuple(sorted(some)))


rows = st.fixed_dictionaries(
    {
        "name": phrase,
        "type": st.sampled_from(["", "internal", "vxlan"]),
        "options": small_maps,
        "external_ids": small_maps,
        "ofport": st.none() | st.integers(-1, 3),
        "mac_in_use": st.none() | phrase,
        "admin_state": st.none() | phrase,
        "link_state": st.none() | phrase,
        "error": st.none() | phrase,
        "mtu": st.none() | st.integers(0, 2),
        "ingress_policing_rate": st.integers(0, 2),
        "enabled": st.booleans(),
        "bfd": small_maps,
        "counts": st.dictionaries(st.sampled_from("ab"), st.integers(0, 1), max_size=1),
        "mpids": sets(st.integers(0, 12)),
        "queues": sets(uuids),
        "queue": st.none() | uuids,
    }
)


@st.composite
def histories(draw: st.DrawFn) -> list[Truth]:
    """States of a table; of a row that stays some columns change."""
    states: list[Truth] = [draw(st.dictionaries(uuids, rows, max_size=3))]
    for _ in range(draw(st.integers(0, 4))):
        state: Truth = {}
        for uuid in draw(st.sets(uuids)):
            row = draw(rows)
            if (old := states[-1].get(uuid)) is not None:
                touched = draw(st.sets(st.sampled_from(sorted(SCHEMA)), max_size=4))
                row = old | {column: row[column] for column in touched}
            state[uuid] = row
        states.append(state)
    return states


@given(histories(), st.sampled_from(METHODS))
def test_any_history_replays_to_the_truth(states: list[Truth], method: MonitorMethod) -> None:
    table = Replica()
    table.replace(snapshot(method, states[0]), method, EXTRA)
    assert table.rows == interfaces(states[0])
    after = interfaces(states[0])
    for old, new in itertools.pairwise(states):
        before, after = after, known(after, interfaces(new))
        deltas = table.apply(notification(method, old, new))
        assert table.rows == after
        touched = {u for u in {**before, **after} if before.get(u) != after.get(u)}
        assert {d.uuid: d for d in deltas} == {
            u: RowDelta(u, before.get(u), after.get(u)) for u in touched
        }
        assert len(deltas) == len(touched)


@given(histories(), st.lists(st.sampled_from(METHODS), min_size=5, max_size=5))
def test_any_reconnect_tells_exactly_what_differs(
    states: list[Truth], methods: list[MonitorMethod]
) -> None:
    table = Replica()
    before: dict[str, Interface] = {}
    for truth, method in zip(states, methods, strict=False):
        held, after = dict(table.rows), known(before, interfaces(truth))
        deltas = table.replace(snapshot(method, truth), method, EXTRA)
        assert table.rows == after
        touched = {u for u in {**before, **after} if before.get(u) != after.get(u)}
        assert {d.uuid: (d.old, d.new) for d in deltas} == {
            u: (before.get(u), after.get(u)) for u in touched
        }
        assert all(table.rows[u] is held[u] for u in after if u not in touched)
        before = after


# Whatever arrives.

wire_values = st.one_of(
    json_values,
    st.tuples(st.sampled_from(["set", "map", "uuid"]), json_values),
    st.builds(lambda some: ["set", some], st.lists(json_values, max_size=3)),
    st.builds(lambda some: ["map", some], st.lists(st.tuples(texts, json_values), max_size=3)),
)
wire_rows = st.one_of(
    st.dictionaries(st.sampled_from([*SCHEMA, "other"]), wire_values, max_size=3),
    rows.map(whole),
    json_values,
)
keys = st.sampled_from(["new", "old", "initial", "insert", "modify", "delete", "other"])
row_updates = st.dictionaries(keys, wire_rows, max_size=2) | json_values
table_updates = (
    st.dictionaries(uuids, row_updates, max_size=2).map(lambda some: {"Interface": some})
    | json_values
)


@given(table_updates, st.sampled_from(METHODS), st.sampled_from([EXTRA, {}]))
def test_any_updates_are_applied_or_a_protocol_error_that_changes_nothing(
    arriving: Any, method: MonitorMethod, extra: dict[str, ColumnType]
) -> None:
    table = table_of(FULL, method=method, extra=extra)
    changes: tuple[Callable[[], list[RowDelta]], ...] = (
        lambda: table.apply(raw(arriving)),
        lambda: table.replace(raw(arriving), method, extra),
    )
    for change in changes:
        held = dict(table.rows)
        try:
            deltas = change()
        except ProtocolError:
            assert table.rows == held
        else:
            for delta in deltas:
                assert delta.old == held.get(delta.uuid)
                assert delta.new == table.rows.get(delta.uuid)
