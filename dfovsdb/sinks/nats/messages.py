"""An event, a marker or a heartbeat as messages for NATS. No I/O.

An event becomes several messages: one in the log, then its changes to the bucket of ports and to
that of VIFs, all with the message id of the event. JetStream drops messages that it has already
stored, so a retry repeats nothing, and a delayed message cannot overwrite a later value.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import msgspec

from dfovsdb.json_v1 import encode_port, to_json
from dfovsdb.model import Port, PortEvent, SyncMarker
from dfovsdb.sinks.nats.client import Publication
from dfovsdb.sinks.nats.key_index import MARK
from dfovsdb.sinks.nats.streams import Streams, key_subject
from dfovsdb.sinks.nats.subjects import port_key, subject, token, vif_key

IFACE_ID = "iface_id"  #: the attribute that identifies a VIF
MESSAGE_ID = "Nats-Msg-Id"  #: a header by which JetStream recognizes a repeated message
OPERATION = (
    "KV-Operation"  #: a header that marks a deletion instead of a value of a key (NATS ADR-8)
)
#: The key of the last heartbeat, beside the parts of the list of a host's keys.
LAST_HEARTBEAT = "heartbeat"
_DELETED = {OPERATION: "DEL"}


class Heartbeat(msgspec.Struct, kw_only=True):
    """The value of a host in the bucket of hosts."""

    v: int = 1
    time: datetime
    version: str
    epoch: str
    ports: int
    connection: str  #: of the connection to the switch: `synced`, or what is waited for
    synced: bool = True  #: this run of the agent has completed a sync
    shared: bool = False  #: since then, another agent has written heartbeats of this name


class Encoder:
    """The messages of one run of the agent on one host."""

    def __init__(self, host: str, epoch: str, streams: Streams) -> None:
        self._host = host
        self._source = f"{token(host)}:{epoch}"
        self._ports, self._vifs = streams.ports_bucket, streams.vifs_bucket
        self._hosts = streams.hosts_bucket

    def of_event(
        self, event: PortEvent, claimed: Iterable[str]
    ) -> tuple[list[Publication], str | None]:
        """Return the messages of an event, and the key of the VIF that the port then claims.

        :param claimed: the keys that it claimed before, if they are known.
        """
        port, identity = event.port, f"{self._source}:{event.seq}"
        headers = {MESSAGE_ID: identity}
        key = key_subject(self._ports, port_key(self._host, port.uuid))
        messages = [Publication(subject(self._host, port.kind), to_json(event), headers)]
        before = {*claimed, self._vif(port), self._vif(event.previous)}
        vif = None
        if event.action == "offline":
            messages.append(Publication(key, b"", headers | _DELETED))
        else:
            value = encode_port(port)
            messages.append(Publication(key, value, headers))
            vif = self._vif(port)
            if vif is not None:
                messages.append(Publication(key_subject(self._vifs, vif), value, headers))
        gone = sorted(old for old in before if old is not None and old != vif)
        return [*messages, *_removals(identity, ((self._vifs, old) for old in gone))], vif

    def of_marker(
        self, marker: SyncMarker, stale: Iterable[tuple[str, str]] = ()
    ) -> list[Publication]:
        """Return the messages of a marker.

        :param stale: keys, with their buckets, that are deleted before it.
        """
        identity = f"{self._source}:{marker.seq}"
        message = Publication(subject(self._host, "sync"), to_json(marker), {MESSAGE_ID: identity})
        return [*_removals(identity, stale), message]

    def of_index(self, part: str, value: bytes, version: int) -> Publication:
        """Return the message for a part of the list of this host's keys."""
        key = self.index_subject(part)
        return Publication(key, value, {MESSAGE_ID: f"{self._source}:index:{version}"})

    def index_subject(self, part: str) -> str:
        """Return the key of a part of the list."""
        return key_subject(self._ports, f"{token(self._host)}.{MARK}.{part}")

    def of_heartbeat(self, heartbeat: Heartbeat) -> list[Publication]:
        """Return the messages of a heartbeat, which are sent only once, whether or not they
        arrive: one that expires, and one that stays as the last word of this host.
        """
        value = msgspec.json.encode(heartbeat)
        return [
            Publication(key_subject(self._hosts, token(self._host)), value),
            Publication(self.last_heartbeat, value),
        ]

    @property
    def last_heartbeat(self) -> str:
        """The subject of the heartbeat that stays."""
        return self.index_subject(LAST_HEARTBEAT)

    def _vif(self, port: Port | None) -> str | None:
        iface_id = port.attributes.get(IFACE_ID) if port is not None else None
        if port is None or not iface_id:
            return None
        return vif_key(iface_id, self._host, port.uuid)


#: Decodes a heartbeat; raises msgspec.MsgspecError if it is none.
decode_heartbeat = msgspec.json.Decoder(Heartbeat).decode


def _removals(identity: str, keys: Iterable[tuple[str, str]]) -> list[Publication]:
    """Return deletions of keys, given with their buckets. Several may be in one bucket, so each
    has a message id of its own.
    """
    return [
        Publication(key_subject(bucket, key), b"", {MESSAGE_ID: f"{identity}:{key}", **_DELETED})
        for bucket, key in keys
    ]
