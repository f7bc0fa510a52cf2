"""A fleet of agents and a real nats-server: where a VIF is, which host is quiet, what happens."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any, Self

import msgspec
import pytest
from msgspec.structs import replace

from dfovsdb.delivery.dispatcher import Dispatcher
from dfovsdb.doctor.reference import Reference, differences
from dfovsdb.json_v1 import to_json
from dfovsdb.model import Port, PortEvent
from dfovsdb.sinks.base import SinkContext
from dfovsdb.sinks.nats import NatsSink
from dfovsdb.sinks.nats.client import Publication
from dfovsdb.sinks.nats.messages import Heartbeat
from dfovsdb.sinks.nats.streams import key_subject
from dfovsdb.testing import Sandbox, wait_until
from dfovsdb.testing.sandbox import find_schema
from dfovsdb.version import __version__ as dfovsdb_version
from tests.freeports import free_port
from tests.natsserver import NatsServer
from tests.natsview import Fleet
from tests.unit.samples import event, marker, port
from tests.waiting import DEADLINE


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    with NatsServer(tmp_path / "nats") as server:
        yield server


@pytest.fixture
def fleet(server: NatsServer) -> Iterator[Fleet]:
    with Fleet([server.url]) as fleet:
        yield fleet


class Agent:
    """The real sink of a host, fed by hand; a context manager."""

    def __init__(
        self, server: NatsServer, host: str, epoch: str | None = None, **options: Any
    ) -> None:
        self.host = host
        self.seq = 0
        self.had: dict[str, Port] = {}
        self.condition = "synced"
        self.sink = NatsSink([server.url], **options)
        self.sink.open(
            SinkContext(host, epoch or f"epoch-{host}", lambda: None, lambda: self.condition)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.sink.close()

    def tell(self, now: Port | None, uuid: str | None = None) -> PortEvent:
        """That a port is there now; or is gone, where a uuid is given."""
        self.seq += 1
        known: dict[str, Any] = {"host": self.host, "seq": self.seq}
        if now is None:
            assert uuid is not None
            delivered = event(self.had.pop(uuid), action="offline", **known)
        else:
            previous = self.had.get(now.uuid)
            action = "updated" if previous else "online"
            delivered = event(now, action=action, previous=previous, **known)
            self.had[now.uuid] = now
        self.sink.emit(delivered)
        return delivered

    def sync(self, *ports: Port) -> None:
        self.seq += 1
        self.sink.sync_started(marker(host=self.host, seq=self.seq))
        for one in ports:
            self.tell(one)
        self.seq += 1
        self.sink.sync_finished(
            marker(action="sync_finished", host=self.host, seq=self.seq, ports=len(self.had))
        )


def vif(iface_id: str, uuid: str = "u-1", status: str | None = "active", **facts: Any) -> Port:
    known: dict[str, Any] = {"uuid": uuid, "name": f"tap-{iface_id}"[:15]}
    known["attributes"] = {"iface_id": iface_id, "iface_status": status}
    return port(**(known | facts))


# Live migration: what each host receives, in its own order; None is the end of the port there.

Story = Sequence[str | None]
FINISHED: Sequence[tuple[Story, Story]] = [
    (["active", None], ["active"]),
    (["active", "inactive", None], ["inactive", "active"]),
    (["active", "inactive", None], ["active", "inactive", "active"]),
    (["active", None], ["inactive", "active"]),
]
ABORTED: Sequence[tuple[Story, Story]] = [
    (["active"], ["active", None]),
    (["active", "inactive", "active"], ["inactive", None]),
    (["active", "inactive", "active"], ["inactive", "active", None]),
    (["active"], ["inactive", "active", "inactive", None]),
]


def interleavings(one: int, other: int) -> Iterator[Sequence[bool]]:
    """Every order of two sequences that keeps the order of each; False is a step of the first."""
    for chosen in itertools.combinations(range(one + other), other):
        yield [step in chosen for step in range(one + other)]


@pytest.mark.parametrize(
    ("stories", "ends_on"),
    [(FINISHED, "destination"), (ABORTED, "source")],
    ids=["finished", "aborted"],
)
def test_a_migration_ends_on_the_right_host_in_every_order_of_its_events(
    server: NatsServer,
    fleet: Fleet,
    stories: Sequence[tuple[Story, Story]],
    ends_on: str,
) -> None:
    numbers = itertools.count()
    with Agent(server, "source") as source, Agent(server, "destination") as destination:
        for source_story, destination_story in stories:
            # The source has the port before anything happens.
            for order in interleavings(len(source_story) - 1, len(destination_story)):
                iface_id = f"vif-{next(numbers)}"
                left = {source: iter(source_story), destination: iter(destination_story)}
                has: dict[str, str] = {}
                for agent in (source, *(destination if d else source for d in order)):
                    status = next(left[agent])
                    uuid = f"{iface_id}-{agent.host}"
                    agent.tell(vif(iface_id, uuid, status) if status else None, uuid)
                    has.pop(agent.host, None)
                    if status:
                        has[agent.host] = status
                    claims = fleet.where(iface_id)
                    assert {c.host: c.port.attributes["iface_status"] for c in claims} == has
                    assert claims or not has
                    if "active" in has.values():
                        assert claims[0].active, claims
                assert [claim.host for claim in fleet.where(iface_id)] == [ends_on], order
    assert next(numbers) > 15


def test_where_both_hosts_say_active_both_are_shown_the_later_first(
    server: NatsServer, fleet: Fleet
) -> None:
    with Agent(server, "a") as one, Agent(server, "b") as other:
        other.tell(vif("v1"))
        one.tell(vif("v1"))
        assert [claim.host for claim in fleet.where("v1")] == ["a", "b"]
        other.tell(vif("v1", mac_in_use="fe:16:3e:00:00:01"))
        assert [claim.host for claim in fleet.where("v1")] == ["b", "a"]
        other.tell(vif("v1", ofport=None))
        assert [claim.host for claim in fleet.where("v1")] == ["a", "b"], "one that is ready"


def test_the_active_claim_of_a_host_that_is_heard_of_is_shown_first(
    server: NatsServer, fleet: Fleet
) -> None:
    quick: dict[str, Any] = {"heartbeat": 0.2, "time_to_live": 1.0}
    with Agent(server, "live", **quick) as live, Agent(server, "quiet", **quick) as quiet:
        live.tell(vif("v1"))
        live.tell(vif("v2", "u-2", status="inactive"))
        quiet.tell(vif("v1"))
        quiet.tell(vif("v2", "u-2"))

        def is_quiet() -> bool:
            live.sink.poll()
            return {c.host: c.fresh for c in fleet.where("v1")} == {"live": True, "quiet": False}

        wait_until(is_quiet)
        assert [claim.host for claim in fleet.where("v1")] == ["live", "quiet"]
        # What the platform says of the VIF counts before whether the agent is heard of.
        assert [claim.host for claim in fleet.where("v2")] == ["quiet", "live"]


def test_where_reads_the_keys_of_one_vif_and_nothing_else(
    server: NatsServer, fleet: Fleet
) -> None:
    with Agent(server, "a") as agent:
        agent.sink.emit_many(
            [event(vif(f"v{n}", f"u-{n}"), host="a", seq=n + 1) for n in range(500)]
        )
        client = fleet._fleet._link._client
        assert client is not None
        before = client.stats["in_msgs"]
        (claim,) = fleet.where("v250")
        assert claim.port.attributes["iface_id"] == "v250"
        assert client.stats["in_msgs"] - before == 3, "its keys, its value, a heartbeat"


# The command.


def dfovsdb(*args: str) -> list[str]:
    return [sys.executable, "-m", "dfovsdb", *args]


def run(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        dfovsdb(*args), capture_output=True, text=True, timeout=DEADLINE, check=False
    )


def lines(text: str) -> list[list[str]]:
    """Columns that two spaces part."""
    return [re.split(r"  +", line) for line in text.splitlines()]


class Process:
    """A command that goes on running; a context manager."""

    def __init__(self, *args: str) -> None:
        self.out: list[str] = []
        self.err: list[str] = []
        self.process = subprocess.Popen(
            dfovsdb(*args), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self._threads = [
            threading.Thread(target=self._keep, args=pair)
            for pair in ((self.process.stdout, self.out), (self.process.stderr, self.err))
        ]
        for thread in self._threads:
            thread.start()

    @staticmethod
    def _keep(pipe: IO[str], kept: list[str]) -> None:
        for line in pipe:
            kept.append(line.rstrip("\n"))  # noqa: PERF401 - one by one, as they come

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        if self.process.poll() is None:
            self.end(signal.SIGKILL)
        for pipe in (self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()

    def end(self, number: int) -> int:
        self.process.send_signal(number)
        status = self.process.wait(DEADLINE)
        for thread in self._threads:
            thread.join(DEADLINE)
        return status

    def wait_for(self, condition: Callable[[], object]) -> None:
        try:
            wait_until(condition)
        except AssertionError:
            raise AssertionError("\n".join([*self.out, *self.err])) from None


def test_fleet_where_prints_every_claimant(server: NatsServer) -> None:
    with Agent(server, "cmp-1") as one, Agent(server, "cmp.2") as other:
        one.tell(vif("v1", status="inactive"))
        other.tell(vif("v1"))
        done = run("fleet", "--servers", server.url, "where", "v1")
        assert (done.returncode, done.stderr) == (0, "")
        header, first, second = lines(done.stdout)
        assert header[:7] == ["host", "agent", "vif", "state", "ofport", "kind", "name"]
        assert first[:7] == ["cmp.2", "fresh", "active", "ready", "5", "vm", "tap-v1"]
        assert second[:3] == ["cmp-1", "fresh", "inactive"]
        done = run("fleet", "--servers", server.url, "where", "v1", "--json")
        claims = [json.loads(line) for line in done.stdout.splitlines()]
        assert [(c["host"], c["fresh"], c["active"], c["port"]["name"]) for c in claims] == [
            ("cmp.2", True, True, "tap-v1"),
            ("cmp-1", True, False, "tap-v1"),
        ]
        done = run("fleet", "--servers", server.url, "where", "nosuch")
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == "dfovsdb: no host claims the VIF nosuch\n"


def test_fleet_ports_are_those_that_are_asked_for(server: NatsServer) -> None:
    def names(*args: str) -> list[str]:
        done = run("fleet", "--servers", server.url, "ports", "--json", *args)
        assert done.stderr == ""
        found = [json.loads(line) for line in done.stdout.splitlines()]
        return [f"{one['host']} {one['port']['name']}" for one in found]

    with Agent(server, "a") as one, Agent(server, "b") as other:
        one.tell(port(uuid="u-1", name="tap1"))
        one.tell(port("tunnel", {}, uuid="u-2", name="vxlan0", ofport=-1))
        other.tell(port(uuid="u-1", name="tap1"))
        other.tell(port(uuid="u-3", name="\x1b[31mtap3", ofport=None))
        assert names() == ["a vxlan0", "a tap1", "b \x1b[31mtap3", "b tap1"]
        assert names("--host", "b", "--host", "nosuch") == ["b \x1b[31mtap3", "b tap1"]
        assert names("--kind", "tunnel") == ["a vxlan0"]
        assert names("--state", "ready", "--name", "tap*") == ["a tap1", "b tap1"]
        done = run("fleet", "--servers", server.url, "ports")
        assert "\x1b" not in done.stdout
        assert lines(done.stdout)[1][:5] == ["a", "fresh", "tunnel", "vxlan0", "failed"]
        assert done.stdout.splitlines()[-1] == "4 ports on 2 hosts"
        assert names("--host", "a", "--host", "a") == ["a vxlan0", "a tap1"]


def test_fleet_hosts_tells_fresh_from_stale_and_keeps_the_ports_of_both(
    server: NatsServer,
) -> None:
    quick: dict[str, Any] = {"heartbeat": 0.2, "time_to_live": 2.0}
    with Agent(server, "empty", **quick) as empty, Agent(server, "quiet", **quick) as quiet:
        empty.sync()
        quiet.sync(port(uuid="u-1"), port(uuid="u-2"))
    live = Dispatcher(  # a worker, so that it beats by itself
        {"nats": NatsSink([server.url], **quick)},
        host="live",
        resync="replay",
        queue_limit=10,
        condition=lambda: "waiting: no answer",
    )
    live.start()
    try:
        live.publish_sync([("u-3", port(uuid="u-3"))])
        found: dict[str, dict[str, Any]] = {}

        def is_so() -> bool:
            done = run("fleet", "--servers", server.url, "hosts", "--json")
            found.update((one["host"], one) for one in map(json.loads, done.stdout.splitlines()))
            return {name: (host["fresh"], host["ports"]) for name, host in found.items()} == {
                "empty": (False, 0),
                "quiet": (False, 2),
                "live": (True, 1),
            }

        wait_until(is_so)
        assert found["live"]["connection"] == "waiting: no answer"
        assert found["quiet"]["last"] is not None
        done = run("fleet", "--servers", server.url, "hosts")
        assert [row[:3] for row in lines(done.stdout)[1:4]] == [
            ["empty", "stale", "0"],
            ["live", "fresh", "1"],
            ["quiet", "stale", "2"],
        ]
        assert done.stdout.splitlines()[-1] == "3 hosts, 1 fresh, 2 stale: 3 ports"
    finally:
        live.stop(5)


def test_fleet_watch_prints_the_events_of_all_hosts_as_they_happen(server: NatsServer) -> None:
    with Agent(server, "a") as one, Agent(server, "b") as other:
        one.tell(port(uuid="u-1", name="before"))
        with Process("fleet", "--servers", server.url, "watch", "--json") as watch:
            numbers = itertools.count(1)

            def is_seen() -> bool:  # from when on it watches, nobody says
                one.tell(port(uuid="u-1", name=f"first{next(numbers)}"))
                time.sleep(0.05)
                return bool(watch.out)

            watch.wait_for(is_seen)
            delivered = [one.tell(None, "u-1"), other.tell(port(uuid="u-2", name="tap2"))]
            watch.wait_for(lambda: len(watch.out) >= 2 and '"tap2"' in watch.out[-1])
            assert watch.out[-2:] == [to_json(one).decode() for one in delivered]
            assert "before" not in "".join(watch.out)
            assert watch.end(signal.SIGINT) == 0


def test_what_a_message_says_of_its_host_or_its_time_harms_nobody(server: NatsServer) -> None:
    with Agent(server, "a") as one, Fleet([server.url]) as fleet:
        delivered = one.tell(port(uuid="u-1", name="tap1"))
        forged = [
            replace(delivered, host="of-somebody-else", seq=11),
            replace(delivered, time=datetime(1, 1, 1, tzinfo=UTC), seq=12),
            replace(delivered, time=datetime(9999, 12, 31, 23, 59, tzinfo=UTC), seq=13),
        ]
        bucket = fleet.streams.hosts_bucket
        beats = [
            msgspec.json.encode(
                Heartbeat(
                    time=datetime(year, 1, 1, tzinfo=UTC),
                    version="1",
                    epoch="e",
                    ports=1,
                    connection="synced",
                )
            )
            for year in (1, 9999)
        ]
        messages = [
            *(Publication("dfovsdb.v1.a.vm", to_json(event)) for event in forged),
            Publication(key_subject(bucket, "a"), beats[0]),
            Publication(key_subject(bucket, "=61"), beats[1]),  # not how an agent writes it
        ]
        fleet.publish(messages)
        with Process("fleet", "--servers", server.url, "watch", "--since", "1h") as watch:
            watch.wait_for(lambda: sum("tap1" in line for line in watch.out) == 4)
            assert all(line.startswith("a ") for line in watch.out)
            assert any("names another host: 'of-somebody-else'" in line for line in watch.err)
            assert watch.end(signal.SIGINT) == 0
        done = run("fleet", "--servers", server.url, "hosts")
        assert done.returncode == 0
        assert {row[0] for row in lines(done.stdout)[1:3]} == {"a", "=61"}


def test_a_key_that_no_agent_writes_is_named_and_counts_for_nothing(server: NatsServer) -> None:
    with Agent(server, "a") as one, Fleet([server.url]) as fleet:
        one.tell(port(uuid="u-1", name="tap1"))
        streams = fleet.streams
        buckets = (streams.hosts_bucket, streams.ports_bucket, streams.vifs_bucket)
        keys = [
            *(key_subject(bucket, "x.y.z.too-long") for bucket in buckets),
            *(key_subject(bucket, "short") for bucket in buckets[1:]),
        ]
        fleet.publish([Publication(key, b"{}") for key in keys])
        for command, shown in (
            ("hosts", "1 hosts, 1 fresh"),
            ("ports", "tap1"),
            ("conflicts", "1 conflict"),  # the host has not synced
        ):
            done = run("fleet", "--servers", server.url, command)
            assert shown in done.stdout
            assert "Traceback" not in done.stderr
            said = done.stderr.count("was not written by an agent: this bucket has no such keys")
            assert said >= 3


def test_what_a_dead_host_said_last_is_kept_and_its_ports_are_marked(server: NatsServer) -> None:
    quick: dict[str, Any] = {"heartbeat": 0.2, "time_to_live": 1.0}
    with Agent(server, "dead", **quick) as dead:
        dead.sync(port(uuid="u-1", name="tap1"))
    with Agent(server, "live", **quick) as live:
        live.sync(port(uuid="u-2", name="tap2"))

        def hosts() -> dict[str, Any]:
            done = run("fleet", "hosts", "--servers", server.url, "--json")
            return {one["host"]: one for one in map(json.loads, done.stdout.splitlines())}

        wait_until(lambda: not hosts()["dead"]["fresh"])
        last = hosts()["dead"]
        assert last["version"] == dfovsdb_version
        assert last["connection"] == "synced"
        assert datetime.fromisoformat(last["last"]) < datetime.now(UTC)
        done = run("fleet", "ports", "--servers", server.url)
        assert lines(done.stdout)[1][:2] == ["dead", "stale"]


def test_a_dead_host_without_ports_is_known_after_its_sync_has_left_the_log(
    server: NatsServer, fleet: Fleet
) -> None:
    quick: dict[str, Any] = {"heartbeat": 0.2, "time_to_live": 1.0}
    with Agent(server, "dead", max_age=1, duplicate_window=1, **quick) as agent:
        agent.sync()
    wait_until(lambda: not fleet.stored(), what="an empty log")
    wait_until(lambda: fleet.hosts()["dead"].heartbeat is None)
    assert fleet.hosts()["dead"].said is not None


def test_conflicts_are_vifs_and_macs_on_two_and_hosts_without_a_sync(server: NatsServer) -> None:
    with Agent(server, "a") as one, Agent(server, "b") as other:
        one.sync(vif("v1", "u-1"), vif("v2", "u-2", status="active"))
        other.sync(vif("v2", "u-3", status="inactive"))
        done = run("fleet", "--servers", server.url, "conflicts")
        assert (done.returncode, done.stdout) == (0, "there is no conflict\n")
        other.tell(vif("v2", "u-3", status="active"))
        for agent, name, mac in (
            (one, "v3", "FA:16:3e:00:00:01"),
            (other, "v4", "fa:16:3e:00:00:01"),
        ):
            attributes = {"iface_id": name, "attached_mac": mac}
            agent.tell(port(uuid=f"u-{name}", attributes=attributes))
        with Agent(server, "never") as never:
            never.tell(port(uuid="u-6"))
            done = run("fleet", "--servers", server.url, "conflicts")
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        "vif v2 is active on 2 hosts: a, b",
        "mac fa:16:3e:00:00:01 belongs to 2 VIFs: v3, v4",
        "host never has an agent that has not synced since it was started",
        "3 conflicts",
    ]


def conflicts(server: NatsServer) -> list[str]:
    return run("fleet", "--servers", server.url, "conflicts").stdout.splitlines()[:-1]


def test_a_vif_that_waits_for_its_migration_is_no_conflict(server: NatsServer) -> None:
    """Nova plugs it as active on the destination long before OVN installs it there."""

    def on(uuid: str, installed: str | None) -> Port:
        known = {"iface_id": "v1", "iface_status": "active", "ovn_installed": installed}
        return port(uuid=uuid, attributes=known)

    with Agent(server, "a") as one, Agent(server, "b") as other:
        one.sync(on("u-1", "true"))
        other.sync(on("u-2", None))
        assert conflicts(server) == []
        other.tell(on("u-2", "true"))
        assert conflicts(server) == ["vif v1 is active on 2 hosts: a, b"]


def test_what_belongs_on_many_hosts_is_no_conflict(server: NatsServer) -> None:
    """A distributed router, OVN's port for metadata, and a trunk whose VIFs share an address."""
    mac = {"iface_status": "active", "attached_mac": "fa:16:3e:00:00:09"}
    with Agent(server, "a") as one, Agent(server, "b") as other:
        for agent in (one, other):
            agent.sync(
                vif("router", "u-1", type="internal"),
                vif("metadata", "u-2", status=None),
            )
        one.tell(port(uuid="u-3", attributes={"iface_id": "parent", **mac}))
        one.tell(port("patch", {"iface_id": "sub", **mac}, uuid="u-4", type="patch"))
        assert conflicts(server) == []


