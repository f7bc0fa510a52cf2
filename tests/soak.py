"""Soak: random churn on a real switch under random faults, for minutes, from a seed.

The agent runs as an operator runs it, `dfovsdb run` with two jsonl sinks and a state_dir. At
every quiet point both files, folded, must be what the reference client reads from the server;
at the end the descriptors, threads and memory of the agent must be where they were after the
first minute. `make soak` runs this; `make test` runs a few rounds of it.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import random
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from dfovsdb import Port, from_json
from dfovsdb.doctor.reference import Reference, differences
from dfovsdb.model import SyncMarker
from dfovsdb.testing.sandbox import Sandbox, SandboxError, find_schema
from tests.freeports import free_port
from tests.functional import faultproxy
from tests.functional.faultproxy import FaultProxy

DEADLINE = 90.0  # seconds for everything to be delivered at a quiet point
WARM_UP = 60.0  # seconds after which growth is measured
MOST_GROWTH = 8 << 20  # bytes of resident memory; a leak in minutes of this is far more
MOST_PORTS = 60
BRIDGES = ("br-int", "br-tun", "br-ex")
NETWORK_FAULTS = (
    faultproxy.Delay,
    faultproxy.OneByteAtATime,
    faultproxy.CutAt,
    faultproxy.ResetAt,
    faultproxy.Silent,
    faultproxy.StallAt,
    faultproxy.SwallowEcho,
    faultproxy.Duplicate,
    faultproxy.Reorder,
    faultproxy.Corrupt,
    faultproxy.EndlessMessage,
    faultproxy.Flood,
)


class SoakError(Exception):
    """What was delivered is not what is true, or the agent grew."""


class Usage(NamedTuple):
    """What the agent holds."""

    descriptors: int
    threads: int
    memory: int

    @classmethod
    def of(cls, pid: int) -> Usage:
        status = dict(
            line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        )
        return cls(
            len(os.listdir(f"/proc/{pid}/fd")),
            int(status["Threads"]),
            int(status["VmRSS"].split()[0]) * 1024,
        )


class Received:
    """A jsonl file, over rotations, folded; every line is checked as it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.ports: dict[str, Port] = {}
        self.events = 0
        self._files = [path]
        self._offset = 0
        self._seq = 0
        self._rotations = 0

    def rotate(self) -> None:
        """Move the file away, as logrotate does; the agent goes on writing to it until SIGHUP."""
        if not self.path.exists():
            return
        self._rotations += 1
        aside = self.path.with_suffix(f".{self._rotations}")
        self.path.rename(aside)
        self._files[-1:] = [aside, self.path]

    def read(self) -> None:
        """Fold what was written since.

        :raises SoakError: a line is none, or does not fit those before it.
        """
        while self._files:
            data = b""
            with contextlib.suppress(FileNotFoundError), self._files[0].open("rb") as file:
                file.seek(self._offset)
                data = file.read()
            whole = data.rfind(b"\n") + 1
            self._offset += whole
            for line in data[:whole].splitlines():
                self._fold(line)
            if len(self._files) == 1 or not self._next_begun():
                return
            del self._files[0]
            self._offset = 0

    def _next_begun(self) -> bool:
        return self._files[1].exists() and self._files[1].stat().st_size > 0

    def _fold(self, line: bytes) -> None:
        event = from_json(line)
        if event.seq != self._seq + 1:
            raise SoakError(f"{self.path.name}: seq {event.seq} after {self._seq}")
        self._seq = event.seq
        if isinstance(event, SyncMarker):
            return
        self.events += 1
        known = event.port.uuid in self.ports
        again = event.origin in ("initial", "resync", "replay")
        if known != (event.action != "online") and not (known and again):
            raise SoakError(
                f"{self.path.name}: {event.action} of {event.port.name}: known={known}"
            )
        if event.action == "offline":
            del self.ports[event.port.uuid]
        else:
            self.ports[event.port.uuid] = event.port


