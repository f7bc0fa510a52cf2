"""Connection strings, and sockets against listeners of this process."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dfovsdb.errors import ConfigurationError, ConnectionLost
from dfovsdb.ovsdb import transport as transport_module
from dfovsdb.ovsdb.address import Address
from dfovsdb.ovsdb.transport import Transport
from dfovsdb.testing import wait_until
from tests.machine import needs_localhost
from tests.waiting import DEADLINE

# Connection strings.


@pytest.mark.parametrize(
    ("connection", "address"),
    [
        ("tcp:127.0.0.1:6640", Address("tcp", "127.0.0.1", 6640)),
        ("tcp:localhost:1", Address("tcp", "localhost", 1)),
        ("tcp:host.example.:65535", Address("tcp", "host.example.", 65535)),
        ("tcp:[::1]:6640", Address("tcp", "::1", 6640)),
        ("tcp:[fe80::1%eth0]:6640", Address("tcp", "fe80::1%eth0", 6640)),
        ("unix:/run/openvswitch/db.sock", Address("unix", "/run/openvswitch/db.sock")),
        ("unix:db.sock", Address("unix", "db.sock")),
        ("unix:/a:b.sock", Address("unix", "/a:b.sock")),
    ],
)
def test_a_connection_string_is_read_and_shown_as_it_was(
    connection: str, address: Address
) -> None:
    assert Address.parse(connection) == address
    assert str(address) == connection


def test_a_path_may_be_as_long_as_a_socket_address_holds() -> None:
    assert Address.parse("unix:/" + "x" * 106).host == "/" + "x" * 106
    with pytest.raises(ConfigurationError, match="not the path of a unix socket"):
        Address.parse("unix:/" + "x" * 107)
    with pytest.raises(ConfigurationError, match="not the path of a unix socket"):
        Address.parse("unix:/" + "é" * 54)


@pytest.mark.parametrize(
    "connection",
    [
        "",
        "tcp",
        "tcp:",
        "unix",
        "unix:",
        "127.0.0.1:6640",
        "tcp:127.0.0.1",
        "tcp:127.0.0.1:",
        "tcp::6640",
        "tcp:[]:6640",
        "tcp:::1:6640",
        "tcp:[::1]",
        "tcp:host:0",
        "tcp:host:65536",
        "tcp:host:-1",
        "tcp:host:+1",
        "tcp:host: 1",
        "tcp:host:1_0",
        "tcp:host:١٢",
        "tcp:host:" + "9" * 5000,
        "tcp:host:http",
        "tcp:..:6640",
        "tcp:" + "x" * 64 + ":6640",
        "tcp:a\0b:6640",
        "unix:a\0b",
        "ptcp:6640",
        "TCP:host:1",
        "/run/openvswitch/db.sock",
    ],
)
def test_what_is_no_connection_string_is_one_line_that_shows_it(connection: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        Address.parse(connection)
    assert repr(connection) in str(raised.value)
    assert "\n" not in str(raised.value)


# Sockets.


class Peer:
    """Listens, and is the other end of the connections that come."""

    def __init__(self, family: int, address: Any) -> None:
        self.listener = socket.socket(family, socket.SOCK_STREAM)
        self.listener.settimeout(DEADLINE)
        self.listener.bind(address)
        self.listener.listen()

    @property
    def port(self) -> int:
        port: int = self.listener.getsockname()[1]
        return port

    @contextlib.contextmanager
    def accepted(self) -> Iterator[socket.socket]:
        connection, _ = self.listener.accept()
        connection.settimeout(DEADLINE)
        with connection:
            yield connection


@pytest.fixture
def peer() -> Iterator[Peer]:
    peer = Peer(socket.AF_INET, ("127.0.0.1", 0))
    with peer.listener:
        yield peer


@pytest.fixture
def connecting(peer: Peer) -> Iterator[Transport]:
    """A transport to the peer, not yet opened."""
    with Transport(Address("tcp", "127.0.0.1", peer.port)) as transport:
        yield transport


@pytest.fixture
def pair(peer: Peer, connecting: Transport) -> Iterator[tuple[Transport, socket.socket]]:
    """A transport whose connection stands, and its other end."""
    stand(connecting)
    with peer.accepted() as other:
        yield connecting, other


def until(transport: Transport, done: Callable[[bytes], bool]) -> bytes:
    """Wait until what was read so far is enough."""
    data, end = b"", time.monotonic() + DEADLINE
    while not done(data):
        assert time.monotonic() < end, data
        data += transport.wait(0.1)
    return data


def stand(transport: Transport) -> None:
    transport.open()
    until(transport, lambda _: transport.ready)


def failure(connection: str) -> str:
    """Try to connect; returns why that is not possible."""
    with Transport(Address.parse(connection)) as transport:
        with pytest.raises(ConnectionLost) as raised:
            stand(transport)
        assert not transport.ready
        return str(raised.value)


def lost(transport: Transport) -> str:
    """Wait for the connection to be lost; returns how."""
    with pytest.raises(ConnectionLost) as raised:
        until(transport, lambda _: False)
    return str(raised.value)


def a_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def exchange(peer: Peer, transport: Transport) -> None:
    stand(transport)
    with peer.accepted() as other:
        transport.send(b"ask")
        assert other.recv(100) == b"ask"
        other.sendall(b"answer")
        assert until(transport, lambda data: len(data) >= 6) == b"answer"


def test_bytes_go_both_ways_over_tcp(peer: Peer, connecting: Transport) -> None:
    exchange(peer, connecting)


def test_bytes_go_both_ways_over_a_unix_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "db.sock")
    peer = Peer(socket.AF_UNIX, path)
    with peer.listener, Transport(Address.parse(f"unix:{path}")) as transport:
        exchange(peer, transport)


def test_bytes_go_both_ways_over_ipv6() -> None:
    try:
        peer = Peer(socket.AF_INET6, ("::1", 0))
    except OSError as error:
        pytest.skip(f"no IPv6 here: {error}")
    with peer.listener, Transport(Address.parse(f"tcp:[::1]:{peer.port}")) as transport:
        exchange(peer, transport)


@needs_localhost
def test_a_host_name_is_looked_up(peer: Peer) -> None:
    with Transport(Address.parse(f"tcp:localhost:{peer.port}")) as transport:
        exchange(peer, transport)


def resolve_to(monkeypatch: pytest.MonkeyPatch, *found: tuple[int, Any]) -> None:
    """Have every host name lead to these addresses."""
    answer = [(family, socket.SOCK_STREAM, 6, "", address) for family, address in found]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_options: answer)


def test_every_address_of_a_host_is_tried(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = (socket.AF_INET, ("127.0.0.1", a_free_port()))
    resolve_to(monkeypatch, closed, closed, (socket.AF_INET, ("127.0.0.1", peer.port)))
    with Transport(Address.parse(f"tcp:many.invalid:{peer.port}")) as transport:
        exchange(peer, transport)


def test_an_address_of_a_family_that_is_not_there_is_passed_over(
    peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = (socket.AF_APPLETALK, ("::1", peer.port))
    resolve_to(monkeypatch, nowhere, (socket.AF_INET, ("127.0.0.1", peer.port)))
    with Transport(Address.parse(f"tcp:both.invalid:{peer.port}")) as transport:
        exchange(peer, transport)
    resolve_to(monkeypatch, nowhere)
    assert "cannot connect to tcp:one.invalid:6640" in failure("tcp:one.invalid:6640")


def test_a_host_whose_addresses_all_refuse_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = (socket.AF_INET, ("127.0.0.1", a_free_port()))
    resolve_to(monkeypatch, closed, closed)
    assert "cannot connect to tcp:many.invalid:6640" in failure("tcp:many.invalid:6640")


def test_a_host_that_is_not_found_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    def not_found(*_args: Any, **_options: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", not_found)
    assert failure("tcp:nowhere.invalid:1") == "tcp:nowhere.invalid:1: Name or service not known"


def test_a_refused_connection_is_lost_and_may_be_tried_again(
    peer: Peer, connecting: Transport
) -> None:
    peer.listener.close()
    for _ in range(3):
        with pytest.raises(ConnectionLost, match="Connection refused"):
            stand(connecting)
        assert not connecting.ready


def test_a_unix_socket_that_is_not_there_is_lost_at_once(tmp_path: Path) -> None:
    assert "No such file or directory" in failure(f"unix:{tmp_path}/none.sock")


def test_opening_again_drops_the_connection_before(peer: Peer, connecting: Transport) -> None:
    stand(connecting)
    with peer.accepted() as first:
        connecting.open()
        assert not connecting.ready
        assert first.recv(1) == b""
    until(connecting, lambda _: connecting.ready)
    with peer.accepted() as second:
        second.sendall(b"x")
        assert until(connecting, bool) == b"x"


def test_a_connection_that_the_server_closes_is_lost_after_its_last_bytes(
    pair: tuple[Transport, socket.socket],
) -> None:
    transport, other = pair
    other.sendall(b"last words")
    other.close()
    assert until(transport, lambda data: len(data) >= 10) == b"last words"
    assert "closed by the server" in lost(transport)


def test_a_connection_that_is_reset_is_lost(pair: tuple[Transport, socket.socket]) -> None:
    transport, other = pair
    other.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    other.close()
    assert "Connection reset" in lost(transport)


def send_for_ever(transport: Transport) -> None:
    while True:
        transport.send(b"x")


def test_sending_on_a_connection_that_is_gone_is_lost(
    pair: tuple[Transport, socket.socket],
) -> None:
    transport, other = pair
    other.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    other.close()
    with pytest.raises(ConnectionLost):
        send_for_ever(transport)


def test_sending_without_a_connection_does_nothing(connecting: Transport) -> None:
    connecting.send(b"x")


@contextlib.contextmanager
def reading(other: socket.socket, size: int) -> Iterator[bytearray]:
    """Read so many bytes on another thread; all of them at the end."""
    received = bytearray()

    def read() -> None:
        while len(received) < size:
            received.extend(other.recv(1 << 16))

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    yield received
    reader.join(DEADLINE)
    assert not reader.is_alive()


def test_what_the_socket_does_not_take_at_once_is_sent_later_in_order(
    pair: tuple[Transport, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport_module, "_MOST_UNSENT", 1 << 30)
    transport, other = pair
    first, second = os.urandom(8 << 20), os.urandom(1 << 20)
    transport.send(first)
    transport.send(second)
    assert transport._unsent  # more than any socket buffer, so this tests what it says
    with reading(other, len(first) + len(second)) as received:
        until(transport, lambda _: not transport._unsent)
    assert received == first + second


def test_a_connection_without_anything_to_send_does_not_spin(
    pair: tuple[Transport, socket.socket],
) -> None:
    transport, other = pair
    assert transport._selector.select(0) == []
    transport.send(b"x" * (8 << 20))
    with reading(other, 8 << 20):
        until(transport, lambda _: not transport._unsent)
    assert transport._selector.select(0) == []


def test_what_was_not_sent_is_forgotten_with_the_connection(
    peer: Peer, pair: tuple[Transport, socket.socket]
) -> None:
    transport, _ = pair
    transport.send(b"old" * (4 << 20))
    assert transport._unsent
    stand(transport)
    with peer.accepted() as other:
        transport.send(b"new")
        assert other.recv(100) == b"new"


def test_waiting_ends_with_the_timeout(pair: tuple[Transport, socket.socket]) -> None:
    transport, _ = pair
    assert transport.wait(0) == b""
    assert transport.wait(0.01) == b""


def test_a_wake_up_from_another_thread_ends_the_waiting(
    pair: tuple[Transport, socket.socket],
) -> None:
    transport, _ = pair
    thread = threading.Thread(target=transport.wake)
    thread.start()
    assert transport.wait(None) == b""  # hangs where it is not woken
    thread.join(DEADLINE)


def test_a_wake_up_before_the_waiting_ends_it_once() -> None:
    with Transport(Address.parse("tcp:127.0.0.1:1")) as transport:
        transport.wake()
        transport.wake()
        assert transport.wait(None) == b""
        assert transport._selector.select(0) == []


def test_any_number_of_wake_ups_neither_blocks_nor_loses_bytes(
    pair: tuple[Transport, socket.socket],
) -> None:
    transport, other = pair
    for _ in range(5000):
        transport.wake()
    other.sendall(b"x")
    assert until(transport, bool) == b"x"


def test_a_wake_up_after_the_end_does_nothing() -> None:
    with Transport(Address.parse("tcp:127.0.0.1:1")) as transport:
        pass
    transport.wake()


def test_closing_may_be_repeated(pair: tuple[Transport, socket.socket]) -> None:
    transport, other = pair
    transport.close()
    transport.close()
    assert not transport.ready
    assert other.recv(1) == b""
    assert transport.wait(0) == b""


# Gathering.


class Clock:
    """Instead of the module `time`: sleeping moves it, and something may happen meanwhile."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept = 0
        self.meanwhile: Callable[[], object] = lambda: None

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept += 1
        self.meanwhile()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("dfovsdb.ovsdb.transport.time", clock)
    return clock


