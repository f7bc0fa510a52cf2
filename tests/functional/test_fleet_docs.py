"""docs/fleet.md: its configurations run real servers, its programs run."""

from __future__ import annotations

import asyncio
import contextlib
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.js import api

from dfovsdb import config
from dfovsdb.errors import SinkUnavailable
from dfovsdb.sinks.base import SinkContext
from dfovsdb.sinks.nats import NatsSink
from dfovsdb.sinks.nats.client import NatsError, Publication
from dfovsdb.testing import wait_until
from tests.freeports import free_port
from tests.natsserver import NatsServer
from tests.natsview import Fleet
from tests.unit.samples import event, marker, port
from tests.waiting import DEADLINE

TEXT = (Path(__file__).parents[2] / "docs" / "fleet.md").read_text()
ADMIN: dict[str, Any] = {"user": "admin", "password": "change-me-1"}
READER: dict[str, Any] = {"user": "reader", "password": "change-me-2"}
HOST: dict[str, Any] = {"user": "cmp-17", "password": "change-me-3"}
CONTEXT = SinkContext("cmp-17", "epoch", lambda: None, lambda: "synced")


def block(language: str, word: str) -> str:
    found = re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    (one,) = [text for text in found if word in text]
    return str(one)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    """With exactly the accounts and permissions of the guide."""
    with NatsServer(tmp_path / "nats", settings=block("text", "accounts {")) as server:
        yield server


@pytest.fixture
def admin(server: NatsServer) -> Iterator[Fleet]:
    with Fleet([server.url], **ADMIN) as admin:
        for settings in admin.streams.configs():
            admin.run(admin.link.create(settings))
        yield admin


def program(word: str, server: NatsServer, **changes: str) -> subprocess.CompletedProcess[str]:
    code = re.sub(
        r"nats://nats1\.example:4222|nats://127\.0\.0\.1:4222", server.url, block("python", word)
    )
    for old, new in changes.items():
        code = code.replace(old, new)
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=DEADLINE, check=True
    )


def test_a_host_of_the_guide_keeps_what_is_its_own(server: NatsServer, admin: Fleet) -> None:
    """Syncs, events, removing what another run left, reading its own heartbeat: all that an agent
    does.
    """
    for epoch, uuids in (("e1", ("u-1", "u-2")), ("e2", ("u-2", "u-3"))):
        sink = NatsSink([server.url], create=False, heartbeat=0.1, **HOST)
        sink.open(CONTEXT._replace(epoch=epoch))
        sink.sync_started(marker(seq=1))
        for number, uuid in enumerate(uuids, start=2):
            attributes = {"iface_id": f"v.{uuid}"}
            sink.emit(event(port(uuid=uuid, attributes=attributes), seq=number))
        sink.sync_finished(marker(action="sync_finished", seq=4, ports=2))
        time.sleep(0.1)
        sink.poll()
        sink.close()
    assert set(admin.ports("cmp-17")) == {"u-2", "u-3"}
    assert admin.vifs() == {"v=2Eu-2.cmp-17.u-2", "v=2Eu-3.cmp-17.u-3"}
    assert set(admin.fold()["cmp-17"]) == {"u-2", "u-3"}
    assert admin.hosts()["cmp-17"].heartbeat is not None


@pytest.mark.parametrize(
    "subject",
    [
        "dfovsdb.v1.cmp-18.vm",
        "$KV.dfovsdb-ports.cmp-18.u-1",
        "$KV.dfovsdb-vifs.v1.cmp-18.u-1",
        "$KV.dfovsdb-vifs.cmp-17.cmp-18.u-1",
        "$KV.dfovsdb-hosts.cmp-18",
        "$JS.API.STREAM.PURGE.dfovsdb",
        "$JS.API.STREAM.DELETE.dfovsdb",
        "$JS.API.STREAM.UPDATE.dfovsdb",
        "$JS.API.CONSUMER.CREATE.dfovsdb",
        "$JS.API.DIRECT.GET.KV_dfovsdb-ports.$KV.dfovsdb-ports.cmp-18.u-1",
        "$JS.API.DIRECT.GET.KV_dfovsdb-ports",
    ],
)
def test_a_host_of_the_guide_touches_nothing_of_another(
    server: NatsServer, admin: Fleet, subject: str
) -> None:
    """Neither as the subject of a message, nor as that of its acknowledgement."""
    said: list[str] = []

    async def publish() -> None:
        async def keep(error: Exception) -> None:
            said.append(str(error))

        client = await nats.connect(
            server.url, inbox_prefix="_INBOX_cmp-17", error_cb=keep, **HOST
        )
        await client.publish(subject, b"{}")
        await client.publish("dfovsdb.v1.cmp-17.vm", b"{}", reply=subject)
        async with asyncio.timeout(DEADLINE):
            while not said:
                await client.flush()
        await client.close()

    asyncio.run(publish())
    wait_until(lambda: [entry.subject for entry in admin.stored()] == ["dfovsdb.v1.cmp-17.vm"])
    assert f'permissions violation for publish to "{subject.lower()}"' in said[0].lower()
    for bucket in ("ports", "vifs", "hosts"):
        assert admin.keys(f"dfovsdb-{bucket}") == {}


