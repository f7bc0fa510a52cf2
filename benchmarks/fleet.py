"""A fleet of hosts and NATS: `make bench-fleet`, or python -m benchmarks.fleet.

Hosts are simulated in a few processes: each is the real sink behind the real worker, fed by
hand. They all sync at once, as after a power cut; then ports change all over, and a consumer of
the log measures how late it hears of it. Beside it nats-py alone publishes the same bytes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple, Self

from benchmarks import fleet_processes, report
from dfovsdb.testing import Sandbox, wait_until
from dfovsdb.version import __version__
from tests.natsserver import NatsCluster, NatsServer

_LONG = 600.0  # seconds that everything has


class Scale(NamedTuple):
    """How much of it."""

    hosts: int
    ports: int  #: of each host
    processes: int
    rate: int  #: changes a second, over all
    seconds: float  #: of changes


FULL = Scale(hosts=1000, ports=100, processes=4, rate=200, seconds=30)
QUICK = Scale(hosts=100, ports=20, processes=2, rate=50, seconds=5)


class Process:
    """One of the processes, and a pipe to it; a context manager."""

    def __init__(self, target: Callable[..., None], *args: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self.process = context.Process(target=target, args=(theirs, *args), daemon=True)
        self._theirs: Connection = theirs

    def __enter__(self) -> Self:
        self.process.start()
        self._theirs.close()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.process.kill()
        self.process.join()

    def ask(self, *arguments: Any) -> Any:
        """Send a request and wait for its answer."""
        self.send(*arguments)
        return self.answer()

    def send(self, *arguments: Any) -> None:
        """Send a request."""
        self._pipe.send(arguments)

    def answer(self) -> Any:
        """Wait for the answer to a request."""
        if not self._pipe.poll(_LONG):
            raise TimeoutError("a process does not answer")
        return self._pipe.recv()


def main() -> None:
    """Parse the arguments and run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fleet", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few hosts, few seconds")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    args = parser.parse_args()
    scale = QUICK if args.quick else FULL
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard) if soft < hard else (soft, hard))
    results: dict[str, dict[str, float]] = {}
    for replicas in (1, 3):
        title = "one server" if replicas == 1 else "three servers, three replicas"
        _say(title)
        results[title] = _measure(scale, replicas)
    _say("an agent")
    memory = _agent_memory(scale.ports)
    _print(scale, results, memory)
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(
            json.dumps(
                {
                    "scale": scale._asdict(),
                    "machine": _machine(),
                    "figures": results,
                    "agent": memory,
                },
                indent=1,
            )
            + "\n"
        )


def _measure(scale: Scale, replicas: int) -> dict[str, float]:
    with _servers(replicas) as servers:
        figures = _agents(scale, servers, replicas)
    with _servers(replicas) as servers:  # fresh ones, as the bytes are the same
        figures |= _bare(scale, servers)
    figures["time, ratio to nats-py alone"] = figures["sync, s"] / figures["nats-py alone, s"]
    figures["agents' CPU, ratio to nats-py alone"] = (
        figures["agents' CPU for the sync, s"] / figures["nats-py alone: CPU, s"]
    )
    return figures


def _agents(scale: Scale, servers: Sequence[NatsServer], replicas: int) -> dict[str, float]:
    urls = [server.url for server in servers]
    with ExitStack() as stack:
        agents = [
            stack.enter_context(
                Process(fleet_processes.agents, urls, replicas, names, scale.ports)
            )
            for names in _shares(scale)
        ]
        for agent in agents:
            agent.answer()
        consumer = stack.enter_context(Process(fleet_processes.consumer, urls))
        consumer.answer()
        began = time.time()
        cpu = sum(ask_each(agents, "sync"))
        synced = time.time() - began
        messages, last = consumer.ask("wait", scale.hosts * (scale.ports + 2))
        _say(f"synced in {synced:.1f} s")
        consumer.ask("forget")
        each = scale.rate / scale.processes
        ask_each(agents, "change", each, scale.seconds)
        delays = consumer.ask("delays", int(each * scale.seconds) * scale.processes)
        figures = {
            "sync, s": synced,
            "sync, until the consumer has all, s": last - began,
            "events a second": messages / synced,
            "messages a second": scale.hosts * (3 * scale.ports + 2) / synced,
            "agents' CPU for the sync, s": cpu,
            "delay p50, ms": 1000 * statistics.median(delays),
            "delay p99, ms": 1000 * statistics.quantiles(delays, n=100)[98],
            "delay max, ms": 1000 * max(delays),
            "server memory, MB": max(server.memory for server in servers),
        }
        store = sum(
            path.stat().st_size
            for path in (servers[0].folder / "store").rglob("*")
            if path.is_file()
        )
        figures["store of a server, MB"] = store / 1e6
    return figures