@pytest.fixture
def local(tmp_path: Path) -> Iterator[tuple[Transport, socket.socket]]:
    """A pair over a unix socket, where what was sent is there to be read."""
    path = str(tmp_path / "db.sock")
    peer = Peer(socket.AF_UNIX, path)
    with peer.listener, Transport(Address.parse(f"unix:{path}")) as transport:
        stand(transport)
        with peer.accepted() as other:
            yield transport, other


def test_what_comes_little_and_often_is_read_together(
    local: tuple[Transport, socket.socket], clock: Clock
) -> None:
    transport, other = local
    for change in (b"first", b"second"):
        other.sendall(change)
        assert transport.wait(DEADLINE) == change
    other.sendall(b"third")
    clock.meanwhile = lambda: other.sendall(b"fourth")
    assert transport.wait(DEADLINE) == b"thirdfourth"
    assert clock.slept == 1


def test_what_comes_after_a_pause_is_read_at_once(
    local: tuple[Transport, socket.socket], clock: Clock
) -> None:
    transport, other = local
    for _ in range(3):
        for change in (b"one", b"its other half"):
            other.sendall(change)
            assert transport.wait(DEADLINE) == change
        clock.now += 0.01
        transport.wait(0)
    assert clock.slept == 3  # after the pair, when nothing was waiting