def test_a_host_whose_sync_has_left_the_log_is_no_conflict(
    server: NatsServer, fleet: Fleet
) -> None:
    with Agent(server, "a", max_age=1, duplicate_window=1) as agent:
        agent.sync(vif("v1"))
        wait_until(lambda: not fleet.stored(), what="an empty log")
        agent.sink.poll()
        assert conflicts(server) == []


def test_two_agents_of_one_name_are_found_whichever_has_beaten_last(server: NatsServer) -> None:
    quick: dict[str, Any] = {"heartbeat": 0.1, "time_to_live": 60}
    with Agent(server, "a", "one", **quick) as one, Agent(server, "a", "other", **quick) as other:
        for agent in (one, other):
            agent.sync()
        for agent in (one, other, one, other):
            time.sleep(0.1)
            agent.sink.poll()
        found = ["host a is the name of two agents, or has been since its agent has synced"]
        assert conflicts(server) == found
        time.sleep(0.1)
        one.sink.poll()
        assert conflicts(server) == found


def test_the_life_of_a_vif_goes_over_hosts(server: NatsServer) -> None:
    with Agent(server, "a") as one, Agent(server, "b") as other:
        one.tell(vif("v1", "u-1"))
        one.tell(port(uuid="u-9", name="of-another"))
        other.tell(vif("v1", "u-2", status="inactive"))
        one.tell(None, "u-1")
        other.tell(vif("v1", "u-2"))
    done = run("fleet", "history", "v1", "--servers", server.url)
    *shown, total = done.stdout.splitlines()
    between = r"between these events: on several hosts for [\d.,]+ s, on no host for 0.0 s"
    assert re.fullmatch(between, total)
    assert [line.rpartition("host=")[2] for line in shown] == [
        "a, then on a",
        "b, then on a, b",
        "a, then on b",
        "b, then on b",
    ]
    assert re.match(r" +\+[\d.,]+ s  \d{4}-\d\d-\d\d ", shown[1])
    as_json = run("fleet", "history", "v1", "--json", "--servers", server.url)
    events = [json.loads(line) for line in as_json.stdout.splitlines()]
    assert len(events) == len(shown)
    assert {event["port"]["attributes"]["iface_id"] for event in events} == {"v1"}
    done = run("fleet", "history", "nobody", "--servers", server.url)
    assert (done.returncode, done.stderr) == (
        1,
        "dfovsdb: the log has no event of the VIF nobody\n",
    )


