"""The image: built as the Containerfile says, and run beside a real switch.

The compose file and the DaemonSet are run too, where podman can be had; without Kubernetes, the
pods of the DaemonSet are played by podman.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from dfovsdb.testing import Sandbox
from dfovsdb.testing.capture import wait_until
from tests.freeports import free_port
from tests.waiting import DEADLINE

ROOT = Path(__file__).parents[2]
PACKAGING = ROOT / "packaging" / "container"
OPENVSWITCH = "/run/openvswitch"
PAGE = "127.0.0.1:9641"
STATE = "/var/lib/dfovsdb"
USER = 9640
#: of the base, where none can be pulled
SUITE = "trixie"
CERTIFICATES = "/etc/ssl/certs"
_LONG = 15 * DEADLINE


def buildah(*arguments: str, store: Path, timeout: float = _LONG) -> str:
    """Run buildah with a store of its own, and without namespaces, which a container may lack."""
    done = subprocess.run(
        ["buildah", *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env={**os.environ, **storage(store), "BUILDAH_ISOLATION": "chroot"},
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout.strip()


def storage(store: Path) -> dict[str, str]:
    """Return the variables of programs that use the store."""
    return {"CONTAINERS_STORAGE_CONF": str(store / "storage.conf")}


def make_storage(store: Path) -> None:
    """Describe the store: layers on each other, or copies where this machine cannot do that."""
    for driver in "overlay", "vfs":
        (store / "storage.conf").write_text(
            f'[storage]\ndriver = "{driver}"\n'
            f'graphroot = "{store}/{driver}"\nrunroot = "{store}/run-{driver}"\n'
        )
        container = subprocess.run(
            ["buildah", "from", "scratch"],
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
            env={**os.environ, **storage(store)},
        )
        if container.returncode == 0:
            buildah("rm", container.stdout.strip(), store=store)
            return
    pytest.skip(f"buildah has no store here: {container.stderr[-300:]}")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A store of images that has the image of this clone."""
    if not (shutil.which("buildah") and shutil.which("debootstrap")) or os.geteuid() != 0:
        pytest.skip("this needs buildah, debootstrap and root")
    store = tmp_path_factory.mktemp("image")
    make_storage(store)
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
        *("-f", str(PACKAGING / "Containerfile"), str(context)),
        store=store,
    )
    yield store
    buildah("rm", "--all", store=store)
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


#: Runs a program with the store of images, and returns its output.
Podman = Callable[..., str]


@pytest.fixture(scope="module")
def podman(store: Path) -> Iterator[Podman]:
    """Run programs that use podman, with a store and locks of their own."""
    if not shutil.which("podman"):
        pytest.skip("this needs podman")
    # A machine that is itself a container may allow neither more open files than it has, nor
    # crun with cgroups of both versions, nor a log in the journal.
    runtime = 'runtime = "runc"\n' if shutil.which("runc") else ""
    (store / "containers.conf").write_text(
        '[containers]\ndefault_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]\n'
        'log_driver = "k8s-file"\n'
        '[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\nlock_type = "file"\n'
        f'tmp_dir = "{store}/tmp"\n{runtime}'
        f'[network]\nnetwork_config_dir = "{store}/networks"\n'
    )
    (store / "networks").mkdir()
    environment = {
        **os.environ,
        "CONTAINERS_CONF": str(store / "containers.conf"),
        **storage(store),
    }

    def run(*command: str, cwd: Path = store) -> str:
        done = subprocess.run(
            command,
            cwd=cwd,
            env=environment,
            # one pipe for both: what the agent logs comes on standard error
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=DEADLINE,
            check=False,
        )
        assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}"
        return done.stdout.strip()

    try:
        run("podman", "run", "--rm", "--network", "host", "localhost/dfovsdb", "--version")
    except AssertionError as error:
        pytest.skip(f"podman runs no container here: {str(error)[-300:]}")
    yield run
    # what a test that failed has left running
    run("podman", "pod", "rm", "--all", "--force")
    run("podman", "rm", "--all", "--force")


@pytest.fixture
def switch(ovs_sandbox: Sandbox) -> Sandbox:
    """Run a switch whose socket is open to the group of the image, as docs/install.md says."""
    ovs_sandbox.add_bridge("br-int")
    ovs_sandbox.directory.chmod(0o755)
    socket = ovs_sandbox.directory / "db.sock"
    os.chown(socket, -1, USER)
    socket.chmod(0o770)
    return ovs_sandbox


def add_port(switch: Sandbox, name: str) -> None:
    interface = ("set", "interface", name, "type=dummy", f"external_ids:iface-id=vif-{name}")
    switch.vsctl("add-port", "br-int", name, "--", *interface)


