"""What is in NATS, for tests that are no coroutines: read as `dfovsdb fleet` reads it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from datetime import UTC, datetime
from typing import Any, Self, TypeVar

from nats.js import api

from dfovsdb.fleet.fold import Fold
from dfovsdb.fleet.reader import Claim, Host, LogItem
from dfovsdb.fleet.reader import Fleet as AsyncFleet
from dfovsdb.json_v1 import from_json
from dfovsdb.model import Port, PortEvent
from dfovsdb.sinks.nats.client import Connection, Entry, Publication
from dfovsdb.sinks.nats.messages import MESSAGE_ID, OPERATION
from dfovsdb.sinks.nats.servers import Servers
from dfovsdb.sinks.nats.streams import Streams, bucket_stream, key_subject

T = TypeVar("T")
BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)


class Fleet:
    """A context manager: within it there is a connection."""

    def __init__(
        self,
        servers: Sequence[str],
        *,
        streams: Streams | None = None,
        timeout: float = 5,
        **access: Any,
    ) -> None:
        self.streams = streams or Streams()
        self._loop = asyncio.new_event_loop()
        self._access = Servers(servers, **access)
        self._fleet = AsyncFleet(self._access, self.streams, timeout=timeout)
        self.link = Connection(self._access, name="test", inbox="_INBOX.fleet", timeout=timeout)

    def __enter__(self) -> Self:
        self.run(self._fleet.__aenter__())
        self.run(self.link.connect())
        return self

    def __exit__(self, *_exc: object) -> None:
        self.run(self.link.close())
        self.run(self._fleet.__aexit__(None, None, None))
        self.run(self._loop.shutdown_asyncgens())
        self._loop.close()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self._loop.run_until_complete(coroutine)

    def publish(self, messages: Sequence[Publication]) -> None:
        self.run(self.link.publish(messages, window=1))

    def where(self, iface_id: str) -> list[Claim]:
        return self.run(self._fleet.where(iface_id))

    def hosts(self) -> dict[str, Host]:
        return {host.name: host for host in self.run(self._fleet.hosts())}

    def forget(self, host: str) -> None:
        self.run(self._fleet.forget(host))

    def ports(self, host: str) -> dict[str, Port]:
        return self.all_ports(host).get(host, {})

    def all_ports(self, host: str | None = None) -> dict[str, dict[str, Port]]:
        async def read() -> dict[str, dict[str, Port]]:
            found: dict[str, dict[str, Port]] = {}
            async for name, port in self._fleet.ports(host):
                found.setdefault(name, {})[port.uuid] = port
            return found

        return self.run(read())

    def stored(self) -> list[Entry]:
        """The log as it is now, with whatever is in it twice."""

        async def read() -> list[Entry]:
            if await self.link.stream(self.streams.stream) is None:
                return []
            start = api.ConsumerConfig(deliver_policy=api.DeliverPolicy.ALL)
            found = self.link.stored(self.streams.stream, "dfovsdb.v1.>", start)
            return [entry async for entry in found]

        return self.run(read())

    def log(self) -> list[LogItem]:
        """The log without what is there twice."""
        fold, found = Fold(), []
        for entry in self.stored():
            message_id = entry.headers.get(MESSAGE_ID, "")
            item = from_json(entry.value)
            if fold.add(item, message_id):
                found.append(LogItem(item, entry.value, message_id, entry.sequence))
        return found

    def events(self) -> list[PortEvent]:
        return [found.item for found in self.log() if isinstance(found.item, PortEvent)]

    def fold(self) -> dict[str, dict[str, Port]]:
        """What the log says is there, by host."""
        fold = Fold()
        for entry in self.stored():
            fold.add(from_json(entry.value), entry.headers.get(MESSAGE_ID, ""))
        return fold.ports

    def keys(self, bucket: str) -> dict[str, bytes]:
        async def read() -> dict[str, bytes]:
            prefix = key_subject(bucket, "")
            return {
                entry.subject.removeprefix(prefix): entry.value
                async for entry in self.link.last(bucket_stream(bucket), f"{prefix}>")
                if OPERATION not in entry.headers
            }

        return self.run(read())

    def vifs(self) -> set[str]:
        return set(self.keys(self.streams.vifs_bucket))
