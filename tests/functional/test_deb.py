"""The package for Debian: what is in it, and that it runs without anything but its Python."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dfovsdb.testing import Sandbox
from tests.waiting import DEADLINE

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
#: a mount namespace in which /opt is that of the package; as root of a user namespace of its own
_WITHIN = ["unshare", "--mount", "--map-root-user", "sh", "-euc"]


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package, built from a copy of this clone."""
    if shutil.which("dpkg-deb") is None:
        pytest.skip("dpkg-deb is not installed")
    python = Path("/usr/bin/python3")
    if not python.exists():
        pytest.skip("there is no /usr/bin/python3")
    asked = [str(python), "-c", "import sys; print(sys.version_info >= (3, 11))"]
    if "True" not in subprocess.run(asked, capture_output=True, text=True, check=True).stdout:
        pytest.skip("/usr/bin/python3 is older than 3.11")
    clone = tmp_path_factory.mktemp("deb") / "clone"
    ours = ("dfovsdb", "tools", "packaging", "contrib", "docs")
    for name in ours:
        shutil.copytree(ROOT / name, clone / name, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ROOT.iterdir():
        if file.is_file():
            shutil.copy(file, clone)
    (clone / ".venv/bin").mkdir(parents=True)
    (clone / ".venv/bin/python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (clone / ".venv/bin/python").chmod(0o755)
    built = subprocess.run(
        ["tools/deb.sh"],
        cwd=clone,
        capture_output=True,
        text=True,
        timeout=15 * DEADLINE,
        check=False,
    )
    log = clone / ".cache/deb.log"
    said = built.stderr + (log.read_text()[-2000:] if log.exists() else "")
    assert built.returncode == 0, said
    return clone / built.stdout.strip()


def test_it_has_what_a_host_needs_and_its_configuration_is_kept(package: Path) -> None:
    def dpkg(*arguments: str) -> str:
        command = ["dpkg-deb", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    listing = dpkg("--contents", str(package))
    for file in (
        "./usr/lib/systemd/system/dfovsdb.service",
        "./usr/lib/systemd/system/ovsdb-server.service.d/dfovsdb.conf",
        "./etc/dfovsdb/dfovsdb.conf",
        "./etc/logrotate.d/dfovsdb",
        "./usr/share/man/man1/dfovsdb.1.gz",
        "./usr/share/bash-completion/completions/dfovsdb",
        "./usr/share/zsh/vendor-completions/_dfovsdb",
        "./usr/bin/dfovsdb -> /opt/dfovsdb/bin/dfovsdb",
    ):
        assert f" {file}\n" in listing
    assert "__pycache__" not in listing
    assert all(line.split()[1] == "root/root" for line in listing.splitlines())
    kept = dpkg("--info", str(package), "conffiles").split()
    assert kept == ["/etc/dfovsdb/dfovsdb.conf", "/etc/logrotate.d/dfovsdb"]
    for script in ("postinst", "prerm", "postrm"):
        text = dpkg("--info", str(package), script)
        subprocess.run(["sh", "-n"], input=text, text=True, check=True)


def test_it_runs_from_opt_with_the_python_of_the_host(
    package: Path, tmp_path: Path, ovs_sandbox: Sandbox
) -> None:
    if subprocess.run([*_WITHIN, "mount -t tmpfs none /opt"], check=False).returncode:
        pytest.skip("this user may make no mount namespace")
    subprocess.run(["dpkg-deb", "-x", str(package), str(tmp_path)], check=True)
    ovs_sandbox.add_bridge("br-int")
    configuration = tmp_path / "etc/dfovsdb/dfovsdb.conf"
    setup = f"mount -t tmpfs none /opt; cp -r {tmp_path}/opt/dfovsdb /opt/; cd /; "
    run = "/opt/dfovsdb/bin/dfovsdb"

    def within(command: str) -> str:
        done = subprocess.run(
            [*_WITHIN, setup + command],
            capture_output=True,
            text=True,
            timeout=3 * DEADLINE,
            check=False,
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "LANG": "C.UTF-8"},
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert "br-int" in within(f"{run} ports {ovs_sandbox.connection}")
    # every sink of the package can be imported: its libraries are in it
    listed = within(f"{run} --config-file {configuration} plugins")
    assert not [line for line in listed.splitlines() if line.startswith(" !")]
    extras = "dragonflow nats oslo_messaging webhook"
    imported = within(
        "/opt/dfovsdb/bin/python3 -c 'from dfovsdb.plugins import SINKS\n"
        f'for name in "{extras}".split(): SINKS._load(name)\n'
        'import nats, zmq, oslo_messaging, uvicorn, rich\nprint("all")\''
    )
    assert imported == "all\n"
