"""What a pure function of one row does not do, although Python audits none of it.

The clock, the environment, the state of files, random numbers, new threads: a profile function
sees those calls, and the line of the author that makes them.
"""

from __future__ import annotations

import datetime as dt
import gc
import inspect
import logging
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import BuiltinFunctionType, FrameType
from typing import Any

_CLOCKS = frozenset(
    {
        "time",
        "time_ns",
        "monotonic",
        "monotonic_ns",
        "perf_counter",
        "perf_counter_ns",
        "process_time",
        "process_time_ns",
        "thread_time",
        "thread_time_ns",
        "ctime",
        "localtime",
        "clock_gettime",
        "clock_gettime_ns",
    }
)
#: Functions of module time that read the clock if they receive fewer arguments than this.
_CLOCKS_BY_DEFAULT = {"gmtime": 1, "asctime": 1, "strftime": 2}
_INTERFACES = frozenset({"if_nameindex", "if_nametoindex", "if_indextoname"})
_FILES = frozenset(
    {
        "stat",
        "lstat",
        "fstat",
        "access",
        "readlink",
        "statvfs",
        "listdir",
        "scandir",
        "getcwd",
    }
)
_SYSTEM = frozenset(
    {
        "uname",
        "getpid",
        "getppid",
        "getuid",
        "getloadavg",
        "urandom",
        "fork",
        "forkpty",
        "kill",
    }
)
_THREADS = frozenset({"start_new_thread", "start_joinable_thread"})


class TooLate(AssertionError):
    """The code of an author did not return in time."""


class _Overdue(BaseException):
    """The deadline of a call has passed; no `except Exception` of a plugin catches it."""


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Interrupt the code within the context after so many seconds; only on the main thread.

    :raises TooLate: names the time.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def overdue(_number: int, _frame: FrameType | None) -> None:
        raise _Overdue

    before = signal.signal(signal.SIGALRM, overdue)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    except _Overdue as error:
        raise TooLate(f"has not returned after {seconds:g} s, {place(error)}") from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def impurities(function: Callable[[], object]) -> list[str]:
    """Return what a call reads beside its arguments, or starts, each with the line that does."""
    seen: list[str] = []

    def profile(frame: FrameType, event: str, arg: Any) -> None:
        if event == "c_call":
            what = _of_builtin(arg)
        elif event == "call" and frame.f_code.co_filename in (os.__file__, "<frozen os>"):
            is_read = frame.f_code.co_qualname.startswith("_Environ.")
            what = "os.environ" if is_read else None
        else:
            what = None
        if what is not None and not _is_logging(frame):
            seen.append(f"{what} at {_line(frame)}")

    with _default_clocks(seen), profiled(profile):
        function()
    return seen


@contextmanager
def profiled(profile: Callable[[FrameType, str, Any], None]) -> Iterator[None]:
    """Let a profile function see the calls of this thread, within the context.

    The garbage collector pauses, because the author does not call what it calls: Hypothesis, for
    example, reads a clock each time that it runs.
    """
    before, collects = sys.getprofile(), gc.isenabled()
    gc.disable()
    sys.setprofile(profile)
    try:
        yield
    finally:
        sys.setprofile(before)
        if collects:
            gc.enable()


@contextmanager
def _default_clocks(seen: list[str]) -> Iterator[None]:
    """Note, within the context, calls of `time.strftime("%H")` and its like without a time.

    Only calls of this thread are noted, and not those of a function that was imported by name.
    """
    ours = threading.get_ident()

    def noting(name: str, needed: int, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            here = inspect.currentframe()
            caller = here.f_back if here is not None else None
            given = sum(argument is not None for argument in arguments)
            is_ours = threading.get_ident() == ours
            if given < needed and is_ours and caller and not _is_logging(caller):
                seen.append(f"time.{name}() at {_line(caller)}")
            return original(*arguments)

        return call

    originals = {name: getattr(time, name) for name in _CLOCKS_BY_DEFAULT}
    for name, original in originals.items():
        setattr(time, name, noting(name, _CLOCKS_BY_DEFAULT[name], original))
    try:
        yield
    finally:
        for name, original in originals.items():
            setattr(time, name, original)


def place(error: BaseException) -> str:
    """Return the line of the author that an exception comes from, as `at FILE:LINE`."""
    found = "at ?"
    traceback = error.__traceback__
    ours = True
    while traceback is not None:
        file = traceback.tb_frame.f_code.co_filename
        if ours or not _is_library(file):
            found = f"at {file}:{traceback.tb_lineno}"
            ours = _is_library(file)
        traceback = traceback.tb_next
    return found


def _of_builtin(function: Any) -> str | None:
    name = getattr(function, "__name__", "")
    if isinstance(function, BuiltinFunctionType):
        module = function.__module__
        owner = function.__self__
        if (
            (module == "time" and name in _CLOCKS)
            or (module == "posix" and name in _FILES | _SYSTEM)
            or (module == "_thread" and name in _THREADS)
            or (module == "_socket" and name in _INTERFACES)
        ):
            return f"{'os' if module == 'posix' else module.lstrip('_')}.{name}()"
        if isinstance(owner, type) and issubclass(owner, dt.date):
            return f"{owner.__name__}.{name}()" if name in ("now", "utcnow", "today") else None
        if isinstance(owner, random.Random):
            return f"random.{name}()"
    return None


def _is_logging(frame: FrameType | None) -> bool:
    """Return whether a log record is being made, which has a time and the name of a thread."""
    while frame is not None:
        if frame.f_code.co_filename == logging.__file__:
            return True
        frame = frame.f_back
    return False


def _line(frame: FrameType) -> str:
    at: FrameType | None = frame
    while at is not None and _is_library(at.f_code.co_filename):
        at = at.f_back
    at = at or frame
    return f"{at.f_code.co_filename}:{at.f_lineno}"


_STDLIB = os.path.dirname(os.__file__) + os.sep
_OURS = os.path.dirname(os.path.dirname(os.path.dirname(__file__))) + os.sep


def _is_library(file: str) -> bool:
    """Return whether a file is of Python or of the suite, and not of an author."""
    if file.startswith("<"):
        return True
    if file.startswith(_STDLIB):
        return "-packages" + os.sep not in file
    return file.startswith(os.path.join(_OURS, "testing") + os.sep)
