"""Values in [DEFAULT] that oslo.log does not accept stop the agent with one line and status 2."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("debug = maybe", "[DEFAULT] debug: Invalid Boolean value: maybe"),
        ("log_color = maybe", "[DEFAULT] log_color: use true or false, not 'maybe'"),
        ("max_logfile_count = x", "[DEFAULT] max_logfile_count: use a whole number, not 'x'"),
        ("log_rotation_type = x", "[DEFAULT] log_rotation_type: use one of "),
        ("default_log_levels = amqp=LOUD", "the log cannot be opened: Unknown level: 'LOUD'"),
        (
            "use_syslog = true\nsyslog_log_facility = nosuch",
            "the log cannot be opened: syslog facility must be one of",
        ),
        ("log_config_append = odd.ini", "the log cannot be opened: 'utf-8' codec can't decode"),
    ],
)
def test_it_is_one_line_and_wrong_use(tmp_path: Path, lines: str, said: str) -> None:
    (tmp_path / "odd.ini").write_bytes(b"[loggers]\xff\n")
    (tmp_path / "dfovsdb.conf").write_text(f"[DEFAULT]\n{lines}\n")
    ended = subprocess.run(
        [sys.executable, "-m", "dfovsdb", "--config-file", "dfovsdb.conf", "run"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert ended.returncode == 2, ended.stderr
    assert ended.stderr.startswith(f"dfovsdb: {said}")
    assert ended.stderr.count("\n") == 1
    assert not ended.stdout
