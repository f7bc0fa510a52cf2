"""The conversation with a server, played by feeding bytes; the time is a number."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfovsdb.errors import ConnectionLost, ProtocolError
from dfovsdb.model import CORE_COLUMNS
from dfovsdb.ovsdb.session import Changes, Session, Snapshot
from dfovsdb.ovsdb.updates import ColumnType
from tests.unit.samples import json_values

Sent = list[dict[str, Any]]

UNKNOWN_METHOD: dict[str, Any] = {
    "error": "unknown method"
}  # a bare string is what ovsdb-server sends
NO_SUCH_COLUMN: dict[str, Any] = {
    "error": {"error": "syntax error", "details": "link_state is not a valid column name"}
}


def connected(now: float = 0.0, **options: Any) -> Session:
    """A session whose first connection stands."""
    session = Session(now, **options)
    reconnect(session, now)
    return session


def reconnect(session: Session, now: float) -> None:
    assert session.next_step(now) == "connect"
    session.connecting(now)
    session.begin(now)


def synced(now: float = 0.0, **options: Any) -> Session:
    session = connected(now, **options)
    reply(session, sent(session)[-1], result={}, now=now)
    assert session.synced
    return session


def sent(session: Session) -> Sent:
    """Everything that the session wants to send now."""
    data, decoder, messages = session.outgoing().decode(), json.JSONDecoder(), []
    while data:
        message, end = decoder.raw_decode(data)
        messages.append(message)
        data = data[end:]
    return messages


def feed(session: Session, *messages: Any, now: float = 0.0) -> list[Snapshot | Changes]:
    data = b"".join(json.dumps(message).encode() for message in messages)
    return list(session.received(data, now))


def reply(
    session: Session, request: dict[str, Any], now: float = 0.0, **content: Any
) -> list[Snapshot | Changes]:
    return feed(session, {"id": request["id"], **content}, now=now)


def schema(*columns: str, **more: Any) -> dict[str, Any]:
    described = {name: {"type": "string"} for name in columns} | more
    return {"name": "Open_vSwitch", "tables": {"Interface": {"columns": described}}}


def columns_of(request: dict[str, Any]) -> list[str]:
    columns: list[str] = request["params"][2]["Interface"][0]["columns"]
    return columns


# Subscribing.


def test_monitor_cond_with_the_core_columns_is_all_that_is_asked() -> None:
    (request,) = sent(connected())
    assert request["method"] == "monitor_cond"
    assert request["params"][0] == "Open_vSwitch"
    assert set(request["params"][2]) == {"Interface"}
    assert sorted(columns_of(request)) == sorted(CORE_COLUMNS)


def test_what_is_to_be_sent_is_handed_out_once() -> None:
    session = connected()
    assert sent(session)
    assert session.outgoing() == b""


def test_the_plain_method_is_asked_for_where_the_configuration_says_so() -> None:
    (request,) = sent(connected(monitor="rfc7047"))
    assert request["method"] == "monitor"


def test_the_reply_is_a_snapshot_of_the_method_that_was_asked() -> None:
    session = connected()
    assert not session.synced
    (snapshot,) = reply(session, sent(session)[0], result={"Interface": {}}, error=None)
    assert isinstance(snapshot, Snapshot)
    assert bytes(snapshot.updates) == b'{"Interface": {}}'
    assert snapshot.method == "monitor_cond"
    assert snapshot.extra_columns == {}
    assert session.synced


@pytest.mark.parametrize("error", ["unknown method", {"error": "unknown method"}])
def test_a_server_that_does_not_know_monitor_cond_is_asked_for_monitor(error: Any) -> None:
    session = connected()
    first = sent(session)[0]
    assert reply(session, first, error=error) == []
    (second,) = sent(session)
    assert second["method"] == "monitor"
    assert second["id"] != first["id"]
    assert columns_of(second) == columns_of(first)
    (snapshot,) = reply(session, second, result={})
    assert isinstance(snapshot, Snapshot)
    assert snapshot.method == "monitor"
    (changes,) = feed(session, {"method": "update", "params": ["dfovsdb", {}], "id": None})
    assert isinstance(changes, Changes)


def test_a_refused_column_is_left_out_after_a_look_at_the_schema(
    caplog: pytest.LogCaptureFixture,
) -> None:
    session = connected()
    reply(session, sent(session)[0], **NO_SUCH_COLUMN)
    (question,) = sent(session)
    assert (question["method"], question["params"]) == ("get_schema", ["Open_vSwitch"])
    there = [name for name in CORE_COLUMNS if name not in ("link_state", "error")]
    reply(session, question, result=schema(*there, "statistics"))
    (request,) = sent(session)
    assert request["method"] == "monitor_cond"
    assert sorted(columns_of(request)) == sorted(there)
    (snapshot,) = reply(session, request, result={})
    assert isinstance(snapshot, Snapshot)
    assert session.synced
    (warning,) = caplog.records
    assert warning.levelno == logging.WARNING
    assert "link_state" in warning.getMessage()
    assert "error" in warning.getMessage()


def test_an_old_server_with_an_old_schema_is_asked_for_monitor_with_what_it_has() -> None:
    session = connected()
    reply(session, sent(session)[0], **UNKNOWN_METHOD)
    reply(session, sent(session)[0], **NO_SUCH_COLUMN)
    there = [name for name in CORE_COLUMNS if name != "link_state"]
    reply(session, sent(session)[0], result=schema(*there))
    (request,) = sent(session)
    assert request["method"] == "monitor"
    assert sorted(columns_of(request)) == sorted(there)
    (snapshot,) = reply(session, request, result={})
    assert isinstance(snapshot, Snapshot)
    assert snapshot.method == "monitor"


@pytest.mark.parametrize("missing", ["name", "type", "options", "external_ids", "ofport"])
def test_a_server_without_a_required_column_is_given_up_with_its_name(missing: str) -> None:
    session = connected()
    reply(session, sent(session)[0], **NO_SUCH_COLUMN)
    there = [name for name in CORE_COLUMNS if name != missing]
    with pytest.raises(ProtocolError, match=f"does not have the columns {missing}, "):
        reply(session, sent(session)[0], result=schema(*there))


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ({"error": {"error": "unknown database"}}, "no database Open_vSwitch .unknown database"),
        ({"error": "unknown database"}, "no database Open_vSwitch .unknown database"),
        ({"result": {"tables": {"Bridge": {"columns": {}}}}}, "no table Interface"),
        ({"result": {"tables": []}}, "schema cannot be read"),
        ({"result": {}}, "schema cannot be read"),
        ({}, "schema cannot be read"),
    ],
)
def test_a_server_that_is_no_open_vswitch_is_given_up_with_the_reason(
    answer: dict[str, Any], text: str
) -> None:
    session = connected()
    reply(session, sent(session)[0], **NO_SUCH_COLUMN)
    with pytest.raises(ProtocolError, match=text):
        reply(session, sent(session)[0], **answer)


def test_a_server_that_refuses_every_way_is_given_up_with_what_it_said() -> None:
    session = connected()
    reply(session, sent(session)[0], error={"error": "not allowed", "details": "ask the admin"})
    reply(session, sent(session)[0], result=schema(*CORE_COLUMNS))
    (request,) = sent(session)
    assert request["method"] == "monitor"
    with pytest.raises(ProtocolError, match="not allowed: ask the admin"):
        reply(session, request, error={"error": "not allowed", "details": "ask the admin"})


def test_a_server_that_refuses_the_plain_method_is_given_up_with_what_it_said() -> None:
    session = connected(monitor="rfc7047")
    reply(session, sent(session)[0], error="not allowed")
    with pytest.raises(ProtocolError, match="not allowed"):
        reply(session, sent(session)[0], result=schema(*CORE_COLUMNS))


@pytest.mark.parametrize("error", [{}, {"error": [1]}, {"details": {}}, [], 5, True])
def test_an_error_without_words_is_given_up_all_the_same(error: Any) -> None:
    session = connected(monitor="rfc7047")
    reply(session, sent(session)[0], error=error)
    with pytest.raises(ProtocolError, match="no reason given"):
        reply(session, sent(session)[0], result=schema(*CORE_COLUMNS))


# Extra columns.

EXTRA = {
    "mtu": {"type": {"key": "integer", "min": 0, "max": 1}},
    "bfd": {"type": {"key": "string", "value": "string", "min": 0, "max": "unlimited"}},
    "cfm_remote_mpids": {"type": {"key": "integer", "min": 0, "max": "unlimited"}},
    "ingress_policing_rate": {"type": {"key": {"type": "integer", "minInteger": 0}}},
}


def test_the_schema_is_asked_for_together_with_the_monitor_request() -> None:
    session = connected(extra_columns=frozenset(EXTRA))
    question, request = sent(session)
    assert (question["method"], request["method"]) == ("get_schema", "monitor_cond")
    assert sorted(columns_of(request)) == sorted([*CORE_COLUMNS, *EXTRA])
    assert reply(session, question, result=schema(*CORE_COLUMNS, **EXTRA)) == []
    (snapshot,) = reply(session, request, result={})
    assert isinstance(snapshot, Snapshot)
    assert snapshot.extra_columns == {
        "mtu": ColumnType("optional", several=False),
        "bfd": ColumnType("map", several=True),
        "cfm_remote_mpids": ColumnType("set", several=True),
        "ingress_policing_rate": ColumnType("scalar", several=False, default=0),
    }


def test_an_extra_column_that_the_schema_lacks_is_always_empty(
    caplog: pytest.LogCaptureFixture,
) -> None:
    session = connected(extra_columns=frozenset({"mtu", "novel"}))
    question, request = sent(session)
    reply(session, question, result=schema(*CORE_COLUMNS, mtu=EXTRA["mtu"]))
    reply(session, request, **NO_SUCH_COLUMN)
    (again,) = sent(session)  # the schema is known, so it is not asked for again
    assert sorted(columns_of(again)) == sorted([*CORE_COLUMNS, "mtu"])
    (snapshot,) = reply(session, again, result={})
    assert isinstance(snapshot, Snapshot)
    assert set(snapshot.extra_columns) == {"mtu", "novel"}
    assert snapshot.extra_columns["novel"].shape == "optional"
    assert len(caplog.records) == 1


def test_an_extra_column_that_cannot_be_understood_is_a_protocol_error() -> None:
    session = connected(extra_columns=frozenset({"mtu"}))
    question, request = sent(session)
    reply(session, question, result=schema(*CORE_COLUMNS, mtu={"type": 5}))
    with pytest.raises(ProtocolError, match="column that cannot be read"):
        reply(session, request, result={})


def test_a_monitor_reply_that_overtakes_the_schema_is_a_protocol_error() -> None:
    session = connected(extra_columns=frozenset({"mtu"}))
    _, request = sent(session)
    with pytest.raises(ProtocolError, match="before get_schema"):
        reply(session, request, result={})


def test_nothing_that_a_connection_learned_is_kept_for_the_next() -> None:
    session = connected(extra_columns=frozenset({"mtu"}))
    first = sent(session)
    reply(session, first[0], result=schema("name", "type", "options", "external_ids", "ofport"))
    reply(session, first[1], **UNKNOWN_METHOD)
    reply(session, sent(session)[0], **NO_SUCH_COLUMN)
    reply(session, sent(session)[0], result={})
    session.lost(ConnectionLost("closed"), 1.0)
    reconnect(session, 1.0)
    assert sent(session) == first


# Living.


def test_an_echo_is_answered_with_its_params_and_id() -> None:
    session = synced()
    for request_id, params in (("echo", []), (17, ["a", {"b": [None]}]), ([{}], "}{"), (0, 1)):
        assert feed(session, {"method": "echo", "params": params, "id": request_id}) == []
        assert sent(session) == [{"result": params, "error": None, "id": request_id}]


def test_an_echo_before_the_snapshot_is_answered() -> None:
    session = connected()
    sent(session)
    feed(session, {"method": "echo", "params": [1], "id": "x"})
    assert sent(session) == [{"result": [1], "error": None, "id": "x"}]


def test_an_unknown_request_is_answered_with_an_error_and_a_notification_is_ignored() -> None:
    session = synced()
    feed(session, {"method": "steal", "params": [], "id": 3})
    (answer,) = sent(session)
    assert (answer["id"], answer["result"]) == (3, None)
    assert answer["error"] == {"error": "unknown method"}
    assert feed(session, {"method": "locked", "params": ["x"], "id": None}) == []
    assert sent(session) == []


def test_changes_are_handed_on_undecoded() -> None:
    session = synced()
    updates = {"Interface": {"u": {"delete": None}}}
    message = {"id": None, "method": "update2", "params": ["dfovsdb", updates]}
    (changes, again) = feed(session, message, message)
    assert isinstance(changes, Changes)
    assert isinstance(again, Changes)
    assert json.loads(bytes(changes.updates)) == updates


def test_messages_cut_anywhere_are_understood() -> None:
    session = connected()
    request = sent(session)[0]
    data = json.dumps({"id": request["id"], "result": {"Interface": {}}}).encode()
    results = [step for i in range(len(data)) for step in session.received(data[i : i + 1], 0.0)]
    assert len(results) == 1


# What must not be.


@pytest.mark.parametrize("request_id", [None, 99, -1, 0, 1.0, True, "1", "x", [], {}, [1], 2**80])
def test_a_reply_to_nothing_that_was_asked_is_a_protocol_error(request_id: Any) -> None:
    contents: list[dict[str, Any]] = [{"result": {}}, {"error": "unknown method"}, {}]
    for content in contents:
        session = connected()
        sent(session)
        with pytest.raises(ProtocolError):
            feed(session, {"id": request_id, **content})


def test_a_second_reply_to_one_request_is_a_protocol_error() -> None:
    session = connected()
    request = sent(session)[0]
    reply(session, request, result={})
    with pytest.raises(ProtocolError, match="unexpected reply"):
        reply(session, request, result={})


def test_a_reply_with_neither_result_nor_error_is_a_protocol_error() -> None:
    session = connected()
    with pytest.raises(ProtocolError, match="neither a result nor an error"):
        reply(session, sent(session)[0])


@pytest.mark.parametrize("method", ["update", "update2"])
def test_an_update_before_the_snapshot_is_a_protocol_error(method: str) -> None:
    session = connected()
    with pytest.raises(ProtocolError, match="not requested"):
        feed(session, {"method": method, "params": ["dfovsdb", {}], "id": None})


@pytest.mark.parametrize(("monitor", "other"), [("auto", "update"), ("rfc7047", "update2")])
def test_an_update_in_the_other_encoding_is_a_protocol_error(monitor: str, other: str) -> None:
    session = synced(monitor=monitor)
    with pytest.raises(ProtocolError, match="not requested"):
        feed(session, {"method": other, "params": ["dfovsdb", {}], "id": None})


@pytest.mark.parametrize("monitor_id", [None, "other", 1, ["dfovsdb"], {}])
def test_an_update_of_another_monitor_is_a_protocol_error(monitor_id: Any) -> None:
    session = synced()
    with pytest.raises(ProtocolError, match="not ours"):
        feed(session, {"method": "update2", "params": [monitor_id, {}], "id": None})


@pytest.mark.parametrize("params", [None, [], ["dfovsdb"], ["dfovsdb", {}, {}], {}, "dfovsdb", 1])
def test_an_update_with_other_params_is_a_protocol_error(params: Any) -> None:
    session = synced()
    with pytest.raises(ProtocolError, match="update cannot be read"):
        feed(session, {"method": "update2", "params": params, "id": None})


def test_an_update_that_is_not_utf8_is_a_protocol_error() -> None:
    session = synced()
    with pytest.raises(ProtocolError, match="update cannot be read"):
        list(session.received(b'{"method":"update2","params":["\xff",{}],"id":null}', 0.0))


def test_a_schema_that_is_not_utf8_is_a_protocol_error() -> None:
    session = connected(extra_columns=frozenset({"mtu"}))
    question, _ = sent(session)
    data = b'{"id":%d,"result":{"tables":{"\xff":{"columns":{}}}}}' % question["id"]
    with pytest.raises(ProtocolError, match="schema cannot be read"):
        list(session.received(data, 0.0))


def test_a_canceled_monitor_ends_the_connection_but_is_no_protocol_error() -> None:
    session = synced()
    with pytest.raises(ConnectionLost, match="canceled") as raised:
        feed(session, {"method": "monitor_canceled", "params": ["dfovsdb"], "id": None})
    assert not isinstance(raised.value, ProtocolError)


@pytest.mark.parametrize(
    "message",
    [
        b'{"id":%s,"result":{}}',
        b'{"id":1,"error":{"error":%s}}',
        b'{"id":1,"error":%s}',
        b'{"id":1,"result":%s}',
        b'{"id":%s,"method":"echo","params":[]}',
        b'{"id":%s,"method":"steal","params":[]}',
        b'{"id":1,"method":"echo","params":%s}',
        b'{"id":null,"method":"update2","params":[%s,{}]}',
    ],
)
def test_deep_nesting_anywhere_is_a_protocol_error_at_worst(message: bytes) -> None:
    for depth in (300, *range(940, 1000, 3), 5000):  # around what Python's stack has room for
        nested = b"[" * depth + b"]" * depth
        for session in (connected(), connected(monitor="rfc7047"), synced()):
            with contextlib.suppress(ProtocolError):
                list(session.received(message % nested, 0.0))


# Probing.


def test_silence_is_probed_and_a_reply_is_life() -> None:
    session = synced(0.0, inactivity_probe=5)
    assert session.timeout(0.0) == 5
    assert session.next_step(4.9) is None
    assert session.outgoing() == b""
    idle(session, 5.0)
    assert session.next_step(5.0) is None
    (probe,) = sent(session)
    assert (probe["method"], probe["params"]) == ("echo", [])
    assert reply(session, probe, result=[], now=6.0) == []
    idle(session, 10.9)
    assert session.next_step(10.9) is None
    assert session.outgoing() == b""
    assert session.timeout(10.9) == pytest.approx(0.1)


def idle(session: Session, now: float) -> None:
    """Reading found nothing."""
    assert list(session.received(b"", now)) == []


ECHO = b'{"id":"echo","method":"echo","params":[]}'


def test_any_message_is_life() -> None:
    session = synced(0.0, inactivity_probe=5)
    for now in range(1, 60, 4):
        assert list(session.received(ECHO, float(now))) == []
        assert b'"result":[]' in session.outgoing()
        assert session.next_step(now + 3.9) is None
        assert session.outgoing() == b""


def test_bytes_that_make_no_message_are_no_life() -> None:
    """As where the closing quote of a string was lost, which swallows what follows."""
    session = synced(0.0, inactivity_probe=5)
    assert list(session.received(b'{"id":null,"method":"update2","params":["', 1.0)) == []
    for now in (2.0, 3.0, 4.0):
        assert list(session.received(b"x" * 100, now)) == []
    idle(session, 5.0)
    assert session.next_step(5.0) is None
    assert b'"echo"' in session.outgoing()
    assert list(session.received(b"x" * 100, 9.0)) == []
    idle(session, 10.0)
    assert session.next_step(10.0) == "disconnect"


def test_the_bytes_of_a_long_snapshot_are_life() -> None:
    session = connected(0.0, inactivity_probe=5)
    sent(session)
    assert list(session.received(b'{"id":1,"error":null,"result":{"Interface":{', 1.0)) == []
    for now in range(2, 60, 4):
        assert list(session.received(b" " * 100, float(now))) == []
        assert session.next_step(now + 3.9) is None


def test_a_server_that_is_silent_twice_as_long_is_given_up() -> None:
    session = synced(0.0, inactivity_probe=5)
    idle(session, 5.0)
    assert session.next_step(5.0) is None
    assert len(sent(session)) == 1
    idle(session, 9.9)
    assert session.next_step(9.9) is None
    idle(session, 10.0)
    assert session.next_step(10.0) == "disconnect"


def test_a_server_that_was_not_read_from_is_not_given_up() -> None:
    session = synced(0.0, inactivity_probe=5)
    assert session.next_step(60.0) is None  # this process was busy; it has to read first
    assert session.outgoing() == b""
    assert list(session.received(ECHO, 60.0)) == []
    assert session.next_step(60.0) is None


def test_a_snapshot_that_does_not_come_is_given_up() -> None:
    session = connected(0.0, inactivity_probe=5)
    sent(session)
    idle(session, 5.0)
    assert session.next_step(5.0) is None
    idle(session, 10.0)
    assert session.next_step(10.0) == "disconnect"


def test_no_probe_interval_never_probes() -> None:
    session = synced(0.0, inactivity_probe=0)
    assert session.timeout(0.0) is None
    idle(session, 1e6)
    assert session.next_step(1e6) is None
    assert session.outgoing() == b""


# Connecting again.


def wait_before_connect(session: Session, now: float) -> float:
    """Seconds until the session wants to connect; takes the step."""
    wait = session.timeout(now)
    assert wait is not None
    if wait:
        assert session.next_step(now + wait - 0.001) is None
    assert session.next_step(now + wait) == "connect"
    session.connecting(now + wait)
    return wait


def test_the_first_try_is_at_once() -> None:
    assert wait_before_connect(Session(7.0), 7.0) == 0


def test_a_connect_that_never_ends_is_given_up() -> None:
    session = Session(0.0)
    session.next_step(0.0)
    session.connecting(0.0)
    assert session.next_step(0.5) is None
    assert session.next_step(1.0) == "disconnect"


def test_failed_tries_back_off_up_to_the_maximum() -> None:
    session, now, waits = Session(0.0, reconnect_min=1, reconnect_max=8), 0.0, []
    for _ in range(7):
        now += wait_before_connect(session, now)
        session.lost(ConnectionLost("refused"), now)
        waits.append(session.timeout(now))
    assert waits == [1, 2, 4, 8, 8, 8, 8]


def test_the_backoff_follows_the_options() -> None:
    session, now, waits = Session(0.0, reconnect_min=2, reconnect_max=5), 0.0, []
    for _ in range(4):
        now += wait_before_connect(session, now)
        session.lost(ConnectionLost("refused"), now)
        waits.append(session.timeout(now))
    assert waits == [2, 4, 5, 5]


def test_a_lost_connection_is_tried_again_at_once_then_quickly_and_then_with_backoff() -> None:
    session, now, waits = synced(0.0), 100.0, []
    for _ in range(25):
        session.lost(ConnectionLost("closed"), now)
        assert not session.connected
        wait = wait_before_connect(session, now)
        waits.append(wait)
        now += wait
    assert waits[0] == 0
    assert waits[1:8] == pytest.approx([0.2] * 7)
    assert waits[8:12] == pytest.approx([0.45] * 4)
    assert waits[14:20] == pytest.approx([1.2] * 6)
    assert waits[20:24] == pytest.approx([1, 2, 4, 8])


def follow(restarts: Iterable[tuple[float, float]]) -> tuple[list[float], list[float]]:
    """Let a server go and return at these times; return how long after each return there is a
    connection again, and the times of all attempts.
    """
    session = synced(0.0)
    late: list[float] = []
    tries: list[float] = []
    for gone, back in restarts:
        session.lost(ConnectionLost("closed"), now := max(gone, *tries[-1:], 0.0))
        while True:
            now += wait_before_connect(session, now)
            tries.append(now)
            if now >= back:
                break
            session.lost(ConnectionLost("refused"), now)
        late.append(now - back)
        session.begin(now)
        reply(session, sent(session)[-1], result={}, now=now)
    return late, tries


def most_in_a_minute(tries: list[float]) -> int:
    return max(sum(begin <= one < begin + 60 for one in tries) for begin in tries)


def test_a_server_that_comes_and_goes_is_followed_each_time() -> None:
    late, _ = follow((gone, gone + 0.5) for gone in (10.0, 13.0, 16.0, 19.0))
    assert max(late) <= 0.2


def test_a_storm_of_restarts_is_followed_for_ever() -> None:
    late, tries = follow((10 + 2.4 * n, 10 + 2.4 * n + 0.3) for n in range(250))
    assert max(late) <= 0.45
    assert most_in_a_minute(tries) <= 60


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0, 5)), min_size=1, max_size=60))
def test_no_storm_has_more_than_an_attempt_a_second_over_a_minute(
    storm: list[tuple[float, float]],
) -> None:
    now, restarts = 0.0, []
    for up, down in storm:
        restarts.append((now + up, now + up + down))
        now += up + down
    late, tries = follow(restarts)
    assert most_in_a_minute(tries) <= 61  # one more, where floats add up to just under a minute
    assert max(late) <= now + 8


def test_a_server_that_ends_every_connection_is_asked_once_a_second_over_a_minute() -> None:
    session, now, tries = synced(0.0), 0.0, []
    while now < 300:
        session.lost(ConnectionLost("closed"), now)
        now += wait_before_connect(session, now)
        tries.append(now)
        session.begin(now)
        reply(session, sent(session)[-1], result={}, now=now)
    for begin in range(240):
        assert sum(begin <= one < begin + 60 for one in tries) <= 61
    assert len(tries) > 200


def test_a_connection_that_never_brought_a_snapshot_backs_off() -> None:
    session = connected(0.0)
    session.lost(ConnectionLost("closed"), 0.0)
    assert wait_before_connect(session, 0.0) >= 1


def test_a_protocol_error_always_backs_off() -> None:
    session = synced(0.0)
    session.lost(ProtocolError("nonsense"), 100.0)
    assert wait_before_connect(session, 100.0) >= 1


def test_a_lost_connection_forgets_its_unfinished_message() -> None:
    session = synced(0.0)
    list(session.received(b'{"id":1,"method":"', 1.0))
    session.lost(ConnectionLost("closed"), 1.0)
    assert session.outgoing() == b""
    reconnect(session, 1.0)
    (request,) = sent(session)
    assert len(reply(session, request, result={}, now=1.0)) == 1


def test_bytes_without_a_connection_mean_nothing() -> None:
    assert list(Session(0.0).received(b"nonsense", 0.0)) == []


# Whatever arrives.

methods = st.sampled_from(
    [None, "echo", "update", "update2", "update3", "monitor_canceled", "get_schema", ""]
)
errors = st.one_of(
    st.none(),
    st.sampled_from(["unknown method", {"error": "unknown method"}, {"error": "syntax error"}]),
    json_values,
)
results = st.one_of(
    json_values,
    st.sampled_from([schema(*CORE_COLUMNS), schema("name"), {"tables": {"Interface": {}}}]),
    st.builds(lambda column: schema(*CORE_COLUMNS, mtu=column), json_values),
)
server_messages = st.fixed_dictionaries(
    {},
    optional={
        "id": st.one_of(st.integers(0, 5), st.none(), json_values),
        "method": methods,
        "params": st.one_of(
            st.tuples(st.sampled_from(["dfovsdb", "x"]), json_values), json_values
        ),
        "result": results,
        "error": errors,
    },
)


@given(
    st.lists(server_messages, max_size=8),
    st.sampled_from(["auto", "rfc7047"]),
    st.sampled_from([frozenset[str](), frozenset({"mtu"})]),
    st.integers(0, 3),
)
def test_whatever_a_server_sends_is_understood_or_ends_the_connection(
    arriving: list[dict[str, Any]], monitor: str, extra: frozenset[str], ready: int
) -> None:
    session = connected(monitor=monitor, extra_columns=extra)
    try:
        for request in sent(session)[:ready]:
            result = schema(*CORE_COLUMNS, **EXTRA) if request["method"] == "get_schema" else {}
            reply(session, request, result=result)
        for message in arriving:
            feed(session, message)
            sent(session)
    except ConnectionLost:
        pass