def is_ready(page: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://{page}/readyz", timeout=DEADLINE) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, ConnectionError):
        return False


def check_that_it_follows(podman: Podman, container: str, switch: Sandbox, page: str) -> None:
    """See a container report a port of the switch, as a user that may do nothing else."""

    def says(text: str) -> Callable[[], bool]:
        return lambda: text in podman("podman", "logs", container)

    wait_until(lambda: is_ready(page), what="/readyz")
    add_port(switch, "tap1")
    wait_until(says("online vm tap1"), what="the event of a port")
    main = podman("podman", "inspect", "--format", "{{.State.Pid}}", container)
    status = Path(f"/proc/{main}/status").read_text()
    found = dict(re.findall(r"^(Uid|Gid|Groups|CapBnd|NoNewPrivs):\s*(\S+)", status, re.MULTILINE))
    assert found == {
        **dict.fromkeys(("Uid", "Gid", "Groups"), str(USER)),
        "CapBnd": "0000000000000000",
        "NoNewPrivs": "1",
    }


def check_that_it_was_stopped(podman: Podman, container: str) -> None:
    status = podman("podman", "inspect", "--format", "{{.State.ExitCode}}", container)
    assert status == "0"
    assert podman("podman", "logs", container).endswith("stopped: all events were delivered")


@pytest.mark.slow
def test_a_container_that_has_just_been_started_is_stopped_at_once(podman: Podman) -> None:
    container = podman("podman", "run", "-d", "--network", "host", "localhost/dfovsdb")
    podman("podman", "stop", "--time", str(int(DEADLINE / 2)), container)
    status = podman("podman", "inspect", "--format", "{{.State.ExitCode}}", container)
    # 143 is SIGTERM before the agent handles it; 137 would be SIGKILL, when the time was up
    assert status in ("0", "143")
    podman("podman", "rm", container)


@pytest.mark.slow
def test_the_compose_file_runs_an_agent_that_follows_the_switch(
    podman: Podman, switch: Sandbox, tmp_path: Path
) -> None:
    if not shutil.which("podman-compose"):
        pytest.skip("this needs podman-compose")
    version = re.search(
        r"podman-compose\D*(\d+)\.(\d+)\.(\d+)", podman("podman-compose", "version")
    )
    if version is None or tuple(map(int, version.groups())) < (1, 0, 6):
        pytest.skip("this needs podman-compose 1.0.6 or later: earlier ones have no host network")
    (tmp_path / "state").mkdir(mode=0o750)
    os.chown(tmp_path / "state", USER, USER)
    file: dict[str, Any] = yaml.safe_load((PACKAGING / "compose.yaml").read_text())
    service = file["services"]["dfovsdb"]
    page = f"127.0.0.1:{free_port()}"
    assert service["environment"]["OS_HTTP__LISTEN"] == PAGE
    service["environment"] |= {"OS_HTTP__LISTEN": page, "OS_DFOVSDB__STATE_DIR": STATE}
    assert service["volumes"] == [f"{OPENVSWITCH}:{OPENVSWITCH}"]
    service["volumes"] = [f"{switch.directory}:{OPENVSWITCH}", f"{tmp_path}/state:{STATE}"]
    (tmp_path / "compose.yaml").write_text(yaml.safe_dump(file))

    def compose(*arguments: str) -> None:
        podman("podman-compose", "-p", "test", *arguments, cwd=tmp_path)

    container = "test_dfovsdb_1"
    compose("up", "-d")
    check_that_it_follows(podman, container, switch, page)
    compose("restart")
    wait_until(lambda: is_ready(page), what="/readyz after a restart")
    assert podman("podman", "logs", container).count("stopped: all events were delivered") == 1
    compose("stop")
    check_that_it_was_stopped(podman, container)
    compose("down")
    switch.vsctl("del-port", "tap1")
    compose("up", "-d")
    wait_until(
        lambda: "offline vm tap1" in podman("podman", "logs", container),
        what="what the state is for",
    )
    compose("down")


@pytest.mark.slow
def test_the_pods_of_the_daemonset_follow_the_switch(
    podman: Podman, switch: Sandbox, tmp_path: Path
) -> None:
    manifest: dict[str, Any] = yaml.safe_load((PACKAGING / "daemonset.yaml").read_text())
    template = manifest["spec"]["template"]
    assert manifest["spec"]["selector"]["matchLabels"] == template["metadata"]["labels"]
    page = f"127.0.0.1:{free_port()}"
    variables = template["spec"]["containers"][0]["env"]
    for variable in variables:
        # podman knows no nodes
        if variable.pop("valueFrom", None):
            assert variable["name"] == "OS_DFOVSDB__HOST"
            variable["value"] = "node-1"
        if variable["value"] == PAGE:
            variable["value"] = page
    [volume] = template["spec"]["volumes"]
    assert volume["hostPath"]["path"] == OPENVSWITCH
    volume["hostPath"]["path"] = str(switch.directory)
    # podman has the command of a probe executed in the container; Kubernetes connects by itself
    for probe in "livenessProbe", "readinessProbe":
        asked = template["spec"]["containers"][0].pop(probe)["httpGet"]
        assert f"{asked['host']}:{asked['port']}" == PAGE
    # podman knows the kind DaemonSet from version 5 on, and every version knows pods
    template["metadata"]["name"] = "test"
    pod = {"apiVersion": "v1", "kind": "Pod", **template}
    (tmp_path / "pod.yaml").write_text(yaml.safe_dump(pod))
    podman("podman", "kube", "play", str(tmp_path / "pod.yaml"))
    container = "test-dfovsdb"
    check_that_it_follows(podman, container, switch, page)
    assert podman("podman", "exec", container, "printenv", "OS_DFOVSDB__HOST") == "node-1"
    podman("podman", "pod", "stop", "test")
    check_that_it_was_stopped(podman, container)
    podman("podman", "kube", "down", str(tmp_path / "pod.yaml"))