def test_a_part_of_the_life_of_a_vif_knows_who_had_it_before(server: NatsServer) -> None:
    names = ("a", "b", "c")
    with contextlib.ExitStack() as stack:
        agents = [stack.enter_context(Agent(server, name)) for name in names]
        for agent in agents[:2]:
            agent.tell(vif("v1", "u-1"))
        time.sleep(0.5)
        since = datetime.now(UTC).isoformat()
        now = {"time": datetime.now(UTC)}
        agents[2].sink.emit(event(vif("v1", "u-3"), host="c", seq=1, **now))
        agents[0].sink.emit(event(vif("v1", "u-1"), action="offline", host="a", seq=2, **now))
    done = run("fleet", "history", "v1", "--since", since, "--servers", server.url)
    assert [line.rpartition("host=")[2] for line in done.stdout.splitlines()[:-1]] == [
        "c, then on a, b, c",
        "a, then on b, c",
    ]


def test_an_event_that_arrived_late_is_in_the_history_of_its_time(server: NatsServer) -> None:
    def ago(minutes: int) -> datetime:
        return datetime.now(UTC) - timedelta(minutes=minutes)

    with Agent(server, "a") as one, Agent(server, "b") as other:
        one.sink.emit(event(vif("v1", "u-1"), host="a", seq=1, time=ago(60)))
        one.sink.emit(event(vif("v1", "u-1"), action="updated", host="a", seq=2, time=ago(10)))
        other.sink.emit(event(vif("v1", "u-2"), host="b", seq=1, time=ago(40)))
    done = run("fleet", "history", "v1", "--until", "30m", "--servers", server.url)
    assert [line.rpartition("host=")[2] for line in done.stdout.splitlines()] == [
        "a, then on a",
        "b, then on a, b",
        "between these events: on several hosts for 0.0 s, on no host for 0.0 s",
    ]


