"""What authors write into their suites, called so that a mistake in it is said to be theirs.

Otherwise it would look like one of the plugin, or of the suite. No promise is known here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar, get_args

from dfovsdb.model import Action

T = TypeVar("T")

_ACTIONS = get_args(Action)


class BrokenHook(AssertionError):
    """A hook of the author raised, or answered what it must not."""


@contextlib.contextmanager
def yours(hook: str) -> Iterator[None]:
    """Within the context runs code of the author.

    :raises BrokenHook: it raised; from what it raised.
    """
    try:
        yield
    except BrokenHook:
        raise  # one hook called another
    except Exception as error:
        raise BrokenHook(f"your {hook}() raised {error!r:.300}") from error


def built(suite: Any) -> Any:
    """An instance of the class that the suite names, without arguments."""
    plugin = getattr(suite, "plugin", None)
    if plugin is None:
        name = type(suite).__name__
        raise BrokenHook(f"{name} does not say what it is for: set `plugin`, or override make()")
    try:
        return plugin()
    except Exception as error:
        words = f"your {plugin.__name__}() raised {error!r:.300}"
        raise BrokenHook(f"{words}; where it needs arguments, override make()") from error


def made(make: Callable[[], T], contract: type[T]) -> T:
    """What make() makes."""
    with yours("make"):
        plugin: object = make()
    if not isinstance(plugin, contract):
        raise BrokenHook(f"your make() returned {plugin!r:.80}, no {contract.__name__}")
    return plugin


def several(hook: str, ask: Callable[[], Iterable[T]], kind: type[T], such: str) -> list[T]:
    """What a hook answers that returns several of a kind, as `such` says."""
    with yours(hook):
        answer: object = ask()
        fits = isinstance(answer, Iterable) and not isinstance(answer, str)
        listed = list(answer) if isinstance(answer, Iterable) else []
    if not fits or not all(isinstance(one, kind) for one in listed):
        raise BrokenHook(f"your {hook}() returned {answer!r:.80}; it returns {such}")
    return listed


def lines(arrived: Callable[[], Iterable[str]]) -> list[str]:
    """What arrived() answers."""
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
    """Within the context of outage(); what is raised in it reaches outage() too."""
    with contextlib.ExitStack() as stack:
        with yours("outage"):
            context: object = outage()
            if not isinstance(context, contextlib.AbstractContextManager):
                raise BrokenHook(
                    f"your outage() returned {context!r:.80}, no context manager: "
                    "decorate it with contextlib.contextmanager"
                )
            stack.enter_context(context)
        yield
        with yours("outage"):
            stack.close()