def big_log(admin: Fleet) -> int:
    """Fill the log with more than the server sends to a client that does not read (64 MB)."""
    admin.publish([Publication("dfovsdb.v1.cmp-17.vm", bytes(400_000))] * 300)
    return 300


def test_the_reader_of_the_guide_reads_a_log_of_any_size(server: NatsServer, admin: Fleet) -> None:
    messages = big_log(admin)
    with Fleet([server.url], **READER) as reader:
        assert len(reader.stored()) == messages


def test_a_reader_who_may_not_say_what_has_arrived_is_told(tmp_path: Path) -> None:
    """It waits for no message that does not come."""
    settings = block("text", "accounts {").replace('"$JS.FC.>"', "")
    with NatsServer(tmp_path / "nats", settings=settings) as server:
        with Fleet([server.url], **ADMIN) as admin:
            for one in admin.streams.configs():
                admin.run(admin.link.create(one))
            big_log(admin)
        with (
            Fleet([server.url], timeout=1, **READER) as reader,
            pytest.raises(NatsError, match=r"(?i)permissions violation .*\$JS\.FC"),
        ):
            reader.stored()
        with (
            Fleet([server.url], timeout=1, **READER) as reader,
            pytest.raises(NatsError, match=r"(?i)permissions violation .*\$JS\.FC"),
        ):
            reader.run(follow(reader))


async def follow(reader: Fleet) -> None:
    start = api.ConsumerConfig(deliver_policy=api.DeliverPolicy.ALL)
    async for _ in reader.link.follow(reader.streams.stream, "dfovsdb.v1.>", start):
        pass


@pytest.mark.slow
def test_a_missing_permission_is_one_line_and_retried(server: NatsServer, admin: Fleet) -> None:
    del admin
    sink = NatsSink([server.url], create=False, **HOST)
    with pytest.raises(SinkUnavailable) as caught:
        sink.open(CONTEXT._replace(host="cmp-18"))
    assert "permissions violation" in str(caught.value).lower()
    assert len(str(caught.value).splitlines()) == 1
    sink = NatsSink([server.url], create=False, **HOST)
    sink.open(CONTEXT)
    sink._publisher._messages._host = "cmp-18"
    with contextlib.closing(sink), pytest.raises(SinkUnavailable) as caught:
        sink.emit(event(port()))
    # Whichever of the event's messages the server refused first.
    refused = r'permissions violation for publish to "(dfovsdb\.v1|\$kv\.dfovsdb-\w+)\.cmp-18\.'
    assert re.search(refused, str(caught.value), re.IGNORECASE)


@pytest.mark.slow
def test_a_reader_of_the_guide_reads_everything_and_writes_nothing(
    server: NatsServer, admin: Fleet
) -> None:
    sink = NatsSink([server.url], create=False, **HOST)
    sink.open(CONTEXT)
    sink.emit(event(port(uuid="u-1", attributes={"iface_id": "v1"})))
    sink.close()
    with Fleet([server.url], **READER) as reader:
        assert [claim.host for claim in reader.where("v1")] == ["cmp-17"]
        assert set(reader.ports("cmp-17")) == {"u-1"}
        assert set(reader.hosts()) == {"cmp-17"}
        assert len(reader.log()) == 1
    sink = NatsSink([server.url], create=False, **READER)
    with pytest.raises(SinkUnavailable):
        sink.open(CONTEXT._replace(host="x"))
    assert set(admin.hosts()) == {"cmp-17"}


def test_the_administrator_makes_what_agents_need(server: NatsServer, tmp_path: Path) -> None:
    text = block("ini", "change-me-1").replace("nats://nats1.example:4222", server.url)
    conf = tmp_path / "admin.conf"
    conf.write_text(text.replace("replicas = 3", "replicas = 1\nmax_age = 600"))
    command = [sys.executable, "-m", "dfovsdb", "--config-file", str(conf), "fleet", "create"]
    for _ in range(2):
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=DEADLINE, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.splitlines()[0] == "dfovsdb is there"
    with Fleet([server.url], **ADMIN) as admin:
        info = admin.run(admin.link.stream("dfovsdb"))
        assert info is not None
        assert info.config.max_age == 600
    conf.write_text(text.replace("replicas = 3", "replicas = 1\nmax_age = 601"))
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=False)
    assert done.returncode == 2
    assert "stream dfovsdb has max_age 600, but 601 is configured" in done.stderr


