"""The past of a host: the events in the files that the jsonl sink wrote.

A line is decoded only where it may be asked for, damaged lines are counted, and files may be
compressed by logrotate(8).
"""

from __future__ import annotations

import contextlib
import glob
import gzip
import heapq
import itertools
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import IO, TYPE_CHECKING, cast

import msgspec

from dfovsdb import plugins
from dfovsdb.errors import ConfigurationError
from dfovsdb.json_v1 import from_json
from dfovsdb.model import PortEvent
from dfovsdb.text.durations import seconds

if TYPE_CHECKING:
    from oslo_config import cfg

_BLOCK = 1 << 18  # bytes that are read at once from the end of a file
_FIRST = 100  # lines among which the first one of a file that can be read is looked for
_TIME = b'"time":"'
_DAMAGED = (EOFError, zlib.error, gzip.BadGzipFile)  # a compressed file that was cut, or damaged


class History:
    """The events of some files. Each file is in the order in which its events happened.

    :param files: paths; one whose name ends with .gz is decompressed.
    """

    def __init__(self, files: Sequence[str]) -> None:
        self._files = files
        self._ends: dict[str, int] = {}  # where the last complete line of a file has ended
        self.damaged = 0  #: lines that could not be read
        self.incomplete: list[str] = []  #: compressed files that were cut, or are damaged

    def events(
        self,
        wanted: Callable[[PortEvent], bool],
        texts: Sequence[str] = (),
        *,
        since: datetime | None = None,
        newest_first: bool = False,
    ) -> Iterator[PortEvent]:
        """Yield the events that are wanted, in the order of their times.

        :param texts: one of these is in every event that is wanted; other lines are not decoded.
        :param since: no event that is wanted is older; older lines are not decoded.
        :raises ConfigurationError: a file cannot be read.
        """
        chosen = _Chosen(texts, since)
        streams = [self._of(file, chosen, wanted, newest_first) for file in self._files]
        return heapq.merge(*streams, key=lambda event: event.time, reverse=newest_first)

    def begins(self) -> datetime | None:
        """Return the time of the oldest event of the files; None if there is none."""
        found = []
        for file in self._files:
            with contextlib.suppress(OSError, *_DAMAGED), _open(file) as lines:
                for line in itertools.islice(lines, _FIRST):
                    with contextlib.suppress(ValueError):
                        found.append(from_json(line).time)
                        break
        return min(found, default=None)

    def follow(
        self, wanted: Callable[[PortEvent], bool], texts: Sequence[str] = ()
    ) -> Iterator[PortEvent | None]:
        """Yield what is written from now on, without end; None when nothing new was there.

        It begins where events() has ended. A file that was rotated is read to its end, and then
        the new one of its name.
        """
        chosen = _Chosen(texts, None)
        tails = [
            _Tail(file, self._ends.get(file, 0)) for file in self._files if not _is_packed(file)
        ]
        while True:
            fresh = [line for tail in tails for line in tail.lines()]
            for line in filter(chosen, fresh):
                event = self._read(line)
                if event is not None and wanted(event):
                    yield event
            yield None

    def _of(
        self, file: str, chosen: _Chosen, wanted: Callable[[PortEvent], bool], backwards: bool
    ) -> Iterator[PortEvent]:
        lines = _backwards(file) if backwards else self._forwards(file)
        try:
            for line in filter(chosen, lines):
                event = self._read(line)
                if event is not None and wanted(event):
                    yield event
        except _DAMAGED:
            self.incomplete.append(file)
        except OSError as error:
            raise ConfigurationError(
                f"cannot read {os.fspath(file)!r}: {error.strerror or error}"
            ) from None

    def _forwards(self, file: str) -> Iterator[bytes]:
        with _open(file) as lines:
            end = 0
            for line in lines:
                if line.endswith(b"\n"):
                    end += len(line)
                    self._ends[file] = end
                yield line

    def _read(self, line: bytes) -> PortEvent | None:
        try:
            event = from_json(line)
        except ValueError:
            self.damaged += 1
            return None
        return event if isinstance(event, PortEvent) else None


class _Chosen:
    """Whether a line may be asked for, by what can be seen without decoding it."""

    def __init__(self, texts: Sequence[str], since: datetime | None) -> None:
        self._needles = [msgspec.json.encode(text)[1:-1] for text in texts]
        utc = since and since.astimezone(UTC)
        self._since = utc.strftime("%Y-%m-%dT%H:%M:%S").encode() if utc else b""

    def __call__(self, line: bytes) -> bool:
        if not line.strip() or b'"sync_' in line[:200]:
            return False
        if self._since:
            at = line.find(_TIME, 0, 200) + len(_TIME)
            time = line[at : at + 20]  # to the second, in UTC as the sink writes it
            if at >= len(_TIME) and time[19:] in (b".", b"Z") and time[:19] < self._since:
                return False
        return not self._needles or any(needle in line for needle in self._needles)


