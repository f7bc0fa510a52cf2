"""What a call does beside answering: input and output, and what it costs."""

from __future__ import annotations

import contextlib
import functools
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

_IO = ("open", "socket.", "subprocess.", "os.", "shutil.", "urllib.", "time.sleep")
_io_seen: dict[int, list[str]] = {}  # by thread that is watched


@functools.cache  # once: an audit hook cannot be removed again
def _hook_in() -> None:
    def hook(event: str, args: tuple[Any, ...]) -> None:
        if _io_seen and event.startswith(_IO):
            seen = _io_seen.get(threading.get_ident())
            if seen is not None:
                seen.append(f"{event} {args!r:.80}")

    sys.addaudithook(hook)


@contextlib.contextmanager
def watching_io() -> Iterator[list[str]]:
    """What this thread does that Python audits (docs.python.org/3/library/audit_events.html)."""
    _hook_in()
    seen = _io_seen[threading.get_ident()] = []
    try:
        yield seen
    finally:
        del _io_seen[threading.get_ident()]


def calls(function: Callable[[], object]) -> int:
    """How many calls of functions, in Python and in C, it makes."""
    count = 0

    def profile(_frame: object, event: str, _arg: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        function()
    finally:
        sys.setprofile(before)
    return count


def quickest(function: Callable[[], object]) -> float:
    """Seconds of the quickest of a few runs, which is what load disturbs least."""
    times = []
    for _ in range(5):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)
