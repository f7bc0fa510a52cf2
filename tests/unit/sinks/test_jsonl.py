from __future__ import annotations

import contextlib
import errno
import json
import os
import resource
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from dfovsdb.errors import ConfigurationError, SinkUnavailable
from dfovsdb.json_v1 import to_json
from dfovsdb.sinks import jsonl
from dfovsdb.sinks.base import SinkContext
from dfovsdb.sinks.jsonl import JsonlSink
from tests.unit.samples import event, marker, port
from tests.waiting import DEADLINE

CONTEXT = SinkContext("cmp-17", "epoch", lambda: None)
EVENTS = [event(seq=n) for n in range(1, 6)]
LINES = [to_json(e) + b"\n" for e in EVENTS]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


@pytest.fixture
def sink(file: Path) -> Iterator[JsonlSink]:
    sink = JsonlSink(path=str(file))
    sink.open(CONTEXT)
    yield sink
    sink.close()


@contextlib.contextmanager
def a_disk_of(size: int) -> Iterator[None]:
    """Files of this process cannot grow past so many bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_each_event_and_marker_is_a_line(sink: JsonlSink, file: Path) -> None:
    sink.sync_started(marker())
    sink.emit(EVENTS[0])
    sink.emit_many(EVENTS[1:])
    finished = marker(action="sync_finished", ports=5)
    sink.sync_finished(finished)
    written = file.read_bytes().splitlines(keepends=True)
    assert written == [to_json(marker()) + b"\n", *LINES, to_json(finished) + b"\n"]


def test_without_a_path_it_writes_to_standard_output(capfd: pytest.CaptureFixture[str]) -> None:
    sink = JsonlSink()
    sink.open(CONTEXT)
    sink.emit(EVENTS[0])
    sink.reopen()
    sink.emit(EVENTS[1])
    sink.close()
    os.write(1, b"")  # closing the sink left standard output open
    assert capfd.readouterr().out.encode() == LINES[0] + LINES[1]


def test_a_file_that_is_there_is_appended_to(sink: JsonlSink, file: Path) -> None:
    file.write_bytes(b"before\n")
    sink.emit(EVENTS[0])
    assert file.read_bytes() == b"before\n" + LINES[0]


def test_a_new_file_is_not_for_everybody(file: Path) -> None:
    before = os.umask(0)
    try:
        sink = JsonlSink(path=str(file))
        sink.open(CONTEXT)
        sink.close()
    finally:
        os.umask(before)
    assert file.stat().st_mode & 0o777 == 0o640


def test_reopening_follows_a_rotated_file(sink: JsonlSink, file: Path) -> None:
    sink.emit(EVENTS[0])
    rotated = file.rename(file.with_suffix(".1"))
    sink.emit(EVENTS[1])
    sink.reopen()
    sink.emit(EVENTS[2])
    assert rotated.read_bytes() == LINES[0] + LINES[1]
    assert file.read_bytes() == LINES[2]


def test_a_file_that_cannot_be_reopened_is_an_outage_until_it_can(file: Path) -> None:
    sink = JsonlSink(path=str(file))
    sink.open(CONTEXT)
    file.unlink()
    file.mkdir()
    with pytest.raises(SinkUnavailable, match="Is a directory"):
        sink.reopen()
    with pytest.raises(SinkUnavailable, match="Is a directory") as raised:
        sink.emit(EVENTS[0])
    assert raised.value.delivered == 0
    file.rmdir()
    sink.emit(EVENTS[0])
    sink.close()
    assert file.read_bytes() == LINES[0]


def test_a_folder_that_is_not_there_is_known_before_anything_is_opened(tmp_path: Path) -> None:
    folder = tmp_path / "no ne"
    with pytest.raises(ConfigurationError) as raised:
        JsonlSink(path=f"{folder}/events.jsonl")
    assert str(raised.value) == (
        f"{folder}/events.jsonl: No such file or directory; create its folder, writable for "
        f"this user: mkdir -p '{folder}'"
    )


def test_a_file_system_that_is_read_only_says_what_a_service_may_write(file: Path) -> None:
    sink = JsonlSink(path=str(file))
    text = sink._text(OSError(errno.EROFS, "Read-only file system"))
    assert text.startswith(f"{file}: Read-only file system; a systemd unit")


def test_a_read_only_file_system_is_known_before_anything_is_opened(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_only = os.statvfs_result((*os.statvfs(file.parent)[:8], os.ST_RDONLY, 255))
    monkeypatch.setattr(os, "access", lambda *_args, **_kwargs: False)
    monkeypatch.setattr(os, "statvfs", lambda _path: read_only)
    with pytest.raises(ConfigurationError, match="Read-only file system; a systemd unit"):
        JsonlSink(path=str(file))


def test_a_disk_that_is_too_full_for_a_new_file_is_an_outage(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_args: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    sink = JsonlSink(path=str(file))
    with monkeypatch.context() as full:
        full.setattr(os, "open", fails)
        with pytest.raises(SinkUnavailable, match="No space left on device"):
            sink.open(CONTEXT)
    sink.open(CONTEXT)
    sink.close()


@pytest.mark.parametrize("room", [0, 1, 40])
@pytest.mark.parametrize("whole", [0, 1, 3])
def test_a_full_disk_is_an_outage_and_a_cut_off_line_is_taken_back(
    sink: JsonlSink, file: Path, whole: int, room: int
) -> None:
    file.write_bytes(b"before\n")
    size = len(b"before\n" + b"".join(LINES[:whole])) + room
    with a_disk_of(size), pytest.raises(SinkUnavailable, match="File too large") as raised:
        sink.emit_many(EVENTS)
    assert raised.value.delivered == whole
    assert file.read_bytes() == b"before\n" + b"".join(LINES[:whole])
    sink.emit_many(EVENTS[whole:])
    assert file.read_bytes() == b"before\n" + b"".join(LINES)


def test_a_device_without_space_is_an_outage() -> None:
    sink = JsonlSink(path="/dev/full")
    sink.open(CONTEXT)
    with pytest.raises(SinkUnavailable, match="/dev/full: No space left on device"):
        sink.emit(EVENTS[0])
    sink.close()


def test_an_event_is_one_line_whatever_its_name(sink: JsonlSink, file: Path) -> None:
    sink.emit(event(port(name="a\nb\r\u2028")))
    assert file.read_bytes().count(b"\n") == 1


def test_closing_may_be_repeated(sink: JsonlSink) -> None:
    sink.close()
    sink.close()


def test_an_empty_path_is_wrong_use() -> None:
    with pytest.raises(ConfigurationError, match="path is empty"):
        JsonlSink(path="")


# Pipes, crashes and disks that fail.


def test_a_pipe_that_does_not_block_gets_whole_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    monkeypatch.setattr(jsonl, "_PATIENCE", 0.01)
    sink = JsonlSink()
    sink.open(CONTEXT)
    sink._fd = writing
    received, waiting = b"", [event(seq=n) for n in range(1, 1001)]
    sent = list(waiting)
    outages = 0
    while waiting:
        try:
            sink.emit_many(waiting)
        except SinkUnavailable as error:
            outages += 1
            waiting = waiting[error.delivered :]
            received += os.read(reading, 10_000)
        else:
            break
    os.close(writing)
    while part := os.read(reading, 65536):
        received += part
    os.close(reading)
    assert outages > 1
    lines = received.splitlines()
    assert all(json.loads(line) for line in lines)
    once = [line for n, line in enumerate(lines) if n == 0 or lines[n - 1] != line]
    assert once == [to_json(e) for e in sent]  # one may come twice: at least once


def test_a_pipe_that_is_full_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    sink = JsonlSink()
    sink.open(CONTEXT)
    sink._fd = writing
    received: list[bytes] = []

    def read_all() -> None:
        while part := os.read(reading, 65536):
            received.append(part)

    monkeypatch.setattr(jsonl, "_PATIENCE", DEADLINE)
    reader = threading.Thread(target=read_all)
    reader.start()
    sink.emit_many([event(seq=n) for n in range(1, 3001)])
    os.close(writing)
    reader.join(DEADLINE)
    os.close(reading)
    assert len(b"".join(received).splitlines()) == 3000


@pytest.mark.parametrize("length", [1, 7, 40])
def test_the_half_line_of_a_crash_is_removed(
    file: Path, length: int, caplog: pytest.LogCaptureFixture
) -> None:
    file.write_bytes(LINES[0] + LINES[1][:length])
    sink = JsonlSink(path=str(file))
    sink.open(CONTEXT)
    sink.emit(EVENTS[1])
    sink.close()
    assert file.read_bytes() == LINES[0] + LINES[1]
    assert f"ended with an incomplete line of {length} bytes" in caplog.text


@pytest.mark.parametrize("before", [b"", LINES[0]])
def test_the_half_line_of_a_crash_is_removed_however_long_it_is(file: Path, before: bytes) -> None:
    long = to_json(event(port(name="x" * 3_000_000)))
    file.write_bytes(before + long[:2_500_000])
    sink = JsonlSink(path=str(file))
    sink.open(CONTEXT)
    sink.close()
    assert file.read_bytes() == before


@pytest.mark.parametrize("there", [b"", LINES[0], LINES[0][:-1], b"of somebody else"])
def test_the_first_line_of_a_run_is_a_line_of_its_own(file: Path, there: bytes) -> None:
    file.write_bytes(there)
    sink = JsonlSink(path=str(file))
    sink.open(CONTEXT)
    sink.emit(EVENTS[1])
    sink.close()
    expected = there if there.endswith(b"\n") or not there else there + b"\n"
    assert file.read_bytes() == expected + LINES[1]


def test_a_half_line_that_cannot_be_removed_is_completed(
    sink: JsonlSink, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_args: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "ftruncate", fails)
    with a_disk_of(len(LINES[0]) + 40), pytest.raises(SinkUnavailable) as raised:
        sink.emit_many(EVENTS)
    assert raised.value.delivered == 1
    sink.emit_many(EVENTS[1:])
    lines = file.read_bytes().splitlines(keepends=True)
    assert lines == [LINES[0], LINES[1], *LINES[1:]]


# Rotation.


def test_a_file_that_is_full_is_renamed_and_so_many_are_kept(file: Path) -> None:
    sink = JsonlSink(path=str(file), max_bytes=len(LINES[0]) * 2, keep=2)
    sink.open(CONTEXT)
    events = [event(seq=n) for n in range(1, 9)]
    sink.emit_many(events)
    sink.close()

    def numbers(path: Path) -> list[int]:
        return [json.loads(line)["seq"] for line in path.read_bytes().splitlines()]

    assert numbers(file) == [7, 8]
    assert numbers(file.with_name("events.jsonl.1")) == [5, 6]
    assert numbers(file.with_name("events.jsonl.2")) == [3, 4]
    assert len(list(file.parent.iterdir())) == 3


def test_a_line_longer_than_a_file_is_written_whole(file: Path) -> None:
    sink = JsonlSink(path=str(file), max_bytes=10, keep=9)
    sink.open(CONTEXT)
    sink.emit_many(EVENTS)
    sink.close()
    assert file.read_bytes() == LINES[4]
    assert file.with_name("events.jsonl.4").read_bytes() == LINES[0]


def test_a_file_that_cannot_be_renamed_is_written_on(
    file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_args: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "replace", fails)
    sink = JsonlSink(path=str(file), max_bytes=10)
    sink.open(CONTEXT)
    sink.emit_many(EVENTS)
    sink.close()
    assert file.read_bytes() == b"".join(LINES)
    assert caplog.text.count("cannot be rotated (Permission denied)") == 1


def test_a_rotation_that_fails_deletes_no_earlier_file(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sink = JsonlSink(path=str(file), max_bytes=10, keep=3)
    sink.open(CONTEXT)
    sink.emit_many(EVENTS[:3])
    file.rename(file.with_name("renamed-by-somebody"))
    sink.emit_many(EVENTS)
    sink.close()
    assert caplog.text.count("cannot be rotated (No such file or directory)") == 1
    earlier = [file.with_name(f"events.jsonl.{number}") for number in (2, 3)]
    assert [path.read_bytes() for path in earlier] == [LINES[1], LINES[0]]


def test_a_file_that_was_deleted_is_begun_again_with_all_ports(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    resends: list[None] = []
    sink = JsonlSink(path=str(file))
    sink.open(CONTEXT._replace(request_replay=lambda: resends.append(None)))
    sink.emit(EVENTS[0])
    assert not resends
    file.unlink()
    sink.emit(EVENTS[1])
    sink.emit(EVENTS[2])
    sink.close()
    assert file.read_bytes() == LINES[1] + LINES[2]
    assert len(resends) == 1
    assert caplog.text.count("was deleted; a new file is begun with all ports") == 1


def test_reopening_in_place_of_a_deleted_file_is_the_same(file: Path) -> None:
    resends: list[None] = []
    sink = JsonlSink(path=str(file))
    sink.open(CONTEXT._replace(request_replay=lambda: resends.append(None)))
    sink.emit(EVENTS[0])
    file.rename(file.with_name("rotated"))
    sink.reopen()
    assert not resends
    file.unlink()
    sink.reopen()
    sink.close()
    assert file.exists()
    assert len(resends) == 1


def test_a_network_file_system_that_fails_is_an_outage(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_args: object) -> int:
        raise OSError(errno.ESTALE, "Stale file handle")

    sink = JsonlSink(path=str(file))
    sink.open(CONTEXT)
    with monkeypatch.context() as stale:
        for call in ("fstat", "write"):
            stale.setattr(os, call, fails)
        with pytest.raises(SinkUnavailable, match="Stale file handle"):
            sink.emit(EVENTS[0])
    sink.emit(EVENTS[0])
    sink.close()
    assert file.read_bytes() == LINES[0]


def test_a_file_without_a_name_that_the_path_leads_to_is_not_deleted(tmp_path: Path) -> None:
    resends: list[None] = []
    with tempfile.TemporaryFile(dir=tmp_path) as nameless:
        sink = JsonlSink(path=f"/dev/fd/{nameless.fileno()}")
        sink.open(CONTEXT._replace(request_replay=lambda: resends.append(None)))
        sink.emit_many(EVENTS)
        sink.close()
        nameless.seek(0)
        assert nameless.read() == b"".join(LINES)
    assert not resends


def test_standard_output_cannot_be_rotated() -> None:
    with pytest.raises(ConfigurationError, match="standard output cannot be rotated"):
        JsonlSink(max_bytes=100)