class Soak:
    """One run.

    :param seed: of everything random.
    :param say: called with the progress, a line each.
    """

    def __init__(self, seed: int, folder: Path, say: Callable[[str], None]) -> None:
        self.rng = random.Random(seed)
        self.operations = 0
        self.faults: Counter[str] = Counter()
        self._folder = folder
        self._say = say
        self._seed = seed
        self._number = 0
        self._rounds = 0
        self._ports: dict[str, str] = {}  # name: bridge
        self._received = [Received(folder / "events.jsonl"), Received(folder / "audit.jsonl")]
        self._empty = folder / "empty.db"
        self._saved = folder / "saved.db"
        self._began = time.monotonic()
        self._warm: Usage | None = None
        self._log_is_read = threading.Event()
        self._log_is_read.set()
        self._state = folder / "state"
        self._state_is_mounted = False
        self._http = free_port()
        self._slow: list[socket.socket] = []  # clients that do not read

    def run(self, *, seconds: float, rounds: int | None = None) -> None:
        """Rounds of churn and faults, each with a quiet point at its end.

        :param rounds: at most so many, None for as many as fit into the seconds.
        :raises SoakError: with the words of what is wrong.
        """
        with Sandbox() as self.box, FaultProxy(self.box.connection, self._seed) as self.proxy:
            self._empty.write_bytes(self.box.database.read_bytes())
            with self._agent() as self.agent:
                self._restore_bridges()
                self._quiet()  # it has begun: a start on a full disk ends with status 1
                while self._rounds != rounds and time.monotonic() - self._began < seconds:
                    self._rounds += 1
                    self._round()
                    self._quiet()
        self._check_log()

    def figures(self) -> str:
        """What was done, in one line."""
        faults = ", ".join(f"{what} {count}" for what, count in sorted(self.faults.items()))
        return (
            f"{self._rounds} rounds in {time.monotonic() - self._began:.0f} s, "
            f"{self.operations} operations, {self.faults.total()} faults ({faults}), "
            f"{self._log().count(': synced, ')} syncs in {self.proxy.accepted} connections, "
            f"{sum(file.events for file in self._received)} events, 0 ports lost; {self._growth()}"
        )

    # The agent.

    @contextlib.contextmanager
    def _agent(self) -> Iterator[subprocess.Popen[bytes]]:
        configuration = self._folder / "dfovsdb.conf"
        self._state.mkdir()
        self._state_is_mounted = _mount(self._state)
        resync = self.rng.choice(("replay", "diff"))
        configuration.write_text(
            f"[ovsdb]\nconnection = {self.proxy.connection}\ninactivity_probe = 1\n"
            f"reconnect_max = 1\nmax_message_size = 4194304\n"
            f"[dfovsdb]\nsinks = events=jsonl, audit=jsonl\nresync = {resync}\n"
            f"queue_limit = 20\nstate_dir = {self._state}\n[http]\nlisten = {self._http}\n"
            f"[sink_events]\npath = {self._received[0].path}\n"
            f"[sink_audit]\npath = {self._received[1].path}\n"
        )
        agent = subprocess.Popen(
            [sys.executable, "-m", "dfovsdb", "--config-file", str(configuration), "run"],
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
        )
        assert agent.stderr is not None
        fcntl.fcntl(agent.stderr, fcntl.F_SETPIPE_SZ, 4096)  # it is full soon where nobody reads
        reader = threading.Thread(target=self._read_log, args=(agent,))
        reader.start()
        try:
            yield agent
            self.proxy.heal()
            agent.terminate()
            if agent.wait(DEADLINE) != 0:
                raise SoakError(f"the agent ended with status {agent.returncode}")
        finally:
            if agent.poll() is None:
                agent.kill()
                agent.wait()
            self._log_is_read.set()
            reader.join()
            if self._state_is_mounted:
                subprocess.run(["umount", str(self._state)], check=True)

    def _read_log(self, agent: subprocess.Popen[bytes]) -> None:
        """Copy its standard error into a file, except while nobody is to read it."""
        assert agent.stderr is not None
        with (self._folder / "agent.log").open("ab", 0) as log, agent.stderr as pipe:
            while self._log_is_read.wait() and (data := os.read(pipe.fileno(), 4096)):
                log.write(data)

    def _log(self) -> str:
        return (self._folder / "agent.log").read_text()

    def _check_log(self) -> None:
        log = self._log()
        for text in ("Traceback", "internal error", "refused", "left undelivered"):
            if text in log:
                place = log.index(text)
                raise SoakError(f"the agent's log: …{log[max(0, place - 300) : place + 1500]}")

    # Churn.

    def _round(self) -> None:
        steps = self.rng.randrange(20, 40)
        faults = set(self.rng.sample(range(steps), 4))
        for step in range(steps):
            if step in faults:
                fault = self.rng.choice(self._faults())
                fault()
                self.faults[fault.__name__.strip("_").replace("_", " ")] += 1
            self._churn()
            time.sleep(self.rng.random() * 0.1)

    def _churn(self) -> None:
        do = self.rng.choice(
            [
                self._add_vm,
                self._add_vm,
                self._add_tunnel,
                self._add_patch,
                self._add_broken,
                self._change,
                self._change,
                self._change,
                self._delete,
                self._delete,
            ]
        )
        if len(self._ports) > MOST_PORTS:
            do = self._delete
        with contextlib.suppress(SandboxError):  # refused, as after the database was replaced
            do()
        self.operations += 1

    def _name(self, prefix: str) -> str:
        self._number += 1
        return f"{prefix}{self._number}"

    def _add(self, name: str, *settings: str) -> None:
        bridge = self.rng.choice(BRIDGES)
        self._vsctl("add-port", bridge, name, "--", "set", "interface", name, *settings)
        self._ports[name] = bridge

    def _add_vm(self) -> None:
        name = self._name("tap")
        kind = self.rng.choice(["dummy", "internal"])
        self._add(name, f"type={kind}", f"external_ids:iface-id={name}")

    def _add_tunnel(self) -> None:
        kind = self.rng.choice(["vxlan", "geneve", "gre"])
        self._add(
            self._name("df"), f"type={kind}", f"options:remote_ip=192.0.2.{self._number % 250}"
        )

    def _add_patch(self) -> None:
        one, other = self._name("pa"), self._name("pb")
        self._add(one, "type=patch", f"options:peer={other}")
        self._add(other, "type=patch", f"options:peer={one}")

    def _add_broken(self) -> None:
        name = self._name("eth")
        self._add(name, 'external_ids:iface-id="a\\nb}{"')

    def _change(self) -> None:
        if self._ports:
            name = self.rng.choice(sorted(self._ports))
            change = self.rng.choice(
                [
                    "external_ids:attached-mac=x{}",
                    "ofport_request={}",
                    "external_ids:iface-id=y{}",
                    "external_ids:iface-status=active",
                ]
            )
            self._vsctl("set", "interface", name, change.format(self.rng.randrange(1, 500)))

    def _delete(self) -> None:
        if self._ports:
            name = self.rng.choice(sorted(self._ports))
            del self._ports[name]
            self._vsctl("--if-exists", "del-port", name)

    def _vsctl(self, *args: str) -> None:
        self.box.vsctl("--no-wait", *args)

    # Faults.

    def _faults(self) -> list[Callable[[], None]]:
        return [
            self._network,
            self._network,
            self._network,
            self._cut,
            self._kill_database,
            self._pause_database,
            self._restart_switch,
            self._replace_database,
            self._fill_disk,
            self._rotate,
            self._replay,
            self._stop_agent,
            self._stick_log,
            self._slow_clients,
            *([self._fill_state_dir] if self._state_is_mounted else []),
        ]

    def _network(self) -> None:
        self.proxy.fault = self.rng.choice(NETWORK_FAULTS)
        self.proxy.cut(reset=self.rng.random() < 0.5)

    def _cut(self) -> None:
        self.proxy.cut(reset=self.rng.random() < 0.5)

    def _kill_database(self) -> None:
        self.box.stop_database(kill=self.rng.random() < 0.7)
        time.sleep(self.rng.random())
        self.box.start_database()

    def _pause_database(self) -> None:
        self.box.pause_database()
        time.sleep(self.rng.uniform(0.1, 2.5))
        self.box.resume_database()

    def _restart_switch(self) -> None:
        self.box.stop_vswitchd(kill=True)
        self.box.start_vswitchd()

    def _replace_database(self) -> None:
        """By an empty one, or by one as it was a while ago."""
        self.box.stop_database()
        replacement = self._empty
        if self._saved.exists() and self.rng.random() < 0.5:
            replacement = self._saved
        now = self.box.database.read_bytes()
        self.box.database.unlink()
        self.box.database.write_bytes(replacement.read_bytes())
        self._saved.write_bytes(now)
        self.box.start_database()
        self._restore_bridges()
        self._ports = {
            name: bridge
            for bridge in BRIDGES
            for name in self.box.vsctl("--no-wait", "list-ports", bridge).split()
            if name != "mark"
        }

    def _fill_disk(self) -> None:
        """No file of the agent may grow any more, until the quiet point."""
        size = max(
            file.path.stat().st_size if file.path.exists() else 0 for file in self._received
        )
        self._limit(size + self.rng.randrange(300))

    def _rotate(self) -> None:
        self.rng.choice(self._received).rotate()
        self.agent.send_signal(signal.SIGHUP)

    def _replay(self) -> None:
        self.agent.send_signal(signal.SIGUSR1)

    def _stop_agent(self) -> None:
        """As a debugger, or a host that is suspended."""
        self.agent.send_signal(signal.SIGSTOP)
        time.sleep(self.rng.uniform(0.1, 3.0))
        self.agent.send_signal(signal.SIGCONT)

    def _stick_log(self) -> None:
        """Nobody reads its standard error, until the quiet point; it says a lot meanwhile."""
        self._log_is_read.clear()
        for _ in range(20):
            self.proxy.cut(reset=True)
            time.sleep(0.02)

    def _slow_clients(self) -> None:
        """Clients of its HTTP listener that read nothing, or never end their request."""
        for request in (b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n", b"GET / HTTP") * 5:
            with contextlib.suppress(OSError):
                client = socket.create_connection(("127.0.0.1", self._http), 1)
                client.sendall(request)
                self._slow.append(client)

    def _fill_state_dir(self) -> None:
        """Its state_dir has no room, until the quiet point; the files of its sinks have."""
        with contextlib.suppress(OSError), (self._state / "filler").open("ab") as filler:
            while True:
                filler.write(bytes(4096))
                filler.flush()

    def _limit(self, size: int) -> None:
        resource.prlimit(self.agent.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    def _restore_bridges(self) -> None:
        for bridge in BRIDGES:
            self._vsctl(
                "--may-exist",
                "add-br",
                bridge,
                "--",
                "set",
                "bridge",
                bridge,
                "datapath_type=dummy",
            )

    # Quiet points.

    def _quiet(self) -> None:
        """Everything works again; wait until what was delivered is what is true."""
        self._limit(resource.RLIM_INFINITY)
        self.proxy.heal()
        self._log_is_read.set()
        (self._state / "filler").unlink(missing_ok=True)
        while self._slow:
            self._slow.pop().close()
        mark = f"quiet-{self._rounds}"
        self._vsctl(
            "--may-exist",
            "add-port",
            "br-int",
            "mark",
            "--",
            "set",
            "interface",
            "mark",
            "type=internal",
            f"external_ids:iface-id={mark}",
        )
        deadline = time.monotonic() + DEADLINE
        while lines := self._wrong(mark):
            if self.agent.poll() is not None:
                raise SoakError(f"the agent ended: {self._log()[-2000:]}")
            if time.monotonic() > deadline:
                log = "\n".join(self._log().splitlines()[-20:])
                raise SoakError("\n".join([f"{len(lines)} differences:", *lines[:20], log]))
            time.sleep(0.1)
        usage = Usage.of(self.agent.pid)
        if self._warm is None and time.monotonic() - self._began > WARM_UP:
            self._warm = usage
        self._last = usage
        self._say(
            f"round {self._rounds}: {len(self._received[0].ports)} ports, all sinks equal the "
            f"reference; {usage.memory >> 20} MiB"
        )
        if self._warm is not None and (
            usage.descriptors > self._warm.descriptors
            or usage.threads > self._warm.threads
            or usage.memory > self._warm.memory + MOST_GROWTH
        ):
            raise SoakError(f"the agent grew: {self._warm}, now {usage}")

    def _wrong(self, mark: str) -> list[str]:
        with Reference(self.box.connection, find_schema()) as reference:
            reference.refresh(DEADLINE)
            theirs = reference.ports()
        if not any(port.attributes.get("iface_id") == mark for port in theirs.values()):
            return ["the reference lacks the mark"]
        lines = []
        for file in self._received:
            file.read()
            lines += [f"{file.path.name}: {line}" for line in differences(file.ports, theirs)]
        return lines

    def _growth(self) -> str:
        if self._warm is None:
            return "too short to measure growth"
        descriptors, threads, memory = (
            now - then for now, then in zip(self._last, self._warm, strict=True)
        )
        return (
            f"since the first minute {descriptors:+} descriptors, {threads:+} threads, "
            f"{memory / (1 << 20):+.1f} MiB"
        )


def _mount(folder: Path) -> bool:
    """Give a folder a small file system of its own; return whether that is allowed here."""
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(folder)],
        capture_output=True,
        check=False,
    )
    return done.returncode == 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=300, help="about how long (300)")
    parser.add_argument("--seed", type=int, help="repeat a run; else a new one is made up")
    args = parser.parse_args()
    seed = random.SystemRandom().randrange(1 << 31) if args.seed is None else args.seed
    print(f"soak: seed {seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="dfovsdb-soak-") as folder:
        soak = Soak(seed, Path(folder), lambda line: print(line, flush=True))
        try:
            soak.run(seconds=args.seconds)
        except SoakError as error:
            print(f"soak: seed {seed} FAILED: {error}", file=sys.stderr)
            return 1
        print(f"soak: seed {seed} passed: {soak.figures()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
