"""How long tests wait for what must come.

Nothing here is a measure of speed: a wait ends when its condition is true, and the deadline is
for the case that it never is. It holds on a busy machine that is many times slower than ours.
"""

from __future__ import annotations

from pathlib import Path

DEADLINE = 120.0  # seconds


def is_running(pid: int) -> bool:
    """Say whether there is a process of this number that has not ended.

    One that has ended stays in /proc as a zombie until its parent asks how it ended; the first
    process of a container may never ask.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"
