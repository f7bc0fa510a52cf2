"""For the tests of the Dragonflow sink: what it receives, and who listens to it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Self

import msgspec
import zmq

from dfovsdb.delivery.dispatcher import Dispatcher
from dfovsdb.model import (
    Action,
    Interface,
    Origin,
    Port,
    PortEvent,
    SyncAction,
    SyncMarker,
    port_of,
)
from dfovsdb.sinks.dragonflow import DragonflowSink
from dfovsdb.testing import wait_until


class Controller:
    """Keeps what its db_change_callback is called with; raises where it is asked to."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.choke_on = ""

    def db_change_callback(
        self, table: Any, key: Any, action: Any, value: Any, topic: Any = None
    ) -> None:
        self.calls.append((table, key, action, value))
        assert topic is None
        if self.choke_on and self.choke_on in (value or action):
            raise ValueError("the controller chokes")

    @property
    def actions(self) -> list[str]:
        return [call[2] for call in self.calls]


class Subscriber:
    """A SUB socket that keeps what it decodes; it reads on a thread of its own, or not yet.

    :param reads: False leaves everything unread until read_on().
    """

    def __init__(self, endpoint: str, topic: bytes = b"D", *, reads: bool = True) -> None:
        self.messages: list[dict[str, Any]] = []
        self.topics: set[bytes] = set()
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.SUB)
        self._socket.set(zmq.LINGER, 0)
        if not reads:
            self._socket.set(zmq.RCVHWM, 1)
        self._socket.connect(endpoint)
        self._socket.subscribe(topic)
        self._reads = threading.Event()
        self._ends = False
        self._thread = threading.Thread(target=self._read)
        if reads:
            self.read_on()

    def read_on(self) -> None:
        self._thread.start()

    def _read(self) -> None:
        while not self._ends:
            if self._socket.poll(20):
                topic, message = self._socket.recv_multipart()
                self.topics.add(topic)
                self.messages.append(msgspec.msgpack.decode(message))

    @property
    def actions(self) -> list[str]:
        return [message["action"] for message in self.messages]

    @property
    def keys(self) -> set[str]:
        """What an obedient controller has in its table."""
        keys: set[str] = set()
        for message in self.messages:
            if message["action"] in ("create", "set"):
                keys.add(message["key"])
            elif message["action"] == "delete":
                keys.discard(message["key"])
        return keys

    def wait_for(self, condition: Callable[[], object]) -> None:
        try:
            wait_until(condition)
        except AssertionError:
            heard = "\n".join(f"{message!s:.200}" for message in self.messages[-20:])
            raise AssertionError(f"not in time; {len(self.messages)} heard:\n{heard}") from None

    def wait_for_syncs(self, number: int = 1) -> None:
        self.wait_for(lambda: self.actions.count("switch_sync_finished") >= number)

    def close(self) -> None:
        self._ends = True
        if self._thread.ident:
            self._thread.join()
        self._socket.close()
        self._context.term()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


def event(action: Action, now: Port, previous: Port | None = None, seq: int = 1) -> PortEvent:
    return PortEvent(
        action=action,
        port=now,
        previous=previous,
        origin="update",
        seq=seq,
        time=datetime.now(UTC),
        host="cmp-17",
    )


def marker(action: SyncAction, origin: Origin = "initial") -> SyncMarker:
    return SyncMarker(action=action, origin=origin, seq=1, time=datetime.now(UTC), host="cmp-17")


class Running:
    """A dispatcher and a worker with the sink, without a monitor."""

    def __init__(self, sink: DragonflowSink, **options: Any) -> None:
        settings: Any = {"host": "cmp-17", "resync": "replay", "queue_limit": 1000, **options}
        self.dispatcher = Dispatcher({"dragonflow": sink}, **settings)
        (self.worker,) = self.dispatcher.workers

    def __enter__(self) -> Dispatcher:
        self.dispatcher.start()
        return self.dispatcher

    def __exit__(self, *_exc: object) -> None:
        self.dispatcher.stop(timeout=5)


def ports(number: int, prefix: str = "tap") -> list[tuple[str, Port | None]]:
    """As many VM ports, u0, u1, …, as facts to publish."""
    return [
        (f"u{n}", port_of(Interface(uuid=f"u{n}", name=f"{prefix}{n}"), "vm", {}))
        for n in range(number)
    ]
