"""CloudEvents 1.0 in JSON: one event or marker, or several as a batch. No I/O.

CloudEvents, JSON event format 1.0.2; HTTP protocol binding 1.0.2, sections 3.2 and 3.3.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Literal, NamedTuple
from urllib.parse import quote

import msgspec

from dfovsdb.json_v1 import to_json
from dfovsdb.model import PortEvent
from dfovsdb.sinks.event_type import event_type

if TYPE_CHECKING:
    from dfovsdb.model import SyncMarker

ONE = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"


class CloudEvent(msgspec.Struct, gc=False, frozen=True, kw_only=True):
    """One event; `data` is JSON version 1, unchanged."""

    specversion: Literal["1.0"] = "1.0"
    id: str
    source: str
    type: str
    time: datetime
    subject: str | msgspec.UnsetType = msgspec.UNSET
    datacontenttype: Literal["application/json"] = "application/json"
    data: msgspec.Raw


class Request(NamedTuple):
    """The contents of one request."""

    id: str  #: the same whenever the same contents are sent again
    content_type: str
    body: bytes
    events: int  #: number of events and markers in it


_encode = msgspec.json.Encoder().encode


def messages(
    items: Sequence[PortEvent | SyncMarker],
    host: str,
    epoch: str,
    *,
    most_events: int,
    most_bytes: int,
) -> Iterator[Request]:
    """Return the items in order, in as few messages as the bounds allow; each has at least one
    item.

    A batch of one is sent as a single event.
    """
    batch: list[bytes] = []
    size = first = last = 0
    for item in items:
        body = encode(item, host, epoch)
        if batch and (len(batch) >= most_events or size + len(body) + 1 > most_bytes):
            yield _message(batch, host, epoch, first, last)
            batch = []
        if not batch:
            size, first = 1, item.seq  # the opening bracket
        batch.append(body)
        size += len(body) + 1
        last = item.seq
    if batch:
        yield _message(batch, host, epoch, first, last)


def encode(item: PortEvent | SyncMarker, host: str, epoch: str) -> bytes:
    """Return one CloudEvent. Its subject is the uuid of a port, because a name may be an invalid
    subject.
    """
    return _encode(
        CloudEvent(
            id=_id(host, epoch, item.seq),
            source=f"/dfovsdb/{quote(host, safe='')}",
            type=event_type(item),
            time=item.time,
            subject=item.port.uuid if isinstance(item, PortEvent) else msgspec.UNSET,
            data=msgspec.Raw(to_json(item)),
        )
    )


def _message(batch: list[bytes], host: str, epoch: str, first: int, last: int) -> Request:
    name = _id(host, epoch, first)
    if len(batch) == 1:
        return Request(name, ONE, batch[0], 1)
    return Request(f"{name}-{last}", BATCH, b"[" + b",".join(batch) + b"]", len(batch))


def _id(host: str, epoch: str, seq: int) -> str:
    return f"{quote(host, safe='')}:{epoch}:{seq}"
