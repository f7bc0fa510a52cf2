"""What an agent publishes: each event, what it does to the buckets, and heartbeats.

An event is several messages: one in the log, then what it does to the bucket of ports and to
that of VIFs. They are pipelined in that order, with one message id: JetStream drops what it has
already seen, so a retry repeats nothing, and a message that was held up on its way cannot
overwrite a later value. A batch holds each port once, and the next batch waits for this one, so
the messages of one port are in order whatever fails.

Coroutines; it knows nothing of the thread and the loop that they run on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from dfovsdb.errors import ConfigurationError, DfovsdbError, SinkUnavailable
from dfovsdb.json_v1 import encode_port, to_json
from dfovsdb.logs import get_logger
from dfovsdb.model import Port, PortEvent, SyncMarker
from dfovsdb.sinks.base import SinkContext
from dfovsdb.sinks.nats_client import Access, Link, Message, NatsError, Unacknowledged
from dfovsdb.sinks.nats_names import port_key, subject, token, vif_key
from dfovsdb.sinks.nats_streams import Streams, bucket_stream, key_subject
from dfovsdb.version import __version__

LOG = get_logger(__name__)

IFACE_ID = "iface_id"  #: the attribute that names a VIF
MESSAGE_ID = "Nats-Msg-Id"  #: a header by which JetStream knows a message again
OPERATION = "KV-Operation"  #: a header of what is no value of a key (NATS ADR-8)
_DELETED = {OPERATION: "DEL"}


class Heartbeat(msgspec.Struct, kw_only=True):
    """The value of a host in the bucket of hosts."""

    v: int = 1
    time: datetime
    version: str
    epoch: str
    ports: int
    connection: str  #: to the switch: `synced`, or what is waited for


class _Told:
    """An event, as messages."""

    def __init__(self, event: PortEvent, vif: str | None, messages: list[Message]) -> None:
        self.event = event
        self.vif = vif  #: the key of the VIF that the port claims by it
        self.messages = messages


class Keeper:
    """Keeps the events and the present state of one host.

    :param create: make streams and buckets that are not there.
    :param timeout: seconds that the servers have for each answer.
    :param heartbeat: seconds between two heartbeats.
    :param window: messages that may be unacknowledged.
    """

    def __init__(
        self,
        access: Access,
        streams: Streams,
        *,
        create: bool,
        timeout: float,
        heartbeat: float,
        window: int,
    ) -> None:
        self._access = access
        self._streams = streams
        self._create = create
        self._timeout = timeout
        self._heartbeat = heartbeat
        self._window = window
        self._beat_at = 0.0  # monotonic seconds: when the next is due
        self._made: dict[str, datetime | None] = {}  # when each stream was, as last seen
        #: What the buckets have of this host's ports: the VIF that each claims.
        self._known: dict[str, str | None] = {}
        self._refused: set[str] = set()  # ports whose latest can never be published
        self._link: Link | None = None

    async def open(self, context: SinkContext) -> None:
        """Connect; raises as a sink's open()."""
        self._context = context
        self._host = context.host
        self._source = f"{token(context.host)}:{context.epoch}"
        self._link = Link(
            self._access,
            name=f"dfovsdb {__version__} {context.host}",
            inbox=f"_INBOX_{token(context.host)}",
            timeout=self._timeout,
        )
        await self._ready(self._link)

    async def close(self) -> None:
        """End the connection; bounded."""
        if self._link is not None:
            await self._link.close()

    async def tell(self, events: Sequence[PortEvent]) -> None:
        """Publish events; raises as a sink's emit_many()."""
        told = [self._told(event) for event in events]
        messages = [message for one in told for message in one.messages]
        try:
            await self._publish(messages)
        except Unacknowledged as error:
            left, delivered = error.acknowledged, 0
            for one in told:
                left -= len(one.messages)
                if left < 0:
                    break
                self._note(one)
                delivered += 1
            if error.refused:
                if len(told) == 1:  # of several, each is offered again alone
                    self._refused.add(told[0].event.port.uuid)
                raise DfovsdbError(str(error)) from None
            raise SinkUnavailable(self._with_servers(error), delivered) from None
        for one in told:
            self._note(one)

    async def sync_started(self, marker: SyncMarker) -> None:
        """A telling of the whole table begins."""
        await self._publish_marker(marker, [])

    async def sync_finished(self, marker: SyncMarker) -> None:
        """Remove what is no longer true; then tell that the sync is complete."""
        try:
            stale = await self._stale(await self._connected(), marker)
        except NatsError as error:
            raise SinkUnavailable(self._with_servers(error)) from None
        self._beat_at = 0.0  # how many ports there are is news
        await self._publish_marker(marker, stale)

    async def beat(self) -> None:
        """Say that we are there, where it is time to."""
        await self._publish_or_unavailable([])

    def _told(self, event: PortEvent) -> _Told:
        port, streams = event.port, self._streams
        identity = f"{self._source}:{event.seq}"
        headers = {MESSAGE_ID: identity}
        gone = headers | _DELETED
        key = key_subject(streams.ports_bucket, port_key(self._host, port.uuid))
        messages = [Message(subject(self._host, port.kind), to_json(event), headers)]
        claimed = {self._known.get(port.uuid), self._vif(port), self._vif(event.previous)}
        vif = None
        if event.action == "offline":
            messages.append(Message(key, b"", gone))
        else:
            value = encode_port(port)
            messages.append(Message(key, value, headers))
            vif = self._vif(port)
            if vif is not None:
                messages.append(Message(key_subject(streams.vifs_bucket, vif), value, headers))
        for old in sorted(key for key in claimed if key is not None and key != vif):
            # A second message in one bucket needs an id of its own.
            own = {MESSAGE_ID: f"{identity}:{old}", **_DELETED}
            messages.append(Message(key_subject(streams.vifs_bucket, old), b"", own))
        return _Told(event, vif, messages)

    def _vif(self, port: Port | None) -> str | None:
        iface_id = port.attributes.get(IFACE_ID) if port is not None else None
        if port is None or not iface_id:
            return None
        return vif_key(iface_id, self._host, port.uuid)

    def _note(self, told: _Told) -> None:
        """It is published, and the buckets have it."""
        uuid = told.event.port.uuid
        self._refused.discard(uuid)
        if told.event.action == "offline":
            self._known.pop(uuid, None)
        else:
            self._known[uuid] = told.vif

    async def _stale(self, link: Link, marker: SyncMarker) -> list[Message]:
        """The keys of this host that name no port that is there, as messages that remove them.

        Nothing is removed where we were not told the whole table: a sync of mere differences
        tells nothing of ports that were told before this process began. Where the numbers say
        that the buckets lack something, all is asked for again.
        """
        host = token(self._host)
        ports, vifs = self._streams.ports_bucket, self._streams.vifs_bucket
        there = await _keys(link, ports, f"{host}.>")
        known = {port_key(self._host, uuid) for uuid in self._known}
        refused = {port_key(self._host, uuid) for uuid in self._refused}
        whole = len(known | refused) >= (marker.ports or 0)
        if not there >= known or not (whole or len(there) == marker.ports):
            self._ask_again(marker)
        if not whole:
            return []
        claims = await _keys(link, vifs, f"*.{host}.*")
        kept = {vif for vif in self._known.values() if vif is not None}
        stale = [(ports, key) for key in sorted(there - known - refused)]
        stale += [(vifs, key) for key in sorted(claims - kept)
                  if key.partition(".")[2] not in refused]  # fmt: skip
        if stale:
            LOG.info("%d keys of this host are no longer true, and are removed", len(stale))
        identity = f"{self._source}:{marker.seq}"
        return [
            Message(key_subject(bucket, key), b"", {MESSAGE_ID: f"{identity}:{key}", **_DELETED})
            for bucket, key in stale
        ]

    def _ask_again(self, marker: SyncMarker) -> None:
        if marker.origin != "replay":  # which has just told everything
            LOG.info("the buckets lack ports of this host: everything is told again")
            self._context.request_replay()

    async def _publish_marker(self, marker: SyncMarker, before: Sequence[Message]) -> None:
        headers = {MESSAGE_ID: f"{self._source}:{marker.seq}"}
        message = Message(subject(self._host, "sync"), to_json(marker), headers)
        await self._publish_or_unavailable([*before, message])

    async def _publish_or_unavailable(self, messages: Sequence[Message]) -> None:
        try:
            await self._publish(messages)
        except Unacknowledged as error:
            raise SinkUnavailable(self._with_servers(error)) from None

    async def _publish(self, messages: Sequence[Message]) -> None:
        """Publish messages, and a heartbeat after them where one is due.

        :raises Unacknowledged: how many of the messages were acknowledged.
        """
        link = await self._connected()
        now = time.monotonic()
        beats = [self._beat()] if now >= self._beat_at else []
        await link.publish([*messages, *beats], self._window)
        if beats:
            # A little early, so that the poll after a whole interval finds the next one due.
            self._beat_at = now + 0.9 * self._heartbeat

    def _beat(self) -> Message:
        beat = Heartbeat(
            time=datetime.now(UTC),
            version=__version__,
            epoch=self._context.epoch,
            ports=len(self._known),
            connection=self._context.condition(),
        )
        key = key_subject(self._streams.hosts_bucket, token(self._host))
        return Message(key, msgspec.json.encode(beat))

    async def _connected(self) -> Link:
        assert self._link is not None, "it is open"
        await self._ready(self._link)
        return self._link

    async def _ready(self, link: Link) -> None:
        """Be connected, to streams that are there and are as they must be.

        :raises SinkUnavailable: not now.
        :raises ConfigurationError: they have other settings, and this is the start.
        """
        await asyncio.sleep(0)  # the loop sees whether the connection is over
        if link.connected:
            return
        try:
            await link.connect()
            made = await self._streams.ready(link, create=self._create)
        except NatsError as error:
            await link.close()
            raise SinkUnavailable(self._with_servers(error)) from None
        except ConfigurationError as error:
            await link.close()
            if not self._made:
                raise
            raise SinkUnavailable(str(error)) from None
        if self._made and made != self._made:
            LOG.warning("a stream or a bucket was made anew: everything is told again")
            self._context.request_replay()
        self._made = made

    def _with_servers(self, error: Exception) -> str:
        servers, words = str(self._access), str(error)
        return words if words.startswith(servers) else f"{servers}: {words}"


async def _keys(link: Link, bucket: str, keys: str) -> set[str]:
    """The keys of a bucket that a filter matches."""
    stream, prefix = bucket_stream(bucket), key_subject(bucket, "")
    return {
        entry.subject.removeprefix(prefix)
        async for entry in link.last(stream, key_subject(bucket, keys), values=False)
        if OPERATION not in entry.headers
    }
