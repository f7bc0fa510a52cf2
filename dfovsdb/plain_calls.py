"""Whether a function of a plugin does anything when called, and what its properties raise."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import AsyncGenerator, Awaitable, Generator, Iterator
from types import CodeType

from dfovsdb.errors import ConfigurationError

#: inspect.CO_GENERATOR, CO_COROUTINE, CO_ASYNC_GENERATOR: to call such a function runs nothing.
_RUNS_NOTHING = 0x20 | 0x80 | 0x200

_RUN_LATER = (Awaitable, Generator, AsyncGenerator, map)


def runs_nothing(function: object) -> bool:
    """Return whether it is a coroutine or generator function, of which a call runs nothing.

    So is a functools.partial of one, and an object whose `__call__` is one.
    """
    code = _code(function)
    return code is not None and bool(code.co_flags & _RUNS_NOTHING)


def _code(function: object) -> CodeType | None:
    """Return the code that a call runs; None if it is not written in Python."""
    while isinstance(function, functools.partial):
        function = function.func
    code = getattr(function, "__code__", None)
    if code is None and not isinstance(function, type):
        called = getattr(type(function), "__call__", None)  # noqa: B004 - its code is asked for
        code = getattr(called, "__code__", None)
    return code if isinstance(code, CodeType) else None


def place(function: object) -> str:
    """Return where a function was written, as FILE:LINE; empty if it is not written in Python."""
    code = _code(function)
    return "" if code is None else f"{code.co_filename}:{code.co_firstlineno}"


def runs_later(returned: object) -> bool:
    """Return whether a call returned a coroutine or a generator, which has done nothing yet.

    A file, the response of a server or the cursor of a database is none of them, though one can
    iterate over it.
    """
    if returned is None or returned is True or returned is False:  # soon said, of most calls
        return False
    return isinstance(returned, _RUN_LATER)


@contextlib.contextmanager
def properties_of(plugin: str) -> Iterator[None]:
    """Take what a property of a plugin raises for wrong use of it.

    :raises ConfigurationError: names the plugin, and what was raised.
    """
    try:
        yield
    except ConfigurationError:
        raise
    except (Exception, SystemExit) as error:
        raise ConfigurationError(
            f"{plugin} cannot be used: a property of it raised {error!r:.300}"
        ) from error


def nothing_ran(call: object, returned: object) -> TypeError:
    """Return the error of a call of a sink that returned what runs_later() is true of."""
    name = getattr(call, "__qualname__", repr(call))
    return TypeError(
        f"{name} returned {returned!r:.80}: a coroutine or a generator that nobody runs, so "
        "nothing was delivered"
    )
