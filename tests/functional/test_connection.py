"""The connection: restarts, servers that are not there, old servers, one socket."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dfovsdb import DfovsdbError, Monitor, PortEvent, SyncMarker, watch
from dfovsdb.classifiers.match import MatchClassifier
from dfovsdb.errors import WaitTimeout
from dfovsdb.recording import replay
from dfovsdb.testing import CaptureSink, Sandbox, wait_until
from dfovsdb.testing.sandbox import find_schema
from tests.freeports import free_port
from tests.functional.helpers import insert, vm
from tests.machine import THIS_HOST
from tests.waiting import DEADLINE


def sockets_to(sandbox: Sandbox) -> int:
    """How many sockets of this process are connected to the TCP port of the sandbox."""
    port = int(sandbox.tcp_connection.rpartition(":")[2])
    ours = {
        os.readlink(f"/proc/self/fd/{fd}")
        for fd in os.listdir("/proc/self/fd")
        if os.path.islink(f"/proc/self/fd/{fd}")
    }
    count = 0
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        count += int(fields[2].split(":")[1], 16) == port and f"socket:[{fields[9]}]" in ours
    return count


@pytest.fixture
def box(ovsdb_sandbox: Sandbox) -> Sandbox:
    ovsdb_sandbox.vsctl("add-br", "br-int")
    return ovsdb_sandbox


@pytest.mark.parametrize("resync", ["replay", "diff"])
def test_a_killed_server_that_comes_back_changed_is_delivered_whole(
    box: Sandbox, resync: Any
) -> None:
    sink = CaptureSink()
    with Monitor(box.tcp_connection, sinks=[sink], resync=resync):
        box.transact(*insert("stays", 1, **vm("a")), *insert("leaves", 2, **vm("b")))
        sink.wait_until(lambda: sink.of("stays") and sink.of("leaves"))
        assert sockets_to(box) == 1
        before = len(sink.items)
        box.stop_database(kill=True)
        with box.hidden_database():
            box.vsctl("del-port", "leaves")
            box.transact(*insert("comes", 3, **vm("c")))
        box.start_database()
        sink.wait_for_sync(2)
        wait_until(lambda: sockets_to(box) == 1)
        started, *events, finished = sink.items[before:]
        assert (started.action, finished.action) == ("sync_started", "sync_finished")
        assert {item.origin for item in sink.items[before:]} == {"resync"}
        delivered = [(e.action, e.port.name) for e in events]  # type: ignore[union-attr]  # no marker is among them
        assert delivered[0] == ("offline", "leaves")
        online = {name for action, name in delivered[1:] if action == "online"}
        assert online == ({"comes", "stays", "br-int"} if resync == "replay" else {"comes"})
        assert len(delivered) == len(online) + 1


def test_with_diff_a_restart_of_the_database_alone_makes_no_event(ovs_sandbox: Sandbox) -> None:
    ovs_sandbox.add_bridge("br-int")
    ovs_sandbox.vsctl(
        "add-port",
        "br-int",
        "tap0",
        "--",
        "set",
        "interface",
        "tap0",
        "type=dummy",
        "external_ids:iface-id=a",
    )
    sink = CaptureSink()
    with Monitor(ovs_sandbox.connection, sinks=[sink], resync="diff") as monitor:
        monitor.wait_for(lambda p: p.name == "tap0" and p.link_state == "up", DEADLINE)
        sink.wait_until(lambda: sink.of("tap0") and sink.of("tap0")[-1].port.link_state == "up")
        before = len(sink.events)
        ovs_sandbox.stop_database(kill=True)
        ovs_sandbox.start_database()
        sink.wait_for_sync(2)
        # The switch fills the ephemeral columns again; what it writes after that comes later.
        wait_until(lambda: ovs_sandbox.vsctl("get", "interface", "tap0", "link_state") == "up\n")
        ovs_sandbox.vsctl("set", "interface", "tap0", "external_ids:attached-mac=later")
        sink.wait_until(lambda: len(sink.events) > before)
        (change,) = sink.events[before:]
        assert change.port.attributes["attached_mac"] == "later"
        assert change.port.link_state == "up"


def test_what_the_switch_forgets_is_still_known_after_a_restart(ovs_sandbox: Sandbox) -> None:
    ovs_sandbox.add_bridge("br-int")
    with Monitor(ovs_sandbox.connection) as monitor:
        known = monitor.wait_for(lambda port: port.link_state == "up", DEADLINE)
        ovs_sandbox.stop_vswitchd()  # nobody fills the columns again
        ovs_sandbox.stop_database(kill=True)
        wait_until(lambda: monitor.trouble)
        ovs_sandbox.start_database()
        wait_until(lambda: not monitor.trouble)
        assert "[]" in ovs_sandbox.vsctl("--no-wait", "get", "interface", "br-int", "link_state")
        (port,) = monitor.ports().values()
        assert (port.link_state, port.mac_in_use) == (known.link_state, known.mac_in_use)


def test_a_server_that_is_not_there_yet_is_waited_for() -> None:
    with Sandbox(vswitchd=False) as box:
        box.vsctl("add-br", "br-int")
        box.stop_database()
        sink = CaptureSink()
        with Monitor(box.connection, sinks=[sink]) as monitor:
            wait_until(lambda: monitor.trouble)
            assert "ovsdb-server running" in monitor.trouble or "which is there" in monitor.trouble
            assert not monitor.wait_synced(0)
            box.start_database()
            sink.wait_for_sync()
            assert monitor.trouble == ""
            assert [event.port.name for event in sink.events] == ["br-int"]


def test_watch_gives_up_after_its_timeout_and_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(WaitTimeout, match=r"cannot connect to unix:.*nobody"):
        list(watch(f"unix:{tmp_path}/nobody", once=True, timeout=0.5))


def test_wait_for_gives_up_and_names_the_trouble(tmp_path: Path) -> None:
    with Monitor(f"unix:{tmp_path}/nobody") as monitor:
        wait_until(lambda: monitor.trouble)
        with pytest.raises(WaitTimeout, match="nobody"):
            monitor.wait_for(lambda _port: True, timeout=0.2)


def test_wait_for_raises_what_its_predicate_raises(box: Sandbox) -> None:
    def broken(_port: object) -> bool:
        raise LookupError("my own mistake")

    with Monitor(box.connection) as monitor, pytest.raises(LookupError, match="my own mistake"):
        monitor.wait_for(broken, DEADLINE)


def test_ports_are_the_last_known_while_disconnected(box: Sandbox) -> None:
    with Monitor(box.connection) as monitor:
        assert monitor.wait_synced(DEADLINE)
        box.stop_database(kill=True)
        wait_until(lambda: monitor.trouble)
        assert [port.name for port in monitor.ports().values()] == ["br-int"]


def test_a_silent_server_is_probed_and_given_up(box: Sandbox) -> None:
    with Monitor(box.connection, inactivity_probe=1) as monitor:
        assert monitor.wait_synced(DEADLINE)
        box.pause_database()
        wait_until(lambda: "no answer" in monitor.trouble)
        box.resume_database()
        wait_until(lambda: not monitor.trouble)


@pytest.mark.parametrize("host", THIS_HOST)
def test_a_tcp_server_is_found_by_address_and_by_name(box: Sandbox, host: str) -> None:
    port = box.tcp_connection.rpartition(":")[2]
    assert [e.port.name for e in watch(f"tcp:{host}:{port}", once=True, timeout=DEADLINE)] == [
        "br-int"
    ]


def test_a_tcp_server_is_found_by_its_ipv6_address(box: Sandbox) -> None:
    port = free_port("::1")
    box.vsctl("set-manager", f"ptcp:{port}:[::1]")
    assert list(watch(f"tcp:[::1]:{port}", once=True, timeout=DEADLINE))


def test_the_plain_method_of_rfc_7047_tells_the_same(box: Sandbox) -> None:
    sink = CaptureSink()
    with Monitor(box.connection, sinks=[sink], monitor="rfc7047"):
        sink.wait_for_sync()
        box.transact(*insert("tap0", **vm("a")))
        sink.wait_for_actions("tap0", ["online"])
        box.transact(
            {
                "op": "update",
                "table": "Interface",
                "where": [["name", "==", "tap0"]],
                "row": {"ofport": 7},
            }
        )
        updated = sink.wait_for_actions("tap0", ["online", "updated"])[-1]
        assert (updated.port.ofport, updated.port.attributes["iface_id"]) == (7, "a")
        box.vsctl("del-port", "tap0")
        sink.wait_for_actions("tap0", ["online", "updated", "offline"])


@contextmanager
def old_server(box: Sandbox, path: Path) -> Iterator[str]:
    """A server that knows only `monitor`: no such ovsdb-server is packaged any more, so this
    stands before a real one and answers monitor_cond as OVS 2.5 did."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def relay(source: socket.socket, target: socket.socket, *, answer: bool) -> None:
        while data := _receive(source):
            request = json.loads(data) if answer else {}
            if request.get("method") == "monitor_cond":
                reply = {"id": request["id"], "error": "unknown method", "result": None}
                source.sendall(json.dumps(reply).encode())
            else:
                target.sendall(data)
        target.shutdown(socket.SHUT_RDWR)

    client_side: list[socket.socket] = []

    def serve() -> None:
        client, _ = listener.accept()
        server = socket.socket(socket.AF_UNIX)
        server.connect(box.connection.removeprefix("unix:"))
        client_side.extend((client, server))
        back = threading.Thread(target=relay, args=(server, client), kwargs={"answer": False})
        back.start()
        relay(client, server, answer=True)
        back.join()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"unix:{path}"
    finally:
        thread.join(DEADLINE)
        for end in (*client_side, listener):
            end.close()


