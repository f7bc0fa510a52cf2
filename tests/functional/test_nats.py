"""The sink nats and real nats-servers: what goes wrong, and what is kept."""

from __future__ import annotations

import contextlib
import logging
import re
import signal
import socket
import threading
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from nats.aio.msg import Msg

from dfovsdb import from_json
from dfovsdb.errors import ConfigurationError, SinkUnavailable
from dfovsdb.model import Port
from dfovsdb.sinks.base import SinkContext
from dfovsdb.sinks.nats import NatsSink
from dfovsdb.sinks.nats.client import Connection
from dfovsdb.sinks.nats.streams import Streams
from dfovsdb.testing import wait_until
from dfovsdb.testing.conformance.driven_sink import DrivenSink
from tests.freeports import free_port
from tests.natsserver import NatsServer
from tests.natsview import Fleet
from tests.unit.samples import event, marker, port
from tests.waiting import DEADLINE

HOST = "host"  # as DrivenSink says
CONTEXT = SinkContext(HOST, "epoch", lambda: None, lambda: "synced")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    with NatsServer(tmp_path / "nats") as server:
        yield server


def vm(number: int, iface_id: str | None = None, **attributes: str | None) -> Port:
    named: dict[str, str | None] = {"iface_id": iface_id or f"v{number}"}
    return port(uuid=f"u-{number}", name=f"tap{number}", attributes=named | attributes)


@contextlib.contextmanager
def driven(sink: NatsSink) -> Iterator[DrivenSink]:
    with DrivenSink(sink, deadline=DEADLINE) as driven:
        yield driven


def outage(driven: DrivenSink) -> bool:
    return not driven.worker.available


def reason(sink: NatsSink, context: SinkContext = CONTEXT) -> str:
    """Why it cannot be opened."""
    with pytest.raises((SinkUnavailable, ConfigurationError)) as caught:
        sink.open(context)
    return str(caught.value)


def said(caplog: pytest.LogCaptureFixture, word: str) -> str:
    """The one line of the log that has this word."""
    wait_until(lambda: any(word in record.getMessage() for record in caplog.records))
    (line,) = [r.getMessage() for r in caplog.records if word in r.getMessage()]
    return line


# What is kept.


def test_log_and_buckets_have_what_the_switch_has(server: NatsServer) -> None:
    with driven(NatsSink([server.url])) as agent, Fleet([server.url]) as fleet:
        agent.sync([vm(0), vm(1)])
        agent.until(lambda: agent.of("sync_finished"))
        agent.publish(vm(2))
        agent.settle()
        agent.publish("u-0")
        agent.settle()
        assert fleet.fold()[HOST] == fleet.ports(HOST) == dict(agent.ports())
        assert fleet.vifs() == {f"v1.{HOST}.u-1", f"v2.{HOST}.u-2"}
        subjects = [entry.subject for entry in fleet.stored()]
        assert subjects == [
            "dfovsdb.v1.host.sync",
            *["dfovsdb.v1.host.vm"] * 2,
            "dfovsdb.v1.host.sync",
            *["dfovsdb.v1.host.vm"] * 2,
        ]
        ids = [entry.headers["Nats-Msg-Id"] for entry in fleet.stored()]
        assert all(re.fullmatch(r"host:[0-9a-f]{32}:\d+", one) for one in ids)
        assert [one.rpartition(":")[2] for one in ids] == list("123456")


def test_a_vif_that_changes_hands_or_loses_its_name_leaves_no_key(server: NatsServer) -> None:
    with driven(NatsSink([server.url])) as agent, Fleet([server.url]) as fleet:
        agent.sync([vm(0, "a"), vm(1, "b"), vm(2, "c")])
        agent.publish(vm(0, "A"), port(uuid="u-1", name="tap1", attributes={}))
        agent.publish(port("tunnel", {}, uuid="u-2", name="tap2"))
        agent.settle()
        assert fleet.vifs() == {f"A.{HOST}.u-0"}
        agent.publish(vm(1, "a"))
        agent.settle()
        assert fleet.vifs() == {f"A.{HOST}.u-0", f"a.{HOST}.u-1"}