class _Tail:
    """What is written to a file, whose name may be given to another one."""

    def __init__(self, file: str, start: int) -> None:
        self._file = file
        self._handle: IO[bytes] | None = None
        self._rest = b""
        with contextlib.suppress(OSError):
            self._handle = open(file, "rb")  # noqa: SIM115 - it stays open
            self._handle.seek(start)

    def lines(self) -> list[bytes]:
        """Return the complete lines that are new."""
        data = self._rest + (self._handle.read() if self._handle else b"")
        if not self._is_there():
            if self._handle is not None:
                self._handle.close()
            self._handle = None
            with contextlib.suppress(OSError):
                self._handle = open(self._file, "rb")  # noqa: SIM115 - it stays open
                data += (b"\n" if data and not data.endswith(b"\n") else b"") + self._handle.read()
        *lines, self._rest = data.split(b"\n")
        return lines

    def _is_there(self) -> bool:
        """Return whether the open file still has the name, and was not cut."""
        if self._handle is None:
            return False
        ours = os.fstat(self._handle.fileno())
        try:
            theirs = os.stat(self._file)
        except OSError:
            return True  # between two names: there is no other file yet
        same = (ours.st_dev, ours.st_ino) == (theirs.st_dev, theirs.st_ino)
        return same and ours.st_size >= self._handle.tell()


def last_lines(files: Sequence[str], most: int) -> list[bytes]:
    """Return the newest lines of files that are not compressed, the newest first."""
    there = []
    for file in files:
        with contextlib.suppress(OSError):
            if not _is_packed(file):
                there.append((os.stat(file).st_mtime, file))
    found: list[bytes] = []
    for _, file in sorted(there, reverse=True):
        with contextlib.suppress(OSError):
            found += itertools.islice(_backwards(file), most - len(found))
    return found


def paths_of(conf: cfg.ConfigOpts) -> Iterator[str]:
    """Yield where the jsonl sinks of the configuration write."""
    names = plugins.SINKS.instances("jsonl", conf.dfovsdb.sinks)
    groups = plugins.SINKS.groups([f"{name}=jsonl" for name in names])
    for group, options in groups.items():
        conf.register_opts(options, group=group)
        path = conf[group].path
        if path and path != "-":
            yield path


def files_of(paths: Iterable[str]) -> Iterator[str]:
    """Yield the files that are there of what is written to these paths: with the rotated ones."""
    for path in paths:
        yield from sorted(
            file
            for file in glob.glob(f"{glob.escape(path)}*")
            if file == path or file[len(path)] in ".-"
        )


def _backwards(file: str) -> Iterator[bytes]:
    """Yield the lines of a file, the last first; of a large one it reads what is taken."""
    with _open(file) as handle:
        if _is_packed(file):
            yield from _packed_backwards(handle)
            return
        at, rest = handle.seek(0, os.SEEK_END), b""
        while at > 0:
            size = min(_BLOCK, at)
            at -= size
            handle.seek(at)
            rest, *lines = (handle.read(size) + rest).split(b"\n")
            yield from reversed(lines)
        yield rest


def _packed_backwards(handle: IO[bytes]) -> Iterator[bytes]:
    """Yield the lines of a compressed file, the last first; raise what is wrong with it then."""
    blocks: list[bytes] = []
    damage = None
    try:
        while block := handle.read1(_BLOCK):  # type: ignore[attr-defined]  # gzip.GzipFile
            blocks.append(block)
    except _DAMAGED as error:
        damage = error
    yield from reversed(b"".join(blocks).split(b"\n"))
    if damage:
        raise damage


def _is_packed(file: str) -> bool:
    return file.endswith(".gz")


def _open(file: str) -> IO[bytes]:
    if _is_packed(file):
        return cast("IO[bytes]", gzip.open(file, "rb"))
    return open(file, "rb")


def moment(text: str) -> datetime:
    """Return the time that somebody means: an ISO time, or so long ago.

    :raises ConfigurationError: it is neither.
    """
    try:
        return datetime.now(UTC) - timedelta(seconds=seconds(text))
    except OverflowError:
        return datetime.min.replace(tzinfo=UTC)
    except ValueError:
        pass  # it is no duration
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):  # the year 1 or 9999, in another time zone
        raise ConfigurationError(
            f"{text!r:.60} is not a time: use 90s, 10m, 2h, 1d, or 2026-11-22T13:00:00"
        ) from None


def timeline(events: Iterable[PortEvent]) -> Iterator[tuple[PortEvent, timedelta | None]]:
    """Yield each event with the time since the one before it; None for the first."""
    before: datetime | None = None
    for event in events:
        yield event, None if before is None else event.time - before
        before = event.time