def _receive(source: socket.socket) -> bytes:
    try:
        return source.recv(1 << 16)
    except OSError:
        return b""


def test_a_server_that_knows_only_monitor_works(box: Sandbox, tmp_path: Path) -> None:
    sink = CaptureSink()
    with old_server(box, tmp_path / "old.sock") as connection:
        with Monitor(connection, sinks=[sink]):
            sink.wait_for_sync()
            box.transact(*insert("tap0", **vm("a")))
            sink.wait_for_actions("tap0", ["online"])
        assert sink.closed


@pytest.mark.parametrize("lacking", ["error", "mac_in_use"])
def test_an_older_schema_is_monitored_for_what_it_has_and_a_newer_one_for_everything(
    lacking: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    schema = json.loads(find_schema().read_text())
    del schema["tables"]["Interface"]["columns"][lacking]
    old = tmp_path / "old.ovsschema"
    old.write_text(json.dumps(schema))
    sink = CaptureSink()
    with Sandbox(vswitchd=False, schema=old) as box, Monitor(box.connection, sinks=[sink]):
        sink.wait_for_sync()
        warnings = [r.message for r in caplog.records if "no column" in r.message]
        assert warnings == [
            f"the server's table Interface has no column {lacking}; continuing without it"
        ]
        box.stop_database()
        box.convert_database(find_schema())
        box.start_database()
        sink.wait_for_sync(2)
        box.vsctl("add-br", "br-int")
        box.vsctl(
            "add-port",
            "br-int",
            "tap0",
            "--",
            "set",
            "interface",
            "tap0",
            "external_ids:iface-id=a",
        )
        box.transact(
            {
                "op": "update",
                "table": "Interface",
                "where": [["name", "==", "tap0"]],
                "row": {"ofport": -1, lacking: "fe:16:3e:00:00:01"},
            }
        )
        sink.wait_until(lambda: sink.of("tap0") and sink.of("tap0")[-1].port.ofport == -1)
        assert getattr(sink.of("tap0")[-1].port, lacking) == "fe:16:3e:00:00:01"


def test_a_database_without_what_is_required_is_named(tmp_path: Path) -> None:
    schema = json.loads(find_schema().read_text())
    del schema["tables"]["Interface"]["columns"]["external_ids"]
    strange = tmp_path / "strange.ovsschema"
    strange.write_text(json.dumps(schema))
    with Sandbox(vswitchd=False, schema=strange) as box, Monitor(box.connection) as monitor:
        wait_until(lambda: monitor.trouble)
        assert "does not have the columns external_ids" in monitor.trouble


def test_a_malformed_connection_is_refused_before_anything_starts() -> None:
    for connection in (
        "",
        "tcp:host",
        "tcp:a host:6640",
        "tcp:host:0",
        "tcp:::1:6640",
        "udp:h:1",
        "unix:",
    ):
        with pytest.raises(DfovsdbError, match="connection"):
            Monitor(connection)


@pytest.mark.parametrize("connection", ["unix:/x   # comment", "unix:/x ", "tcp:host:6640 # x"])
def test_a_connection_with_a_comment_is_refused(connection: str) -> None:
    with pytest.raises(DfovsdbError, match="a comment needs a line of its own"):
        Monitor(connection)


def test_the_path_of_a_socket_may_have_a_space(tmp_path: Path, ovsdb_sandbox: Sandbox) -> None:
    (tmp_path / "d e").symlink_to(ovsdb_sandbox.connection.removeprefix("unix:"))
    with Monitor(f"unix:{tmp_path}/d e") as monitor:
        assert monitor.wait_synced(DEADLINE)


def test_what_is_watched_is_what_its_recording_gives(
    ovsdb_sandbox: Sandbox, tmp_path: Path
) -> None:
    ovsdb_sandbox.vsctl("add-br", "br-int")
    file = tmp_path / "r"
    live = list(watch(ovsdb_sandbox.connection, once=True, markers=True, record=file))
    again = list(replay(file))
    assert [untimed(item) for item in live] == [untimed(item) for item in again]


def untimed(item: PortEvent | SyncMarker) -> object:
    return {**msgspec.structs.asdict(item), "time": None}


def test_a_restart_of_the_database_takes_nothing_from_what_classifiers_read(
    ovsdb_sandbox: Sandbox,
) -> None:
    """Ephemeral columns are empty after it, until the switch writes them again."""
    ovsdb_sandbox.add_bridge("br-int")
    facts: dict[str, Any] = {
        "type": "vxlan",
        "ofport": 5,
        "admin_state": "up",
        "link_state": "up",
        "mac_in_use": "aa:55:aa:55:00:01",
        "mtu": 1500,
        "bfd_status": ["map", [["state", "up"]]],
        "options": ["map", [["remote_ip", "10.0.0.2"]]],
    }
    ovsdb_sandbox.transact(*insert("vx1", 1, **facts))
    classifier = MatchClassifier(
        "tunnel", types=["vxlan"], attributes=["mtu:mtu", "bfd:bfd_status"]
    )
    sink = CaptureSink()
    with Monitor(ovsdb_sandbox.connection, classifiers=[classifier], sinks=[sink], resync="diff"):
        sink.wait_for_actions("vx1", ["online"])
        before = sink.of("vx1")[0].port
        assert before.attributes["mtu"] == "1500"
        assert "up" in (before.attributes["bfd"] or "")
        ovsdb_sandbox.stop_database(kill=True)
        ovsdb_sandbox.start_database()
        sink.wait_for_sync(2)
        assert sink.actions("vx1") == ["online"]
        # what the switch writes again is no news, and what it writes otherwise is
        again = ("ofport", "admin_state", "link_state", "mac_in_use", "bfd_status")
        same = {name: facts[name] for name in again}
        where = [["name", "==", "vx1"]]
        ovsdb_sandbox.transact(
            {"op": "update", "table": "Interface", "where": where, "row": {**same, "mtu": 9000}}
        )
        sink.wait_until(lambda: sink.actions("vx1") == ["online", "updated"])
        after = sink.of("vx1")[1].port
        assert after.attributes == {**before.attributes, "mtu": "9000"}
        assert after.ofport == before.ofport
