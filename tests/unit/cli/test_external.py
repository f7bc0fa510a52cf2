"""Commands of other packages."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dfovsdb.cli import external as found
from dfovsdb.cli import parser as cli

GOOD = """
def add(commands):
    parser = commands.add_parser("greet", help="says hello")
    parser.add_argument("name")
    parser.set_defaults(command=lambda args: print("hello", args.name) or 0)
"""
Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Makes a package with one command."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def install(package: str, command: str, code: str = GOOD) -> None:
        info = tmp_path / f"{package}-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1\n")
        (info / "entry_points.txt").write_text(f"[{found.GROUP}]\n{command} = {package}_command\n")
        (tmp_path / f"{package}_command.py").write_text(code)
        monkeypatch.delitem(sys.modules, f"{package}_command", raising=False)

    return install


def test_a_command_of_another_package_is_in_the_help_and_runs(
    install: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    install("greeter", "greet")
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    assert "says hello" in capsys.readouterr().out
    assert cli.main(["greet", "you"]) == 0
    assert capsys.readouterr().out == "hello you\n"


def test_a_command_of_ours_looks_for_no_other(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(found, "add", lambda _commands: pytest.fail("it was looked for"))
    assert cli.main(["--config-file", "greet", "watch", "udp:x"]) == 2
    assert "greet" in capsys.readouterr().err


def test_a_command_that_cannot_be_loaded_says_why_and_harms_no_other(
    install: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    install("broken", "crash", "raise ImportError('no such library')")
    install("greeter", "greet")
    assert cli.main(["crash", "--now"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("dfovsdb: command 'crash' of package broken cannot be loaded")
    assert "no such library" in error
    assert len(error.splitlines()) == 1
    assert cli.main(["greet", "you"]) == 0


def test_a_command_that_two_packages_offer_is_refused(
    install: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    install("one", "greet")
    install("two", "greet")
    assert cli.main(["greet", "you"]) == 2
    assert capsys.readouterr().err == (
        "dfovsdb: command 'greet' is provided by one and two; uninstall one of them\n"
    )


def test_a_command_of_ours_is_not_replaced(
    install: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    install("greeter", "watch", GOOD.replace('"greet"', '"watch"'))
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    assert "says hello" not in capsys.readouterr().out
