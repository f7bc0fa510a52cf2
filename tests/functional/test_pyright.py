"""The types of the public API in the eyes of pyright, which many editors use."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.waiting import DEADLINE

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PYRIGHT = ROOT / ".cache/npm/pyright/package/index.js"
RIGHT = """
from dfovsdb import Monitor, watch

Monitor("tcp:127.0.0.1:1", resync="diff", queue_limit=10, tables=["Interface"])
for event in watch("tcp:127.0.0.1:1", once=True, inactivity_probe=2.5):
    print(event)
"""
#: One mistake in each line.
WRONG = """
from dfovsdb import Monitor, watch
Monitor("tcp:127.0.0.1:1", resinc="diff")
Monitor("tcp:127.0.0.1:1", resync="sometimes")
Monitor("tcp:127.0.0.1:1", queue_limit="10")
Monitor("tcp:127.0.0.1:1", tables=5)
watch("tcp:127.0.0.1:1", inactivity_prob=2.5)
watch("tcp:127.0.0.1:1", sinks=[])
"""


def mistakes(file: Path) -> list[dict[str, Any]]:
    if not PYRIGHT.exists() or shutil.which("node") is None:
        pytest.skip("there is no pyright: tools/npm-packages.sh fetches it where there is npm")
    done = subprocess.run(
        ["node", PYRIGHT, "--outputjson", "--pythonpath", sys.executable, str(file)],
        cwd=file.parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=5 * DEADLINE,
    )
    found: list[dict[str, Any]] = json.loads(done.stdout)["generalDiagnostics"]
    return [one for one in found if one["severity"] == "error"]


def test_it_accepts_the_public_api_as_users_write_it() -> None:
    assert mistakes(ROOT / "tests/typing/test_api.py") == []


def test_it_refuses_misspelt_options_and_wrong_types(tmp_path: Path) -> None:
    # pyright does not follow the import hook of an editable installation
    config = tmp_path / "pyrightconfig.json"
    config.write_text(json.dumps({"extraPaths": [str(ROOT)]}))
    file = tmp_path / "program.py"
    file.write_text(RIGHT)
    assert mistakes(file) == []
    file.write_text(WRONG)
    lines = {one["range"]["start"]["line"] for one in mistakes(file)}
    assert lines == {2, 3, 4, 5, 6, 7}
