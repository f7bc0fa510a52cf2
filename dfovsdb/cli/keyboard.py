"""Keys of the terminal, one at a time."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import termios
import tty
from collections.abc import Callable, Iterator

_LONGEST = 16  # bytes of one key


@contextlib.contextmanager
def keys() -> Iterator[Callable[[float], str]]:
    """Provide, within the context, a function that waits for a key for so many seconds.

    It returns what the terminal sends, or an empty text if the time has passed or standard input
    is no terminal.
    """
    try:
        fd = sys.stdin.fileno()
        before = termios.tcgetattr(fd)
    except (OSError, ValueError, termios.error):
        yield _no_key
        return

    def wait(seconds: float) -> str:
        if not select.select([fd], [], [], seconds)[0]:
            return ""
        return os.read(fd, _LONGEST).decode("utf-8", "replace")

    tty.setcbreak(fd)
    try:
        yield wait
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


def _no_key(seconds: float) -> str:
    select.select([], [], [], seconds)
    return ""
