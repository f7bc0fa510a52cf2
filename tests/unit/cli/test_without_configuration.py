"""Commands without a configuration: they see that there is none, as oslo.config would."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from oslo_config import cfg

from dfovsdb import config, plugins
from dfovsdb.cli import common
from dfovsdb.monitor.options import DEFAULTS
from tests.waiting import DEADLINE

NOTHING = argparse.Namespace(config_file=[], config_dir=[], connection="tcp:h:1", tables=None)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home, and no variable that configures anything."""
    if any(Path("/etc").glob("dfovsdb*")):
        pytest.skip("this machine has a configuration of dfovsdb")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["/usr/bin/dfovsdb", "ports"])
    for name in ("SNAP", "SNAP_COMMON"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def found_by_oslo() -> list[str]:
    return [*cfg.find_config_files(project="dfovsdb"), *cfg.find_config_dirs(project="dfovsdb")]


@pytest.mark.parametrize(
    "path",
    [
        ".dfovsdb/dfovsdb.conf",
        ".dfovsdb/dfovsdb.conf.d/a.conf",
        "dfovsdb.conf",
        "dfovsdb.conf.d/a.conf",
        "other.conf",
        ".dfovsdb/other.conf",
        "snap/etc/dfovsdb/dfovsdb.conf",
        "common/etc/dfovsdb/dfovsdb.conf.d/a.conf",
    ],
)
@pytest.mark.parametrize("program", ["/usr/bin/dfovsdb", "/x/other.py", "/x/other"])
def test_what_oslo_config_would_find_is_found(
    home: Path, path: str, program: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [program])
    monkeypatch.setenv("SNAP", str(home / "snap"))
    monkeypatch.setenv("SNAP_COMMON", str(home / "common"))
    assert not found_by_oslo()
    assert not common.is_configured(NOTHING)
    (home / path).parent.mkdir(parents=True, exist_ok=True)
    (home / path).write_text("[dfovsdb]\nhost = here\n")
    assert common.is_configured(NOTHING) == bool(found_by_oslo())


@pytest.mark.parametrize("name", ["OS_DFOVSDB__HOST", "OS_OVSDB__CONNECTION", "OS_A__B"])
def test_a_variable_is_a_configuration(
    home: Path,  # noqa: ARG001 - empty
    name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert common.configuration_if_any(NOTHING) is None
    monkeypatch.setenv(name, "x")
    assert common.configuration_if_any(NOTHING) is not None


@pytest.mark.parametrize("name", ["config_file", "config_dir"])
def test_an_option_is_a_configuration(home: Path, name: str) -> None:
    file = home / "a.conf"
    file.touch()
    where = {name: [str(file if name == "config_file" else home)]}
    args = argparse.Namespace(**{**vars(NOTHING), **where})
    assert common.configuration_if_any(args) is not None


def test_without_a_configuration_the_defaults_are_those_of_the_options(
    home: Path,  # noqa: ARG001 - empty
) -> None:
    conf = config.load()
    configured: dict[str, Any] = {
        **config.connection_options(conf),
        **config.delivery_options(conf),
    }
    same = {name: DEFAULTS[name] for name in configured}
    assert {**configured, "tables": tuple(configured["tables"])} == same
    assert common.connection(argparse.Namespace(connection=None), None).endswith(
        ("6640", "db.sock")
    )
    with_conf = plugins.CLASSIFIERS.build(conf.dfovsdb.classifiers, conf).values()
    without = plugins.default_classifiers()
    assert [type(one) for one in with_conf] == [type(one) for one in without]
    assert [vars(one).keys() for one in with_conf] == [vars(one).keys() for one in without]


#: What a command without a configuration, over a unix socket, may import of others. Each costs
#: every call of it milliseconds: a name is added here on purpose or not at all.
MAY = {"msgspec", "ovs", "typing_extensions"}
#: Of the standard library, what is slow and needed seldom.
MUST_NOT = {
    *("ssl", "sqlite3", "asyncio", "difflib", "http", "hashlib", "email", "zipfile"),
    *("pathlib", "urllib", "random", "dataclasses", "importlib.metadata"),
}


def test_it_imports_only_what_it_needs(home: Path) -> None:
    program = (
        "import sys; before = set(sys.modules)\n"
        "from dfovsdb.cli import main\n"
        f"status = main(['ports', 'unix:{home}/nobody'])\n"
        "print(*set(sys.modules) - before)\n"
        "sys.exit(status)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert done.returncode == 1
    assert "No such file" in done.stderr
    imported = set(done.stdout.split())
    packages = {name.partition(".")[0] for name in imported}
    others = packages - set(sys.stdlib_module_names) - {"dfovsdb"}
    assert {name for name in others if not name.startswith("__")} <= MAY
    assert not imported & MUST_NOT