def test_a_watch_of_the_past_ends_by_itself(server: NatsServer) -> None:
    with Agent(server, "a") as one:
        one.tell(port(uuid="u-1", name="tap1"))
    done = run("fleet", "watch", "--servers", server.url, "--since", "1h", "--until", "0s")
    assert done.returncode == 0
    assert "tap1" in done.stdout
    done = run("fleet", "watch", "--servers", server.url, "--since", "2h", "--until", "1h")
    assert (done.returncode, done.stdout) == (0, "")
    for command in (("watch",), ("history", "v1")):
        done = run("fleet", *command, "--servers", server.url, "--since", "1h", "--until", "2h")
        assert (done.returncode, done.stderr) == (2, "dfovsdb: --since is later than --until\n")


def _sleeps(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].startswith("S")  # proc(5)


def asked(
    keys: bytes, *args: str, meanwhile: Callable[[], object] = lambda: None, columns: int = 80
) -> tuple[int, str]:
    """Run a command on a terminal and press keys at its question; return status and output."""
    terminal, its_side = pty.openpty()
    process = subprocess.Popen(
        ["setsid", "--ctty", *dfovsdb(*args)],
        stdin=its_side,
        stdout=its_side,
        stderr=its_side,
        env=os.environ | {"COLUMNS": str(columns)},
    )
    os.close(its_side)
    shown = b""
    with contextlib.suppress(OSError):  # it has ended
        while process.poll() is None or select.select([terminal], [], [], 0)[0]:
            if keys and b"[y/N] " in shown:
                wait_until(lambda: _sleeps(process.pid))  # it waits for an answer
                meanwhile()
                os.write(terminal, keys)
                keys = b""
            if not select.select([terminal], [], [], DEADLINE)[0]:
                process.kill()
            shown += os.read(terminal, 4096)
    os.close(terminal)
    return process.wait(DEADLINE), shown.decode().replace("\r", "")


