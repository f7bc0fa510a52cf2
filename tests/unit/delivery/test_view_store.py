"""The view of a sink, and the file that keeps it: what a later process finds."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import random
import re
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from dfovsdb.delivery import view_store
from dfovsdb.delivery.view_store import FILE_NAME, StoredSinkView, ViewStore, check_folder
from dfovsdb.errors import ConfigurationError, DfovsdbError
from dfovsdb.model import PortEvent
from tests import otheruser
from tests.unit.delivery.scripted import Delivery, ScriptedSink, fact, port, story
from tests.unit.delivery.test_emitter import reported
from tests.waiting import DEADLINE

Open = Callable[..., ViewStore]
OWNER = b"logcmp-17"  # in a row, the sink and the host: rows of other ones are nobody's


@pytest.fixture
def open_state(tmp_path: Path) -> Iterator[Open]:
    """Opens state files, in the test's folder where no other is named."""
    opened: list[ViewStore] = []

    def open_state(folder: Path = tmp_path) -> ViewStore:
        opened.append(ViewStore(folder))
        return opened[-1]

    yield open_state
    for state in opened:
        state.close()


def after_a_kill(tmp_path: Path) -> Path:
    """The folder as a process finds it after the one that has it open was killed."""
    copy = tmp_path.with_name(f"{tmp_path.name}-copy")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(tmp_path, copy)
    return copy


def event(action: Any, uuid: str, **facts: Any) -> PortEvent:
    return PortEvent(
        action=action,
        port=port(uuid, **facts),
        previous=None,
        origin="update",
        seq=1,
        time=datetime.now(UTC),
        host="cmp-17",
    )


def tell(view: StoredSinkView, *events: PortEvent) -> None:
    view.offering(events)
    view.accepted(events)


def kept(view: StoredSinkView) -> dict[str, bool]:
    """Uuids, and whether they are doubtful."""
    return {uuid: uuid in view.doubtful for uuid in view}


# What is recorded when.


def test_what_a_sink_accepted_is_there_in_the_next_process(open_state: Open) -> None:
    state = open_state()
    view = state.view("log", "cmp-17")
    tell(view, event("online", "a"), event("online", "b"))
    tell(view, event("updated", "a", ofport=9), event("offline", "b"))
    state.close()
    again = open_state().view("log", "cmp-17")
    assert again.ports() == {"a": port("a", ofport=9)}
    assert again.doubtful == set()
    assert again.ports()["a"].interface is None


def test_sinks_and_hosts_have_views_of_their_own(open_state: Open) -> None:
    state = open_state()
    tell(state.view("log", "cmp-17"), event("online", "a"))
    tell(state.view("log", "cmp-18"), event("online", "b"))
    assert kept(state.view("log", "cmp-17")) == {"a": False}
    assert kept(state.view("audit", "cmp-17")) == {}


def test_a_port_is_recorded_before_its_online_is_offered(tmp_path: Path, open_state: Open) -> None:
    view = open_state().view("log", "cmp-17")
    view.offering([event("online", "a")])
    assert kept(open_state(after_a_kill(tmp_path)).view("log", "cmp-17")) == {"a": True}


@pytest.mark.parametrize("action", ["updated", "offline", "online"])
def test_a_known_port_is_in_doubt_while_it_is_offered(
    action: str, tmp_path: Path, open_state: Open
) -> None:
    view = open_state().view("log", "cmp-17")
    tell(view, event("online", "a"))
    view.offering([event(action, "a", ofport=9)])
    again = open_state(after_a_kill(tmp_path)).view("log", "cmp-17")
    assert kept(again) == {"a": True}
    assert again.ports() == {"a": port("a")}  # as last accepted


def test_a_port_is_removed_after_its_offline_was_accepted(
    tmp_path: Path, open_state: Open
) -> None:
    view = open_state().view("log", "cmp-17")
    tell(view, event("online", "a"))
    tell(view, event("offline", "a"))
    assert kept(open_state(after_a_kill(tmp_path)).view("log", "cmp-17")) == {}


def test_a_refusal_takes_back_what_was_recorded(tmp_path: Path, open_state: Open) -> None:
    view = open_state().view("log", "cmp-17")
    tell(view, event("online", "a"))
    events = [event("updated", "a", ofport=9), event("online", "b")]
    view.offering(events)
    for one in events:
        view.refused(one)
    again = open_state(after_a_kill(tmp_path)).view("log", "cmp-17")
    assert kept(again) == {"a": False}
    assert again.ports() == {"a": port("a")}


