"""Turns facts and cuts into events, and offers them until they are accepted or refused.

Events are what differs from the told view, which changes only by delivery. So a sink sees a
legal sequence whatever was dropped, refused, retried or replayed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from dfovsdb.delivery import lifecycle
from dfovsdb.delivery.guard import Refused, SinkGuard
from dfovsdb.delivery.lifecycle import NextEvent
from dfovsdb.delivery.view import SinkView
from dfovsdb.delivery.work_queue import Fact, Facts, FullUpdate
from dfovsdb.errors import SinkUnavailable
from dfovsdb.logs import get_logger
from dfovsdb.model import Origin, Port, PortEvent, SyncAction, SyncMarker
from dfovsdb.sinks.base import Sink
from dfovsdb.text.escape import counted

LOG = get_logger(__name__)

BATCH = 500  #: events in one emit_many at most


class Emitter:
    """Tells one sink; for the worker's thread.

    :param told: what the sink has accepted, perhaps before this process began.
    """

    def __init__(self, destination: SinkGuard, told: SinkView, host: str) -> None:
        self._destination = destination
        self._sink = destination.sink
        self._told = told
        self._host = host
        self._one_by_one = type(self._sink).emit_many is Sink.emit_many
        self._seq = 0
        self._origin: Origin = "update"
        self._replaying = False
        #: Events on their way, each port once, so that a refusal harms no other event.
        self._batch: dict[str, PortEvent] = {}

    def tell_facts(self, messages: Sequence[Facts]) -> None:
        """Tell what some messages changed.

        :raises Stopped: the deadline of stop has passed, and something is left.
        """
        self._begin("update", replaying=False)
        for time, facts in messages:
            for uuid, _ in facts:
                if uuid in self._batch:
                    self._flush()
                    break
            self._add(self._selected(facts), time)
        self._flush()

    def tell_cut(self, tell: FullUpdate) -> None:
        """Tell how a cut differs, in the bracket that its origin asks for.

        :raises Stopped: the deadline of stop has passed, and something is left.
        """
        self._begin(tell.origin, replaying=tell.replaying)
        if tell.origin != "catchup":
            self._mark("sync_started", tell.time, None)
        cut = selected(self._sink, tell.cut)
        facts: list[Fact] = [(uuid, None) for uuid in self._told if uuid not in cut]
        facts.extend(cut.items())
        self._add(facts, tell.time)
        self._flush()
        if tell.origin != "catchup":
            self._mark("sync_finished", tell.time, len(cut))

    def _begin(self, origin: Origin, *, replaying: bool) -> None:
        self._origin = origin
        self._replaying = replaying
        self._batch = {}

    def _add(self, facts: Sequence[Fact], time: datetime) -> None:
        """Add the events of one message, or of one cut, to the batch."""
        for uuid, now in lifecycle.steps(facts, self._told.get):
            if uuid in self._batch or len(self._batch) >= BATCH:
                self._flush()
            telling = self._telling(uuid, now)
            if telling is None:
                continue
            if telling.action == "offline" and now is not None:
                continue  # it was just refused; the port is told when it next changes
            self._batch[uuid] = PortEvent(
                action=telling.action,
                port=telling.port,
                previous=telling.previous,
                origin=self._origin,
                seq=self._next_seq(),
                time=time,
                host=self._host,
            )

    def _selected(self, facts: Sequence[Fact]) -> Sequence[Fact]:
        """Return the facts with None for each port that the sink does not want."""
        wants = self._sink.selection
        if wants is None:
            return facts
        return [(uuid, now if now is not None and wants(now) else None) for uuid, now in facts]

    def _telling(self, uuid: str, now: Port | None) -> NextEvent | None:
        told = self._told.get(uuid)
        if uuid not in self._told.doubtful:
            return lifecycle.next_event(told, now, replaying=self._replaying)
        # What it was told last is not known for sure, so it is told even what seems equal.
        in_bracket = self._origin not in ("update", "catchup")
        telling = lifecycle.next_event(told, now, replaying=in_bracket)
        return telling if telling or now is None else NextEvent("updated", now, told)

    def _mark(self, action: SyncAction, time: datetime, ports: int | None) -> None:
        marker = SyncMarker(
            action=action,
            origin=self._origin,
            seq=self._next_seq(),
            time=time,
            host=self._host,
            ports=ports,
        )
        call = self._sink.sync_started if action == "sync_started" else self._sink.sync_finished
        try:
            self._destination.deliver(call, marker)
        except Refused as refused:
            self._refused(marker, refused)

    def _next_seq(self) -> int:
        self._seq += 1
        return self._seq

    def _flush(self) -> None:
        if not self._batch:
            return
        events, self._batch = tuple(self._batch.values()), {}
        self._told.offering(events)
        if self._one_by_one:
            self._offer_each(events)
        else:
            self._offer_batch(events)

    def _offer_batch(self, events: Sequence[PortEvent]) -> None:
        try:
            while events:
                down = self._destination.attempt(self._sink.emit_many, events)
                arrived = _arrived(down, len(events))
                self._accepted(events[:arrived])
                events = events[arrived:]
                if down:
                    self._destination.back_off()
        except Refused as refused:
            batch = counted(len(events), "event")
            LOG.warning(
                "sink %s refused a batch of %s (%r); offering them one by one",
                self._destination.name,
                batch,
                refused.error,
            )
            self._offer_each(events)

    def _offer_each(self, events: Sequence[PortEvent]) -> None:
        attempt, emit = self._destination.attempt, self._sink.emit
        for event in events:
            try:
                while (down := attempt(emit, event)) and not _arrived(down, 1):
                    self._destination.back_off()
            except Refused as refused:
                self._told.refused(event)
                self._refused(event, refused)
            else:
                self._accepted((event,))

    def _accepted(self, events: Sequence[PortEvent]) -> None:
        self._told.accepted(events)
        self._destination.counters["delivered"] += len(events)

    def _refused(self, what: PortEvent | SyncMarker, refused: Refused) -> None:
        self._destination.counters["refused"] += 1
        LOG.error("sink %s refused %s", self._destination.name, what, exc_info=refused.error)


def selected(sink: Sink, ports: Mapping[str, Port]) -> Mapping[str, Port]:
    """Return the ports that a sink wants."""
    wants = sink.selection
    return ports if wants is None else {uuid: port for uuid, port in ports.items() if wants(port)}


def _arrived(down: SinkUnavailable | None, offered: int) -> int:
    """How many events arrived. A number that cannot be right is none: repeat, never lose."""
    if down is None:
        return offered
    if isinstance(down.delivered, int) and 0 <= down.delivered <= offered:
        return down.delivered
    return 0