@pytest.mark.parametrize(
    ("keys", "status", "end"),
    [
        (b"y\n", 0, "the buckets are tidy\n"),
        (b"\n", 2, "dfovsdb: nothing was deleted\n"),
        (b"\x04", 2, "dfovsdb: nothing was deleted\n"),  # Ctrl-D
        (b"\x03", 1, "^C"),  # Ctrl-C
    ],
)
def test_only_a_yes_is_a_yes(server: NatsServer, keys: bytes, status: int, end: str) -> None:
    with Agent(server, "a") as agent:
        agent.sync()
    done, shown = asked(keys, "fleet", "tidy", "--servers", server.url)
    assert done == status, shown
    assert shown.endswith(end)


@pytest.mark.parametrize("command", ["forget a", "tidy"])
def test_a_connection_that_is_lost_while_it_asks_is_made_again(
    server: NatsServer, command: str
) -> None:
    restarted = False

    def restart() -> None:
        nonlocal restarted
        if restarted:
            return
        restarted = True
        server.stop()
        server.start()
        server.wait()

    with Agent(server, "a") as agent:
        agent.sync()
    args = ("fleet", *command.split(), "--servers", server.url)
    done, shown = asked(b"y\n", *args, meanwhile=restart)
    assert done == 0, shown
    assert shown.splitlines()[-1] in ("host a is deleted", "the buckets are tidy")