# Files that cannot be used.


@pytest.mark.parametrize("where", ["missing", "file", "unwritable", "occupied"])
def test_a_state_dir_that_cannot_be_used_is_one_line(where: str, tmp_path: Path) -> None:
    folder = {"unwritable": Path("/proc")}.get(where, tmp_path / "state")  # for root too
    if where == "file":
        folder.write_text("")
    elif where == "occupied":
        (folder / FILE_NAME).mkdir(parents=True)
    with pytest.raises(ConfigurationError) as raised:
        ViewStore(folder)
    assert str(raised.value).startswith(f"state_dir {str(folder)!r} cannot be used: ")
    assert "\n" not in str(raised.value)
    make = f"create it, writable for this user: mkdir -p {folder}"
    assert str(raised.value).endswith(make) == (where == "missing")


def test_a_start_on_a_full_disk_is_no_wrong_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorcode = sqlite3.SQLITE_FULL

    def fails(_store: ViewStore) -> sqlite3.Connection:
        raise error

    monkeypatch.setattr(ViewStore, "_connect", fails)
    with pytest.raises(DfovsdbError, match="is full; free some space on its disk") as raised:
        ViewStore(tmp_path)
    assert not isinstance(raised.value, ConfigurationError)  # a service manager tries again


def test_a_read_only_file_system_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read_only = os.statvfs_result((*os.statvfs(tmp_path)[:8], os.ST_RDONLY, 255))
    ViewStore(tmp_path).close()
    monkeypatch.setattr(os, "access", lambda *_args, **_kwargs: False)
    monkeypatch.setattr(os, "statvfs", lambda _path: read_only)
    with pytest.raises(ConfigurationError, match="mount it to be written to; a systemd unit"):
        check_folder(tmp_path)


def test_a_folder_is_checked_without_making_or_locking_anything(
    tmp_path: Path, open_state: Open
) -> None:
    check_folder(tmp_path)
    assert list(tmp_path.iterdir()) == []
    open_state()  # another process that has it may be the one that runs
    check_folder(tmp_path)
    for folder in (tmp_path / "nosuch", tmp_path / FILE_NAME):
        with pytest.raises(ConfigurationError, match="cannot be used"):
            check_folder(folder)


@otheruser.needs_root
@pytest.mark.parametrize("closed", ["", FILE_NAME])
def test_a_folder_is_checked_for_whoever_asks(tmp_path: Path, closed: str) -> None:
    (tmp_path / FILE_NAME).touch()
    otheruser.let_enter(tmp_path)
    for path in (tmp_path, tmp_path / FILE_NAME):
        os.chown(path, otheruser.UID, otheruser.UID)
    os.chown(tmp_path / closed, 0, 0)
    code = """
become_nobody()
from dfovsdb.delivery.view_store import check_folder
check_folder(sys.argv[1])
"""
    done = otheruser.run(code, str(tmp_path))
    assert f"state_dir '{tmp_path}' cannot be used: Permission denied; " in done.stderr
    remedy = (
        f"another user has written in it: chown {otheruser.UID} {tmp_path / closed}"
        if closed
        else f"use a folder that uid {otheruser.UID} can write to"
    )
    assert remedy in done.stderr


@otheruser.needs_root
def test_a_folder_behind_a_closed_one_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "closed" / "in"
    folder.mkdir(parents=True)
    os.chown(folder, otheruser.UID, otheruser.UID)
    folder.parent.chmod(0o700)
    otheruser.let_enter(tmp_path)
    code = """
become_nobody()
from dfovsdb.delivery.view_store import check_folder
from dfovsdb.sinks.jsonl import JsonlSink
for check in (check_folder, lambda folder: JsonlSink(f"{folder}/events.jsonl")):
    try:
        check(sys.argv[1])
    except Exception as error:
        print(type(error).__name__, error)
"""
    store, sink = otheruser.run(code, str(folder)).stdout.splitlines()
    assert store == (
        f"ConfigurationError state_dir '{folder}' cannot be used: Permission denied; "
        f"use a folder that uid {otheruser.UID} can write to"
    )
    assert sink.startswith("ConfigurationError")
    assert "Permission denied" in sink


def test_a_file_that_another_monitor_uses_is_refused(tmp_path: Path, open_state: Open) -> None:
    open_state()
    with pytest.raises(ConfigurationError, match="another process uses it"):
        ViewStore(tmp_path)
    assert os.listdir(tmp_path) != []
    assert not list(tmp_path.glob("*.bad*"))


