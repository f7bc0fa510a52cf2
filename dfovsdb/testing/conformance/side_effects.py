"""The side effects of a call: input and output, and what it costs."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from dfovsdb.testing.conformance import purity

# docs.python.org/3/library/audit_events.html
_IO = ("open", "socket.", "subprocess.", "os.", "shutil.", "sqlite3.", "urllib.", "time.sleep")
_READS = (
    "os.listdir",
    "os.scandir",
    "os.walk",
    "os.fwalk",
    "os.getxattr",
    "os.listxattr",
    "socket.gethostname",
    "socket.__new__",
)
_WRITE = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_watched: dict[int, tuple[Callable[..., bool], list[str]]] = {}  # by thread


def _is_io(event: str, _args: tuple[Any, ...]) -> bool:
    return event.startswith(_IO)


def _is_touching(event: str, args: tuple[Any, ...]) -> bool:
    if event == "open":  # path, mode, flags
        return bool(args[2] & _WRITE)
    return event.startswith(_IO) and not event.startswith(_READS)


@functools.cache  # only once: an audit hook cannot be removed again
def _hook_in() -> None:
    def hook(event: str, args: tuple[Any, ...]) -> None:
        if _watched and (watched := _watched.get(threading.get_ident())):
            counts, seen = watched
            if counts(event, args):
                seen.append(f"{event} {args!r:.80}")

    sys.addaudithook(hook)


def watching_io() -> contextlib.AbstractContextManager[list[str]]:
    """Collect the input and output of this thread, as far as Python audits it."""
    return _watching(_is_io)


def watching_touches() -> contextlib.AbstractContextManager[list[str]]:
    """Collect the same, except for what is only read on this host."""
    return _watching(_is_touching)


@contextlib.contextmanager
def _watching(counts: Callable[..., bool]) -> Iterator[list[str]]:
    _hook_in()
    seen: list[str] = []
    _watched[threading.get_ident()] = counts, seen
    try:
        yield seen
    finally:
        del _watched[threading.get_ident()]


@contextlib.contextmanager
def touches_of_init(plugin: type) -> Iterator[list[str]]:
    """Collect what `__init__` of the class does within the context, on any thread."""
    init: Callable[..., None] = plugin.__init__  # type: ignore[misc]  # it is only wrapped
    touched: list[str] = []

    @functools.wraps(init)
    def watched(self: object, *args: Any, **kwargs: Any) -> None:
        with watching_touches() as seen:
            init(self, *args, **kwargs)
        touched.extend(seen)

    own = "__init__" in vars(plugin)
    plugin.__init__ = watched  # type: ignore[misc]  # and put back
    try:
        yield touched
    finally:
        if own:
            plugin.__init__ = init  # type: ignore[misc]
        else:
            del plugin.__init__  # type: ignore[misc]


def calls(function: Callable[[], object]) -> int:
    """Return how many calls of functions, in Python and in C, it makes."""
    count = 0

    def profile(_frame: object, event: str, _arg: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    with purity.profiled(profile):
        function()
    return count


def quickest(function: Callable[[], object]) -> float:
    """Return the seconds of the quickest of a few runs, which load affects least."""
    times = []
    for _ in range(5):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)
