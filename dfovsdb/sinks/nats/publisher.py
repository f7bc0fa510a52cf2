"""What an agent publishes: each event, its effect on the buckets, and heartbeats.

The messages of a batch are pipelined in order. A batch contains each port once, and the next batch
waits for this one, so the messages of one port are in order whatever fails.

Everything is a coroutine; nothing here knows the thread and the event loop on which it runs.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

import msgspec

from dfovsdb.errors import ConfigurationError, DfovsdbError, SinkUnavailable
from dfovsdb.logs import get_logger
from dfovsdb.model import PortEvent, SyncMarker
from dfovsdb.sinks.base import SinkContext
from dfovsdb.sinks.nats.client import Connection, Entry, NatsError, Publication, Unacknowledged
from dfovsdb.sinks.nats.key_index import PARTS, KeyIndex
from dfovsdb.sinks.nats.messages import OPERATION, Encoder, Heartbeat, decode_heartbeat
from dfovsdb.sinks.nats.servers import Servers
from dfovsdb.sinks.nats.streams import Streams, bucket_stream, key_subject
from dfovsdb.sinks.nats.subjects import port_key, token
from dfovsdb.version import __version__

LOG = get_logger(__name__)


class Publisher:
    """Stores the events and the present state of one host.

    :param create: create streams and buckets that do not exist.
    :param timeout: seconds to wait for each response.
    :param heartbeat: seconds between two heartbeats.
    :param window: messages that may be unacknowledged.
    """

    def __init__(
        self,
        servers: Servers,
        streams: Streams,
        *,
        create: bool,
        timeout: float,
        heartbeat: float,
        window: int,
    ) -> None:
        self._servers = servers
        self._streams = streams
        self._create = create
        self._timeout = timeout
        self._heartbeat = heartbeat
        self._window = window
        self._beat_at = 0.0  # monotonic seconds: when the next one is due; 0: now
        self._beaten = False  # a heartbeat of this run should be in the buckets
        self._synced = False  # this run has completed a sync
        self._shared = False  # since then, another agent has written heartbeats of this name
        self._made: dict[str, datetime | None] = {}  # when each stream was created, as last seen
        self._known: set[str] = set()  # ports that this process has published
        self._refused: set[str] = set()  # ports whose latest state can never be published
        self._index: KeyIndex | None = None  # None: the list of another run has not been read yet
        self._versions = itertools.count()
        self._connection: Connection | None = None

    async def open(self, context: SinkContext) -> None:
        """Connect; raise as open() of a sink does."""
        self._context = context
        self._opened = datetime.now(UTC)
        self._host = context.host
        self._messages = Encoder(context.host, context.epoch, self._streams)
        self._connection = Connection(
            self._servers,
            name=f"dfovsdb {__version__} {context.host}",
            inbox=f"_INBOX_{token(context.host)}",
            timeout=self._timeout,
        )
        await self._ready(self._connection)

    async def close(self) -> None:
        """End the connection, within a bounded time."""
        if self._connection is not None:
            await self._connection.close()

    async def publish(self, events: Sequence[PortEvent]) -> None:
        """Publish events; raise as emit_many() of a sink does."""
        _, index = await self._connected()
        pending = [
            (event, *self._messages.of_event(event, index.claims(event.port.uuid)))
            for event in events
        ]
        for event, _, vif in pending:
            if event.action != "offline":
                index.cover(event.port.uuid, vif)
        parts = index.lacking()
        before = self._of_index(parts)
        messages = [message for _, of_event, _ in pending for message in of_event]
        try:
            await self._publish([*before, *messages])
        except Unacknowledged as error:
            left, delivered = error.acknowledged - len(before), 0
            if left >= 0:
                index.keep(parts)
            for event, of_event, vif in pending:
                left -= len(of_event)
                if left < 0:
                    break
                self._note(index, event, vif)
                delivered += 1
            if error.refused:
                if len(events) == 1:  # each of several events is offered again on its own
                    self._refused.add(events[0].port.uuid)
                raise DfovsdbError(str(error)) from None
            raise SinkUnavailable(self._with_servers(error), delivered) from None
        index.keep(parts)
        for event, _, vif in pending:
            self._note(index, event, vif)

    async def sync_started(self, marker: SyncMarker) -> None:
        """Publish that a sync begins."""
        await self._publish_or_unavailable(self._messages.of_marker(marker))

    async def sync_finished(self, marker: SyncMarker) -> None:
        """Delete keys that are no longer true; then publish that the sync is complete."""
        connection, index = await self._connected()
        try:
            left = await self._left_over(connection, index, marker)
            stale = await self._keys_of(connection, index, left)
        except NatsError as error:
            raise SinkUnavailable(self._with_servers(error)) from None
        if stale:
            LOG.info("deleting %d keys of this host that are no longer true", len(stale))
        self._beat_at = 0.0  # the heartbeat contains the number of ports, and what follows
        self._synced, self._shared = True, False
        await self._publish_or_unavailable(self._messages.of_marker(marker, stale))
        for uuid in left:
            index.drop(uuid)
        parts = index.changed()
        await self._publish_or_unavailable(self._of_index(parts))
        index.keep(parts)

    async def beat(self) -> None:
        """Publish a heartbeat if one is due."""
        await self._publish_or_unavailable([])

    def _of_index(self, parts: Mapping[str, bytes]) -> list[Publication]:
        return [
            self._messages.of_index(part, value, next(self._versions))
            for part, value in parts.items()
        ]

    def _note(self, index: KeyIndex, event: PortEvent, vif: str | None) -> None:
        """Record that an event is published, and that the buckets contain it."""
        uuid = event.port.uuid
        self._refused.discard(uuid)
        if event.action == "offline":
            self._known.discard(uuid)
            index.drop(uuid)
        else:
            self._known.add(uuid)
            index.settle(uuid, vif)

    async def _left_over(
        self, connection: Connection, index: KeyIndex, marker: SyncMarker
    ) -> list[str]:
        """Return the ports that an earlier process has left and that are no longer present.

        Return an empty list if this was not a full sync: one with differences only does not
        contain ports that were published before this process began. If the numbers show that the
        bucket does not contain everything, a resend is requested.
        """
        present = self._known | self._refused  # made once: a sync may have many thousand ports
        left = [uuid for uuid, _ in index if uuid not in present]
        count = len(present)
        if count >= (marker.ports or 0):
            return left
        keys = [port_key(self._host, uuid) for uuid in left]
        if count + len(await _live(connection, self._streams.ports_bucket, keys)) != marker.ports:
            self._ask_again(marker)
        return []

    async def _keys_of(
        self, connection: Connection, index: KeyIndex, left: Sequence[str]
    ) -> list[tuple[str, str]]:
        """Return those keys of some ports that have a value, with their buckets."""
        ports, vifs = self._streams.ports_bucket, self._streams.vifs_bucket
        keys = [port_key(self._host, uuid) for uuid in left]
        claims = {vif for uuid in left for vif in index.claims(uuid)}
        found = [(ports, key) for key in await _live(connection, ports, keys)]
        return found + [(vifs, key) for key in await _live(connection, vifs, claims)]

    def _ask_again(self, marker: SyncMarker) -> None:
        if marker.origin != "replay":  # a resend has just published everything
            LOG.info("ports of this host are missing from the buckets; republishing everything")
            self._context.request_replay()

    async def _publish_or_unavailable(self, messages: Sequence[Publication]) -> None:
        try:
            await self._publish(messages)
        except Unacknowledged as error:
            raise SinkUnavailable(self._with_servers(error)) from None

    async def _publish(self, messages: Sequence[Publication]) -> None:
        """Publish messages, and a heartbeat after them if one is due.

        :raises Unacknowledged: it says how many of the messages were acknowledged.
        """
        connection, _ = await self._connected()
        now = time.monotonic()
        is_due = now >= self._beat_at
        if is_due and self._beaten:
            await self._look_at_last_beat(connection)
        beats = self._beat() if is_due else []
        await connection.publish([*messages, *beats], self._window)
        if beats:
            # A little early, so that the poll after a whole interval finds the next one due.
            self._beat_at = now + 0.9 * self._heartbeat
            self._beaten = True

    def _beat(self) -> list[Publication]:
        return self._messages.of_heartbeat(
            Heartbeat(
                time=datetime.now(UTC),
                version=__version__,
                epoch=self._context.epoch,
                ports=len(self._known),
                connection=self._context.condition(),
                synced=self._synced,
                shared=self._shared,
            )
        )

    async def _look_at_last_beat(self, connection: Connection) -> None:
        """Read the heartbeat that this run has left, and notice whether somebody has deleted
        everything of this host, or another agent has its name.

        :raises Unacknowledged: it cannot be read.
        """
        stream = bucket_stream(self._streams.ports_bucket)
        try:
            last = await connection.get(stream, self._messages.last_heartbeat)
            if last is None:
                self._index = await self._kept_index(connection)
        except NatsError as error:
            await connection.close()
            raise Unacknowledged(str(error), 0) from None
        if last is None:
            LOG.warning("the ports of this host were deleted from NATS; resending everything")
            self._beaten = False  # not to be noticed again
            self._context.request_replay()
        elif not self._shared and self._is_of_another(last):
            LOG.warning(
                "another agent writes as host %s too: give each its own [dfovsdb] host, then "
                "restart both",
                self._host,
            )
            self._shared = True

    def _is_of_another(self, entry: Entry) -> bool:
        """Return whether another agent has written this heartbeat since this one was opened."""
        try:
            beat = decode_heartbeat(entry.value)
        except msgspec.MsgspecError:
            return False
        return beat.epoch != self._context.epoch and beat.time > self._opened

    async def _connected(self) -> tuple[Connection, KeyIndex]:
        assert self._connection is not None, "it is open"
        await self._ready(self._connection)
        assert self._index is not None, "it is ready"
        return self._connection, self._index

    async def _ready(self, connection: Connection) -> None:
        """Connect if necessary, and check that the streams exist and have the right settings.

        :raises SinkUnavailable: this is not possible now.
        :raises ConfigurationError: they have other settings, and this is the start.
        """
        await asyncio.sleep(0)  # the event loop notices whether the connection has ended
        if connection.connected:
            return
        try:
            await connection.connect()
            made = await self._streams.ready(connection, create=self._create)
            if self._index is None or made != self._made:
                self._index = await self._kept_index(connection)
        except NatsError as error:
            await connection.close()
            raise SinkUnavailable(self._with_servers(error)) from None
        except ConfigurationError as error:
            await connection.close()
            if not self._made:
                raise
            raise SinkUnavailable(str(error)) from None
        if self._made and made != self._made:
            LOG.warning("a stream or a bucket was created again; resending everything")
            self._beat_at = 0.0
            self._beaten = False
            self._context.request_replay()
        self._made = made

    async def _kept_index(self, connection: Connection) -> KeyIndex:
        index = KeyIndex()
        parts = {self._messages.index_subject(part): part for part in PARTS}
        stream = bucket_stream(self._streams.ports_bucket)
        for entry in await connection.get_all(stream, list(parts)):
            index.load(parts[entry.subject], entry.value)
        return index

    def _with_servers(self, error: Exception) -> str:
        servers, text = str(self._servers), str(error)
        return text if text.startswith(servers) else f"{servers}: {text}"


async def _live(connection: Connection, bucket: str, keys: Iterable[str]) -> list[str]:
    """Return those of some keys that have a value."""
    prefix = key_subject(bucket, "")
    subjects = [key_subject(bucket, key) for key in sorted(keys)]
    return [
        entry.subject.removeprefix(prefix)
        for entry in await connection.get_all(bucket_stream(bucket), subjects)
        if OPERATION not in entry.headers
    ]
