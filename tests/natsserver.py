"""Real nats-servers with JetStream, on loopback and in throw-away folders."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self
from unittest import SkipTest

from dfovsdb.testing import wait_until
from tests.freeports import free_port
from tests.functional.faultproxy import FaultProxy, Silent
from tests.waiting import DEADLINE

_WHERE = ("/usr/sbin", "/usr/local/sbin", str(Path(__file__).parents[1] / ".nats/usr/sbin"))


def find() -> str:
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), *_WHERE))
    if found := shutil.which("nats-server", path=path):
        return found
    raise SkipTest("there is no nats-server: tools/nats-server.sh fetches one")


def version() -> tuple[int, ...]:
    output = subprocess.run([find(), "--version"], capture_output=True, text=True, check=True)
    return tuple(int(part) for part in re.findall(r"\d+", output.stdout))


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
        """Until it listens: first it reads what it has stored."""
        wait_until(self._listens, timeout=150, what=f"{self.name} listening")

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


class SeparableCluster(NatsCluster):
    """The servers reach each other through proxies only, so that one of them can be cut off."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        ports = {server: free_port() for server in self.servers}
        self._monitors = {server: free_port() for server in self.servers}
        self._links = {
            (here, there): FaultProxy(ports[there])
            for here, there in itertools.permutations(self.servers, 2)
        }
        # Servers tell each other where the third one is, and connect to it. What they are told
        # here is a port where nobody listens; no_advertise is about what clients are told.
        nowhere = free_port()
        for server in self.servers:
            links = [link for (here, _), link in self._links.items() if here is server]
            urls = ", ".join(f'"{link.connection.replace("tcp:", "nats://")}"' for link in links)
            server.settings = (
                f'http: "127.0.0.1:{self._monitors[server]}"\n'
                f'cluster {{ name: c, listen: "127.0.0.1:{ports[server]}"\n'
                f'advertise: "127.0.0.1:{nowhere}", routes: [{urls}] }}'
            )

    def __enter__(self) -> Self:
        for link in self._links.values():
            link.__enter__()
        return super().__enter__()

    def __exit__(self, *exc: object) -> None:
        super().__exit__(*exc)
        for link in self._links.values():
            link.__exit__()

    @contextlib.contextmanager
    def separated(self, server: NatsServer) -> Iterator[None]:
        """Within the context it reaches neither of the others, nor they it; clients reach all."""
        links = [link for ends, link in self._links.items() if server in ends]
        for link in links:
            link.fault = Silent
            link.cut()
        wait_until(lambda: self._peers(server) == 0, what=f"{server.name} being cut off")
        yield
        assert self._peers(server) == 0, f"{server.name} was not cut off"
        for link in links:
            link.heal()
        everyone = len(self.servers) - 1
        wait_until(lambda: self._peers(server) == everyone, what=f"{server.name} being back")

    def _peers(self, server: NatsServer) -> int:
        """Return to how many other servers this one is connected, as it says itself."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._monitors[server]}/routez") as reply:
            return len({route["remote_id"] for route in json.load(reply)["routes"]})