def _bare(scale: Scale, servers: Sequence[NatsServer]) -> dict[str, float]:
    urls = [server.url for server in servers]
    with ExitStack() as stack:
        publishers = [
            stack.enter_context(Process(fleet_processes.bare, urls, names, scale.ports))
            for names in _shares(scale)
        ]
        for publisher in publishers:
            publisher.answer()
        began = time.time()
        cpu = sum(ask_each(publishers, "publish"))
        took = time.time() - began
    _say(f"nats-py alone in {took:.1f} s")
    return {"nats-py alone, s": took, "nats-py alone: CPU, s": cpu}


def ask_each(processes: Sequence[Process], *arguments: Any) -> list[Any]:
    """Ask all of them at once; their answers."""
    for process in processes:
        process.send(*arguments)
    return [process.answer() for process in processes]


def _shares(scale: Scale) -> list[list[str]]:
    """The hosts of each process."""
    names = [f"cmp-{number}" for number in range(scale.hosts)]
    return [names[number :: scale.processes] for number in range(scale.processes)]


@contextmanager
def _servers(replicas: int) -> Iterator[Sequence[NatsServer]]:
    with tempfile.TemporaryDirectory(prefix="dfovsdb-fleet-") as folder:
        if replicas == 1:
            with NatsServer(Path(folder)) as server:
                _make_streams([server], replicas)
                yield [server]
        else:
            with NatsCluster(Path(folder)) as cluster:
                _make_streams(cluster.servers, replicas)
                yield cluster.servers


def _make_streams(servers: Sequence[NatsServer], replicas: int) -> None:
    urls = [server.url for server in servers]
    asyncio.run(fleet_processes.make_streams(urls, replicas))


def _agent_memory(ports: int) -> dict[str, float]:
    """Of a whole agent on one switch, MB: with the sink nats, and with the sink log."""
    found = {}
    with tempfile.TemporaryDirectory() as name, Sandbox(vswitchd=False) as switch:
        folder = Path(name)
        switch.add_bridge("br-int")
        switch.transact(*fleet_processes.rows(ports))
        with NatsServer(folder) as server:
            for sink in ("log", "nats"):
                conf = folder / f"{sink}.conf"
                conf.write_text(
                    f"[ovsdb]\nconnection = {switch.connection}\n[dfovsdb]\nsinks = {sink}\n"
                    f"[sink_nats]\nservers = {server.url}\n"
                )
                log = folder / f"{sink}.log"
                with log.open("wb") as output:
                    agent = subprocess.Popen(
                        [
                            sys.executable,
                            "-m",
                            "dfovsdb",
                            "--config-file",
                            str(conf),
                            "--debug",
                            "run",
                        ],
                        stdout=output,
                        stderr=output,
                    )
                wait_until(lambda log=log: ": synced, " in log.read_text())  # type: ignore[misc]  # log=log
                time.sleep(3)  # the sink receives everything within this time
                found[sink] = fleet_processes.memory(agent.pid)
                agent.terminate()
                agent.wait()
    return found


def _machine() -> dict[str, str]:
    server = subprocess.run(
        ["nats-server", "--version"], capture_output=True, text=True, check=True
    ).stdout.split()[-1]
    return {
        "processor": report.processor(),
        "python": platform.python_version(),
        "nats-server": server,
        "nats-py": fleet_processes.nats_version(),
        "dfovsdb": __version__,
    }


def _print(scale: Scale, results: dict[str, dict[str, float]], memory: dict[str, float]) -> None:
    print(
        f"{scale.hosts} hosts with {scale.ports} ports each, in {scale.processes} processes; "
        f"then {scale.rate} changes a second"
    )
    print(", ".join(f"{name} {value}" for name, value in _machine().items()))
    names = list(next(iter(results.values())))
    print(f"\n{'':<42}" + "".join(f"{title:>32}" for title in results))
    for name in names:
        print(f"{name:<42}" + "".join(f"{found[name]:>32,.2f}" for found in results.values()))
    print(
        f"\nan agent with {scale.ports} ports: {memory['nats']:.0f} MB; "
        f"with the sink log alone {memory['log']:.0f} MB"
    )


def _say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {line}", file=sys.stderr)


if __name__ == "__main__":
    main()
