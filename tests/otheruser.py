"""For tests that must become another user, as only root can.

That user may not be allowed to read our code: the clone may be in /root, whose mode is 0700.
So the folders that Python imports from are opened while we are root, and are used by their
descriptors, which need no right to what is above them.
"""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
UID = 65534  # of nobody

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")

_PRELUDE = f"""
import os, sys
def _hold(folders):
    return [f"/proc/self/fd/{{os.open(one, os.O_PATH)}}" if os.path.isdir(one) else one
            for one in folders]
for module in list(sys.modules.values()):
    if hasattr(module, "__path__"):
        module.__path__ = _hold(module.__path__)
sys.path[:] = _hold([{str(ROOT)!r}, *sys.path[1:]])
def become_nobody():
    os.setgroups([])
    os.setgid({UID})
    os.setuid({UID})
"""


def program(code: str) -> list[str]:
    """The command that runs this code, in which there is become_nobody()."""
    for path in (ROOT, *(ROOT / "dfovsdb").rglob("*.py")):
        if not path.stat().st_mode & stat.S_IROTH:
            pytest.skip(f"other users may not read {path} (it was made with such a umask)")
    return [sys.executable, "-c", _PRELUDE + code]


def run(code: str, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*program(code), *args], capture_output=True, text=True, check=False)


def let_enter(folder: Path) -> None:
    """Let every user enter a temporary folder: pytest and tempfile make them for one user."""
    temporary = Path(tempfile.gettempdir())
    for path in (folder, *folder.parents):
        mode = stat.S_IMODE(path.stat().st_mode)
        if temporary in path.parents:
            path.chmod(mode | 0o755)
        elif not mode & stat.S_IXOTH:
            pytest.skip(f"other users may not enter {path}, where temporary files are")
