"""JSON, version 1: a contract with whoever reads the lines."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfovsdb.json_v1 import (
    decode_port,
    encode_port,
    from_json,
    json_schema,
    to_json,
)
from dfovsdb.model import PortEvent, SyncMarker, changes
from tests.unit.samples import TIME, event, marker, port, texts

VM = port(
    attributes={"iface_id": "vif-1", "vm_id": None},
    name="tap4aa64e21-d9",
    mac_in_use="fe:16:3e:00:00:01",
)


def test_an_event_is_exactly_this_line() -> None:
    before = msgspec.structs.replace(VM, ofport=None, state="pending")
    line = to_json(event(VM, action="updated", previous=before))
    assert line == (
        b'{"v":1,"seq":7,"time":"2026-11-22T13:00:00.123456Z","host":"cmp-17",'
        b'"action":"updated","origin":"update","port":{"uuid":'
        b'"5a6b1bd2-2d52-4f1c-9f0f-9e6f0d6c0c01","name":"tap4aa64e21-d9","kind":"vm",'
        b'"type":"","ofport":5,"state":"ready","admin_state":"up","link_state":"up",'
        b'"mac_in_use":"fe:16:3e:00:00:01","error":null,'
        b'"bridge":null,"tag":null,"trunks":[],"bond":null,'
        b'"attributes":{"iface_id":"vif-1","vm_id":null}},'
        b'"changed":{"ofport":[null,5],"state":["pending","ready"]}}'
    )


def test_a_marker_is_exactly_this_line() -> None:
    head = b'{"v":1,"seq":1,"time":"2026-11-22T13:00:00.123456Z","host":"cmp-17",'
    assert to_json(marker()) == head + b'"action":"sync_started","origin":"initial"}'
    finished = marker(action="sync_finished", origin="resync", ports=0)
    assert to_json(finished) == head + b'"action":"sync_finished","origin":"resync","ports":0}'


def test_changed_is_empty_where_there_is_no_previous_port() -> None:
    for action in ("online", "offline"):
        assert json.loads(to_json(event(action=action)))["changed"] == {}


def test_a_line_holds_no_line_break_whatever_the_names_hold() -> None:
    wild = "a\nb\r\u2028\x00\x1b}{\"'\\é😀"
    line = to_json(event(port(name=wild, attributes={wild: wild})))
    assert b"\n" not in line
    assert b"\r" not in line
    assert json.loads(line)["port"]["name"] == wild
    assert json.loads(line)["port"]["attributes"] == {wild: wild}


def test_a_string_is_never_cut() -> None:
    error = "x" * 100_000
    assert json.loads(to_json(event(port(ofport=-1, error=error))))["port"]["error"] == error


def test_a_time_without_fractions_is_read_back() -> None:
    whole = datetime(2026, 11, 22, 13, 0, 0, tzinfo=UTC)
    assert from_json(to_json(event(time=whole))).time == whole


# What differs.


def test_changes_name_each_fact_with_its_old_and_new_value() -> None:
    old = port(attributes={"a": "1", "b": "2", "c": "3"}, link_state="up", tag=4095)
    new = port(
        attributes={"a": "1", "b": None, "d": "4"}, link_state=None, name="tap1", trunks=(1, 2)
    )
    assert changes(old, new) == {
        "name": ("tap0", "tap1"),
        "link_state": ("up", None),
        "tag": (4095, None),
        "trunks": ((), (1, 2)),
        "attributes.b": ("2", None),
        "attributes.c": ("3", None),
        "attributes.d": (None, "4"),
    }


def test_equal_ports_have_no_changes() -> None:
    assert changes(port(), port()) == {}
    assert changes(None, port()) == {}


# Reading back.


def test_what_is_read_back_has_no_row() -> None:
    read = from_json(to_json(event()))
    assert isinstance(read, PortEvent)
    assert read.port.interface is None
    assert read == event(msgspec.structs.replace(port(), interface=None))


def test_text_is_read_as_well_as_bytes() -> None:
    assert from_json(to_json(marker()).decode()) == marker()


def test_unknown_keys_are_ignored() -> None:
    for item in (event(), marker()):
        line = json.loads(to_json(item)) | {"more": {"to": ["come"]}}
        if "port" in line:
            line["port"]["more"] = 1
            line["changed"]["more"] = [1, 2]
        assert type(from_json(json.dumps(line))) is type(item)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (b"", "not an event"),
        (b"nonsense", "not an event"),
        (b"[]", "not an event"),
        (b"{}", "not an event"),
        (b'{"v":1}', "not an event"),
        (b'{"v":1,"action":"online"}', "not an event"),
        (b'{"v":1,"action":"sync_started"}', "not an event"),
        (b'{"v":1,"action":"sync_stopped","seq":1}', "not an event"),
        (b'{"v":2,"action":"online"}', "version 2: this dfovsdb reads version 1"),
        (b'{"v":"1","action":"online"}', "not an event"),
        (b'{"v":1,"action":"\xff"}', "not an event"),
        (b'{"v":1,"action":"online","x":' + b"[" * 100_000, "not an event"),
    ],
)
def test_what_is_no_event_of_version_1_is_a_value_error(line: bytes, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        from_json(line)


@pytest.mark.parametrize(
    "change",
    [
        {"seq": 0},
        {"time": "2026-11-22T13:00:00"},  # of which time zone?
        {"action": "gone"},
        {"origin": "dream"},
        {"port": None},
        {"changed": {"name": ["only one"]}},
    ],
)
def test_a_line_with_a_value_that_is_not_allowed_is_a_value_error(change: Any) -> None:
    with pytest.raises(ValueError, match="not an event"):
        from_json(json.dumps(json.loads(to_json(event())) | change))


def test_a_port_alone_is_read_back() -> None:
    read = decode_port(encode_port(VM))
    assert read == VM
    assert read.interface is None
    with pytest.raises(msgspec.MsgspecError):
        decode_port(b'{"uuid":"u"}')


some = st.none() | texts
ports = st.builds(
    lambda kind, attributes, facts: port(kind, attributes, **facts),
    kind=st.just("vm"),
    attributes=st.fixed_dictionaries({"a": some, "b.c": some}),
    facts=st.fixed_dictionaries(
        {
            "name": texts,
            "type": texts,
            "ofport": st.none() | st.integers(-1, 65534),
            "admin_state": some,
            "link_state": some,
            "mac_in_use": some,
            "error": some,
        }
    ),
)
numbers = st.integers(1, 2**53)
origins = st.sampled_from(["initial", "update", "resync", "catchup", "replay"])
markers = st.builds(
    lambda action, origin, seq, ports: marker(action=action, origin=origin, seq=seq, ports=ports),
    action=st.sampled_from(["sync_started", "sync_finished"]),
    origin=origins,
    seq=numbers,
    ports=st.none() | st.integers(0, 10**6),
)


@given(ports, st.none() | ports, st.sampled_from(["online", "updated", "offline"]), origins)
def test_any_event_is_read_back_as_it_was(
    now: Any, previous: Any, action: str, origin: str
) -> None:
    written = event(now, previous=previous, action=action, origin=origin)
    read = from_json(to_json(written))
    assert isinstance(read, PortEvent)
    assert (read.action, read.origin, read.seq, read.time, read.host) == (
        action,
        origin,
        7,
        TIME,
        "cmp-17",
    )
    assert read.port.facts() == now.facts()
    if changes(previous, now):
        assert read.previous is not None
        assert read.previous.facts() == previous.facts()
    else:
        assert read.previous is None
    assert to_json(read) == to_json(written)


@given(markers)
def test_any_marker_is_read_back_as_it_was(written: SyncMarker) -> None:
    assert from_json(to_json(written)) == written


def test_the_schema_names_every_key_of_a_line() -> None:
    schema = json_schema()
    assert schema["oneOf"] == [
        {"$ref": "#/$defs/PortEventJson"},
        {"$ref": "#/$defs/SyncMarkerJson"},
    ]
    event_keys = set(schema["$defs"]["PortEventJson"]["properties"])
    marker_keys = set(schema["$defs"]["SyncMarkerJson"]["properties"])
    port_keys = set(schema["$defs"]["PortJson"]["properties"])
    line = json.loads(to_json(event()))
    assert event_keys == set(line)
    assert port_keys == set(line["port"])
    assert marker_keys == set(json.loads(to_json(marker(ports=1))))
    assert "ports" not in schema["$defs"]["SyncMarkerJson"]["required"]
