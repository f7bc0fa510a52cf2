"""What happened, as `dfovsdb history` finds it in the files of the jsonl sink."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dfovsdb import history as past
from dfovsdb.json_v1 import to_json
from dfovsdb.testing import wait_until
from tests.unit.samples import event, marker, port
from tests.waiting import DEADLINE

BEGAN = datetime(2026, 11, 22, 13, 0, 0, tzinfo=UTC)


def line(action: Any, name: str, seconds: float, **facts: Any) -> bytes:
    now = port(name=name, attributes={"iface_id": f"id-{name}"}, **facts)
    previous = msgspec.structs.replace(now, ofport=None, state="pending")
    return to_json(
        event(
            now,
            action=action,
            previous=previous if action == "updated" else None,
            time=BEGAN + timedelta(seconds=seconds),
        )
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    rotated = tmp_path / "events.jsonl.1.gz"
    with gzip.open(rotated, "wb") as old:
        old.write(line("online", "tap0", 0, ofport=None) + b"\n" + line("updated", "tap0", 1.5))
    current = tmp_path / "events.jsonl"
    lines = [
        to_json(marker()),
        line("online", "tap1", 10, bridge="br-int"),
        b'{"v":1,"damaged',
        line("offline", "tap0", 3661.5),
        b"",
    ]
    current.write_bytes(b"\n".join(lines))
    return current


def history(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dfovsdb", *args], capture_output=True, text=True, check=False
    )


def configured(folder: Path, file: Path) -> list[str]:
    conf = folder / "dfovsdb.conf"
    conf.write_text(f"[dfovsdb]\nsinks = events=jsonl\n[sink_events]\npath = {file}\n")
    return ["--config-file", str(conf), "history"]


def message(text: str) -> list[list[str]]:
    return [one.split()[2:5:2] for one in text.splitlines()]


def test_the_files_of_the_configuration_are_read_the_newest_event_first(
    tmp_path: Path, file: Path
) -> None:
    done = history(*configured(tmp_path, file))
    assert (done.returncode, done.stderr) == (0, "")
    *events, last = done.stdout.splitlines()
    assert message("\n".join(events)) == [
        ["offline", "tap0"],
        ["online", "tap1"],
        ["updated", "tap0"],
        ["online", "tap0"],
    ]
    assert last == "1 line could not be read"
    assert "ofport=none->5" in done.stdout


@pytest.mark.parametrize(
    ("args", "found"),
    [
        (("--iface-id", "id-tap1"), ["tap1"]),
        (("--name", "tap0"), ["tap0"] * 3),
        (("--bridge", "br-*"), ["tap1"]),
        (("--action", "offline"), ["tap0"]),
        (("--since", "2026-11-22T13:00:05+00:00"), ["tap0", "tap1"]),
        (("--until", "2026-11-22T13:00:00+00:00"), ["tap0"]),
        (("--kind", "tunnel"), []),
    ],
)
def test_events_are_selected(
    tmp_path: Path, file: Path, args: tuple[str, ...], found: list[str]
) -> None:
    done = history(*configured(tmp_path, file), "--json", *args)
    assert [json.loads(one)["port"]["name"] for one in done.stdout.splitlines()] == found


def test_the_life_of_one_vif_has_the_waits_between_its_steps(tmp_path: Path, file: Path) -> None:
    done = history(*configured(tmp_path, file), "--timeline", "--iface-id", "id-tap0")
    lines = done.stdout.splitlines()
    assert "online" in lines[0]
    assert lines[1].split()[:2] == ["+1.5", "s"]
    assert lines[2].split()[0] == "+1:01:00"


def test_a_file_is_followed_over_its_rotation(tmp_path: Path, file: Path) -> None:
    said: list[str] = []
    process = subprocess.Popen(
        [sys.executable, "-m", "dfovsdb", "history", "--follow", "--json", str(file)],
        stdout=subprocess.PIPE,
        text=True,
    )
    output = process.stdout
    assert output is not None
    reading = threading.Thread(target=lambda: said.extend(iter(output.readline, "")))
    reading.start()
    try:
        wait_until(lambda: len(said) == 2)  # the oldest first
        with file.open("ab") as more:
            whole = line("online", "tap2", 4000)
            more.write(whole[:50])
            more.flush()
            more.write(whole[50:] + b"\n")
        wait_until(lambda: len(said) == 3)
        with file.open("ab") as more:
            more.write(line("offline", "tap2", 4001) + b"\n")
        file.rename(tmp_path / "events.jsonl.1")
        file.write_bytes(line("online", "tap3", 4002) + b"\n")
        wait_until(lambda: len(said) == 5)
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(DEADLINE) == 0
        reading.join()
        output.close()
    names = [json.loads(one)["port"]["name"] for one in said]
    assert names == ["tap1", "tap0", "tap2", "tap2", "tap3"]


def test_the_newest_lines_of_a_large_file_are_read_from_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(past, "_BLOCK", 64)
    path = tmp_path / "events.jsonl"
    lines = [f"line {number}".encode() for number in range(1000)]
    path.write_bytes(b"\n".join(lines) + b"\n")
    (tmp_path / "events.jsonl.1").write_bytes(b"older\n")
    os.utime(tmp_path / "events.jsonl.1", (1, 1))
    files = [str(path), str(tmp_path / "events.jsonl.1"), str(tmp_path / "none")]
    assert [one for one in past.last_lines(files, 5000) if one] == [*reversed(lines), b"older"]
    assert past.last_lines(files, 3) == [b"", b"line 999", b"line 998"]


@pytest.mark.parametrize("how", ["cut", "checksum", "header"])
@pytest.mark.parametrize("order", ["newest first", "oldest first", "json"])
def test_a_compressed_file_that_is_damaged_is_named_and_the_rest_is_shown(
    tmp_path: Path, how: str, order: str
) -> None:
    lines = b"".join(to_json(event(seq=n)) + b"\n" for n in range(1, 2001))
    packed = bytearray(gzip.compress(lines))
    if how == "cut":
        del packed[len(packed) // 2 :]
    else:
        packed[-8 if how == "checksum" else 0] ^= 1
    old, new = tmp_path / "events.jsonl.1.gz", tmp_path / "events.jsonl"
    old.write_bytes(packed)
    new.write_bytes(to_json(event(seq=1)) + b"\n")
    options = {"newest first": [], "oldest first": ["--timeline"], "json": ["--json"]}[order]
    done = history("history", *options, str(new), str(old))
    assert done.returncode == 0
    said = f"{old} was cut or is damaged: its events may be wrong or missing"
    if order == "json":
        assert done.stderr.splitlines()[0] == f"dfovsdb: {said}"
    else:
        assert said in done.stdout
        assert done.stderr == ""
    shown = done.stdout.count("tap")
    least, most = {"cut": (500, 1990), "checksum": (2001, 9000), "header": (1, 5)}[how]
    assert least <= shown <= most


def test_files_may_be_named(file: Path) -> None:
    assert "tap1" in history("history", str(file)).stdout


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (("/nowhere/events.jsonl",), "cannot read '/nowhere/events.jsonl'"),
        (("--since", "yesterday", "x"), "'yesterday' is not a time"),
        (("--follow", "--timeline", "x"), "--follow cannot be combined with --timeline"),
    ],
)
def test_wrong_use_is_one_line(args: tuple[str, ...], text: str) -> None:
    done = history("history", *args)
    assert done.returncode == 2
    assert text in done.stderr
    assert done.stderr.count("\n") == 1


def test_without_a_file_it_says_how_there_would_be_one(tmp_path: Path) -> None:
    conf = tmp_path / "dfovsdb.conf"
    conf.write_text("[dfovsdb]\nsinks = log\n")
    done = history("--config-file", str(conf), "history")
    assert done.returncode == 2
    assert "add the sink `events=jsonl`" in done.stderr


def test_it_says_from_when_on_the_files_are_where_they_do_not_reach_back(
    tmp_path: Path, file: Path
) -> None:
    command = [*configured(tmp_path, file), "--utc"]
    begins = "dfovsdb: the files begin at 2026-11-22 13:00:00; what was before is not known\n"
    done = history(*command, "--since", "2026-11-22T12:00:00Z")
    assert done.stderr == begins
    assert done.stdout
    done = history(*command, "--timeline", "--name", "nosuch")
    assert (done.stdout, done.stderr) == ("1 line could not be read\n", begins)
    assert history(*command, "--since", "2026-11-22T13:00:01Z").stderr == ""


def test_what_was_found_only_later_says_so(tmp_path: Path) -> None:
    events = tmp_path / "events"
    gone = event(port(name="tap0"), action="offline", origin="initial", time=BEGAN)
    events.write_bytes(to_json(gone))
    done = history("history", str(events))
    assert done.stdout.rstrip().endswith("(found when the agent started)")


def test_a_file_that_is_not_there_yet_is_named(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    done = history(*configured(tmp_path, path))
    assert (done.returncode, done.stdout) == (1, "")
    assert f"{path} of the configuration does not exist yet" in done.stderr
