"""What runs in the processes of fleet.py: hosts, a consumer, and nats-py alone."""

from __future__ import annotations

import asyncio
import gc
import random
import time
import zlib
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any

import msgspec
import nats
from nats.js import api

from dfovsdb.delivery.dispatcher import Dispatcher
from dfovsdb.json_v1 import from_json
from dfovsdb.model import Port, PortEvent, SyncMarker, port_of
from dfovsdb.sinks.nats import NatsSink
from dfovsdb.sinks.nats.client import Connection, NatsError, Publication
from dfovsdb.sinks.nats.messages import Encoder
from dfovsdb.sinks.nats.servers import Servers
from dfovsdb.sinks.nats.streams import Streams
from dfovsdb.testing import interface

_LONG = 500.0  # seconds
_TIMEOUT = 120.0  # seconds that a server under this load has for an answer


def agents(
    pipe: Pipe, urls: Sequence[str], replicas: int, names: Sequence[str], count: int
) -> None:
    """Some hosts: the real sink behind the real worker, fed by hand."""
    hosts = [_Host(name, urls, replicas, count) for name in names]
    for host in hosts:
        host.dispatcher.start()
    gc.freeze()
    pipe.send("ready")
    while True:
        what, *args = pipe.recv()
        if what == "sync":
            cpu = time.process_time()
            for host in hosts:
                host.dispatcher.publish_sync([(port.uuid, port) for port in host.ports])
            _wait_for(hosts)
            pipe.send(time.process_time() - cpu)
        elif what == "change":
            _change(hosts, *args)
            _wait_for(hosts)
            pipe.send(None)


class _Host:
    def __init__(self, name: str, urls: Sequence[str], replicas: int, count: int) -> None:
        self.ports = ports(name, count)
        sink = NatsSink(urls, replicas=replicas, timeout=_TIMEOUT)
        self.dispatcher = Dispatcher(
            {"nats": sink},
            host=name,
            resync="replay",
            queue_limit=1000,
            condition=lambda: "synced",
        )


def _wait_for(hosts: Sequence[_Host]) -> None:
    deadline = time.monotonic() + _LONG
    for host in hosts:
        (worker,) = host.dispatcher.workers
        # Asking what is undelivered costs a copy of the ports: only when it is idle.
        while worker.queue.waiting()[0] or worker.undelivered():
            if time.monotonic() > deadline:
                raise TimeoutError("a host does not get through")
            time.sleep(0.1)


def _change(hosts: Sequence[_Host], rate: float, seconds: float) -> None:
    """Ports change at this rate, evenly, on hosts at random."""
    chance = random.Random(hosts[0].ports[0].uuid)
    begin = time.monotonic()
    for number in range(int(rate * seconds)):
        due = begin + number / rate
        if (left := due - time.monotonic()) > 0:
            time.sleep(left)
        host = chance.choice(hosts)
        place = chance.randrange(len(host.ports))
        old = host.ports[place]
        port = msgspec.structs.replace(old, ofport=(old.ofport or 0) % 60000 + 1)
        host.ports[place] = port
        host.dispatcher.publish([(port.uuid, port)])


def ports(host: str, count: int) -> list[Port]:
    """The ports of a host, all of them VMs'."""
    found = []
    for number in range(count):
        row = interface(
            f"tap{number}",
            uuid=f"{zlib.crc32(host.encode()):08x}-0000-4000-8000-{number:012d}",
            ofport=number + 1,
            admin_state="up",
            link_state="up",
            mac_in_use=f"fe:16:3e:00:00:{number % 256:02x}",
        )
        attributes = {
            "iface_id": f"4aa64e21-d9d6-497e-bfa9-{host}-{number}",
            "attached_mac": row.mac_in_use,
            "vm_id": f"0c6bd53c-4f4f-4c9b-a9b3-{host}-{number}",
            "iface_status": "active",
            "ovn_installed": None,
        }
        found.append(port_of(row, "vm", attributes))
    return found


