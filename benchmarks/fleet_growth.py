"""How the cost of a fleet grows: python -m benchmarks.fleet_growth [--ports N ...] [--shards N].

Hosts with 200 ports each sync, a few at a time in each of two processes, with the publisher of
the sink `nats` alone: neither threads nor workers are measured. Then `where` is asked for VIFs at
random, and the ports of a host are listed. Each number of ports has fresh servers. With several
shards each host belongs to one of as many servers, by a hash of its name, and whoever looks for a
VIF asks all of them at once.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import random
import resource
import statistics
import sys
import tempfile
import time
import zlib
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack
from datetime import UTC, datetime
from multiprocessing.connection import Connection as Pipe
from pathlib import Path

import nats

from benchmarks.fleet import Process, ask_each
from benchmarks.fleet_processes import messages, ports, publish_one
from dfovsdb.fleet import Fleet, Servers, Streams
from dfovsdb.model import PortEvent, SyncMarker
from dfovsdb.sinks.base import SinkContext
from dfovsdb.sinks.nats.client import Publication
from dfovsdb.sinks.nats.publisher import Publisher
from tests.natsserver import NatsServer

PORTS = 200  # of a host
PROCESSES = 2
AT_A_TIME = 8  # hosts of one process that sync together
BATCH = 500  # events, as a worker offers them
REST = 10.0  # seconds after the sync, in which the servers finish what they have acknowledged
PACE = 0.02  # seconds from one question to the next, as people and programs come and go
_TIMEOUT = 120.0  # seconds that a busy server has for an answer


def main() -> None:
    """Parse the arguments, run, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fleet_growth", description=__doc__)
    parser.add_argument("--ports", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--shards", type=int, default=1, help="servers (1)")
    parser.add_argument("--asked", type=int, default=1000, help="VIFs that are looked for (1000)")
    parser.add_argument("--bare", action="store_true", help="nats-py alone, the same bytes")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    args = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    found = {}
    for number in args.ports:
        found[f"{number:,}"] = measured = _measure(
            number // PORTS, args.shards, args.asked, args.bare
        )
        print(number, json.dumps(measured), file=sys.stderr, flush=True)
    print(f"{'ports':<36}" + "".join(f"{number:>14}" for number in found))
    for name in next(iter(found.values())):
        print(f"{name:<36}" + "".join(f"{figures[name]:>14,.2f}" for figures in found.values()))
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(
            json.dumps({"shards": args.shards, "figures": found}, indent=1) + "\n"
        )


def shard(host: str, shards: int) -> int:
    """Return the number of the server that a host belongs to."""
    return zlib.crc32(host.encode()) % shards


def _measure(hosts: int, shards: int, asked: int, bare: bool) -> dict[str, float]:
    names = [f"cmp-{number}" for number in range(hosts)]
    with tempfile.TemporaryDirectory(prefix="dfovsdb-growth-") as folder, ExitStack() as stack:
        servers = [
            stack.enter_context(NatsServer(Path(folder), f"n{number}")) for number in range(shards)
        ]
        urls = [server.url for server in servers]
        asyncio.run(_create(urls))
        processes = [
            stack.enter_context(Process(_hosts, urls, names[number::PROCESSES], bare))
            for number in range(PROCESSES)
        ]
        ask_each(processes, "ready?")
        began = time.monotonic()
        cpu = sum(ask_each(processes, "sync"))
        synced = time.monotonic() - began
        figures = {
            "all hosts sync, s": synced,
            "the same, µs a port": synced / (hosts * PORTS) * 1e6,
            "CPU of the publishers, µs a port": cpu / (hosts * PORTS) * 1e6,
        }
        if bare:
            return figures
        time.sleep(REST)
        figures |= asyncio.run(_ask(urls, names, asked))
        store = sum(
            path.stat().st_size
            for server in servers
            for path in (server.folder / "store").rglob("*")
            if path.is_file()
        )
        return figures | {
            "messages an event": figures.pop("messages") / (hosts * PORTS),
            "memory of a server, MB": max(server.memory for server in servers),
            "the same, kB a port": sum(s.memory for s in servers) * 1000 / (hosts * PORTS),
            "stores of all servers, MB": store / 1e6,
            "the same, bytes a port": store / (hosts * PORTS),
        }


async def _create(urls: Sequence[str]) -> None:
    for url in urls:
        async with Fleet(Servers([url]), Streams(), timeout=_TIMEOUT) as fleet:
            await fleet.create(Streams())


def _hosts(pipe: Pipe, urls: Sequence[str], names: Sequence[str], bare: bool) -> None:
    """Some hosts, in a process of its own."""
    made = {name: messages(name, PORTS) for name in names} if bare else {}
    gc.freeze()
    pipe.recv()
    pipe.send(None)
    pipe.recv()
    began = time.process_time()
    asyncio.run(_sync_all(urls, names, made))
    pipe.send(time.process_time() - began)
    pipe.recv()  # until it is killed


async def _sync_all(
    urls: Sequence[str], names: Sequence[str], made: Mapping[str, Sequence[Publication]]
) -> None:
    left = iter(names)

    async def one_after_the_other() -> None:
        for name in left:
            url = urls[shard(name, len(urls))]
            await (_publish(url, made[name]) if made else _sync(url, name))

    await asyncio.gather(*(one_after_the_other() for _ in range(AT_A_TIME)))


async def _publish(url: str, batch: Sequence[Publication]) -> None:
    client = await nats.connect(url)
    await publish_one(client, batch)
    await client.close()


async def _sync(url: str, host: str) -> None:
    """Publish what the sink of an agent publishes in its first sync."""
    publisher = Publisher(
        Servers([url]), Streams(), create=True, timeout=_TIMEOUT, heartbeat=10, window=256
    )
    await publisher.open(SinkContext(host, "epoch", lambda: None, lambda: "synced"))
    now = datetime.now(UTC)
    events = [
        PortEvent(
            action="online",
            port=port,
            previous=None,
            origin="initial",
            seq=number,
            time=now,
            host=host,
        )
        for number, port in enumerate(ports(host, PORTS), start=2)
    ]
    begin = SyncMarker(action="sync_started", origin="initial", seq=1, time=now, host=host)
    await publisher.sync_started(begin)
    for at in range(0, PORTS, BATCH):
        await publisher.publish(events[at : at + BATCH])
    await publisher.sync_finished(
        SyncMarker(
            action="sync_finished",
            origin="initial",
            seq=PORTS + 2,
            time=now,
            host=host,
            ports=PORTS,
        )
    )
    await publisher.close()


async def _ask(urls: Sequence[str], names: Sequence[str], asked: int) -> dict[str, float]:
    chance = random.Random(1)
    async with AsyncExitStack() as stack:
        fleets = [
            await stack.enter_async_context(Fleet(Servers([url]), Streams(), timeout=_TIMEOUT))
            for url in urls
        ]
        delays = []
        for _ in range(asked):
            host = chance.choice(names)
            vif = f"4aa64e21-d9d6-497e-bfa9-{host}-{chance.randrange(PORTS)}"
            began = time.monotonic()
            answers = await asyncio.gather(*(fleet.where(vif) for fleet in fleets))
            delays.append(time.monotonic() - began)
            (claim,) = [claim for answer in answers for claim in answer]
            assert claim.host == host
            await asyncio.sleep(max(0.0, began + PACE - time.monotonic()))
        listed = []
        for host in chance.choices(names, k=10):
            began = time.monotonic()
            fleet = fleets[shard(host, len(fleets))]
            assert len([port async for port in fleet.ports(host)]) == PORTS
            listed.append(time.monotonic() - began)
        stored = 0
        for fleet in fleets:
            for config in Streams().configs():
                info = await fleet._link.stream(config.name or "")  # noqa: SLF001 - to count
                stored += info.state.last_seq if info else 0
    return {
        "messages": stored,
        "where, p50, ms": 1000 * statistics.median(delays),
        "where, p99, ms": 1000 * statistics.quantiles(delays, n=100)[98],
        "ports of a host, ms": 1000 * statistics.median(listed),
    }


if __name__ == "__main__":
    main()
