"""A private, real Open vSwitch: no root, no kernel module, nothing remains afterwards.

ovsdb-server and ovs-vswitchd of the installed Open vSwitch run in a directory of their own with
the dummy datapath. Any number of sandboxes may run side by side. A guard process ends them and
removes the directory even if this process is killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

from dfovsdb.errors import DfovsdbError

_DEADLINE = 20.0  # seconds for a daemon to start or to end

# What ovs-vsctl prints, after its transaction, about a port that the switch cannot set up.
_NOT_SET_UP = re.compile("^ovs-vsctl: Error detected while setting up ", re.MULTILINE)

_WHERE = ("/usr/sbin", "/usr/local/sbin", "/usr/lib/openvswitch-switch")
_SCHEMAS = ("/usr/share/openvswitch", "/usr/local/share/openvswitch")
_ON_EVERY_PATH = "/usr/local/bin:/usr/bin:/bin"
#: In a clone: runs a command with an Open vSwitch, which it downloads if necessary.
_WRAPPER = Path(__file__).parents[2] / "tools" / "openvswitch.sh"

# Runs in a session of its own and waits until the pipe is closed, however this process ends.
# A daemon is recognized by its control socket, which no other program has among its arguments.
_GUARD = """
trap '' INT TERM HUP
read -r _
for process in /proc/[0-9]*; do
  grep -qF -e "--unixctl=$1/" "$process/cmdline" 2>/dev/null && kill -9 "${process#/proc/}"