def test_a_file_is_free_again_when_it_was_closed(open_state: Open) -> None:
    open_state().close()
    open_state()


def test_nobody_else_may_read_the_file(tmp_path: Path, open_state: Open) -> None:
    open_state()
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o077 == 0


def foreign(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE told (anything)")
    database.close()


def outdated(path: Path) -> None:
    ViewStore(path.parent).close()
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 999")
    database.close()


def text(path: Path) -> None:
    path.write_text("no database at all, and longer than its header would be\n" * 99)


@pytest.mark.parametrize("spoil", [foreign, outdated, text])
def test_a_file_that_is_not_ours_is_reported_set_aside_and_started_afresh(
    spoil: Callable[[Path], None],
    tmp_path: Path,
    open_state: Open,
    caplog: pytest.LogCaptureFixture,
) -> None:
    path = tmp_path / FILE_NAME
    spoil(path)
    before = path.read_bytes()
    tell(open_state().view("log", "cmp-17"), event("online", "a"))
    (aside,) = tmp_path.glob("*.bad")
    assert aside.read_bytes() == before
    (line,) = caplog.messages
    assert aside.name in line
    assert kept(open_state(after_a_kill(tmp_path)).view("log", "cmp-17")) == {"a": False}


@pytest.mark.parametrize("length", [0, 1, 50, 99, 100, 1000, 4096, 5000, 8191, 8192, 20000])
def test_a_torn_file_never_keeps_the_monitor_from_starting(
    length: int, tmp_path: Path, open_state: Open
) -> None:
    state = open_state()
    tell(state.view("log", "cmp-17"), *(event("online", f"port-{n}") for n in range(100)))
    state.close()
    os.truncate(tmp_path / FILE_NAME, length)
    view = open_state().view("log", "cmp-17")
    tell(view, event("online", "a"))
    assert "a" in kept(open_state(after_a_kill(tmp_path)).view("log", "cmp-17"))


@pytest.mark.parametrize("offset", [0, 16, 18, 24, 40, 60, 4096, 4100, 8192, 9000])
def test_a_file_with_garbage_in_it_never_keeps_the_monitor_from_starting(
    offset: int, tmp_path: Path, open_state: Open
) -> None:
    state = open_state()
    tell(state.view("log", "cmp-17"), *(event("online", f"port-{n}") for n in range(100)))
    state.close()
    with (tmp_path / FILE_NAME).open("r+b") as file:
        file.seek(offset)
        file.write(b"\xa5" * 64)
    view = open_state().view("log", "cmp-17")
    tell(view, event("online", "a"))
    assert "a" in kept(open_state(after_a_kill(tmp_path)).view("log", "cmp-17"))


def test_what_a_foreign_file_had_in_its_journal_is_set_aside_with_it(
    tmp_path: Path, open_state: Open
) -> None:
    theirs = sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)
    theirs.execute("PRAGMA journal_mode = WAL")
    theirs.execute("CREATE TABLE theirs (word)")
    theirs.execute("INSERT INTO theirs VALUES ('precious')")
    crashed = after_a_kill(tmp_path)
    theirs.close()
    assert kept(open_state(crashed).view("log", "cmp-17")) == {}
    (aside,) = crashed.glob("*.bad")
    theirs = sqlite3.connect(aside)
    assert theirs.execute("SELECT word FROM theirs").fetchall() == [("precious",)]
    theirs.close()


def test_a_port_that_cannot_be_read_is_reported_and_the_others_are_kept(
    open_state: Open, caplog: pytest.LogCaptureFixture
) -> None:
    state = open_state()
    tell(state.view("log", "cmp-17"), event("online", "a"), event("online", "b"))
    state.write([("UPDATE told SET port = ? WHERE uuid = ?", [(b"{}", "a")])])
    assert kept(state.view("log", "cmp-17")) == {"b": False}
    assert "1 port that sink log was sent cannot be read" in caplog.text


# A disk that fails while running.


def fill_the_disk(state: ViewStore) -> None:
    """As far as SQLite can tell: the file may not grow any more."""
    (pages,) = state._db.execute("PRAGMA page_count").fetchone()
    state._db.execute(f"PRAGMA max_page_count = {pages}")


def free_the_disk(state: ViewStore) -> None:
    state._db.execute("PRAGMA max_page_count = 1000000")


MANY = [f"port-{number}" for number in range(100)]


