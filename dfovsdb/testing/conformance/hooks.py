"""Calls of what authors write in their suites, so that an error in it is reported as theirs.

Otherwise it would look like an error of the plugin or of the suite. This module knows no promise.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar, get_args

from dfovsdb.model import Action

T = TypeVar("T")

_ACTIONS = get_args(Action)


class BrokenHook(AssertionError):
    """A hook of the author raised, or returned something invalid."""


@contextlib.contextmanager
def yours(hook: str) -> Iterator[None]:
    """Run code of the author within the context.

    :raises BrokenHook: it raised; from its exception.
    """
    try:
        yield
    except BrokenHook:
        raise  # one hook called another
    except Exception as error:
        raise BrokenHook(f"your {hook}() raised {error!r:.300}") from error


def built(suite: Any) -> Any:
    """Return an instance of the class that the suite names, made without arguments."""
    plugin = getattr(suite, "plugin", None)
    if plugin is None:
        name = type(suite).__name__
        raise BrokenHook(f"{name} does not name what it tests: set `plugin`, or override make()")
    try:
        return plugin()
    except Exception as error:
        text = f"your {plugin.__name__}() raised {error!r:.300}"
        raise BrokenHook(f"{text}; if it needs arguments, override make()") from error


def made(make: Callable[[], T], contract: type[T], hook: str = "make") -> T:
    """Return the result of make(), or of another hook that makes one."""
    with yours(hook):
        plugin: object = make()
    if not isinstance(plugin, contract):
        raise BrokenHook(f"your {hook}() returned {plugin!r:.80}, not a {contract.__name__}")
    return plugin


def several(hook: str, ask: Callable[[], Iterable[T]], kind: type[T], such: str) -> list[T]:
    """Return the result of a hook that returns several items, of which `such` are examples."""
    with yours(hook):
        answer: object = ask()
        fits = isinstance(answer, Iterable) and not isinstance(answer, str)
        listed = list(answer) if isinstance(answer, Iterable) else []
    if not fits or not all(isinstance(one, kind) for one in listed):
        raise BrokenHook(f"your {hook}() returned {answer!r:.80}; it must return {such}")
    return listed


def lines(arrived: Callable[[], Iterable[str]]) -> list[str]:
    """Return the result of arrived()."""
    found = several("arrived", arrived, str, "lines such as 'online tap0'")
    for line in found:
        if line.partition(" ")[0] not in _ACTIONS:
            raise BrokenHook(
                f"your arrived() returned the line {line!r:.80}; each is an action "
                f"({', '.join(_ACTIONS)}), a space and a name"
            )
    return found


@contextlib.contextmanager
def during(outage: Callable[[], contextlib.AbstractContextManager[object]]) -> Iterator[None]:
    """Run within the context of outage(); exceptions in it reach outage() too."""
    with contextlib.ExitStack() as stack:
        with yours("outage"):
            context: object = outage()
            if not isinstance(context, contextlib.AbstractContextManager):
                raise BrokenHook(
                    f"your outage() returned {context!r:.80}, not a context manager: "
                    "decorate it with contextlib.contextmanager"
                )
            stack.enter_context(context)
        yield
        with yours("outage"):
            stack.close()
