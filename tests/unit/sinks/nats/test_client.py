"""Reading from a server that loses messages or falls silent, as no real one can be made to."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from nats.js import api

from dfovsdb.sinks.nats.client import Connection, Entry, NatsError, Publication, Unacknowledged
from dfovsdb.sinks.nats.servers import Servers


class Subscription:
    """Gives what a server sends, and then nothing more."""

    def __init__(self, messages: list[Any]) -> None:
        self._messages = messages

    async def next_msg(self, _timeout: float) -> Any:
        if not self._messages:
            await asyncio.sleep(0)
            raise TimeoutError
        return self._messages.pop(0)


def message(number: int, pending: int) -> Any:
    metadata = SimpleNamespace(
        num_pending=pending,
        sequence=SimpleNamespace(consumer=number, stream=number),
        timestamp=datetime.now(UTC),
    )
    return SimpleNamespace(subject="s", data=b"v", headers=None, metadata=metadata)


def heartbeat(last: int) -> Any:
    headers = {"Status": "100", "Nats-Last-Consumer": str(last)}
    return SimpleNamespace(subject="", reply="", data=b"", headers=headers)


class Beating(Subscription):
    """Gives heartbeats between the messages, and then nothing else."""

    async def next_msg(self, timeout: float) -> Any:
        if self._messages:
            return self._messages.pop(0)
        await asyncio.sleep(timeout / 10)
        self.beats = getattr(self, "beats", 0) + 1
        assert self.beats < 1000, "it waits without end"
        return heartbeat(1)


class Link(Connection):
    """A connection to a server of which only the answers about one consumer are known."""

    def __init__(
        self,
        messages: list[Any],
        *,
        pending: int,
        left: int,
        sent: int,
        subscription: type[Subscription] = Subscription,
    ) -> None:
        super().__init__(Servers(["nats://127.0.0.1:1"]), name="t", inbox="_INBOX.t", timeout=1)
        self._found = subscription(messages)
        self._first = SimpleNamespace(name="c", num_pending=pending)
        delivered = SimpleNamespace(consumer_seq=sent)
        self._later = SimpleNamespace(name="c", num_pending=left, delivered=delivered)

    @contextlib.asynccontextmanager
    async def _consumer(self, *_args: Any) -> AsyncIterator[tuple[Any, Any]]:
        yield self._found, self._first

    async def _consumer_info(self, *_args: Any) -> Any:
        return self._later


def read(link: Link) -> list[Entry]:
    async def everything() -> list[Entry]:
        found = link.stored("S", "s", api.ConsumerConfig())
        return [entry async for entry in found]

    return asyncio.run(everything())


def test_a_last_message_that_was_replaced_meanwhile_is_not_awaited() -> None:
    assert len(read(Link([message(1, 1)], pending=2, left=0, sent=1))) == 1


def test_a_server_that_has_more_and_sends_nothing_is_an_error_and_no_wait_without_end() -> None:
    with pytest.raises(NatsError, match="has more, and sent nothing for 1 s"):
        read(Link([message(1, 1)], pending=2, left=1, sent=1))


def test_heartbeats_do_not_hide_that_nothing_else_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dfovsdb.sinks.nats.client._SILENCE", 0.02)
    with pytest.raises(NatsError, match="has more, and sent nothing for 1 s"):
        read(Link([message(1, 1)], pending=2, left=1, sent=1, subscription=Beating))
    replaced = Link([message(1, 1)], pending=2, left=0, sent=1, subscription=Beating)
    assert len(read(replaced)) == 1


def test_a_last_message_that_was_lost_on_the_way_is_an_error() -> None:
    with pytest.raises(NatsError, match="sent nothing for 1 s"):
        read(Link([message(1, 1)], pending=2, left=0, sent=2))


def test_a_message_that_was_lost_between_others_is_an_error() -> None:
    with pytest.raises(NatsError, match="a message was missed"):
        read(Link([message(1, 2), message(3, 0)], pending=3, left=0, sent=3))


def test_a_heartbeat_tells_that_a_message_was_lost() -> None:
    async def follow() -> None:
        link = Link([message(1, 0), heartbeat(1), heartbeat(2)], pending=0, left=0, sent=2)
        following = link.follow("S", "s", api.ConsumerConfig())
        assert (await anext(following)).sequence == 1
        with pytest.raises(NatsError, match="a message was missed"):
            await anext(following)

    asyncio.run(follow())


def test_only_a_refused_answer_ends_the_reading_of_a_reader_who_was_slow() -> None:
    async def follow(problem: str) -> int:
        stalled = heartbeat(1)
        stalled.headers["Nats-Consumer-Stalled"] = "$JS.FC.S.c.1"
        link = Link([message(1, 0), stalled, message(2, 0)], pending=0, left=0, sent=1)
        link._client = Deaf()  # type: ignore[assignment]  # the part that is used
        link._trouble.append(f'permissions violation for publish to "{problem}"')
        following = link.follow("S", "s", api.ConsumerConfig())
        await anext(following)
        return (await anext(following)).sequence

    assert asyncio.run(follow("$kv.other")) == 2
    with pytest.raises(NatsError, match="permissions violation"):
        asyncio.run(follow("$js.fc.s.c.1"))


@pytest.mark.parametrize(("timeout", "expected"), [(0.1, 0.1), (5, 2.5)])
def test_no_heartbeat_is_shorter_than_the_server_allows(timeout: float, expected: float) -> None:
    """It answers a shorter one with the error 10083."""
    consumers: list[api.ConsumerConfig] = []

    async def add_consumer(_stream: str, config: api.ConsumerConfig) -> Any:
        consumers.append(config)
        return SimpleNamespace(num_pending=0)

    async def subscribe(_inbox: str) -> Subscription:
        return Subscription([])

    async def everything() -> list[Entry]:
        link = Connection(Servers(["nats://h"]), name="t", inbox="_INBOX.t", timeout=timeout)
        link._client = SimpleNamespace(  # type: ignore[assignment]  # the part that is used
            new_inbox=lambda: "_INBOX.t.c",
            subscribe=subscribe,
            jetstream=lambda **_: SimpleNamespace(add_consumer=add_consumer),
        )
        return [entry async for entry in link.stored("S", "s", api.ConsumerConfig())]

    assert asyncio.run(everything()) == []
    assert [config.idle_heartbeat for config in consumers] == [expected]


class Deaf:
    """A client that publishes, whatever it is."""

    async def publish(self, _subject: str) -> None:
        pass


class Unled:
    """A client of a server that is cut off from the others: no stream has a leader there."""

    is_connected = True
    max_payload = 1 << 20

    def __init__(self, link: Connection) -> None:
        self._link = link
        self.closed = False

    async def publish(self, _subject: str, _payload: bytes, reply: str, _headers: Any) -> None:
        answer = SimpleNamespace(subject=reply, data=b"", headers={"Status": "503"})
        await self._link._acknowledged(answer)  # type: ignore[arg-type]  # it is read the same way

    async def close(self) -> None:
        self.closed = True


def test_a_server_that_stores_nothing_for_long_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("dfovsdb.sinks.nats.client.time.monotonic", lambda: now)

    async def offer() -> list[bool]:
        nonlocal now
        link = Link([], pending=0, left=0, sent=0)
        link._client = client = Unled(link)  # type: ignore[assignment]  # the part that is used
        left = []
        for now in (0.0, 0.5, 0.9, 1.1):  # noqa: B007 - the clock reads it
            with pytest.raises(Unacknowledged, match="no leader at the moment"):
                await link.publish([Publication("s", b"p", {})], 1)
            left.append(client.closed)
        return left

    assert asyncio.run(offer()) == [False, False, False, True]
