"""A small OVN: its databases and ovn-northd, and chassis with a real ovn-controller each."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Self
from unittest import SkipTest

from dfovsdb.testing import Sandbox, wait_until
from tests.freeports import free_port
from tests.waiting import DEADLINE

SCHEMAS = Path("/usr/share/ovn")
PROGRAMS = ("ovn-nbctl", "ovn-northd", "ovn-controller", "ovsdb-server", "ovsdb-tool")


class Ovn:
    """A context manager: northbound and southbound database, and ovn-northd."""

    def __init__(self, folder: Path) -> None:
        missing = [name for name in PROGRAMS if not shutil.which(name)]
        if missing or not SCHEMAS.is_dir():
            raise SkipTest(
                f"there is no {', '.join(missing) or SCHEMAS}: install ovn-host, ovn-central"
            )
        self.folder = folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self._processes: list[subprocess.Popen[bytes]] = []
        self.northbound = f"unix:{folder}/nb.sock"
        self.southbound = f"unix:{folder}/sb.sock"

    def __enter__(self) -> Self:
        for name in ("nb", "sb"):
            database, sock = self.folder / f"{name}.db", self.folder / f"{name}.sock"
            schema = SCHEMAS / f"ovn-{name}.ovsschema"
            subprocess.run(["ovsdb-tool", "create", str(database), str(schema)], check=True)
            self.spawn(f"{name}-server", "ovsdb-server", str(database), f"--remote=punix:{sock}")
            wait_until(sock.exists, DEADLINE, f"the database {name}")
        self.spawn(
            *("northd", "ovn-northd"),
            f"--ovnnb-db={self.northbound}",
            f"--ovnsb-db={self.southbound}",
        )
        self.nbctl("init")
        return self

    def __exit__(self, *_exc: object) -> None:
        for process in reversed(self._processes):
            process.kill()
            process.wait()

    def nbctl(self, *arguments: str) -> str:
        done = subprocess.run(
            ["ovn-nbctl", f"--db={self.northbound}", "--timeout=60", *arguments],
            check=True,
            capture_output=True,
            text=True,
            env=self._environment(self.folder),
        )
        return done.stdout.strip()

    def spawn(
        self, name: str, program: str, *arguments: str, rundir: Path | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a program; one with a rundir has its control socket there."""
        with (self.folder / f"{name}.out").open("wb") as out:
            process = subprocess.Popen(
                [
                    *("setpriv", "--pdeathsig", "KILL", program, *arguments),
                    *([] if rundir else [f"--unixctl={self.folder / name}.ctl"]),
                    f"--pidfile={self.folder / name}.pid",
                    f"--log-file={self.folder / name}.log",
                    "-vconsole:off",
                ],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=self._environment(rundir or self.folder),
            )
        self._processes.append(process)
        return process

    @staticmethod
    def _environment(rundir: Path) -> dict[str, str]:
        names = ("OVS_RUNDIR", "OVN_RUNDIR", "OVS_LOGDIR", "OVN_LOGDIR", "OVN_DBDIR")
        return {**os.environ, **dict.fromkeys(names, str(rundir))}


class Chassis:
    """A switch with its ovn-controller; a context manager."""

    def __init__(self, ovn: Ovn, name: str, number: int) -> None:
        self.name = name
        self.switch = Sandbox(port=free_port())
        self._ovn = ovn
        self._number = number

    def __enter__(self) -> Self:
        self.switch.start()
        self.switch.add_bridge("br-int")
        settings = {
            "system-id": self.name,
            "hostname": self.name,
            "ovn-remote": self._ovn.southbound,
            "ovn-encap-type": "geneve",
            "ovn-encap-ip": f"127.0.0.{self._number}",
            "ovn-bridge-datapath-type": "dummy",
        }
        message = [f'external_ids:{key}="{value}"' for key, value in settings.items()]
        self.switch.vsctl("set", "Open_vSwitch", ".", *message)
        self._ovn.spawn(
            *(self.name, "ovn-controller", self.switch.connection),
            rundir=self.switch.directory,
        )
        return self

    def __exit__(self, *_exc: object) -> None:
        self.switch.stop()

    def plug(self, name: str, iface_id: str) -> None:
        self.switch.vsctl(
            *("add-port", "br-int", name, "--", "set", "interface", name, "type=dummy"),
            f"external_ids:iface-id={iface_id}",
        )