def test_a_full_disk_is_one_warning_and_the_sink_receives_everything_all_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sink = ScriptedSink()
    delivery = reported(sink, state_dir=str(tmp_path))
    assert delivery.dispatcher._state
    fill_the_disk(delivery.dispatcher._state)
    for uuid in MANY:
        delivery.publish(fact(uuid))
        delivery.run()
    assert story(sink.accepted) == [f"online {uuid}" for uuid in MANY]
    (line,) = [line for line in caplog.messages if "cannot be written" in line]
    assert "full" in line
    delivery.close()


def test_when_the_disk_has_room_again_the_file_becomes_true_again(
    tmp_path: Path,
    open_state: Open,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(view_store, "_RETRY", 0.0)
    caplog.set_level(logging.INFO)
    state = open_state()
    view = state.view("log", "cmp-17")
    tell(view, event("online", "a"))
    fill_the_disk(state)
    tell(view, *(event("online", uuid) for uuid in MANY))
    tell(view, event("offline", "a"))
    under_way = [event("online", "b"), event("online", "c")]
    view.offering(under_way)
    free_the_disk(state)
    view.accepted(under_way[:1])
    again = open_state(after_a_kill(tmp_path)).view("log", "cmp-17")
    assert kept(again) == dict.fromkeys(MANY, False) | {"b": False, "c": True}
    assert [line.split(FILE_NAME)[1][:26] for line in caplog.messages] == [
        " cannot be written: databa",
        " can be written again",
    ]


def test_while_the_disk_is_full_it_is_not_tried_for_every_event(open_state: Open) -> None:
    state = open_state()
    view = state.view("log", "cmp-17")
    fill_the_disk(state)
    tell(view, *(event("online", uuid) for uuid in MANY))
    free_the_disk(state)
    assert not state.write([])


def test_the_last_word_of_a_worker_is_what_the_disk_refused_before(
    tmp_path: Path, open_state: Open
) -> None:
    delivery = reported(ScriptedSink(), state_dir=str(tmp_path))
    state = delivery.dispatcher._state
    assert state
    fill_the_disk(state)
    delivery.publish(*(fact(uuid) for uuid in MANY))
    delivery.run()
    free_the_disk(state)
    delivery.worker.queue.request_stop(delivery.bell.now() + 5)
    delivery.worker.run()
    delivery.close()
    assert kept(open_state().view("sink0", "cmp-17")) == dict.fromkeys(MANY, False)


def test_a_disk_that_has_room_again_is_written_without_waiting_for_an_event(
    tmp_path: Path, open_state: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(view_store, "_RETRY", 0.0)
    delivery = reported(ScriptedSink(), state_dir=str(tmp_path))
    state = delivery.dispatcher._state
    assert state
    fill_the_disk(state)
    delivery.publish(*(fact(uuid) for uuid in MANY))
    delivery.run()
    assert delivery.worker._view.behind
    free_the_disk(state)
    delivery.bell.disk_is_tried = True
    assert delivery.step(delivery.worker)  # nothing came for a while
    assert not delivery.worker._view.behind
    again = open_state(after_a_kill(tmp_path)).view("sink0", "cmp-17")
    assert kept(again) == dict.fromkeys(MANY, False)


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE told SET port = x'ff' WHERE uuid = 'a'",
        "UPDATE told SET port = 'text \ufffd' WHERE uuid = 'a'",
        "UPDATE told SET port = CAST(x'7bff7d' AS TEXT) WHERE uuid = 'a'",
        "UPDATE told SET port = 5 WHERE uuid = 'a'",
        "UPDATE told SET port = 1.5, doubtful = 'x' WHERE uuid = 'a'",
        "UPDATE told SET port = '{}' WHERE uuid = 'a'",
        "UPDATE told SET port = '[1' WHERE uuid = 'a'",
        "UPDATE told SET uuid = 'z' WHERE uuid = 'a'",
        "UPDATE told SET uuid = CAST(x'ff' AS TEXT) WHERE uuid = 'a'",
        "UPDATE told SET port = replace(CAST(port AS TEXT), '\"a\"', '7') WHERE uuid = 'a'",
    ],
)
def test_whatever_a_stored_port_holds_the_others_are_kept_and_the_start_works(
    tmp_path: Path, open_state: Open, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    view = open_state().view("log", "cmp-17")
    tell(view, event("online", "a"), event("online", "b"))
    copy = after_a_kill(tmp_path)
    with contextlib.closing(sqlite3.connect(copy / FILE_NAME)) as db:
        db.execute(damage)
        db.commit()
    again = open_state(copy).view("log", "cmp-17")
    assert kept(again) == {"b": False}
    assert "1 port that sink log was sent cannot be read" in caplog.text
    again.mend()
    caplog.clear()
    assert kept(open_state(after_a_kill(copy)).view("log", "cmp-17")) == {"b": False}
    assert not caplog.messages


def test_whatever_byte_of_the_file_is_damaged_no_port_is_another_one_or_missing_without_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with contextlib.closing(ViewStore(tmp_path)) as state:
        view = state.view("log", "cmp-17")
        for number in range(50):
            tell(view, event("online", f"uuid-{number:02}"))
    good = (tmp_path / FILE_NAME).read_bytes()
    owners = {match.start() + n for match in re.finditer(OWNER, good) for n in range(len(OWNER))}
    used = [at for at, byte in enumerate(good) if byte and at not in owners]
    rng = random.Random(20261201)
    damaged = tmp_path / "damaged"
    for at in rng.sample(used, 300):
        shutil.rmtree(damaged, ignore_errors=True)
        damaged.mkdir()
        bad = bytearray(good)
        bad[at] ^= 1 << rng.randrange(8)
        (damaged / FILE_NAME).write_bytes(bad)
        caplog.clear()
        with contextlib.closing(ViewStore(damaged)) as state:
            again = state.view("log", "cmp-17")
            ports = again.ports()
            assert ports.items() <= view.ports().items(), at
            assert caplog.messages or ports == view.ports(), at
            tell(again, event("online", "new"))
        with contextlib.closing(ViewStore(damaged)) as state:
            assert "new" in kept(state.view("log", "cmp-17")), at


@pytest.mark.parametrize("how", ["deleted", "replaced", "its folder is moved"])
def test_a_file_that_is_lost_while_in_use_is_written_again(
    tmp_path: Path,
    open_state: Open,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    how: str,
) -> None:
    monkeypatch.setattr(view_store, "_RETRY", 0.0)
    folder = tmp_path / "state"
    folder.mkdir()
    state = open_state(folder)
    views = [state.view(name, "cmp-17") for name in ("log", "audit")]
    for view in views:
        tell(view, event("online", "a"), event("online", "b"))
    if how == "deleted":
        for file in folder.iterdir():
            file.unlink()
    elif how == "replaced":
        shutil.copy(folder / FILE_NAME, folder / "copy")
        (folder / "copy").rename(folder / FILE_NAME)
    else:
        folder.rename(tmp_path / "elsewhere")
        tell(views[0], event("offline", "b"))
        assert views[0].behind
        assert "told.sqlite cannot be written: " in caplog.text
        folder.mkdir()
    tell(views[0], event("online", "c"))
    assert caplog.text.count("was deleted or replaced while in use; it was written again") == 1
    again = open_state(after_a_kill(folder))
    b = {} if how == "its folder is moved" else {"b": False}
    assert kept(again.view("log", "cmp-17")) == {"a": False, "c": False} | b
    assert kept(again.view("audit", "cmp-17")) == {"a": False, "b": False}


@pytest.mark.parametrize("how", ["its folder comes back", "no room to open", "no room to write"])
def test_what_is_written_after_a_failed_attempt_is_in_the_file(
    tmp_path: Path, open_state: Open, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Neither a new file that is empty nor the old one, come back, is taken for the open one."""
    monkeypatch.setattr(view_store, "_RETRY", 0.0)
    folder, elsewhere = tmp_path / "state", tmp_path / "elsewhere"
    folder.mkdir()
    state = open_state(folder)
    views = [state.view(name, "cmp-17") for name in ("log", "audit")]
    for view in views:
        tell(view, event("online", "a"))
    folder.rename(elsewhere)
    if how != "its folder comes back":
        folder.mkdir()
    with monkeypatch.context() as full:
        if how != "its folder comes back":
            full.setattr(Full, "word", "CREATE" if how == "no room to open" else "backup")
            full.setattr(sqlite3, "connect", functools.partial(sqlite3.connect, factory=Full))
        tell(views[0], event("online", "b"))
    assert views[0].behind
    if how == "its folder comes back":
        elsewhere.rename(folder)
    assert kept(state.view("audit", "cmp-17")) == {"a": False}
    tell(views[0], event("online", "c"))
    again = open_state(after_a_kill(folder))
    assert kept(again.view("log", "cmp-17")) == {"a": False, "b": False, "c": False}
    assert kept(again.view("audit", "cmp-17")) == {"a": False}


class Full(sqlite3.Connection):
    """Of a file on a disk that has no room for what a word begins."""

    word = ""

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        self._refuse(sql)
        return super().execute(sql, parameters)

    def backup(self, target: sqlite3.Connection, **options: Any) -> None:
        if self.is_memory:
            self._refuse("backup")
        super().backup(target, **options)

    @property
    def is_memory(self) -> bool:
        return not super().execute("PRAGMA database_list").fetchone()[2]

    def _refuse(self, what: str) -> None:
        if self.word and what.startswith(self.word):
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error


def test_a_file_in_its_place_that_its_journal_does_not_fit_is_set_aside(
    tmp_path: Path, open_state: Open, caplog: pytest.LogCaptureFixture
) -> None:
    """SQLite applies what is left of the journal to whatever has the name now."""
    other = tmp_path / "other"
    other.mkdir()
    with contextlib.closing(ViewStore(other)) as state:
        tell(state.view("log", "cmp-18"), *(event("online", f"o{n}") for n in range(300)))
    state = open_state(tmp_path)
    view = state.view("log", "cmp-17")
    for begin in range(0, 6000, 10):  # so many that part of them is no longer in the journal
        tell(view, *(event("online", f"a{n}") for n in range(begin, begin + 10)))
    os.replace(other / FILE_NAME, tmp_path / FILE_NAME)
    tell(view, event("online", "new"))
    assert "and it will be written again" in caplog.text
    assert "every sink is sent everything again" not in caplog.text
    again = open_state(after_a_kill(tmp_path))
    assert len(kept(again.view("log", "cmp-17"))) == 6001


@pytest.mark.parametrize(
    "damage", ["DROP TABLE told", "ALTER TABLE told RENAME COLUMN port TO other"]
)
def test_a_file_with_other_tables_is_set_aside(
    tmp_path: Path, open_state: Open, damage: str
) -> None:
    tell(open_state().view("log", "cmp-17"), event("online", "a"))
    copy = after_a_kill(tmp_path)
    with contextlib.closing(sqlite3.connect(copy / FILE_NAME)) as db:
        db.execute(damage)
        db.commit()
    again = open_state(copy).view("log", "cmp-17")
    assert kept(again) == {}
    tell(again, event("online", "c"))
    assert kept(again) == {"c": False}


# Threads, and the end.


def test_sinks_share_the_file_from_threads_of_their_own(open_state: Open) -> None:
    state = open_state()
    names = [f"sink{number}" for number in range(4)]

    def work(name: str) -> None:
        view = state.view(name, "cmp-17")
        for uuid in MANY:
            tell(view, event("online", uuid))
        for uuid in MANY[10:]:
            tell(view, event("offline", uuid))

    threads = [threading.Thread(target=work, args=(name,), daemon=True) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
        assert not thread.is_alive()
    for name in names:
        assert kept(state.view(name, "cmp-17")) == dict.fromkeys(MANY[:10], False)


def test_a_sink_that_comes_back_after_the_end_is_not_kept_and_not_complained_about(
    open_state: Open, caplog: pytest.LogCaptureFixture
) -> None:
    state = open_state()
    view = state.view("log", "cmp-17")
    view.offering([event("online", "a")])
    state.close()
    view.accepted([event("online", "a")])
    assert caplog.messages == []
    assert kept(open_state().view("log", "cmp-17")) == {"a": True}  # delivered again, not lost


def test_closing_does_not_wait_for_a_disk_that_hangs(open_state: Open) -> None:
    state = open_state()
    with state._lock:  # a write that does not end
        closing = threading.Thread(target=state.close, daemon=True)
        closing.start()
        closing.join(DEADLINE)
        assert not closing.is_alive()
    state._db.close()


def test_without_state_dir_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    delivery = Delivery(ScriptedSink())
    delivery.sync(fact("a"))
    delivery.run()
    delivery.close()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("resync", ["replay", "diff"])
def test_after_a_restart_vanished_ports_are_reported_offline_inside_the_first_sync(
    resync: str, tmp_path: Path
) -> None:
    first = reported(ScriptedSink(), fact("a"), fact("b"), state_dir=str(tmp_path))
    first.close()
    sink = ScriptedSink()
    second = Delivery(sink, resync=resync, state_dir=str(tmp_path))
    second.sync(fact("b"), fact("c"))
    second.run()
    second.close()
    again = {"replay": ["online b"], "diff": []}[resync]
    assert story(sink.accepted) == [
        "sync_started initial",
        "offline a",
        *again,
        "online c",
        "sync_finished initial",
    ]
