"""Real nats-servers with JetStream, on loopback and in throw-away folders."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Self
from unittest import SkipTest

from dfovsdb.testing import wait_until
from tests.freeports import free_port
from tests.waiting import DEADLINE

_WHERE = ("/usr/sbin", "/usr/local/sbin", str(Path(__file__).parents[1] / ".nats/usr/sbin"))


def find() -> str:
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), *_WHERE))
    if found := shutil.which("nats-server", path=path):
        return found
    raise SkipTest("there is no nats-server: tools/nats-server.sh fetches one")


class NatsServer:
    """A context manager; its port and what it stores stay over restarts.

    :param settings: further lines of its configuration.
    :param limits: lines within `jetstream { }`.
    """

    def __init__(
        self,
        folder: Path,
        name: str = "n1",
        settings: str = "",
        limits: str = "",
        scheme: str = "nats",
    ) -> None:
        self.folder = folder / name
        self.folder.mkdir(parents=True)
        self.name = name
        self.settings = settings
        self.limits = limits
        self.port = free_port()
        self.url = f"{scheme}://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        self.wait()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stop()

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def start(self) -> None:
        conf = self.folder / "nats.conf"
        conf.write_text(
            f'server_name: {self.name}\nlisten: "127.0.0.1:{self.port}"\n'
            f'jetstream {{ store_dir: "{self.folder}/store"\n{self.limits}\n}}\n'
            f"{self.settings}\n"
        )
        self.start_as_configured()

    def start_as_configured(self) -> None:
        """With the configuration file as it is."""
        conf = self.folder / "nats.conf"
        self.process = subprocess.Popen(
            [
                "setpriv",
                "--pdeathsig",
                "KILL",
                find(),
                "-c",
                str(conf),
                "-l",
                str(self.folder / "log"),
            ],
            stdin=subprocess.DEVNULL,
        )

    def wait(self) -> None:
        """Until it listens."""
        wait_until(self._listens, what=f"{self.name} listening")

    def _listens(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self, number: int = signal.SIGKILL) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(number)
            self.process.wait(DEADLINE)
            self.process = None

    def pause(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        stat = Path(f"/proc/{self.process.pid}/stat")
        # it may go on for a moment on another processor, and answer
        wait_until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T", what="a stop")

    def resume(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    @property
    def memory(self) -> float:
        """Resident, in MB."""
        assert self.process is not None
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) / 1024


class NatsCluster:
    """Three servers, each a copy of the others; a context manager."""

    def __init__(self, folder: Path, settings: str = "", size: int = 3) -> None:
        routes = [free_port() for _ in range(size)]
        urls = ", ".join(f'"nats://127.0.0.1:{port}"' for port in routes)
        self.servers = [
            NatsServer(
                folder,
                f"n{number}",
                f'{settings}\ncluster {{ name: c, listen: "127.0.0.1:{port}", routes: [{urls}] }}',
            )
            for number, port in enumerate(routes, start=1)
        ]

    def __enter__(self) -> Self:
        for server in self.servers:
            server.start()
        for server in self.servers:
            server.wait()
        return self

    def __exit__(self, *_exc: object) -> None:
        for server in self.servers:
            server.stop()

    @property
    def urls(self) -> Sequence[str]:
        return [server.url for server in self.servers]

    def named(self, name: str) -> NatsServer:
        return next(server for server in self.servers if server.name == name)
