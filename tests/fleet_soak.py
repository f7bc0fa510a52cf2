"""A fleet under faults, for minutes, from a seed: `make soak-fleet`.

Twenty agents on twenty real switches report to three nats-servers, while ports come, go and
change hands everywhere. Servers are killed, stopped and cut off from the others, agents are
killed and stopped, their disks are full, their databases restart, and the clocks of some are a
minute off (where there is faketime). At every quiet point the log and the buckets say exactly
what ovs.db.idl reads from every switch, and the log has each event of a host once, and those of
each port in order.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from dfovsdb.doctor.reference import Reference, differences
from dfovsdb.fleet.reader import LogItem
from dfovsdb.model import Port, PortEvent
from dfovsdb.sinks.nats.client import NatsError
from dfovsdb.testing import Sandbox, wait_until
from dfovsdb.testing.sandbox import SandboxError, find_schema
from tests.functional.helpers import insert, vm
from tests.natsserver import NatsCluster, NatsServer, SeparableCluster, version
from tests.natsview import Fleet
from tests.waiting import DEADLINE

HOSTS = int(os.environ.get("DFOVSDB_FLEET_HOSTS", "20"))
#: Of the package faketime. Its command would be a process between us and the agent.
FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
CHANGES = 12  #: of each switch, between two blows


class Host:
    """A real switch, what happens on it, and its agent: a process of its own."""

    def __init__(
        self,
        name: str,
        folder: Path,
        cluster: NatsCluster,
        *,
        clock: str = "",
        state: bool = False,
    ) -> None:
        self.name = name
        self._environment = (
            {"LD_PRELOAD": str(FAKETIME), "FAKETIME": clock, "DONT_FAKE_MONOTONIC": "1"}
            if clock
            else {}
        )
        self._state = folder / f"{name}.state" if state else None
        self.switch = Sandbox()
        self._chance = random.Random(name)
        self._ports: list[str] = []
        self._number = 0
        self._conf = folder / f"{name}.conf"
        self._log = folder / f"{name}.log"
        self._servers = ",".join(cluster.urls)
        self._began = 0  # bytes of the log before its agent was started
        self.agent: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.switch.start()
        self.switch.add_bridge("br-int")
        state = ""
        if self._state is not None:
            self._state.mkdir()
            state = f"state_dir = {self._state}\n"
        self._conf.write_text(
            f"[ovsdb]\nconnection = {self.switch.connection}\n"
            f"[dfovsdb]\nsinks = nats\nhost = {self.name}\n{state}"
            f"[sink_nats]\nservers = {self._servers}\nreplicas = 3\ntimeout = 5\n"
        )
        self.start_agent()

    def start_agent(self) -> None:
        command = [sys.executable, "-m", "dfovsdb", "--config-file", str(self._conf), "run"]
        with self._log.open("ab") as log:
            self._began = log.tell()
            self.agent = subprocess.Popen(
                command, stdout=log, stderr=log, env=os.environ | self._environment
            )

    def kill_agent(self) -> None:
        if self.agent is not None:
            self.agent.kill()
            self.agent.wait()

    def stop(self) -> None:
        self.kill_agent()
        self.switch.stop()

    def has_started(self) -> bool:
        """Say whether its agent has synced since it was started."""
        return b": synced, " in self._log.read_bytes()[self._began :]

    def last_words(self) -> str:
        """Return the end of the log of its agent, and its status if it has ended."""
        status = self.agent.poll() if self.agent is not None else None
        return f"{self.name}, status {status}:\n{self._log.read_text()[-4000:]}"

    def outages(self) -> int:
        return self._log.read_text().count("is unavailable")

    def change(self) -> None:
        """One port comes, goes, or changes hands."""
        self._number += 1
        what = self._chance.random()
        if what < 0.6 or not self._ports:
            name = f"tap{self._number}"
            row: dict[str, Any] = {"type": "dummy", **vm(f"{self.name}-v{self._number}")}
            self.switch.transact(*insert(name, self._number, **row))
            self._ports.append(name)
        elif what < 0.8:
            name = self._ports.pop(self._chance.randrange(len(self._ports)))
            (found,) = self.switch.transact(
                {
                    "op": "select",
                    "table": "Port",
                    "where": [["name", "==", name]],
                    "columns": ["_uuid"],
                }
            )
            self.switch.transact(
                {
                    "op": "mutate",
                    "table": "Bridge",
                    "where": [["name", "==", "br-int"]],
                    "mutations": [["ports", "delete", found["rows"][0]["_uuid"]]],
                }
            )
        else:
            name = self._chance.choice(self._ports)
            self.switch.transact(
                {
                    "op": "update",
                    "table": "Interface",
                    "where": [["name", "==", name]],
                    "row": vm(f"{self.name}-v{self._number}"),
                }
            )


@contextlib.contextmanager
def hosts(
    folder: Path, cluster: NatsCluster, *, clocks: Sequence[str] = ("",), state: bool = False
) -> Iterator[list[Host]]:
    """Real switches with their agents.

    :param clocks: how far the clock of each agent is off, as faketime has it.
    """
    made = [
        Host(f"cmp-{number}", folder, cluster, clock=clocks[number % len(clocks)], state=state)
        for number in range(1, HOSTS + 1)
    ]
    try:
        for host in made:
            host.start()
        yield made
    finally:
        for host in made:
            host.stop()


@contextlib.contextmanager
def churn(made: list[Host]) -> Iterator[list[int]]:
    """Within the context ports come and go everywhere; how many changes there were."""
    done = [0]
    ended = threading.Event()

    def go_on() -> None:
        while not ended.wait(0.2):
            for host in made:
                with contextlib.suppress(SandboxError, OSError):  # its database restarts
                    host.change()
                    done[0] += 1

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield done
    finally:
        ended.set()
        thread.join()


def wait_for(condition: Any, what: str) -> None:
    wait_until(condition, 3 * DEADLINE, what)  # sixty processes start on what may be one processor


def is_delivered(fleet: Fleet, made: list[Host]) -> bool:
    """Every host has delivered its first sync."""
    try:
        return len(fleet.hosts()) == len(made)
    except NatsError:
        return False


def leader(cluster: NatsCluster, stream: str, without: NatsServer | None = None) -> NatsServer:
    """Of a stream; where none is chosen yet, as soon as there is one.

    :param without: a server that is not asked.
    """
    urls = [server.url for server in cluster.servers if server is not without]
    found = ""

    def is_known() -> bool:
        nonlocal found
        try:
            # without a leader nobody answers: a short timeout, and another question
            with Fleet(urls) as fleet:
                info = fleet.run(fleet.link.stream(stream))
        except NatsError:
            return False
        found = (info and info.cluster and info.cluster.leader) or ""
        return bool(found)

    wait_for(is_known, f"a leader of {stream}")
    return cluster.named(found)


def truth(host: Host) -> dict[str, Port]:
    with Reference(host.switch.connection, find_schema()) as reference:
        reference.refresh()
        return reference.ports()


def untrue(host: Host, there: dict[str, Port], said: dict[str, Port]) -> list[str]:
    return [f"{host.name}: {line}" for line in differences(said, there)]


def lies(fleet: Fleet, made: list[Host], there: dict[str, dict[str, Port]]) -> list[str]:
    """What log or buckets say that ovs.db.idl does not."""
    try:
        fold, buckets, vifs = fleet.fold(), fleet.all_ports(), fleet.vifs()
    except NatsError as error:
        return [str(error)]
    lines = []
    claims = set()
    for host in made:
        lines += untrue(host, there[host.name], fold.get(host.name, {}))
        lines += untrue(host, there[host.name], buckets.get(host.name, {}))
        claims |= {
            f"{port.attributes['iface_id']}.{host.name}.{port.uuid}"
            for port in there[host.name].values()
            if "iface_id" in port.attributes
        }
    return lines + sorted(claims ^ vifs)


def check_order(log: list[LogItem]) -> None:
    """Check that the log has each event of each host once, those of each port in order.

    If the leader of the stream changes during a batch, some of it may be stored before the rest
    (docs/fleet.md, "How to read the log").
    """
    seen: dict[str, set[int]] = defaultdict(set)
    latest: dict[tuple[str, str], int] = defaultdict(int)
    there: set[tuple[str, str]] = set()
    for item, _line, message_id, _sequence in log:
        source = message_id.rpartition(":")[0]
        assert item.seq not in seen[source], f"{message_id} is there twice"
        seen[source].add(item.seq)
        if isinstance(item, PortEvent):
            port = (item.host, item.port.uuid)
            before = latest[source, item.port.uuid]
            assert item.seq > before, f"{message_id} of a port, after {before}"
            latest[source, item.port.uuid] = item.seq
            known = port in there
            # a sink that finds a bucket created again asks for a resend of everything
            again = known and item.origin in ("initial", "resync", "replay")
            # an agent that was killed does not know whether the last thing it sent has arrived
            doubtful = item.origin == "initial" and item.action == "offline"
            fits = known == (item.action != "online") or again or doubtful
            assert fits, f"{message_id}: {item.action} of {item.origin}, known: {known}"
            there.add(port)
            if item.action == "offline":
                there.remove(port)
    for source, numbers in seen.items():
        missing = sorted(set(range(1, max(numbers) + 1)) - numbers)
        assert not missing, f"{source}: {missing[:5]} are missing"


class FleetSoak:
    """One run.

    :param say: is given the progress, a line each.
    """

    def __init__(self, seed: int, folder: Path, say: Callable[[str], object]) -> None:
        self.faults: Counter[str] = Counter()
        self.rounds = 0
        self._rng = random.Random(seed)
        self._seed = seed
        self._folder = folder
        self._say = say

    def run(self, *, seconds: float, rounds: int | None = None) -> None:
        """Rounds of churn under faults, each with a quiet point at its end.

        :param rounds: at most so many, None for as many as fit into the seconds.
        :raises AssertionError: the log or the buckets are wrong.
        """
        clocks = ("", "+60s", "-60s") if FAKETIME is not None else ("",)
        began = time.monotonic()
        changes = 0
        with (
            SeparableCluster(self._folder) as cluster,
            hosts(self._folder, cluster, clocks=clocks, state=True) as made,
        ):
            with Fleet(cluster.urls, timeout=60) as fleet:
                wait_for(lambda: is_delivered(fleet, made), "every host being heard of")
            while self.rounds != rounds and time.monotonic() - began < seconds:
                self.rounds += 1
                with churn(made) as done:
                    for _ in range(4):
                        self._blow(cluster, made, done)
                    changes += done[0]
                events = self._check(cluster, made)
                self._say(
                    f"seed {self._seed}, {time.monotonic() - began:.0f} s: {self.rounds} rounds, "
                    f"{changes} changes of {HOSTS} switches, {events} events in the log, "
                    f"{self.faults.total()} faults "
                    f"({', '.join(f'{what} {n}' for what, n in sorted(self.faults.items()))}); "
                    "log and buckets equal ovs.db.idl of every switch"
                )

    def _check(self, cluster: NatsCluster, made: list[Host]) -> int:
        """Wait until log and buckets are true; return how many events there are."""
        wrong: list[str] = []

        def is_true(fleet: Fleet) -> bool:
            # what restarted goes on changing for a moment
            wrong[:] = lies(fleet, made, {host.name: truth(host) for host in made})
            return not wrong

        with Fleet(cluster.urls, timeout=60) as fleet:
            try:
                wait_for(lambda: is_true(fleet), "log and buckets being true")
            except AssertionError as error:
                named = {line.partition(":")[0] for line in wrong}
                logs = [host.last_words() for host in made if host.name in named]
                raise AssertionError("\n".join([str(error), *wrong[:4], *logs[:3]])) from None
        with Fleet(cluster.urls, timeout=60) as fleet:  # the other may have been idle for minutes
            log = fleet.log()
        check_order(log)
        return len(log)

    def _blow(self, cluster: SeparableCluster, made: list[Host], done: list[int]) -> None:
        """Let something fail, let changes happen meanwhile, and let it be well again."""
        faults: dict[str, Callable[[], contextlib.AbstractContextManager[object]]] = {
            "a server is killed": lambda: self._killed_server(cluster),
            "a server is stopped": lambda: self._stopped_server(cluster),
            "agents are killed": lambda: self._killed_agents(made),
            "agents are stopped": lambda: self._stopped_agents(made),
            "disks of agents are full": lambda: self._full_disks(made),
            "databases restart": lambda: self._restarted_databases(made),
        }
        if version() >= (2, 10):  # the replicas of 2.9 differ for ever after it
            faults["a server is cut off"] = lambda: self._separated_server(cluster)
        name = self._rng.choice(sorted(faults))
        self.faults[name] += 1
        with faults[name]():
            aim = done[0] + self._rng.randrange(2, 10) * HOSTS
            wait_for(lambda: done[0] >= aim, f"changes while {name}")

    @contextlib.contextmanager
    def _killed_server(self, cluster: NatsCluster) -> Iterator[None]:
        server = self._rng.choice(cluster.servers)
        server.stop()
        yield
        server.start()
        server.wait()

    @contextlib.contextmanager
    def _stopped_server(self, cluster: NatsCluster) -> Iterator[None]:
        server = self._rng.choice(cluster.servers)
        server.pause()
        yield
        server.resume()

    @contextlib.contextmanager
    def _separated_server(self, cluster: SeparableCluster) -> Iterator[None]:
        """The others have a leader of the log at its end; one that is alone resigns after 10 s."""
        server = self._rng.choice(cluster.servers)
        with cluster.separated(server):
            time.sleep(self._rng.uniform(0, 15))
            leader(cluster, "dfovsdb", without=server)
            yield

    def _some(self, made: list[Host]) -> list[Host]:
        return self._rng.sample(made, max(1, len(made) // 4))

    @contextlib.contextmanager
    def _killed_agents(self, made: list[Host]) -> Iterator[None]:
        some = self._some(made)
        for host in some:
            host.kill_agent()
        yield
        for host in some:
            host.start_agent()

    @contextlib.contextmanager
    def _stopped_agents(self, made: list[Host]) -> Iterator[None]:
        some = [host.agent for host in self._some(made) if host.agent is not None]
        for agent in some:
            agent.send_signal(signal.SIGSTOP)
        yield
        for agent in some:
            agent.send_signal(signal.SIGCONT)

    @contextlib.contextmanager
    def _full_disks(self, made: list[Host]) -> Iterator[None]:
        """No file of these agents may grow: their state_dir and their log."""
        chosen = self._some(made)
        for host in chosen:  # a start on a full disk ends with status 2
            wait_for(host.has_started, f"{host.name} having started")
        some = [host.agent.pid for host in chosen if host.agent is not None]
        limits = {pid: resource.prlimit(pid, resource.RLIMIT_FSIZE) for pid in some}
        for pid, (_, hard) in limits.items():
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, hard))
        yield
        for pid, limit in limits.items():
            resource.prlimit(pid, resource.RLIMIT_FSIZE, limit)

    @contextlib.contextmanager
    def _restarted_databases(self, made: list[Host]) -> Iterator[None]:
        some = self._some(made)
        for host in some:
            host.switch.stop_database(kill=True)
        yield
        for host in some:
            host.switch.start_database()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    parser.add_argument("--seconds", type=float, default=600)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dfovsdb-fleet-") as folder:
        soak = FleetSoak(args.seed, Path(folder), lambda line: print(line, flush=True))
        soak.run(seconds=args.seconds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
