"""How much work a sync is for the publisher, counted and not timed."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import cast

import pytest

from dfovsdb.model import SyncMarker
from dfovsdb.sinks.nats.client import Connection
from dfovsdb.sinks.nats.key_index import KeyIndex
from dfovsdb.sinks.nats.publisher import Publisher
from dfovsdb.sinks.nats.servers import Servers
from dfovsdb.sinks.nats.streams import Streams
from tests.unit.counting import CountingSet


@pytest.mark.parametrize("ports", [100, 200, 400])
def test_the_end_of_a_sync_is_work_in_proportion_to_the_ports(ports: int) -> None:
    publisher = Publisher(
        cast("Servers", None),
        cast("Streams", None),
        create=False,
        timeout=1,
        heartbeat=1,
        window=1,
    )
    uuids = [f"uuid-{number}" for number in range(ports)]
    index = KeyIndex()
    for uuid in [*uuids, "left-over"]:
        index.cover(uuid, None)
    CountingSet.copied = 0
    publisher._known = CountingSet(uuids)
    marker = SyncMarker(
        action="sync_finished",
        origin="initial",
        seq=1,
        time=datetime.now(UTC),
        host="h",
        ports=ports,
    )
    left = asyncio.run(publisher._left_over(cast("Connection", None), index, marker))
    assert left == ["left-over"]
    assert CountingSet.copied <= 2 * ports
