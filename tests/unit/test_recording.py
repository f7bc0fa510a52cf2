"""Recordings: what a server sent, played without it; and the golden transcript."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from testtools.assertions import assert_that
from testtools.matchers import Equals

from dfovsdb.classifiers.match import MatchClassifier
from dfovsdb.errors import ConfigurationError, ConnectionLost
from dfovsdb.model import Interface, PortEvent
from dfovsdb.ovsdb.recorder import RecordingSession
from dfovsdb.recording import replay
from tests.golden import EXPECTED, RECORDING, transcript


def difference(expected: str, found: str) -> str:
    lines = difflib.unified_diff(
        expected.splitlines(), found.splitlines(), "expected", "found", lineterm="", n=1
    )
    return "\n".join(lines)


def test_the_recorded_day_gives_the_events_that_it_gave() -> None:
    news = difference(EXPECTED.read_text(), transcript(RECORDING))
    assert not news, f"`python -m tests.golden` accepts this:\n{news}"


def test_a_change_of_behaviour_is_a_readable_difference(tmp_path: Path) -> None:
    other = tmp_path / "other.jsonl"
    other.write_text(RECORDING.read_text().replace("10.10.10.3", "10.10.10.9"))
    news = difference(EXPECTED.read_text(), transcript(other)).splitlines()
    removed = [line for line in news if line.startswith("-") and "online" in line]
    added = [line for line in news if line.startswith("+") and "online" in line]
    assert "remote_ip=10.10.10.3" in removed[0]
    assert "remote_ip=10.10.10.9" in added[0]
    assert len(news) < 30


def test_the_recorded_day_has_all_that_can_happen() -> None:
    items = list(replay(RECORDING))
    events = [item for item in items if isinstance(item, PortEvent)]
    assert {item.origin for item in items} == {"initial", "update", "resync"}
    assert {event.action for event in events} == {"online", "updated", "offline"}
    assert {event.port.kind for event in events} == {"bridge", "tunnel", "patch", "vm"}
    assert {event.port.state for event in events} == {"pending", "ready", "failed"}


def test_events_have_the_time_and_the_host_of_the_recording() -> None:
    header = json.loads(RECORDING.read_text().partition("\n")[0])
    items = list(replay(RECORDING))
    assert {item.host for item in items} == {header["host"]}
    assert {item.time.isoformat()[:16] for item in items} <= {header["time"][:16]}
    assert [item.time for item in items] == sorted(item.time for item in items)


def test_resync_and_classifiers_may_be_others_than_they_were() -> None:
    items = list(replay(RECORDING, resync="diff", classifiers=[MatchClassifier("any")]))
    ports = [item.port.kind for item in items if isinstance(item, PortEvent)]
    assert set(ports) == {"any"}
    again = [item for item in items if isinstance(item, PortEvent) and item.origin == "resync"]
    assert {(e.action, e.port.name) for e in again} == {
        ("offline", "gre-host2"),
        ("online", "tap91d0c7aa-5e"),
    }


def reply(**rows: Any) -> bytes:
    table = {uuid: {"initial": row} for uuid, row in rows.items()}
    return msgspec.json.encode({"id": 1, "error": None, "result": {"Interface": table}})


def recorded(file: Path, chunks: Sequence[bytes]) -> RecordingSession:
    session = RecordingSession(100.0, file=file, host="cmp-17")
    session.connecting(100.5)
    session.begin(101.0)
    for number, chunk in enumerate(chunks):
        list(session.received(chunk, 102.0 + number))
    return session


def names(file: Path) -> list[str]:
    found = replay(file, classifiers=[MatchClassifier("any")])
    return [item.port.name for item in found if isinstance(item, PortEvent)]


@pytest.mark.parametrize("cut", [1, 40, 66, 67, 68, 69, 70])
def test_bytes_that_were_cut_within_a_character_are_whole_again(tmp_path: Path, cut: int) -> None:
    data = reply(u1={"name": "tap-😀"})
    assert b"\xf0\x9f\x98\x80" in data[66 - 10 :]
    file = tmp_path / "r"
    recorded(file, [data[:cut], data[cut:]])
    assert file.read_bytes().isascii()
    assert names(file) == ["tap-😀"]


def test_a_lost_connection_is_reported_as_a_resync(tmp_path: Path) -> None:
    file = tmp_path / "r"
    session = recorded(file, [reply(u1={"name": "tap1"})])
    session.lost(ConnectionLost("gone"), 110.0)
    session.connecting(111.0)
    session.begin(111.0)
    list(session.received(reply(u2={"name": "tap2"}), 112.0))
    delivered = [
        f"{item.origin} {item.action}"
        + (f" {item.port.name}" if isinstance(item, PortEvent) else "")
        for item in replay(file, classifiers=[MatchClassifier("any")])
    ]
    assert delivered == [
        "initial sync_started",
        "initial online tap1",
        "initial sync_finished",
        "resync sync_started",
        "resync offline tap1",
        "resync online tap2",
        "resync sync_finished",
    ]


def test_what_the_server_should_not_have_sent_is_said_with_its_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "r"
    with pytest.raises(ConnectionLost):
        recorded(file, [b"HTTP/1.1 400 Bad Request"])
    assert names(file) == []
    assert "line 3: not JSON-RPC" in caplog.text


def test_a_file_that_is_there_is_not_written_over(tmp_path: Path) -> None:
    file = tmp_path / "r"
    file.write_text("precious")
    with pytest.raises(ConfigurationError, match=r"cannot record to .*: File exists"):
        recorded(file, [])
    assert_that(file.read_text(), Equals("precious"))


def test_a_recording_that_cannot_go_on_harms_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = recorded(tmp_path / "r", [])

    def full(_descriptor: int, _data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("dfovsdb.ovsdb.recorder.os.write", full)
    assert len(list(session.received(reply(u1={"name": "tap1"}), 102.0))) == 1
    list(session.received(b" ", 103.0))
    assert [record.message.partition(" ends")[2] for record in caplog.records] == [
        " here: No space left on device"
    ]


def test_a_recording_is_for_its_user_alone_and_goes_on_under_another_name(tmp_path: Path) -> None:
    file, moved = tmp_path / "r", tmp_path / "moved"
    session = recorded(file, [])
    assert file.stat().st_mode & 0o777 == 0o600
    file.rename(moved)
    list(session.received(reply(u1={"name": "tap1"}), 102.0))
    assert not file.exists()
    assert names(moved) == ["tap1"]


SECRETS = reply(
    u1={
        "name": "vx0",
        "type": "vxlan",
        "options": ["map", [["psk", 'hu"sh\\'], ["remote_ip", "10.0.0.1"], ["PSK", "a"]]],
        "external_ids": ["map", [["ipsec_private_key", "deep"], ["iface-id", "psk"]]],
    }
)


@pytest.mark.parametrize("cut", range(0, len(SECRETS), 3))
def test_secrets_are_left_out_of_a_recording_however_the_reads_cut_them(
    tmp_path: Path, cut: int
) -> None:
    file = tmp_path / "r"
    recorded(file, [SECRETS[:cut], SECRETS[cut:]])
    text = "".join(json.loads(line).get("data", "") for line in file.read_text().splitlines())
    for secret in ("hu", "sh\\", '"a"', "deep"):
        assert secret not in text
    assert '["remote_ip","10.0.0.1"]' in text
    assert '["iface-id","psk"]' in text
    assert names(file) == ["vx0"]


@pytest.mark.parametrize("text", ["", "nonsense\n", "[]\n", '{"v":1}\n', '{"recording": 7}\n'])
def test_another_file_is_no_recording(tmp_path: Path, text: str) -> None:
    file = tmp_path / "r"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match="is not a recording"):
        list(replay(file))


def test_a_damaged_line_is_said(tmp_path: Path) -> None:
    file = tmp_path / "r"
    file.write_text(RECORDING.read_text()[:1000] + "\n")
    with pytest.raises(ConfigurationError, match="is damaged at line 6: "):
        list(replay(file))


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot read .*: No such file"):
        list(replay(tmp_path / "nowhere"))


def test_a_column_that_was_not_recorded_is_said(caplog: pytest.LogCaptureFixture) -> None:
    class Mtu(MatchClassifier):
        columns = frozenset({"mtu"})

    list(replay(RECORDING, classifiers=[Mtu("any")]))
    assert "the recording does not contain the columns mtu" in caplog.text


def test_a_column_that_was_not_recorded_is_empty_and_harms_no_event() -> None:
    class Mtu(MatchClassifier):
        columns = frozenset({"mtu"})

        def classify(self, interface: Interface) -> Mapping[str, str | None] | None:
            if super().classify(interface) is None:
                return None
            mtu: int | None = interface.columns["mtu"]
            return None if mtu else {}

    plainly = list(replay(RECORDING, classifiers=[MatchClassifier("any")]))
    assert list(replay(RECORDING, classifiers=[Mtu("any")])) == plainly
    assert plainly


HEADER = {"recording": 1, "time": "2026-11-26T10:00:00+00:00", "host": "a"}


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (["[]"], "is not a recording: "),
        (["{}"], "is not a recording: "),
        (["[" * 100_000], "is not a recording: "),
        (['{"recording": 99}'], "is not a recording of this version"),
        (['{"recording": 1}'], "has a damaged first line: Object missing required field `time`"),
        ([{**HEADER, "time": "now"}], "has a damaged first line: Invalid RFC3339"),
        ([{**HEADER, "host": 7}], "has a damaged first line: Expected `str`, got `int`"),
        ([{**HEADER, "columns": "mtu"}], "has a damaged first line: Expected `array`"),
        ([{**HEADER, "columns": ["Q.mtu"]}], "has a damaged first line: there is no column Q.mtu"),
        ([{**HEADER, "tables": ["Qos"]}], "has a damaged first line: Invalid enum value 'Qos'"),
        ([{**HEADER, "monitor": "x"}], "has a damaged first line: Invalid enum value 'x'"),
        ([HEADER, "nonsense"], "is not a recording: "),
        ([HEADER, {"t": 0, "begin": 1}, {"t": "x", "data": ""}], "is damaged at line 3: "),
        ([HEADER, {"t": 0, "begin": 1}, {"data": ""}], "is damaged at line 3: "),
        ([HEADER, {"t": 0, "begin": 1}, {"t": 1, "data": 7}], "is damaged at line 3: "),
        ([HEADER, {"t": 0, "begin": 1}, {"t": 1e300, "data": ""}], "is damaged at line 3: "),
        ([HEADER, {"t": 0, "begin": 1}, {"t": -1, "lost": "x"}], "is damaged at line 3: "),
        ([HEADER, {"t": 0, "begin": 1}, '{"t": NaN, "data": ""}'], "is damaged at line 3: "),
        ([HEADER, {"t": 0, "begin": 1}, {"t": 1}], "is damaged at line 3: "),
    ],
)
def test_an_odd_recording_is_one_line(
    tmp_path: Path, lines: Sequence[str | dict[str, Any]], says: str
) -> None:
    file = tmp_path / "r"
    file.write_text(
        "".join(f"{one if isinstance(one, str) else json.dumps(one)}\n" for one in lines)
    )
    with pytest.raises(ConfigurationError) as raised:
        list(replay(file, classifiers=[MatchClassifier("any")]))
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 400


@pytest.mark.parametrize(
    "data",
    [
        '{"id":null,"method":"monitor_canceled","params":[]}',
        "nonsense",
        "\udcff\udcfe",
        '{"id":1,"error":null,"result":{"Interface":7}}',
        '{"id":1,"error":"no","result":null}' * 3,
        '{"id":1,"error":null,"result":{}}',
    ],
)
def test_odd_bytes_in_a_recording_are_a_warning(
    tmp_path: Path, data: str, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "r"
    lines = [HEADER, {"t": 0, "begin": True}, {"t": 1, "data": data}, {"t": 2, "lost": "x"}]
    file.write_text("".join(f"{json.dumps(one)}\n" for one in lines))
    list(replay(file, classifiers=[MatchClassifier("any")]))
    assert all(record.levelname == "WARNING" for record in caplog.records)
