"""A client in a process of its own, seen from outside: what it says, what it costs."""

from __future__ import annotations

import json
import os
import queue
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

from benchmarks.clients.observer import COLUMNS, END
from dfovsdb.testing.sandbox import find_schema

_ROOT = Path(__file__).parent.parent
_TIMEOUT = 180.0  # seconds for a client to say what is waited for
_SYSTEM_PYTHON = "/usr/bin/python3"  # where Debian's python3-openvswitch is seen


class Peer(NamedTuple):
    """A client that takes part."""

    name: str
    title: str
    module: str  #: under benchmarks.clients; "" is ovsdb-client
    python: str = sys.executable
    arguments: tuple[str, ...] = ()


BARE = Peer("bare", "bare reader (the floor)", "bare")
OURS = Peer("dfovsdb", "dfovsdb", "ours")
OVSDB_CLIENT = Peer("ovsdb-client", "ovsdb-client monitor (C)", "")
IDL_C = Peer("idl-c", "ovs.db.idl, C parser", "idl", _SYSTEM_PYTHON, ("SCHEMA", "must-have-c"))
IDL = Peer("idl", "ovs.db.idl from PyPI", "idl", arguments=("SCHEMA",))
OVSDBAPP = Peer("ovsdbapp", "ovsdbapp RowEvent", "rowevent", arguments=("SCHEMA",))
BEFORE = Peer("before", "before: select per port", "before")


def peers() -> list[Peer]:
    """Those that can run on this machine, the floor first."""
    return [BARE, OURS, OVSDB_CLIENT, *([IDL_C] if _has_c_parser() else []), IDL, OVSDBAPP]


def _has_c_parser() -> bool:
    if not shutil.which(_SYSTEM_PYTHON):
        return False
    check = "import ovs.json as j; raise SystemExit(j.PARSER != j.PARSER_C)"
    return subprocess.run([_SYSTEM_PYTHON, "-c", check], capture_output=True).returncode == 0


class Client:
    """A context manager; the client is loaded when it is entered, and waits for go()."""

    def __init__(
        self,
        peer: Peer,
        connection: str,
        rows: int,
        *,
        storm: int = 0,
        arguments: Sequence[str] = (),
    ) -> None:
        self._said: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._go = f"{rows} {storm}\n"
        self._rows = rows
        self._python = peer.python
        extra = [str(find_schema()) if word == "SCHEMA" else word for word in peer.arguments]
        if peer.module:
            module = f"benchmarks.clients.{peer.module}"
            self._command = [peer.python, "-m", module, connection, *extra, *arguments]
        else:
            columns = ",".join(COLUMNS)
            self._command = ["ovsdb-client", "--format=csv", "--no-headings", "monitor"]
            self._command += [connection, "Open_vSwitch", "Interface", columns]

    def __enter__(self) -> Self:
        self._process: subprocess.Popen[bytes] | None = None
        if self._command[0] != "ovsdb-client":
            self._start(self._listen)
            self.wait("ready")
        return self

    def __exit__(self, *_exc: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._listener.join()
            for pipe in (self._process.stdin, self._process.stdout):
                assert pipe is not None
                pipe.close()

    def go(self) -> float:
        """Have it connect.

        :returns: when that was, in monotonic seconds.
        """
        now = time.monotonic()
        if self._process is None:
            self._start(self._count_lines)
        else:
            self._send(self._go)
        return now

    def wait(self, what: Literal["ready", "synced", "storm"]) -> float:
        """Wait until it says so.

        :returns: when that was, in monotonic seconds.
        """
        return float(self._wait_for(lambda said: what in said)[what])

    def wait_end(self, mark: str) -> dict[str, Any]:
        """Wait until it has seen this mark; what it says then."""
        return self._wait_for(lambda said: said.get("end") == mark)

    def _wait_for(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        deadline = time.monotonic() + _TIMEOUT
        while True:
            said = self._said.get(timeout=max(0.0, deadline - time.monotonic()))
            if "gone" in said:
                raise RuntimeError(f"{' '.join(self._command)} ended")
            if wanted(said):
                return said

    def cpu(self) -> float:
        """CPU seconds of all its threads until now."""
        total = 0
        for task in self._proc().glob("task/*/schedstat"):
            total += int(task.read_text().split()[0])
        return total / 1e9

    def peak_memory(self) -> float:
        """Peak of its resident memory, MB."""
        return self._status("VmHWM") / 1024

    def memory(self) -> float:
        """Its resident memory, MB."""
        return self._status("VmRSS") / 1024

    def wake_ups(self) -> int:
        """How often one of its threads has gone to sleep until now."""
        total = 0
        for status in self._proc().glob("task/*/status"):
            total += _field(status, "voluntary_ctxt_switches")
        return total

    def _proc(self) -> Path:
        assert self._process is not None
        return Path(f"/proc/{self._process.pid}")

    def _status(self, name: str) -> int:
        return _field(self._proc() / "status", name)

    def _start(self, listen: Any) -> None:
        environment = {**os.environ, "PYTHONPATH": str(_ROOT)}
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # ovsdb-client tells there how long it was busy.
            stderr=None if self._command[0] == self._python else subprocess.DEVNULL,
            env=environment,
        )
        self._listener = threading.Thread(target=listen, args=(self._process,), daemon=True)
        self._listener.start()

    def _send(self, line: str) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode())
        self._process.stdin.flush()

    def _listen(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self._said.put(json.loads(line))
        self._said.put({"gone": True})

    def _count_lines(self, process: subprocess.Popen[bytes]) -> None:
        """ovsdb-client says nothing of its own: a row is a line, and the mark is in one."""
        assert process.stdout is not None
        left = self._rows
        output = process.stdout.fileno()
        mark = f"{END}-".encode()
        while data := os.read(output, 1 << 18):
            if left > 0:
                left -= data.count(b"\n")
                if left <= 0:
                    self._said.put({"synced": time.monotonic()})
            elif mark in data:
                name = data[data.rindex(mark) :].split(b'"')[0].split(b",")[0].split(b"}")[0]
                self._said.put({"end": name.decode(), "marks": [], "events": None})
        self._said.put({"gone": True})


def _field(status: Path, name: str) -> int:
    for line in status.read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    return 0
