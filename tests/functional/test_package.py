"""The wheel holds everything that an installation needs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from dfovsdb.testing import Sandbox
from tests.waiting import DEADLINE

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel"))


def build(source: Path, target: Path, version: str | None = None) -> Path:
    """Built from a copy without .git, as from a tarball."""
    shutil.copytree(ROOT / "dfovsdb", source / "dfovsdb")
    for name in ("setup.cfg", "pyproject.toml", "requirements.txt", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    if version:
        file = source / "dfovsdb" / "version.py"
        file.write_text(file.read_text().replace("0.1.0", version))
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--quiet",
            "--no-deps",
            "--no-build-isolation",
            "--disable-pip-version-check",
            "--wheel-dir",
            str(target),
            str(source),
        ],
        check=True,
        timeout=DEADLINE,
    )
    (built,) = target.glob("*.whl")
    return built


def test_the_wheel_holds_configurations_types_and_no_tests(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"dfovsdb/etc/blueprint.conf", "dfovsdb/py.typed"} <= names
    assert "dfovsdb/etc/new-plugin/package/classifier.py.in" in names
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/"))]


def test_a_build_may_have_a_version_of_its_own(tmp_path: Path) -> None:
    built = build(tmp_path / "source", tmp_path / "wheel", "0.1.0.post2")
    assert built.name == "dfovsdb-0.1.0.post2-py3-none-any.whl"
    environment = {**os.environ, "PYTHONPATH": str(built)}
    done = subprocess.run(
        [sys.executable, "-m", "dfovsdb", "--version"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=DEADLINE,
    )
    assert done.stdout == "dfovsdb 0.1.0.post2\n"


def test_the_wheel_runs_watch_from_a_folder_of_its_own(
    wheel: Path, tmp_path: Path, ovs_sandbox: Sandbox
) -> None:
    ovs_sandbox.add_bridge("br-int")
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    done = subprocess.run(
        [sys.executable, "-m", "dfovsdb", "watch", ovs_sandbox.connection, "--once"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=DEADLINE,
    )
    assert "online   bridge   br-int" in done.stdout


def test_the_single_file_runs_where_nothing_is_installed(
    tmp_path: Path, ovs_sandbox: Sandbox
) -> None:
    file = tmp_path / "dfovsdb.pyz"
    subprocess.run(
        [ROOT / "tools" / "pyz.sh", str(file)],
        check=True,
        capture_output=True,
        timeout=5 * DEADLINE,
    )
    ovs_sandbox.add_bridge("br-int")
    said = []
    for command in (["ports", ovs_sandbox.connection], ["plugins"], ["web", "--help"]):
        done = subprocess.run(
            [sys.executable, "-I", str(file), *command],
            cwd=tmp_path,
            env={"HOME": str(tmp_path), "PATH": os.defpath},
            capture_output=True,
            text=True,
            check=True,
            timeout=DEADLINE,
        )
        said.append(done.stdout)
    assert "br-int" in said[0]
    assert "nats" in said[1]