def test_the_iface_id_of_a_port_fits_into_eighty_columns(server: NatsServer) -> None:
    iface_id = "4aa64e21-d9d6-497e-bfa9-cf6dbb574054"
    with Agent(server, "cmp-1.example") as agent:
        agent.tell(vif(iface_id, name=f"tap{iface_id[:11]}"))
    status, shown = asked(b"", "fleet", "ports", "--servers", server.url)
    header, line, total = shown.splitlines()
    assert status == 0
    assert header.split() == ["host", "name", "attributes"]
    assert f"iface_id={iface_id}" in line
    assert total == "1 ports on 1 hosts (without agent, kind, state, ofport: --wide)"
    _, whole = asked(b"", "fleet", "ports", "--servers", server.url, columns=160)
    assert whole.splitlines()[0].split()[1] == "agent"


def test_what_a_narrow_terminal_cuts_is_whole_with_wide(server: NatsServer) -> None:
    iface_id = "4aa64e21-d9d6-497e-bfa9-cf6dbb574054"
    with Agent(server, "cmp-1.example.org") as agent:
        agent.condition = "waiting: cannot connect to unix:/run/openvswitch/db.sock"
        agent.tell(vif(iface_id))
    for command, end in (
        (("hosts",), agent.condition),
        (("ports",), f"iface_id={iface_id} iface_status=active"),
        (("where", iface_id), f"iface_id={iface_id} iface_status=active"),
    ):
        _, narrow = asked(b"", "fleet", *command, "--servers", server.url)
        assert narrow.splitlines()[1].endswith("…")
        _, whole = asked(b"", "fleet", *command, "--wide", "--servers", server.url)
        assert whole.splitlines()[1].endswith(end)


def test_a_host_is_forgotten_and_the_buckets_are_tidied_only_with_a_yes(
    server: NatsServer,
) -> None:
    with Agent(server, "a") as one, Agent(server, "b") as other, Fleet([server.url]) as fleet:
        one.sync(vif("v1", "u-1"))
        other.sync(vif("v1", "u-2"))
        other.tell(None, "u-2")
        no_terminal = "this asks before it deletes, and there is no terminal: add --yes"
        for command in (("forget", "a"), ("tidy",)):
            done = run("fleet", *command, "--servers", server.url)
            assert (done.returncode, done.stdout) == (2, "")
            assert done.stderr == f"dfovsdb: {no_terminal}\n"
            closed = ["sh", "-c", 'exec "$@" <&-', "-", *dfovsdb("fleet", *command)]
            done = subprocess.run(
                [*closed, "--servers", server.url],
                capture_output=True,
                text=True,
                timeout=DEADLINE,
                check=False,
            )
            assert done.stderr == f"dfovsdb: {no_terminal}\n"
        assert fleet.ports("a")
        done = run("fleet", "forget", "a", "--yes", "--servers", server.url)
        assert (done.returncode, done.stdout) == (0, "host a is deleted\n")
        assert fleet.ports("a") == {}
        assert [claim.host for claim in fleet.where("v1")] == []
        assert "a" not in fleet.hosts()
        assert "b" in fleet.hosts()
        done = run("fleet", "forget", "a", "--yes", "--servers", server.url)
        gone = "dfovsdb: there is no host a: `dfovsdb fleet hosts` lists all\n"
        assert (done.returncode, done.stderr) == (1, gone)
        done = run("fleet", "tidy", "--older", "0", "--yes", "--servers", server.url)
        assert (done.returncode, done.stdout) == (0, "the buckets are tidy\n")