def rows(count: int) -> list[dict[str, Any]]:
    """Operations that add as many ports to the bridge br-int."""
    operations: list[dict[str, Any]] = []
    for n in range(count):
        ids = [["iface-id", f"vif-{n}"], ["attached-mac", "fa:16:3e:00:00:01"]]
        operations += [
            {
                "op": "insert",
                "table": "Interface",
                "uuid-name": f"i{n}",
                "row": {"name": f"tap{n}", "external_ids": ["map", ids]},
            },
            {
                "op": "insert",
                "table": "Port",
                "uuid-name": f"p{n}",
                "row": {"name": f"tap{n}", "interfaces": ["named-uuid", f"i{n}"]},
            },
            {
                "op": "mutate",
                "table": "Bridge",
                "where": [["name", "==", "br-int"]],
                "mutations": [["ports", "insert", ["named-uuid", f"p{n}"]]],
            },
        ]
    return operations


def consumer(pipe: Pipe, urls: Sequence[str]) -> None:
    """Somebody who follows the log, and says how late."""
    asyncio.run(_consume(pipe, urls))


async def _consume(pipe: Pipe, urls: Sequence[str]) -> None:
    client = await nats.connect(list(urls))
    count, last = 0, 0.0
    delays: list[float] = []

    async def take(message: Any) -> None:
        nonlocal count, last
        last = time.time()
        count += 1
        delays.append(last - from_json(message.data).time.timestamp())

    await client.jetstream().subscribe(
        "dfovsdb.v1.>", stream="dfovsdb", cb=take, ordered_consumer=True
    )
    pipe.send("ready")
    while True:
        what, *args = await asyncio.to_thread(pipe.recv)
        if what == "forget":
            delays.clear()
            count = 0
            pipe.send(None)
            continue
        deadline = time.monotonic() + _LONG
        while count < args[0] and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        if count < args[0]:
            raise TimeoutError(f"{count} of {args[0]} messages came")
        pipe.send((count, last) if what == "wait" else delays)


def bare(pipe: Pipe, urls: Sequence[str], names: Sequence[str], count: int) -> None:
    """nats-py alone: the same bytes, made before, from as many connections."""
    asyncio.run(_publish(pipe, urls, names, count))


async def make_streams(urls: Sequence[str], replicas: int) -> None:
    """Make the streams, before anything is measured.

    A cluster that still elects its leaders leaves requests without an answer, so none is waited
    for as long as under load.
    """
    deadline = time.monotonic() + _LONG
    while True:
        link = Connection(Servers(urls), name="bench", inbox="_INBOX.bench", timeout=5)
        try:
            await link.connect()
            await Streams(replicas=replicas).ready(link, create=True)
        except NatsError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.2)
        else:
            return
        finally:
            await link.close()


async def _publish(pipe: Pipe, urls: Sequence[str], names: Sequence[str], count: int) -> None:
    batches = [messages(name, count) for name in names]
    clients = [await nats.connect(list(urls)) for _ in names]
    gc.freeze()
    pipe.send("ready")
    pipe.recv()
    cpu = time.process_time()
    await asyncio.gather(*map(publish_one, clients, batches))
    pipe.send(time.process_time() - cpu)
    await asyncio.to_thread(pipe.recv)


async def publish_one(client: Any, batch: Sequence[Publication]) -> None:
    """Publish with nats-py alone, and wait for every acknowledgement."""
    jetstream = client.jetstream(timeout=_TIMEOUT, publish_async_max_pending=256)
    futures = [
        await jetstream.publish_async(one.subject, one.payload, headers=one.headers)
        for one in batch
    ]
    for ack in await asyncio.gather(*futures):
        assert isinstance(ack, api.PubAck)


def messages(host: str, count: int) -> list[Publication]:
    """What an agent publishes for its first sync."""
    ours = Encoder(host, "epoch", Streams())
    now = datetime.now(UTC)
    begin = SyncMarker(action="sync_started", origin="initial", seq=1, time=now, host=host)
    sent = ours.of_marker(begin)
    for number, port in enumerate(ports(host, count), start=2):
        event = PortEvent(
            action="online",
            port=port,
            previous=None,
            origin="initial",
            seq=number,
            time=now,
            host=host,
        )
        sent += ours.of_event(event, ())[0]
    end = SyncMarker(
        action="sync_finished", origin="initial", seq=count + 2, time=now, host=host, ports=count
    )
    return sent + ours.of_marker(end)


def memory(pid: int) -> float:
    """Resident memory of a process, MB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0


def nats_version() -> str:
    """Of nats-py."""
    return metadata.version("nats-py")
