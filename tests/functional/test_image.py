"""The image: built as the Containerfile says, and run beside a real switch."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dfovsdb.testing import Sandbox
from tests.waiting import DEADLINE

ROOT = Path(__file__).parents[2]
#: of the base, where none can be pulled
SUITE = "trixie"
CERTIFICATES = "/etc/ssl/certs"
_LONG = 15 * DEADLINE


def buildah(*arguments: str, store: Path, timeout: float = _LONG) -> str:
    """Run buildah with a store of its own, and without namespaces, which a container may lack."""
    places = ["--root", str(store / "root"), "--runroot", str(store / "run")]
    done = subprocess.run(
        ["buildah", *places, "--storage-driver", "vfs", *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env={**os.environ, "BUILDAH_ISOLATION": "chroot"},
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout.strip()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A store of images that has the image of this clone."""
    if not (shutil.which("buildah") and shutil.which("debootstrap")) or os.geteuid() != 0:
        pytest.skip("this needs buildah, debootstrap and root")
    store = tmp_path_factory.mktemp("image")
    base = store / "base"
    made = subprocess.run(
        ["debootstrap", "--variant=minbase", "--include=ca-certificates", SUITE, str(base)],
        capture_output=True,
        text=True,
        check=False,
        timeout=_LONG,
    )
    if made.returncode:
        pytest.skip(f"no base can be made: {made.stdout[-300:]}")
    container = buildah("from", "scratch", store=store)
    buildah("add", container, f"{base}/", "/", store=store)
    buildah("commit", "--rm", container, "localhost/base", store=store)
    shutil.rmtree(base)
    context = store / "context"
    context.mkdir()
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    for name in files.stdout.decode().split("\0")[:-1]:
        if (ROOT / name).is_file():
            (context / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, context / name)
    buildah(
        *("build", "-t", "localhost/dfovsdb", "--build-arg", "BASE=localhost/base"),
        # whatever this machine needs to reach the package indexes
        *("--volume", f"{CERTIFICATES}:{CERTIFICATES}:ro"),
        *[f"--env={name}" for name in os.environ if name.startswith(("PIP_", "SSL_CERT"))],
        *("--volume", "/etc/resolv.conf:/etc/resolv.conf:ro", "--network", "host"),
        *("-f", str(ROOT / "packaging/container/Containerfile"), str(context)),
        store=store,
    )
    yield store
    shutil.rmtree(store, ignore_errors=True)


@pytest.mark.slow
def test_the_image_reads_a_switch_as_a_user_of_its_own(store: Path, ovs_sandbox: Sandbox) -> None:
    ovs_sandbox.add_bridge("br-int")
    container = buildah("from", "localhost/dfovsdb", store=store)

    def run(*command: str) -> str:
        return buildah("run", "--network", "host", container, "--", *command, store=store)

    connection = ovs_sandbox.tcp_connection
    assert "br-int" in run("/opt/dfovsdb/bin/dfovsdb", "ports", connection)
    assert run("id", "-u") == "9640"
    assert "0 wrong" not in run("/opt/dfovsdb/bin/dfovsdb", "doctor", connection)
    settings = buildah("inspect", "--format", "{{.OCIv1.Config}}", container, store=store)
    assert "/opt/dfovsdb/bin/dfovsdb" in settings
    assert "9640:9640" in settings
