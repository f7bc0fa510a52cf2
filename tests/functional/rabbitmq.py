"""A private, real RabbitMQ on loopback, for tests: stopped, killed and started at will.

Its data, cookie, log and Erlang's port mapper are its own; it ends with the process that
started it, however that ends (setpriv(1)).
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Self
from unittest import SkipTest

from dfovsdb.testing import wait_until
from tests.freeports import free_port

ROOT = Path(__file__).parents[2]
USER, PASSWORD = "dfovsdb", "s3cr3t-pass"
_START = 60.0  # seconds

_CONFIGURATION = """
listeners.tcp.1 = 127.0.0.1:{port}
default_user = {user}
default_pass = {password}
vm_memory_high_watermark.absolute = 256MB
disk_free_limit.absolute = 1MB
log.console = false
"""


class RabbitMQ:
    """A context manager; `url` is what oslo.messaging connects to.

    The programs are those that `tools/rabbitmq.sh` finds or fetches.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.port, self._distribution, self._epmd_port = (free_port() for _ in range(3))
        path = subprocess.run(
            [ROOT / "tools" / "rabbitmq.sh", "printenv", "PATH"],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        ).stdout.strip()
        if not shutil.which("rabbitmq-server", path=path):
            raise SkipTest("there is no RabbitMQ, and tools/rabbitmq.sh could not fetch one")
        (folder / "rabbitmq.conf").write_text(
            _CONFIGURATION.format(port=self.port, user=USER, password=PASSWORD)
        )
        self._environment = {
            "PATH": path,
            "HOME": str(folder),  # the cookie
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self._epmd_port),
            # a machine may not know the name localhost
            "RABBITMQ_NODENAME": "dfovsdb@127.0.0.1",
            "RABBITMQ_USE_LONGNAME": "true",
            "RABBITMQ_DIST_PORT": str(self._distribution),
            # With input allowed its script becomes the server, instead of waiting for it.
            "RABBITMQ_ALLOW_INPUT": "yes",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                "-noinput -kernel inet_dist_use_interface {127,0,0,1} +S 1:1 +A 4"
            ),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "none"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_PID_FILE": str(folder / "pid"),
        }
        self._epmd: subprocess.Popen[bytes] | None = None
        self._server: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._epmd = self._spawn("epmd", "-port", str(self._epmd_port), "-address", "127.0.0.1")
        wait_until(lambda: _accepts(self._epmd_port), what="epmd")
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stop(kill=True)
        if self._epmd:
            self._epmd.kill()
            self._epmd.wait()

    @property
    def url(self) -> str:
        return f"rabbit://{USER}:{PASSWORD}@127.0.0.1:{self.port}/"

    def start(self) -> None:
        """Start the broker with the data that it had."""
        self._server = self._spawn("rabbitmq-server")
        server = self._server
        wait_until(lambda: _accepts(self.port) or server.poll() is not None, _START, "RabbitMQ")
        assert server.poll() is None, (self._folder / "out").read_text()[-2000:]

    def stop(self, *, kill: bool = False) -> None:
        """End the broker as a service manager does, or as a loss of power."""
        if self._server:
            self._server.kill() if kill else self._server.terminate()
            self._server.wait(_START)
            self._server = None

    def signal(self, number: int) -> None:
        """Send its process a signal."""
        assert self._server
        self._server.send_signal(number)

    def _spawn(self, *command: str) -> subprocess.Popen[bytes]:
        with (self._folder / "out").open("ab") as out:
            return subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *command],
                cwd=self._folder,
                env={**os.environ, **self._environment},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )


def _accepts(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0