def test_an_update_delivered_by_another_run_still_removes_the_old_key(server: NatsServer) -> None:
    """With a state_dir and `resync = diff` a new process hears of the change alone."""
    sink = NatsSink([server.url])
    sink.open(CONTEXT)
    sink.emit(event(vm(0, "a"), seq=1))
    sink.close()
    again = NatsSink([server.url])
    again.open(CONTEXT._replace(epoch="epoch-2"))
    again.emit(event(vm(0, "b"), action="updated", previous=vm(0, "a"), seq=2))
    again.close()
    with Fleet([server.url]) as fleet:
        assert fleet.vifs() == {f"b.{HOST}.u-0"}


def test_a_host_that_was_reinstalled_cleans_up_after_itself(server: NatsServer) -> None:
    with Fleet([server.url]) as fleet:
        with driven(NatsSink([server.url])) as agent:
            agent.sync([vm(0), vm(1, "moved"), vm(2)])
            agent.settle()
        other = NatsSink([server.url])  # whose keys are its own
        other.open(CONTEXT._replace(host="host-2"))
        other.emit(event(vm(9), host="host-2"))
        with driven(NatsSink([server.url])) as agent:
            agent.sync([vm(1, "v1"), vm(5)])
            agent.settle()
            assert fleet.fold()[HOST] == fleet.ports(HOST) == dict(agent.ports())
        other.close()
        assert fleet.vifs() == {f"v1.{HOST}.u-1", f"v5.{HOST}.u-5", "v9.host-2.u-9"}
        assert set(fleet.ports("host-2")) == {"u-9"}


def test_differences_alone_remove_nothing_that_was_delivered_before(server: NatsServer) -> None:
    """A sync that does not deliver the whole table says nothing of the rest of it."""
    sink = NatsSink([server.url])
    sink.open(CONTEXT)
    for number in (0, 1):
        sink.emit(event(vm(number), seq=number + 1))
    sink.close()
    asked: list[bool] = []
    again = NatsSink([server.url])
    again.open(CONTEXT._replace(epoch="epoch-2", request_replay=lambda: asked.append(True)))
    with Fleet([server.url]) as fleet:
        again.sync_started(marker(seq=1))
        again.sync_finished(marker(action="sync_finished", ports=2, seq=2))
        assert set(fleet.ports(HOST)) == {"u-0", "u-1"}
        assert asked == []
        again.sync_started(marker(seq=3))
        again.sync_finished(marker(action="sync_finished", ports=3, seq=4))
        assert asked == [True], "the bucket lacks a port, and nobody asked for it"
    again.close()


def test_buckets_that_were_made_anew_are_filled_again(server: NatsServer, tmp_path: Path) -> None:
    sink = NatsSink([server.url], heartbeat=0.2, time_to_live=1)
    with driven(sink) as agent:
        agent.sync([vm(0), vm(1)])
        agent.settle()
        server.stop()
        server.folder.joinpath("store").rename(tmp_path / "lost")
        agent.until(lambda: outage(agent))
        server.start()
        server.wait()
        agent.until(lambda: len(agent.of("sync_finished")) == 2)
        agent.settle()
        with Fleet([server.url]) as fleet:
            assert fleet.ports(HOST) == fleet.fold()[HOST] == dict(agent.ports())


def test_a_host_that_was_forgotten_and_still_runs_comes_back_with_everything(
    server: NatsServer,
) -> None:
    quick: dict[str, Any] = {"heartbeat": 0.2, "time_to_live": 1}
    with driven(NatsSink([server.url], **quick)) as agent, Fleet([server.url]) as fleet:
        agent.sync([vm(0), vm(1)])
        agent.settle()
        fleet.forget(HOST)
        agent.until(lambda: len(agent.of("sync_finished")) == 2)
        agent.settle()
        assert fleet.ports(HOST) == fleet.fold()[HOST] == dict(agent.ports())
        assert fleet.vifs() == {f"v{number}.{HOST}.u-{number}" for number in (0, 1)}
        calls = len(agent.calls)
        agent.until(lambda: len(agent.calls) >= calls + 3)  # it beats, and resends no more
        assert len(agent.of("sync_finished")) == 2
    with driven(NatsSink([server.url], **quick)) as again, Fleet([server.url]) as fleet:
        again.sync([vm(1)])
        again.settle()
        assert set(fleet.ports(HOST)) == {"u-1"}, "the list of its keys has come back too"


