"""Reads what the fleet stores: where a VIF is, ports, hosts, and the log. Coroutines."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import NamedTuple, Self, TypeVar

from msgspec.structs import replace
from nats.js import api

from dfovsdb.classifiers import vif
from dfovsdb.errors import DfovsdbError
from dfovsdb.fleet.fold import Seen
from dfovsdb.json_v1 import decode_port, from_json, to_json
from dfovsdb.model import Port, PortEvent, SyncMarker
from dfovsdb.sinks.nats.client import Connection, Entry, NatsError
from dfovsdb.sinks.nats.key_index import MARK
from dfovsdb.sinks.nats.messages import (
    LAST_HEARTBEAT,
    MESSAGE_ID,
    OPERATION,
    Heartbeat,
    decode_heartbeat,
)
from dfovsdb.sinks.nats.servers import Servers
from dfovsdb.sinks.nats.streams import Streams, bucket_stream, key_subject
from dfovsdb.sinks.nats.subjects import PREFIX, name_of, token

T = TypeVar("T")

#: Instead of an error about what does not exist.
_NOBODY = (
    "no agent has written to these servers yet: enable the sink nats on a host, make the stream "
    "with `dfovsdb fleet create`, or name other servers"
)
_DELETED = (
    "was deleted: make it again with `dfovsdb fleet create`, and have every agent send everything "
    "again with SIGUSR1 (`systemctl kill --signal=USR1 dfovsdb`)"
)
_RETRY = 1.0  # seconds after a connection was lost
INBOX = "_INBOX.fleet"  #: where responses arrive; no agent of a host has this prefix


class Claim(NamedTuple):
    """The claim of a host that a VIF is on one of its ports."""

    host: str
    port: Port
    fresh: bool  #: the agent of the host has a recent heartbeat
    sequence: int  #: position in the bucket: a higher one was stored later

    @property
    def installed(self) -> bool:
        """Return whether OVN says that the flows of the VIF are installed there."""
        return vif.ovn_installed(self.port)

    @property
    def active(self) -> bool:
        """Return whether Nova says that the VIF is in use there, if two hosts have it."""
        return self.port.attributes.get("iface_status") == "active"


class Host(NamedTuple):
    """A host that has ever reported."""

    name: str
    heartbeat: Heartbeat | None  #: None if it is stale
    ports: int
    last: datetime | None  #: the last heartbeat, or the last sync of an agent before this was kept
    said: Heartbeat | None  #: the last heartbeat, of a stale host too


class Conflict(NamedTuple):
    """Something that cannot be true of a whole cloud."""

    kind: str  #: `vif`, `mac` or `host`
    what: str  #: the iface-id, the MAC address or the host
    text: str  #: what is wrong, in one line


class LogItem(NamedTuple):
    """A message of the log."""

    item: PortEvent | SyncMarker
    line: bytes  #: the same as JSON
    message_id: str
    sequence: int  #: in the stream


class Fleet:
    """An asynchronous context manager: within it there is a connection.

    :param notice: receives a line about each problem: a lost connection, or a value that no agent
        can have written.
    """

    def __init__(
        self,
        access: Servers,
        streams: Streams,
        *,
        timeout: float = 5,
        notice: Callable[[str], object] = lambda _line: None,
    ) -> None:
        self._link = Connection(access, name="dfovsdb fleet", inbox=INBOX, timeout=timeout)
        self._streams = streams
        self._notice = notice

    async def __aenter__(self) -> Self:
        await self._link.connect()
        return self

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        missing = await self._missing() if isinstance(error, NatsError) else []
        await self._link.close()
        if len(missing) == len(self._stored()):
            raise NatsError(_NOBODY) from None
        if missing:
            raise NatsError(f"{' and '.join(missing)} {_DELETED}") from None

    async def reconnect(self) -> None:
        """Connect again, as after a time in which the event loop did not run."""
        await self._link.close()
        await self._link.connect()

    async def create(self, streams: Streams) -> list[str]:
        """Create the stream and the buckets with these settings; return their names as streams.

        :raises DfovsdbError: this is not possible.
        """
        try:
            return list(await streams.ready(self._link, create=True))
        except NatsError as error:
            raise DfovsdbError(str(error)) from None

    async def _missing(self) -> list[str]:
        """Return which of the stream and the buckets do not exist, as far as is known."""
        try:
            return [
                what
                for what, name in self._stored().items()
                if await self._link.stream(name) is None
            ]
        except NatsError:
            return []

    def _stored(self) -> Mapping[str, str]:
        """Return the streams by what users call them."""
        streams = self._streams
        buckets = (streams.ports_bucket, streams.vifs_bucket, streams.hosts_bucket)
        return {f"stream {streams.stream}": streams.stream} | {
            f"bucket {bucket}": bucket_stream(bucket) for bucket in buckets
        }

    async def where(self, iface_id: str) -> list[Claim]:
        """Return every host that claims a VIF, the one that has it first.

        The server looks up its keys; then they and the heartbeats of the hosts are read.
        """
        vifs, hosts = self._streams.vifs_bucket, self._streams.hosts_bucket
        keys = await self._link.subjects(
            bucket_stream(vifs), key_subject(vifs, f"{token(iface_id)}.>")
        )
        prefix = key_subject(vifs, "")
        found = [
            (entry.subject.removeprefix(prefix).split(".")[1], entry)
            for entry in await self._link.get_all(bucket_stream(vifs), keys)
            if _is_value(entry)
        ]
        beats = await self._link.get_all(
            bucket_stream(hosts), [key_subject(hosts, word) for word in {w for w, _ in found}]
        )
        fresh = {beat.subject for beat in beats if _is_value(beat)}
        claims = [
            Claim(_name(word), port, key_subject(hosts, word) in fresh, entry.sequence)
            for word, entry in found
            if (port := self._read(entry, decode_port)) is not None
        ]
        return sorted(claims, key=_rank)

    async def ports(self, host: str | None = None) -> AsyncIterator[tuple[str, Port]]:
        """Return the ports of a host, or of all, with the name of the host; in no order."""
        keys = ">" if host is None else f"{token(host)}.>"
        async for entry, tokens in self._entries(self._streams.ports_bucket, keys, values=True):
            port = self._read(entry, decode_port)
            if port is not None:
                yield _name(tokens[0]), port

    async def hosts(self) -> list[Host]:
        """Return every host that has left a heartbeat, ports, or a sync in the log; by name."""
        heartbeats: dict[str, Heartbeat] = {}
        async for entry, tokens in self._entries(self._streams.hosts_bucket, ">", values=True):
            heartbeat = self._read(entry, decode_heartbeat)
            if heartbeat is not None:
                heartbeats[tokens[0]] = heartbeat
        counts: Counter[str] = Counter()
        async for _, tokens in self._entries(self._streams.ports_bucket, ">", values=False):
            counts[tokens[0]] += 1
        bucket, log = self._streams.ports_bucket, self._streams.stream
        lasts = await self._by_host(
            bucket_stream(bucket), key_subject(bucket, f"*.{MARK}.{LAST_HEARTBEAT}")
        )
        syncs = await self._by_host(log, f"{PREFIX}.*.sync")
        said = dict(heartbeats)
        for entry in await self._link.get_all(
            bucket_stream(bucket), [lasts[word] for word in lasts.keys() - said.keys()]
        ):
            if (heartbeat := self._read(entry, decode_heartbeat)) is not None:
                said[_host_word(entry.subject)] = heartbeat
        synced = {
            _host_word(entry.subject): datetime.fromtimestamp(entry.time, UTC)
            for entry in await self._link.get_all(
                log, [syncs[word] for word in syncs.keys() - said.keys()]
            )
        }
        hosts = [
            Host(
                _name(word),
                heartbeats.get(word),
                counts[word],
                said[word].time if word in said else synced.get(word),
                said.get(word),
            )
            for word in heartbeats.keys() | counts.keys() | lasts.keys() | syncs.keys()
        ]
        return sorted(hosts, key=lambda host: host.name)

    async def _by_host(self, stream: str, subject: str) -> dict[str, str]:
        """Return the subjects of a stream that match a filter, by the tokens of their hosts."""
        found = await self._link.subjects(stream, subject)
        return {_host_word(one): one for one in found}

    async def agent(self, host: str) -> tuple[bool, Heartbeat | None]:
        """Return whether the agent of a host has a recent heartbeat, and its last one."""
        word, streams = token(host), self._streams
        places = (
            (streams.hosts_bucket, word),
            (streams.ports_bucket, f"{word}.{MARK}.{LAST_HEARTBEAT}"),
        )
        for bucket, key in places:
            for entry in await self._link.get_all(
                bucket_stream(bucket), [key_subject(bucket, key)]
            ):
                if _is_value(entry) and (beat := self._read(entry, decode_heartbeat)) is not None:
                    return bucket == streams.hosts_bucket, beat
        return False, None

    async def position(self) -> int:
        """Return the sequence of the newest message of the log.

        :raises NatsError: there is no log.
        """
        info = await self._link.stream(self._streams.stream)
        if info is None:
            raise NatsError(f"stream {self._streams.stream} does not exist")
        return info.state.last_seq

    async def fresh(self) -> set[str]:
        """Return the names of the hosts that have a recent heartbeat."""
        return {
            _name(tokens[0])
            async for _, tokens in self._entries(self._streams.hosts_bucket, ">", values=False)
        }

    async def conflicts(self) -> list[Conflict]:
        """Return what cannot be true: VIFs on two hosts, MACs of two VIFs, hosts of one name.

        Only hosts with a recent heartbeat count. Ports of patches do not: they belong to trunks,
        whose VIFs may have one MAC address.
        """
        installed: dict[str, set[str]] = {}  # by VIF: hosts where OVN has installed it
        active: dict[str, set[str]] = {}  # by VIF: hosts where Nova says that it is active
        macs: dict[str, set[str]] = {}  # by MAC address: VIFs
        fresh = await self.fresh()
        async for entry, tokens in self._entries(self._streams.vifs_bucket, ">", values=True):
            port, host = self._read(entry, decode_port), _name(tokens[1])
            if port is None or port.type == "patch" or host not in fresh:
                continue
            vif = str(port.attributes.get("iface_id"))
            if mac := str(port.attributes.get("attached_mac") or "").lower():
                macs.setdefault(mac, set()).add(vif)
            claim = Claim(host, port, fresh=True, sequence=entry.sequence)
            if port.state == "ready" and not _may_be_everywhere(port):
                if claim.installed:
                    installed.setdefault(vif, set()).add(host)
                if claim.active:
                    active.setdefault(vif, set()).add(host)
        return [
            *_shared("vif", "is active on", "hosts", active | installed),
            *_shared("mac", "belongs to", "VIFs", macs),
            *(conflict for host in await self.hosts() for conflict in _of_host(host)),
        ]

    async def forget(self, host: str) -> None:
        """Delete everything of a host: its events, its VIFs, its heartbeat and its ports.

        An agent that still runs notices that the last of these is gone, and sends everything.
        """
        word, streams = token(host), self._streams
        await self._link.purge(streams.stream, f"{PREFIX}.{word}.>")
        for bucket, keys in (
            (streams.vifs_bucket, f"*.{word}.*"),
            (streams.hosts_bucket, word),
            (streams.ports_bucket, f"{word}.>"),
        ):
            await self._link.purge(bucket_stream(bucket), key_subject(bucket, keys))

    async def tidy(self, older: float) -> None:
        """Remove what the buckets keep of keys that were deleted so many seconds ago."""
        for bucket in (self._streams.ports_bucket, self._streams.vifs_bucket):
            await self._link.purge_deletions(bucket, older)

    async def past(
        self, since: datetime | None = None, until: datetime | None = None, host: str | None = None
    ) -> AsyncIterator[LogItem]:
        """Yield the events that the log has now, each once, in the order in which they arrived.

        :param since: not what was stored before; None begins with the oldest.
        :param until: not what was stored after; None ends with the newest.
        """
        subject, seen = _subject(host), Seen()
        start = _beginning(since)
        async for entry in self._link.stored(self._streams.stream, subject, start):
            if until is not None and entry.time > until.timestamp():
                return
            message_id = entry.headers.get(MESSAGE_ID, "")
            item = self._read(entry, from_json)
            if item is not None and not seen(message_id):
                yield self._of_its_subject(item, entry, message_id)

    async def log(
        self,
        since: datetime | None = None,
        host: str | None = None,
        *,
        after: int | None = None,
    ) -> AsyncGenerator[LogItem, None]:
        """Yield the events of all hosts, or of one, as they arrive, without end, each once.

        A lost connection is made again, and the log followed from where it was.

        :param since: begin with what was stored then; None begins with new events.
        :param after: begin after this position instead.
        """
        stream, seen = self._streams.stream, Seen()
        subject = _subject(host)
        if since is not None and after is None:
            start = _beginning(since)
        else:
            start = _from((await self.position() if after is None else after) + 1)
        while True:
            try:
                await self._link.connect()
                async for entry in self._link.follow(stream, subject, start):
                    start = _from(entry.sequence + 1)
                    message_id = entry.headers.get(MESSAGE_ID, "")
                    item = self._read(entry, from_json)
                    if item is not None and not seen(message_id):
                        yield self._of_its_subject(item, entry, message_id)
            except NatsError as error:
                self._notice(f"{error}; continuing as soon as possible")
                await self._link.close()
                await asyncio.sleep(_RETRY)

    def _of_its_subject(
        self, item: PortEvent | SyncMarker, entry: Entry, message_id: str
    ) -> LogItem:
        """Return a message of the log, with the host of its subject.

        The server checks who publishes on a subject, and nobody checks what a message says.
        """
        word = entry.subject.split(".")[2]
        if token(item.host) == word:
            return LogItem(item, entry.value, message_id, entry.sequence)
        host = _name(word)
        self._notice(
            f"{entry.subject}, message {entry.sequence}, names another host: {item.host!r:.80}"
        )
        item = replace(item, host=host)
        return LogItem(item, to_json(item), message_id, entry.sequence)

    def _read(self, entry: Entry, decode: Callable[[bytes], T]) -> T | None:
        """Return what an agent has written; None, with a notice, if something else wrote it."""
        try:
            return decode(entry.value)
        except ValueError as error:  # of msgspec, too
            self._notice(
                f"{entry.subject}, message {entry.sequence}, was not written by an agent: {error}"
            )
            return None

    async def _entries(
        self, bucket: str, keys: str, *, values: bool
    ) -> AsyncIterator[tuple[Entry, list[str]]]:
        """Return the values of a bucket, with the tokens of their keys."""
        streams, prefix = self._streams, key_subject(bucket, "")
        length = {streams.hosts_bucket: 1, streams.ports_bucket: 2, streams.vifs_bucket: 3}[bucket]
        async for entry in self._link.last(
            bucket_stream(bucket), key_subject(bucket, keys), values=values
        ):
            tokens = entry.subject.removeprefix(prefix).split(".")
            if not _is_value(entry) or MARK in tokens:  # lists that a host keeps for itself
                continue
            if len(tokens) == length:
                yield entry, tokens
            else:
                self._notice(
                    f"{entry.subject}, message {entry.sequence}, was not written by an agent: "
                    "this bucket has no such keys"
                )


def _from(sequence: int) -> api.ConsumerConfig:
    return api.ConsumerConfig(
        deliver_policy=api.DeliverPolicy.BY_START_SEQUENCE, opt_start_seq=max(1, sequence)
    )


def _beginning(since: datetime | None) -> api.ConsumerConfig:
    if since is None:
        return api.ConsumerConfig(deliver_policy=api.DeliverPolicy.ALL)
    return api.ConsumerConfig(deliver_policy=api.DeliverPolicy.BY_START_TIME, opt_start_time=since)


def _subject(host: str | None) -> str:
    return f"{PREFIX}.>" if host is None else f"{PREFIX}.{token(host)}.>"


def _may_be_everywhere(port: Port) -> bool:
    """Return whether several hosts may have a VIF: distributed routers do, with internal ports,
    and the second row of an emulated device is none of its own.
    """
    return port.type == "internal" or bool(port.attributes.get("twin"))


def _shared(kind: str, text: str, of: str, found: Mapping[str, set[str]]) -> Iterator[Conflict]:
    for what, names in sorted(found.items()):
        if len(names) > 1:
            yield Conflict(kind, what, f"{text} {len(names)} {of}: {', '.join(sorted(names))}")


def _of_host(host: Host) -> Iterator[Conflict]:
    beat = host.heartbeat
    if beat is not None and not beat.synced:
        text = "has an agent that has not synced since it was started"
        yield Conflict("host", host.name, text)
    if beat is not None and beat.shared:
        text = "is the name of two agents, or has been since its agent has synced"
        yield Conflict("host", host.name, text)


def undecided(claims: Sequence[Claim]) -> list[str]:
    """Return the hosts that claim a VIF equally well, if there are several.

    The platform then does not say yet which of them has it, as while it migrates.
    """
    if not claims:
        return []
    best = _rank(claims[0])[:-1]  # not what was stored last, which proves nothing
    hosts = sorted({claim.host for claim in claims if _rank(claim)[:-1] == best})
    return hosts if len(hosts) > 1 else []


def _rank(claim: Claim) -> tuple[bool, bool, bool, bool, bool, bool, int]:
    """Order claims by what the platform says is true.

    OVN's ovn-installed comes first, then Nova's iface-status, then whether the agent has a recent
    heartbeat; then the VIF's own row before patch ports and before the second row of an emulated
    device, a ready one before others, and the latest claim.
    """
    port = claim.port
    return (
        not claim.installed,
        not claim.active,
        not claim.fresh,
        port.type == "patch" or bool(port.attributes.get("twin")),
        port.state != "ready",
        port.state == "gone",
        -claim.sequence,
    )


def _host_word(subject: str) -> str:
    """Return the token of the host in `dfovsdb.v1.HOST.…` or `$KV.BUCKET.HOST.…`."""
    return subject.split(".")[2]


def _is_value(entry: Entry) -> bool:
    return OPERATION not in entry.headers


def _name(word: str) -> str:
    """Return the name of a host; the token itself if the name was too long to be kept."""
    name = name_of(word)
    return word if name is None else name
