"""What can be said of a file, a folder and their disk before anything is written."""

from __future__ import annotations

import errno
import os

_FULL = (errno.ENOSPC, errno.EDQUOT)


def check_may_write(path: str | os.PathLike[str], mode: int = os.W_OK) -> None:
    """Check that this user may write to a path, which exists; nothing is opened.

    :param mode: what else, as for os.access().
    :raises OSError: it may not, or is on a read-only file system.
    """
    if not os.access(path, mode, effective_ids=True):
        number = errno.EROFS if is_read_only(path) else errno.EACCES
        raise OSError(number, os.strerror(number), os.fspath(path))


def is_read_only(path: str | os.PathLike[str]) -> bool:
    """Return whether the file system of a path is mounted read-only."""
    try:
        return bool(os.statvfs(path).f_flag & os.ST_RDONLY)
    except OSError:
        return False


def is_full(error: BaseException) -> bool:
    """Return whether the error says that a disk, or the user's part of it, is full."""
    return isinstance(error, OSError) and error.errno in _FULL