def test_a_host_that_is_forgotten_just_before_a_sync_is_asked_for_everything(
    server: NatsServer,
) -> None:
    """Such a sync, of differences alone, writes a heartbeat where the last one was deleted."""
    asked: list[bool] = []
    sink = NatsSink([server.url], heartbeat=30, time_to_live=90)
    sink.open(CONTEXT._replace(request_replay=lambda: asked.append(True)))
    sink.sync_started(marker(seq=1))
    sink.emit(event(vm(0), seq=2))
    sink.sync_finished(marker(action="sync_finished", ports=1, seq=3))
    sink.poll()
    assert asked == []
    with Fleet([server.url]) as fleet:
        fleet.forget(HOST)
    sink.sync_started(marker(origin="resync", seq=4))
    sink.sync_finished(marker(action="sync_finished", origin="resync", ports=1, seq=5))
    sink.poll()
    sink.poll()
    sink.close()
    assert asked == [True]


def test_a_heartbeat_says_how_the_host_is_and_goes_stale_when_it_stops(
    server: NatsServer,
) -> None:
    states = ["waiting: no answer"]
    sink = NatsSink([server.url], heartbeat=0.2, time_to_live=5)
    sink.open(CONTEXT._replace(condition=lambda: states[-1]))
    sink.emit(event(vm(0)))
    with Fleet([server.url]) as fleet:
        states.append("synced")

        def delivered() -> bool:
            sink.poll()
            return bool(beat(fleet).connection == "synced")

        wait_until(delivered)
        assert beat(fleet).ports == 1
        assert beat(fleet).epoch == "epoch"
        sink.close()
        wait_until(lambda: fleet.hosts()[HOST].heartbeat is None)
        assert fleet.hosts()[HOST].ports == 1, "silence is not absence"


def beat(fleet: Fleet) -> Any:
    return fleet.hosts()[HOST].heartbeat


def test_a_host_that_is_busy_beats_too(server: NatsServer) -> None:
    """It is never polled, as something is delivered all the time."""
    sink = NatsSink([server.url], heartbeat=0.2, time_to_live=5)
    sink.open(CONTEXT)
    beats: set[datetime] = set()
    seq = 0
    with Fleet([server.url]) as fleet:

        def has_beaten_often() -> bool:
            nonlocal seq
            seq += 1
            sink.emit(event(vm(0), seq=seq))
            beats.add(beat(fleet).time)
            return len(beats) >= 3

        wait_until(has_beaten_often, DEADLINE)
    sink.close()


# Outages.