done
rm -rf "$1"
"""


class SandboxError(DfovsdbError):
    """The sandbox could not be started, or a command in it failed."""


class Sandbox:
    """A context manager; `connection` is the address of its ovsdb-server.

    :param vswitchd: run ovs-vswitchd too; without it rows stay as they are written.
    :param port: TCP port on 127.0.0.1 in addition to the unix socket; 0 selects a free one.
    :param schema: path of another schema than that of the installed Open vSwitch.
    :param arguments: further arguments of ovsdb-server(1), such as a remote with TLS and its keys.
    """

    def __init__(
        self,
        *,
        vswitchd: bool = True,
        port: int = 0,
        schema: str | os.PathLike[str] | None = None,
        arguments: Sequence[str] = (),
    ) -> None:
        self._arguments = tuple(arguments)
        self._with_vswitchd = vswitchd
        self._port = port
        self._schema = schema
        self._guard: subprocess.Popen[bytes] | None = None
        self._server: subprocess.Popen[bytes] | None = None
        self._vswitchd: subprocess.Popen[bytes] | None = None
        self._directory: Path | None = None
        self._socket = "db.sock"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_exc: object) -> None:
        self.stop()

    def start(self) -> Self:
        """Start it, unless it is running.

        :raises SandboxError: Open vSwitch is not installed, or does not start.
        """
        if self._guard is not None:
            return self
        schema = Path(self._schema) if self._schema else find_schema()
        server = _find("ovsdb-tool")
        self._directory = Path(tempfile.mkdtemp(prefix="dfovsdb-"))
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", _GUARD, "dfovsdb-guard", str(self._directory)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            self._run(server, "create", str(self.database), str(schema))
            self.start_database()
            self.vsctl("--no-wait", "--", "init")
            if self._with_vswitchd:
                self.start_vswitchd()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End the daemons and remove the directory. This may be repeated."""
        self.stop_vswitchd()
        self.stop_database()
        if self._guard is not None:
            assert self._guard.stdin is not None
            self._guard.stdin.close()
            self._guard.wait(_DEADLINE)
            self._guard = None

    @property
    def directory(self) -> Path:
        """Return the folder of the daemons' sockets and logs and of the database."""
        if self._directory is None:
            raise SandboxError("the sandbox was not started")
        return self._directory

    @property
    def database(self) -> Path:
        """Return the database file."""
        return self.directory / "conf.db"

    @property
    def connection(self) -> str:
        """Return `unix:PATH` of the database server."""
        return f"unix:{self.directory / self._socket}"

    @property
    def tcp_connection(self) -> str:
        """Return `tcp:127.0.0.1:PORT` of the database server; the port stays the same over
        restarts.
        """
        return f"tcp:127.0.0.1:{self._port}"

    @property
    def hint(self) -> str:
        """Return a few commands to try with it."""
        vsctl = f"{_typed('ovs-vsctl')} --db={self.connection}"
        return (
            f"\nTry:  {_typed('dfovsdb')} watch {self.connection}\n"
            f"and:  {vsctl} add-br br-int -- set bridge br-int datapath_type=dummy\n"
            f"and:  {vsctl} add-port br-int tap1 "
            "-- set interface tap1 type=dummy external_ids:iface-id=vif-1\n"
            "Every bridge needs datapath_type=dummy. Logs are beside the socket. "
            "Ctrl-C or SIGTERM ends it."
        )

    def vsctl(self, *args: str) -> str:
        """Run ovs-vsctl.

        A port that the switch cannot set up is not an error here: the transaction was committed,
        and the row of the port contains the reason. Open vSwitch 3.4 and later end with status 1
        in that case.

        :returns: what it printed.
        :raises SandboxError: the command failed; with its output.
        """
        wait = () if self._vswitchd else ("--no-wait",)
        return self._run(
            _find("ovs-vsctl"), f"--db={self.connection}", "--timeout=20", *wait, *args
        )

    def add_bridge(self, name: str) -> None:
        """Add a bridge, with the datapath type that the sandbox needs."""
        self.vsctl(
            "--may-exist", "add-br", name, "--", "set", "bridge", name, "datapath_type=dummy"
        )

    def transact(self, *operations: dict[str, Any]) -> list[Any]:
        """Run one transaction (RFC 7047, section 4.1.3) on the Open_vSwitch database.

        :returns: the result of each operation.
        :raises SandboxError: one of them failed.
        """
        request = {"id": 0, "method": "transact", "params": ["Open_vSwitch", *operations]}
        reply = _ask(self.directory / self._socket, request)
        results: list[Any] = reply["result"] or [reply]
        for result in results:
            if result and "error" in result:
                raise SandboxError(f"transaction failed: {result}")
        return results

    def start_database(self) -> None:
        """Start ovsdb-server, on the same sockets as before."""
        log = self.directory / "ovsdb-server.log"
        offset = log.stat().st_size if log.exists() else 0
        self._server = self._spawn(
            "ovsdb-server",
            str(self.database),
            f"--remote=punix:{self.directory / 'db.sock'}",
            f"--remote=ptcp:{self._port}:127.0.0.1",
            "--remote=db:Open_vSwitch,Open_vSwitch,manager_options",
            *self._arguments,
        )
        self._wait_for_server(self._server, log, offset)

    def stop_database(self, *, kill: bool = False) -> None:
        """End ovsdb-server; with `kill`, by SIGKILL."""
        self._server = self._end(self._server, kill=kill)

    def start_vswitchd(self) -> None:
        """Start ovs-vswitchd with the dummy datapath."""
        pid_file = self.directory / "ovs-vswitchd.pid"
        pid_file.unlink(missing_ok=True)
        self._vswitchd = self._spawn(
            "ovs-vswitchd", self.connection, "--enable-dummy", "--disable-system"
        )
        log = self.directory / "ovs-vswitchd.log"
        _wait(pid_file.exists, "ovs-vswitchd", self._vswitchd, log)

    def stop_vswitchd(self, *, kill: bool = False) -> None:
        """End ovs-vswitchd; the database does not change."""
        self._vswitchd = self._end(self._vswitchd, kill=kill)

    def convert_database(self, schema: str | os.PathLike[str]) -> None:
        """Convert the database to another schema while it is stopped, as an upgrade does."""
        self._run(_find("ovsdb-tool"), "convert", str(self.database), str(schema))

    def pause_database(self) -> None:
        """Stop ovsdb-server temporarily (SIGSTOP)."""
        assert self._server is not None
        self._server.send_signal(signal.SIGSTOP)

    def resume_database(self) -> None:
        """Let it continue (SIGCONT)."""
        assert self._server is not None
        self._server.send_signal(signal.SIGCONT)

    @contextlib.contextmanager
    def hidden_database(self) -> Iterator[None]:
        """Change the database while it is stopped, through a server on another socket.

        Within the context, `connection`, vsctl() and transact() use that server. Programs that
        watch the sandbox do not see it.
        """
        if self._server is not None:
            raise SandboxError("stop the database first")
        self._socket = "hidden.sock"
        try:
            path = self.directory / self._socket
            self._server = self._spawn(
                "ovsdb-server", str(self.database), f"--remote=punix:{path}"
            )
            _wait(lambda: _accepts(path), "the hidden ovsdb-server", self._server)
            yield
        finally:
            self._socket = "db.sock"
            self.stop_database()

    def _spawn(self, program: str, *args: str) -> subprocess.Popen[bytes]:
        directory = self.directory
        with (directory / f"{program}.out").open("ab") as output:
            return subprocess.Popen(
                [
                    _find(program),
                    *args,
                    f"--unixctl={directory / program}.ctl",
                    f"--pidfile={directory / program}.pid",
                    f"--log-file={directory / program}.log",
                    "-vconsole:off",
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=self._environment(),
                start_new_session=True,
            )

    def _run(self, program: str, *args: str) -> str:
        done = subprocess.run(
            [program, *args],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=self._environment(),
            check=False,
            timeout=3 * _DEADLINE,
        )
        if done.returncode != 0 and not _NOT_SET_UP.search(done.stderr):
            name = Path(program).name
            raise SandboxError(f"{name} {' '.join(args)}: {done.stderr.strip() or done.stdout}")
        return done.stdout

    def _environment(self) -> dict[str, str]:
        names = ("OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVS_SYSCONFDIR")
        return {**os.environ, **dict.fromkeys(names, str(self.directory))}

    def _wait_for_server(self, server: subprocess.Popen[bytes], log: Path, offset: int) -> None:
        """Wait until it listens; a server that responds has tried all its sockets."""
        _wait(lambda: _accepts(self.directory / self._socket), "ovsdb-server", server, log)
        self._run(_find("ovsdb-client"), "list-dbs", self.connection)
        text = log.read_bytes()[offset:].decode(errors="replace")
        if failed := re.search(r"ptcp:.*listen failed.*", text):
            raise SandboxError(f"ovsdb-server: {failed[0]}")
        if bound := re.search(r"listening on port (\d+)", text):
            self._port = int(bound[1])

    def _end(
        self, process: subprocess.Popen[bytes] | None, *, kill: bool
    ) -> subprocess.Popen[bytes] | None:
        if process is not None:
            process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
            try:
                process.wait(_DEADLINE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        return None


def _wait(
    ready: Callable[[], bool], what: str, process: subprocess.Popen[bytes], log: Path | None = None
) -> None:
    """Wait for a condition of a process that must not end in the meantime."""
    deadline = time.monotonic() + _DEADLINE
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            said = (
                log.read_text(errors="replace").splitlines()[-3:] if log and log.exists() else []
            )
            raise SandboxError(f"{what} did not start: {' / '.join(said) or 'it said nothing'}")
        time.sleep(0.005)


def _accepts(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


def _ask(path: Path, request: dict[str, Any]) -> dict[str, Any]:
    """Send one request to a server, and return its reply, both of any size."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(3 * _DEADLINE)
        client.connect(str(path))
        client.sendall(json.dumps(request).encode())
        received = bytearray()
        while data := client.recv(1 << 20):
            received += data
            with contextlib.suppress(ValueError):  # not complete
                reply: dict[str, Any] = json.loads(received)
                return reply
    raise SandboxError("ovsdb-server closed the connection")


def _typed(program: str) -> str:
    """Return what to type for a program in another terminal: its path, if its name is not
    enough.
    """
    if shutil.which(program, path=_ON_EVERY_PATH):
        return program
    beside = os.path.dirname(sys.executable)  # the program of an environment that is not activated
    found = shutil.which(program, path=os.pathsep.join((beside, os.environ.get("PATH", ""))))
    return shlex.quote(found) if found else program


def _find(program: str) -> str:
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), *_WHERE))
    if found := shutil.which(program, path=path):
        return found
    raise _not_installed(program)


def find_schema() -> Path:
    """Return the schema of the Open_vSwitch database that the installed Open vSwitch provides."""
    for folder in (os.environ.get("OVS_PKGDATADIR", ""), *_SCHEMAS):
        if folder and (schema := Path(folder) / "vswitch.ovsschema").is_file():
            return schema
    raise _not_installed("vswitch.ovsschema")


def _not_installed(what: str) -> SandboxError:
    wrapper = (
        f"; or, without root, {_WRAPPER} COMMAND runs a command with an Open vSwitch of its own"
    )
    return SandboxError(
        f"{what} was not found: the sandbox needs Open vSwitch (apt-get install "
        f"openvswitch-switch openvswitch-common){wrapper if _WRAPPER.exists() else ''}"
    )
