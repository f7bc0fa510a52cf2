"""Three nats-servers that are killed one after the other, twenty agents on twenty switches."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dfovsdb.doctor.reference import Reference, differences
from dfovsdb.fleet.reader import LogItem
from dfovsdb.model import Port, PortEvent
from dfovsdb.sinks.nats.client import NatsError
from dfovsdb.testing import Sandbox, wait_until
from dfovsdb.testing.sandbox import find_schema
from tests.functional.helpers import insert, vm
from tests.natsserver import NatsCluster, NatsServer
from tests.natsview import Fleet
from tests.waiting import DEADLINE

HOSTS = int(os.environ.get("DFOVSDB_FLEET_HOSTS", "20"))
CHANGES = 12  #: of each switch, between two blows


class Host:
    """A real switch, what happens on it, and its agent: a process of its own."""

    def __init__(self, name: str, folder: Path, cluster: NatsCluster) -> None:
        self.name = name
        self.switch = Sandbox()
        self._chance = random.Random(name)
        self._ports: list[str] = []
        self._number = 0
        self._conf = folder / f"{name}.conf"
        self._log = folder / f"{name}.log"
        self._servers = ",".join(cluster.urls)
        self._agent: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.switch.start()
        self.switch.add_bridge("br-int")
        self._conf.write_text(
            f"[ovsdb]\nconnection = {self.switch.connection}\n"
            f"[dfovsdb]\nsinks = nats\nhost = {self.name}\n"
            f"[sink_nats]\nservers = {self._servers}\nreplicas = 3\ntimeout = 5\n"
        )
        with self._log.open("wb") as log:
            self._agent = subprocess.Popen(
                [sys.executable, "-m", "dfovsdb", "--config-file", str(self._conf), "run"],
                stdout=log,
                stderr=log,
            )

    def stop(self) -> None:
        if self._agent is not None:
            self._agent.kill()
            self._agent.wait()
        self.switch.stop()

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
def hosts(folder: Path, cluster: NatsCluster) -> Iterator[list[Host]]:
    made = [Host(f"cmp-{number}", folder, cluster) for number in range(1, HOSTS + 1)]
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


def is_told(fleet: Fleet, made: list[Host]) -> bool:
    """Every host has told its first sync."""
    try:
        return len(fleet.hosts()) == len(made)
    except NatsError:
        return False


def leader(cluster: NatsCluster, stream: str) -> NatsServer:
    """Of a stream; where none is chosen yet, as soon as there is one."""
    found = ""

    def is_known() -> bool:
        nonlocal found
        try:
            info = fleet.run(fleet.link.stream(stream))
        except NatsError:
            return False
        found = (info and info.cluster and info.cluster.leader) or ""
        return bool(found)

    with Fleet(cluster.urls, timeout=60) as fleet:
        wait_for(is_known, f"a leader of {stream}")
    return cluster.named(found)


def truth(host: Host) -> dict[str, Port]:
    with Reference(host.switch.connection, find_schema()) as reference:
        reference.refresh()
        return reference.ports()


def untrue(host: Host, there: dict[str, Port], said: dict[str, Port]) -> list[str]:
    return [f"{host.name}: {line}" for line in differences(said, there)]


@pytest.mark.slow
def test_log_and_buckets_are_true_after_leaders_were_killed_one_after_the_other(
    tmp_path: Path,
) -> None:
    with NatsCluster(tmp_path) as cluster, hosts(tmp_path, cluster) as made:
        with Fleet(cluster.urls, timeout=60) as fleet:
            wait_for(lambda: is_told(fleet, made), "every host being heard of")
        with churn(made) as done:
            for stream in ("dfovsdb", "KV_dfovsdb-ports"):
                aim = done[0] + CHANGES * HOSTS
                wait_for(lambda aim=aim: done[0] >= aim, "changes before the blow")
                victim = leader(cluster, stream)
                victim.stop()  # SIGKILL
                aim = done[0] + CHANGES * HOSTS
                wait_for(lambda aim=aim: done[0] >= aim, "changes while it is gone")
                victim.start()
                victim.wait()
        assert sum(host.outages() for host in made) >= HOSTS, "nobody noticed"
        with Fleet(cluster.urls, timeout=60) as fleet:
            there = {host.name: truth(host) for host in made}
            wait_for(lambda: not lies(fleet, made, there), "log and buckets being true")
            check_order(fleet.log())


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
    """Of each host it is that in which its agent told it, and nothing is told twice."""
    last: dict[str, int] = defaultdict(int)
    there: set[tuple[str, str]] = set()
    for item, _line, message_id, _sequence in log:
        source = message_id.rpartition(":")[0]
        assert item.seq == last[source] + 1, f"{message_id} after {last[source]}"
        last[source] = item.seq
        if isinstance(item, PortEvent):
            port = (item.host, item.port.uuid)
            known = port in there
            # a sink that finds a bucket created again asks for a resend of everything
            again = known and item.origin in ("initial", "resync", "replay")
            assert known == (item.action != "online") or again, message_id
            there.add(port)
            if item.action == "offline":
                there.remove(port)