def test_fleet_watch_begins_in_the_past_and_goes_on_after_an_outage(
    server: NatsServer,
) -> None:
    with Agent(server, "cmp-1") as one, Agent(server, "other") as other:
        one.sync(port(uuid="u-1", name="tap1"))
        other.tell(port(uuid="u-2", name="tap2"))
        args = ("fleet", "--servers", server.url, "watch", "--since", "10m")
        with Process(*args) as watch, Process(*args, "--host", "cmp-1", "--json") as narrow:
            watch.wait_for(lambda: any("tap2" in line for line in watch.out))
            assert re.fullmatch(r"cmp-1 +[\d:]{8}  ── initial sync begins ─+", watch.out[0])
            assert re.match(r"cmp-1 +\d\d:\d\d:\d\d  online   vm       tap1 ", watch.out[1])
            assert re.match(r"other +\d\d:\d\d:\d\d  online   vm       tap2 ", watch.out[3])
            narrow.wait_for(lambda: len(narrow.out) == 3)
            server.stop()
            watch.wait_for(lambda: watch.err)
            server.start()
            server.wait()
            one.sink.poll()
            one.tell(None, "u-1")
            watch.wait_for(lambda: "offline" in watch.out[-1])
            narrow.wait_for(lambda: len(narrow.out) == 4)
            assert len(watch.out) == 5, watch.out
            assert narrow.end(signal.SIGINT) == 0


@pytest.mark.parametrize(
    "command",
    [
        ("hosts",),
        ("ports",),
        ("where", "v1"),
        ("conflicts",),
        ("history", "v1"),
        ("watch", "--since", "1h"),
    ],
    ids=str,
)
def test_before_any_agent_has_written_one_line_says_so(
    server: NatsServer, command: tuple[str, ...]
) -> None:
    done = run("fleet", "--servers", server.url, *command)
    assert done.returncode == 1
    assert done.stderr.startswith("dfovsdb: no agent has written to these servers yet: ")
    assert done.stderr.count("\n") == 1


def test_a_bucket_that_was_deleted_is_named_and_comes_back(server: NatsServer) -> None:
    with Agent(server, "cmp-1") as agent, Fleet([server.url]) as fleet:
        agent.sync(vif("v1"))
        for bucket, command in (("vifs", ("where", "v1")), ("ports", ("hosts",))):
            fleet.run(fleet.link._jetstream().delete_stream(f"KV_dfovsdb-{bucket}"))
            done = run("fleet", "--servers", server.url, *command)
            assert done.returncode == 1
            assert done.stderr.startswith(
                f"dfovsdb: bucket dfovsdb-{bucket} was deleted: make it again with "
                "`dfovsdb fleet create`, and have every agent"
            )
            assert done.stderr.count("\n") == 1
            assert run("fleet", "--servers", server.url, "create").returncode == 0
            agent.tell(vif("v1"))  # as a resend does
            assert run("fleet", "--servers", server.url, *command).returncode == 0


def test_while_nobody_says_which_host_has_a_vif_both_are_named(server: NatsServer) -> None:
    with Agent(server, "cmp-1") as one, Agent(server, "cmp-2") as two:
        one.sync(vif("v1", status=None))
        two.sync(vif("v1", "u-2", status=None))
        done = run("fleet", "where", "--servers", server.url, "v1")
        assert done.stdout.splitlines()[-1] == (
            "cmp-1 and cmp-2 both claim it: the platform does not say yet who has it"
        )
        assert undecided(server) == {"cmp-1": True, "cmp-2": True}
        installed = {"iface_id": "v1", "iface_status": None, "ovn_installed": "true"}
        two.tell(vif("v1", "u-2", attributes=installed))
        done = run("fleet", "where", "--servers", server.url, "v1")
        assert done.stdout.splitlines()[1].startswith("cmp-2 ")
        assert "both claim it" not in done.stdout
        assert undecided(server) == {"cmp-1": False, "cmp-2": False}


def undecided(server: NatsServer) -> dict[str, bool]:
    done = run("fleet", "where", "--servers", server.url, "v1", "--json")
    claims = map(json.loads, done.stdout.splitlines())
    return {claim["host"]: claim["undecided"] for claim in claims}


def test_the_servers_of_the_command_are_those_of_the_sinks_options(
    server: NatsServer, tmp_path: Path
) -> None:
    conf = tmp_path / "dfovsdb.conf"
    conf.write_text(f"[sink_cloud]\nservers = {server.url}\nhosts_bucket = other\n")
    with Agent(server, "a", hosts_bucket="other") as agent:
        agent.sync()
        done = run("--config-file", str(conf), "fleet", "--instance", "cloud", "hosts")
        assert done.stdout.splitlines()[-1] == "1 hosts, 1 fresh, 0 stale: 0 ports"
        done = run("--config-file", str(conf), "fleet", "--instance", "clowd", "hosts")
        missing = "--instance clowd: the configuration has no section [sink_clowd]"
        assert (done.returncode, done.stderr) == (2, f"dfovsdb: {missing}\n")