@pytest.mark.slow
def test_the_three_servers_of_the_guide_are_a_cluster(tmp_path: Path) -> None:
    text = block("text", "cluster {")
    ports = {f"nats{number}": (free_port(), free_port()) for number in (1, 2, 3)}
    servers = []
    for name, (client, route) in ports.items():
        conf = text.replace("server_name: nats1", f"server_name: {name}")
        conf = conf.replace("0.0.0.0:4222", f"127.0.0.1:{client}")
        conf = conf.replace("0.0.0.0:6222", f"127.0.0.1:{route}")
        conf = conf.replace("/var/lib/nats", str(tmp_path / name / "store"))
        for other, (_, its) in ports.items():
            conf = conf.replace(f"{other}.example:6222", f"127.0.0.1:{its}")
        server = NatsServer(tmp_path, name)
        server.port = client
        server.url = f"nats://127.0.0.1:{client}"
        (server.folder / "nats.conf").write_text(conf)
        server.start_as_configured()
        servers.append(server)
    try:
        urls = [server.url for server in servers]
        conf_file = tmp_path / "agent.conf"
        conf_file.write_text(block("ini", "state_dir").replace("/var/lib/dfovsdb", str(tmp_path)))
        assert config.load([str(conf_file)]).dfovsdb.sinks == ["nats"]
        sink = NatsSink(urls, replicas=3, timeout=2)

        def opens() -> bool:
            try:
                sink.open(CONTEXT)
            except SinkUnavailable:
                return False
            return True

        wait_until(opens)
        sink.emit(event(port()))
        with Fleet(urls) as fleet:
            info = fleet.run(fleet.link.stream("dfovsdb"))
            assert info is not None
            assert info.config.num_replicas == 3
        sink.close()
    finally:
        for server in servers:
            server.stop()


def test_the_program_of_the_guide_follows_the_log(tmp_path: Path) -> None:
    with NatsServer(tmp_path / "open") as server:
        sink = NatsSink([server.url])
        sink.open(CONTEXT)
        sink.emit(event(port()))
        sink.close()
        code = block("python", "async def follow").replace("nats://127.0.0.1:4222", server.url)
        loop = subprocess.Popen(
            [sys.executable, "-u", "-c", code], stdout=subprocess.PIPE, text=True
        )
        assert loop.stdout
        assert loop.stdout.readline() == "{'cmp-17': 1}\n"
        loop.kill()
        loop.wait()
        loop.stdout.close()


def messages(admin: Fleet, stream: str) -> int:
    """Of ports, with the marks of those that were deleted."""
    return sum("u-" in subject for subject in admin.run(admin.link.subjects(stream, ">")))


def administer(server: NatsServer, tmp_path: Path, *command: str) -> None:
    """Run a command of the guide with the configuration of its administrator."""
    conf = tmp_path / "admin.conf"
    conf.write_text(f"[sink_nats]\nservers = {server.url}\nuser = admin\npassword = change-me-1\n")
    subprocess.run(
        [sys.executable, "-m", "dfovsdb", "--config-file", str(conf), "fleet", *command],
        check=True,
        timeout=DEADLINE,
    )


def test_the_housekeeping_of_the_guide_removes_marks_and_hosts(
    server: NatsServer, admin: Fleet, tmp_path: Path
) -> None:
    sink = NatsSink([server.url], create=False, **HOST)
    sink.open(CONTEXT)
    for number in (1, 2):
        sink.emit(event(port(uuid=f"u-{number}"), seq=number))
    sink.emit(event(port(uuid="u-1"), action="offline", seq=3))
    sink.close()
    assert messages(admin, "KV_dfovsdb-ports") == 2
    administer(server, tmp_path, "tidy", "--yes")
    assert messages(admin, "KV_dfovsdb-ports") == 2, "the mark is young"
    administer(server, tmp_path, "tidy", "--older", "0", "--yes")
    assert messages(admin, "KV_dfovsdb-ports") == 1
    assert messages(admin, "KV_dfovsdb-vifs") == 1
    assert set(admin.ports("cmp-17")) == {"u-2"}
    administer(server, tmp_path, "forget", "cmp-17", "--yes")
    assert admin.ports("cmp-17") == {}
    assert admin.vifs() == set()
    assert admin.stored() == []