def test_a_snapshot_is_read_as_fast_as_it_comes(
    local: tuple[Transport, socket.socket], clock: Clock
) -> None:
    transport, other = local
    for _ in range(3):
        other.sendall(b"x" * 8192)
        assert len(transport.wait(DEADLINE)) == 8192
    assert clock.slept == 0


def test_a_new_connection_begins_without_a_pause(
    peer: Peer, connecting: Transport, clock: Clock
) -> None:
    for _ in range(2):
        stand(connecting)
        with peer.accepted() as other:
            for _ in range(2):
                other.sendall(b"x")
                assert until(connecting, bool) == b"x"
    assert clock.slept == 0


def test_a_server_that_does_not_read_is_left(pair: tuple[Transport, socket.socket]) -> None:
    transport, _other = pair

    def reply_without_end() -> None:
        for _ in range(5000):
            transport.send(b"x" * 60_000)
            transport.wait(0)

    with pytest.raises(ConnectionLost, match="the server does not read our replies"):
        reply_without_end()
    assert len(transport._unsent) < 2 << 20


# Names that are looked up.


@pytest.fixture
def silent_name_servers(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """No name is found until the event is set; then all lead to 127.0.0.1."""
    answers = threading.Event()
    look_up = socket.getaddrinfo

    def patient(host: str, port: int, *, type: int, flags: int = 0) -> Any:  # noqa: A002 - its name
        if not flags & socket.AI_NUMERICHOST:
            answers.wait(DEADLINE)
            host = "127.0.0.1"
        return look_up(host, port, type=type, flags=flags)

    monkeypatch.setattr(socket, "getaddrinfo", patient)
    yield answers
    answers.set()


def test_a_lookup_makes_nobody_wait(peer: Peer, silent_name_servers: threading.Event) -> None:
    before = threading.active_count()
    with Transport(Address.parse(f"tcp:db.invalid:{peer.port}")) as transport:
        for _ in range(3):  # attempts
            transport.open()
            assert transport.wait(0) == b""
            assert "the name db.invalid is still being looked up" in transport.silence
            transport.close()
            assert transport.silence == "no answer"
        assert threading.active_count() == before + 1
        transport.open()
        silent_name_servers.set()
        until(transport, lambda _: transport.ready)


def test_a_lookup_that_ends_after_its_attempt_connects_nothing(
    peer: Peer, silent_name_servers: threading.Event
) -> None:
    with Transport(Address.parse(f"tcp:db.invalid:{peer.port}")) as transport:
        transport.open()
        lookup = transport._lookup
        assert lookup is not None
        transport.close()
        silent_name_servers.set()
        wait_until(lambda: lookup.found is not None)
        transport.wait(0.1)
        assert transport._socket is None
