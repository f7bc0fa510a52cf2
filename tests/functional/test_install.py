"""The install page does what it says, as far as no service manager is needed."""

from __future__ import annotations

import configparser
import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from dfovsdb import config
from dfovsdb.testing import Sandbox
from tests import otheruser
from tests.waiting import DEADLINE

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "install.md").read_text()
SOCKET = "/run/openvswitch/db.sock"


def unit() -> configparser.SectionProxy:
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # case counts in a unit
    parser.read(ROOT / "contrib" / "dfovsdb.service")
    return parser["Service"]


def command(message: str, *, nth: int = 0) -> str:
    """The command of the page that has these words, without its comment."""
    joined = PAGE.replace("\\\n", " ")
    lines = [line.strip() for line in joined.splitlines() if message in line]
    return lines[nth].partition("    #")[0]


def configured(folder: Path, connection: str) -> Path:
    """The sample as the page has it installed and edited, but for the place of the socket."""
    file = folder / "dfovsdb.conf"
    shutil.copy(ROOT / "docs" / "dfovsdb.conf.sample", file)
    sed = command("sed -i 's|^#connection").replace("/etc/dfovsdb/dfovsdb.conf", str(file))
    subprocess.run(
        sed.replace(f"unix:{SOCKET}", connection), shell=True, check=True, timeout=DEADLINE
    )
    return file


def test_the_connection_is_set_and_the_socket_open_before_the_service_starts(
    tmp_path: Path,
) -> None:
    conf = config.load([str(configured(tmp_path, f"unix:{SOCKET}"))])
    assert conf.ovsdb.connection == f"unix:{SOCKET}"
    steps = (
        "sed -i 's|^#connection",
        "ExecStartPost=/bin/chmod",
        f"\nchmod 0770 {SOCKET}",
        "systemctl daemon-reload",
        " doctor\n",
        "systemctl enable --now",
        "systemctl show -P StatusText",
    )
    assert sorted(steps, key=PAGE.index) == list(steps)


def test_the_doctor_of_the_page_looks_as_the_service_does(
    tmp_path: Path, ovs_sandbox: Sandbox
) -> None:
    ovs_sandbox.add_bridge("br-int")
    service = unit()
    line = command("systemd-run --pipe")
    assert line in (ROOT / "docs" / "operating.md").read_text().replace("\\\n", " ")
    message = shlex.split(line)
    assert {f"--uid={service['User']}", f"--gid={service['Group']}"} <= set(message)
    assert f"EnvironmentFile={service['EnvironmentFile']}" in message
    *doctor, what = message[message.index("/opt/dfovsdb/bin/dfovsdb") :]
    assert [*doctor, "run"] == service["ExecStart"].split()
    file = configured(tmp_path, ovs_sandbox.connection)
    options = [str(file) if word.endswith(".conf") else word for word in doctor[1:]]
    done = subprocess.run(
        [sys.executable, "-m", "dfovsdb", *options, what],
        text=True,
        capture_output=True,
        timeout=DEADLINE,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert f"every name is known in {file}" in done.stdout


@pytest.mark.slow
def test_upgrading_and_going_back_change_what_is_installed(tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    for version in ("0.1.0", "0.1.0.post2"):
        with zipfile.ZipFile(wheels / f"dfovsdb-{version}-py3-none-any.whl", "w") as wheel:
            folder = f"dfovsdb-{version}.dist-info"
            wheel.writestr(
                f"{folder}/METADATA",
                "Metadata-Version: 2.1\nName: dfovsdb\n"
                f"Version: {version}\nProvides-Extra: metrics\n",
            )
            wheel.writestr(
                f"{folder}/WHEEL",
                "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            )
            wheel.writestr(f"{folder}/RECORD", "")
    environment = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    venv = str(tmp_path / "venv")  # our pip works on it, as a machine may lack python3-venv
    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", venv], check=True, timeout=DEADLINE
    )
    pip = [sys.executable, "-m", "pip", "--python", f"{venv}/bin/python"]

    def run(line: str) -> str:
        line = line.replace("/opt/dfovsdb/bin/pip", shlex.join(pip))
        subprocess.run(
            line,
            shell=True,
            check=True,
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.DEVNULL,
            timeout=DEADLINE,
        )
        shown = subprocess.run(
            [*pip, "show", "dfovsdb"],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=DEADLINE,
        ).stdout
        (version,) = re.findall(r"^Version: (.*)$", shown, re.MULTILINE)
        return str(version)

    assert run(command("'dfovsdb[http]==")) == "0.1.0"
    assert run(command("pip install --no-index")) == "0.1.0"  # nothing happens, as the page says
    assert run(command("pip install --upgrade")) == "0.1.0.post2"
    assert run(command("'dfovsdb[http]==")) == "0.1.0"


@otheruser.needs_root
def test_the_logrotate_file_rotates_for_another_user_as_the_page_has_it(tmp_path: Path) -> None:
    logrotate = shutil.which("logrotate") or shutil.which("logrotate", path="/usr/sbin")
    if logrotate is None:
        pytest.skip("logrotate is not installed")
    otheruser.let_enter(tmp_path)
    logs = tmp_path / "log"
    logs.mkdir()
    (logs / "events.jsonl").write_text("{}\n")
    for path in (logs, logs / "events.jsonl"):
        os.chown(path, 1, 1)
    file = tmp_path / "dfovsdb"
    text = (ROOT / "contrib" / "dfovsdb.logrotate").read_text()
    file.write_text(text.replace("/var/log/dfovsdb", str(logs)).replace("systemctl", "true"))
    sed = command("sed -i 's/^    su").replace("openvswitch openvswitch", "daemon daemon")
    subprocess.run(
        sed.replace("/etc/logrotate.d/dfovsdb", str(file)),
        shell=True,
        check=True,
        timeout=DEADLINE,
    )
    done = subprocess.run(
        [logrotate, "--force", "--state", str(tmp_path / "state"), str(file)],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    made = (logs / "events.jsonl").stat()
    assert (made.st_uid, made.st_mode & 0o777) == (1, 0o640)
    assert (logs / "events.jsonl.1").read_text() == "{}\n"
