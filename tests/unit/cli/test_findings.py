"""What an examination has found, on the terminal."""

from __future__ import annotations

import sys

import pytest

from dfovsdb.cli import findings
from dfovsdb.doctor.finding import Finding

COMMAND = "`ovs-vsctl --db=unix:/run/openvswitch/db.sock --if-exists del-port tap4aa64e21-d9`"


class Narrow:
    """A terminal of sixty columns."""

    width = 60
    colour = False

    def write(self, *lines: str) -> None:
        sys.stdout.writelines(f"{line}\n" for line in lines)


def test_a_narrow_terminal_divides_between_words_and_never_a_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(findings, "Terminal", Narrow)
    text = "could not open network device eth9 (No such device); it is not there"
    findings.show([Finding("wrong", "failed port", text, f"delete the port: {COMMAND}")])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "wrong  failed port   could not open network device eth9 (No"
    assert lines[1] == f"{'':21}such device); it is not there"
    assert lines[2] == f"{'':21}-> delete the port:"
    assert lines[3] == f"{'':21}{COMMAND}"
    assert lines[4] == "1 wrong"