def test_a_server_that_is_not_there_is_waited_for_and_everything_caught_up(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    later = NatsServer(tmp_path / "nats")
    with driven(NatsSink([later.url])) as agent:
        agent.sync([vm(0)])
        agent.until(lambda: outage(agent))
        agent.publish(vm(1))
        line = said(caplog, "unavailable")
        assert line == (
            f"sink sink is unavailable: {later.url}: Connection refused; "
            "undelivered events are offered again"
        )
        with later:
            agent.settle()
            with Fleet([later.url]) as fleet:
                assert fleet.fold()[HOST] == fleet.ports(HOST) == dict(agent.ports())


def test_after_an_outage_it_goes_on_at_the_first_unacknowledged_message(
    server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server has them all, and half of its answers are lost: nothing is there twice."""
    heard = Connection._acknowledged

    async def acknowledged(link: Connection, message: Msg) -> None:
        if int(message.subject.rpartition(".")[2]) < 76:  # of 16 for the list of keys, 3 an event
            await heard(link, message)

    monkeypatch.setattr(Connection, "_acknowledged", acknowledged)
    sink = NatsSink([server.url], timeout=2, heartbeat=60, time_to_live=200)
    sink.open(CONTEXT)
    with Fleet([server.url]) as fleet:
        sink.sync_started(marker(seq=1))  # with it goes the heartbeat
        events = [event(vm(number), seq=2 + number) for number in range(40)]
        with pytest.raises(SinkUnavailable) as caught:
            sink.emit_many(events)
        assert str(caught.value) == f"{server.url}: no acknowledgement within 2 s"
        assert caught.value.delivered == 20
        monkeypatch.undo()
        sink.emit_many(events[20:])
        assert [from_json(entry.value).seq for entry in fleet.stored()] == list(range(1, 42))
        assert set(fleet.ports(HOST)) == {f"u-{number}" for number in range(40)}
    sink.close()


def test_beyond_the_duplicate_window_readers_drop_what_is_there_twice(
    server: NatsServer,
) -> None:
    sink = NatsSink([server.url], duplicate_window=1, heartbeat=0.2, time_to_live=1)
    sink.open(CONTEXT)
    with Fleet([server.url]) as fleet:
        sink.emit(event(vm(0), seq=1))
        sink.emit(event(vm(1), seq=2))
        sink.emit(event(vm(0), seq=1))
        assert len(fleet.stored()) == 2

        def delivered_again() -> bool:
            sink.emit(event(vm(0), seq=1))
            return len(fleet.stored()) > 2

        wait_until(delivered_again)
        assert [item.seq for item in fleet.events()] == [1, 2]
    sink.close()


def test_a_server_that_hangs_is_given_up_and_the_stop_is_bounded(server: NatsServer) -> None:
    sink = NatsSink([server.url], timeout=2)
    with driven(sink) as agent:
        agent.sync([vm(0)])
        agent.settle()
        server.pause()
        agent.publish(vm(1))
        agent.until(lambda: outage(agent))
        agent.until(lambda: any(call.error for call in agent.of("emit_many")))
        error = next(call.error for call in agent.of("emit_many") if call.error)
        assert str(error) == f"{server.url}: no acknowledgement within 2 s"
        server.resume()
        agent.settle()
    sink = NatsSink([server.url], timeout=2)
    sink.open(CONTEXT)
    server.pause()
    closing = threading.Thread(target=sink.close)
    closing.start()
    closing.join(DEADLINE)  # and not for ever
    assert not closing.is_alive()
    server.resume()


def test_a_server_that_leaves_in_peace_is_an_outage_too(server: NatsServer) -> None:
    with driven(NatsSink([server.url])) as agent:
        agent.sync([vm(0)])
        agent.settle()
        server.stop(signal.SIGTERM)
        agent.publish(vm(1))
        agent.until(lambda: outage(agent))
        server.start()
        server.wait()
        agent.settle()
        with Fleet([server.url]) as fleet:
            assert fleet.ports(HOST) == dict(agent.ports())


# Bad input.


def test_a_server_that_is_no_nats_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"nats://127.0.0.1:{listener.getsockname()[1]}"
        assert reason(NatsSink([url], timeout=0.3)) == f"{url}: no answer within 0.3 s"


def test_an_unknown_name_is_named() -> None:
    url = "nats://nosuch.invalid:4222"
    assert reason(NatsSink([url])).startswith(f"{url}: the name cannot be resolved")


def test_a_server_without_jetstream_is_named(tmp_path: Path) -> None:
    with NatsServer(tmp_path / "nats") as server:
        server.stop()
        conf = server.folder / "nats.conf"
        server.start()
        server.stop()
        conf.write_text(re.sub(r"(?s)jetstream \{.*?\n\}", "", conf.read_text()))
        server.start_as_configured()
        server.wait()
        why = reason(NatsSink([server.url]))
        assert why.startswith(f"{server.url}: stream dfovsdb: ")
        assert "JetStream" in why


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"max_msgs_per_subject": 5}, "bucket dfovsdb-hosts has max_msgs_per_subject 5, but 1 is"),
        ({"max_age": 600.0}, "bucket dfovsdb-hosts has max_age 600, but 30 is configured"),
    ],
)
def test_a_bucket_with_other_settings_stops_the_start_and_is_left_alone(
    server: NatsServer, changed: dict[str, Any], expected: str
) -> None:
    with Fleet([server.url]) as fleet:
        config = Streams().configs()[3].evolve(**changed)
        fleet.run(fleet.link.create(config))
        with pytest.raises(ConfigurationError) as caught:
            NatsSink([server.url]).open(CONTEXT)
        assert str(caught.value).startswith(expected)
        assert len(str(caught.value).splitlines()) == 1
        info = fleet.run(fleet.link.stream("KV_dfovsdb-hosts"))
        assert info is not None
        for name, value in changed.items():
            assert getattr(info.config, name) == value


def test_a_hosts_bucket_that_never_forgets_is_refused_even_if_it_is_only_used(
    server: NatsServer,
) -> None:
    with Fleet([server.url]) as fleet:
        for config in Streams().configs():
            fleet.run(fleet.link.create(config.evolve(max_age=0)))
        assert "a host would never be stale" in reason(NatsSink([server.url], create=False))


def test_without_create_nothing_is_made_and_what_is_missing_is_waited_for(
    server: NatsServer,
) -> None:
    sink = NatsSink([server.url], create=False)
    assert reason(sink) == f"{server.url}: stream dfovsdb does not exist, and create is false"
    with Fleet([server.url]) as fleet:
        for config in Streams(max_age=0, time_to_live=77).configs():
            fleet.run(fleet.link.create(config))
        sink.open(CONTEXT)
        sink.emit(event(vm(0)))
        sink.close()
        assert set(fleet.ports(HOST)) == {"u-0"}


def test_replicas_that_a_lone_server_cannot_keep_are_named(server: NatsServer) -> None:
    why = reason(NatsSink([server.url], replicas=3))
    assert "stream dfovsdb cannot be created: replicas > 1 not supported" in why


@pytest.mark.parametrize(
    ("host", "iface_id"),
    [
        ("cmp-17.example.org", "a b.c"),
        ("*", ">"),
        ("é 😀", ""),
        (" .", "a\nb\x00"),
        ("$KV", "v" * 5000),
    ],
)
def test_names_that_are_no_legal_keys_are_encoded_and_read_back(
    server: NatsServer, host: str, iface_id: str
) -> None:
    sink, other = NatsSink([server.url]), NatsSink([server.url])
    sink.open(CONTEXT._replace(host=host))
    other.open(CONTEXT._replace(host="other"))
    named = vm(0, iface_id) if iface_id else port(uuid="u-0", attributes={"iface_id": ""})
    try:
        other.emit(event(vm(1), host="other"))
        sink.sync_started(marker(host=host, seq=1))
        sink.emit(event(named, host=host, seq=2))
        sink.sync_finished(marker(action="sync_finished", host=host, seq=3, ports=1))
        with Fleet([server.url]) as fleet:
            assert fleet.ports(host) == {"u-0": named}
            assert set(fleet.hosts()) == {host, "other"}
            assert [one.host for one in fleet.where(iface_id)] == ([host] if iface_id else [])
            assert [one.host for one in fleet.where("v1")] == ["other"]
            assert fleet.fold()[host] == {"u-0": named}
        sink.emit(event(named, action="offline", host=host, seq=4))
        with Fleet([server.url]) as fleet:
            assert fleet.where(iface_id) == []
            assert fleet.ports(host) == {}
    finally:
        sink.close()
        other.close()


def test_a_message_past_the_servers_limit_is_refused_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with NatsServer(tmp_path / "nats", settings="max_payload: 4096") as server:
        with driven(NatsSink([server.url])) as agent, Fleet([server.url]) as fleet:
            long = vm(1, vm_id="x" * 9000)
            agent.sync([vm(0), long, vm(2)])
            wait_until(lambda: agent.of("sync_finished"))
            agent.publish(vm(3))
            wait_until(lambda: "u-3" in fleet.ports(HOST))
            assert set(fleet.ports(HOST)) == {"u-0", "u-2", "u-3"}
            agent.publish(vm(1))
            wait_until(lambda: set(fleet.ports(HOST)) == {"u-0", "u-1", "u-2", "u-3"})
        lines = [r.exc_info[1] for r in caplog.records if r.exc_info]
        assert re.fullmatch(
            r"a message of \d+ bytes on dfovsdb\.v1\.host\.vm: the server takes 4096, "
            r"its max_payload",
            str(lines[0]),
        )
        assert agent.worker.counters["outages"] == 0


def test_a_message_past_the_streams_limit_is_refused_alone(server: NatsServer) -> None:
    with Fleet([server.url]) as fleet:
        for config in Streams().configs():
            fleet.run(fleet.link.create(config.evolve(max_msg_size=2000)))
        with driven(NatsSink([server.url])) as agent:
            agent.sync([vm(0), vm(1, vm_id="x" * 3000), vm(2)])
            wait_until(lambda: agent.of("sync_finished"))
            assert set(fleet.ports(HOST)) == {"u-0", "u-2"}
            assert agent.worker.counters["refused"] >= 1
            assert agent.worker.counters["outages"] == 0
            agent.publish("u-1")


def test_a_full_jetstream_is_one_line_and_retried(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    full = NatsServer(tmp_path / "nats", limits="max_file_store: 1MB")
    with full, driven(NatsSink([full.url])) as agent:
        agent.sync([vm(number, vm_id="x" * 2000) for number in range(500)])
        agent.until(lambda: outage(agent))
        agent.publish(*(f"u-{number}" for number in range(1, 500)))
        line = said(caplog, "unavailable")
        assert f"{full.url}: JetStream is full: insufficient resources (10023);" in line
        full.stop()
        full.limits = "max_file_store: 100MB"
        full.start()
        full.wait()
        agent.settle()
        with Fleet([full.url]) as fleet:
            assert fleet.ports(HOST) == dict(agent.ports())


def test_a_server_that_wants_a_password_says_so_and_no_secret_is_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    users = 'authorization { user: "agent", password: "s3cret-word" }'
    with NatsServer(tmp_path / "nats", settings=users) as server:
        refused = f"{server.url}: authorization failed: see user, password, token and"
        assert reason(NatsSink([server.url])).startswith(refused)
        wrong = NatsSink([server.url], user="agent", password="s3cret-wrong")
        assert reason(wrong).startswith(refused)
        sink = NatsSink([server.url], user="agent", password="s3cret-word")
        sink.open(CONTEXT)
        sink.emit(event(vm(0)))
        sink.close()
    assert "s3cret" not in caplog.text


def test_a_token_is_shown_to_a_server_that_wants_one(tmp_path: Path) -> None:
    with NatsServer(tmp_path / "nats", settings='authorization { token: "t0ken" }') as server:
        assert "authorization failed" in reason(NatsSink([server.url], token="other"))
        sink = NatsSink([server.url], token="t0ken")
        sink.open(CONTEXT)
        sink.close()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"servers": []}, "option servers is empty"),
        (
            {"servers": ["nats://u:s3cret@h:1"]},
            "option servers contains a user name or a password",
        ),
        ({"servers": ["http://h:1"]}, "server 'http://h:1': use nats://HOST:PORT or tls://"),
        ({"servers": ["nats://h:port"]}, "server 'nats://h:port': use"),
        ({"servers": ["nats://h", "tls://h"]}, "use nats:// or tls:// for all"),
        ({"user": "u"}, "user and password must be given together"),
        ({"user": "u", "password": "p", "token": "t"}, "exclude each other"),
        ({"credentials_file": "/nosuch"}, "credentials_file '/nosuch' cannot be read: No such"),
        ({"credentials_file": __file__}, "does not contain a JWT and a seed of a user"),
        ({"ssl_key_file": "/nosuch"}, "ssl_key_file is set without ssl_cert_file"),
        (
            {"time_to_live": 5.0},
            "time_to_live is 5 s: it must be more than two heartbeats of 10 s",
        ),
        ({"stream": "a.b"}, "'a.b': use only letters, digits, - and _"),
        ({"ports_bucket": "b", "vifs_bucket": "b"}, "need different names"),
    ],
)
def test_options_that_cannot_be_used_say_so(options: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        NatsSink(**options)
    assert expected in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_nothing_is_logged_by_nats_py(
    server: NatsServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with driven(NatsSink([server.url, f"nats://127.0.0.1:{free_port()}"])) as agent:
        agent.sync([vm(0)])
        agent.settle()
        server.stop()
        agent.publish(vm(1))
        agent.until(lambda: outage(agent))
        server.start()
        server.wait()
        agent.settle()
    assert {r.name.partition(".")[0] for r in caplog.records} <= {"dfovsdb", "asyncio"}
    assert not [r for r in caplog.records if r.name == "asyncio" and r.levelno > logging.DEBUG]