@pytest.mark.parametrize(
    ("args", "status", "message"),
    [
        (("hosts",), 1, r"nats://127\.0\.0\.1:\d+: Connection refused"),
        (
            ("watch", "--since", "soon"),
            2,
            r"argument --since: 'soon' is not a time: use 90s, .*",
        ),
        (
            ("watch", "--since", "0001-01-01T00:00:00+12:00"),
            2,
            r"argument --since: '0001-01-01T00:00:00\+12:00' is not a time: use 90s, .*",
        ),
        (("nosuch",), 2, r"argument COMMAND: invalid choice: 'nosuch' .*"),
        ((), 2, r"the following arguments are required: COMMAND; see .*"),
    ],
)
def test_what_is_wrong_is_one_line(args: tuple[str, ...], status: int, message: str) -> None:
    done = run("fleet", "--servers", f"nats://127.0.0.1:{free_port()}", *args)
    assert done.returncode == status
    assert re.fullmatch(rf"dfovsdb( fleet( watch)?)?: {message}\n", done.stderr), done.stderr


def test_without_nats_py_the_extra_is_named(tmp_path: Path) -> None:
    (tmp_path / "nats.py").write_text("raise ModuleNotFoundError('no nats', name='nats')\n")
    conf = tmp_path / "dfovsdb.conf"
    conf.write_text("[dfovsdb]\nsinks = nats\n")
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    for args, what in (
        (("fleet", "hosts"), "fleet"),
        (("--config-file", str(conf), "run"), "[sink_nats] nats-py"),
    ):
        done = subprocess.run(
            dfovsdb(*args), capture_output=True, text=True, env=env, timeout=DEADLINE, check=False
        )
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert done.stderr.startswith(f"dfovsdb: {what} needs an extra: install dfovsdb[nats] ")


# Agents of their own.


def agent_configuration(
    tmp_path: Path, switch: Sandbox, server: NatsServer, state_dir: bool
) -> str:
    file = tmp_path / "agent.conf"
    file.write_text(
        f"[ovsdb]\nconnection = {switch.connection}\n[dfovsdb]\nsinks = nats\nhost = cmp-1\n"
        + (f"state_dir = {tmp_path}\nresync = diff\n" if state_dir else "")
        + f"[sink_nats]\nservers = {server.url}\nheartbeat = 0.3\ntime_to_live = 1.5\n"
    )
    return str(file)


@pytest.mark.parametrize("state_dir", [False, True])
def test_an_agent_that_was_killed_makes_log_and_buckets_true_when_it_is_back(
    ovs_sandbox: Sandbox, server: NatsServer, fleet: Fleet, tmp_path: Path, *, state_dir: bool
) -> None:
    def add(name: str, iface_id: str) -> None:
        ovs_sandbox.vsctl(
            "add-port",
            "br-int",
            name,
            "--",
            "set",
            "interface",
            name,
            "type=dummy",
            f"external_ids:iface-id={iface_id}",
        )

    def is_true() -> bool:
        reference.refresh()
        there = reference.ports()
        said = fleet.fold().get("cmp-1", {})
        return not (differences(said, there) or differences(fleet.ports("cmp-1"), there)) and (
            fleet.vifs()
            == {
                f"{one.attributes['iface_id']}.cmp-1.{one.uuid}"
                for one in there.values()
                if "iface_id" in one.attributes
            }
        )

    ovs_sandbox.add_bridge("br-int")
    for number in range(4):
        add(f"tap{number}", f"v{number}")
    conf = agent_configuration(tmp_path, ovs_sandbox, server, state_dir)
    with Reference(ovs_sandbox.connection, find_schema()) as reference:
        with Process("--config-file", conf, "run") as agent:
            wait_until(lambda: _there(fleet) and is_true(), what="log and buckets being true")
            agent.end(signal.SIGKILL)
        ovs_sandbox.vsctl("del-port", "tap0", "--", "del-port", "tap1")
        add("tap0", "v1")
        ovs_sandbox.vsctl("set", "interface", "tap2", "external_ids:iface-id=moved")
        assert not is_true()
        with Process("--config-file", conf, "run") as agent:
            wait_until(is_true, what="log and buckets being true again")
            epochs = {item.message_id.split(":")[1] for item in fleet.log()}
            assert len(epochs) == 2
            wait_until(lambda: fleet.hosts()["cmp-1"].heartbeat is not None)
            agent.end(signal.SIGKILL)
        wait_until(lambda: fleet.hosts()["cmp-1"].heartbeat is None, what="it being stale")
        assert fleet.hosts()["cmp-1"].ports == 4
        done = run("fleet", "--servers", server.url, "hosts")
        assert lines(done.stdout)[1][:3] == ["cmp-1", "stale", "4"]


def _there(fleet: Fleet) -> bool:
    return fleet.run(fleet.link.stream("KV_dfovsdb-hosts")) is not None


@pytest.mark.slow
def test_a_vif_is_found_in_either_of_two_shards() -> None:
    command = [sys.executable, "-m", "benchmarks.fleet_growth", "--ports", "800", "--asked", "20"]
    done = subprocess.run(
        [*command, "--shards", "2"], capture_output=True, text=True, timeout=DEADLINE, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "where, p99, ms" in done.stdout
