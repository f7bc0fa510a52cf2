"""Turns facts into events, and offers them until they are accepted or refused.

Events are the differences to the view of the sink, which changes only by delivery. Therefore a
sink receives a valid sequence of events, whatever was discarded, refused, retried or resent.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from dfovsdb.delivery import lifecycle
from dfovsdb.delivery.event_order import in_order
from dfovsdb.delivery.guard import Refused, SinkGuard
from dfovsdb.delivery.lifecycle import NextEvent
from dfovsdb.delivery.view import SinkView
from dfovsdb.delivery.work_queue import Fact, Facts, FullUpdate
from dfovsdb.errors import SinkUnavailable
from dfovsdb.logs import get_logger
from dfovsdb.model import Origin, Port, PortEvent, SyncAction, SyncMarker
from dfovsdb.sinks.base import Sink
from dfovsdb.text.escape import counted
from dfovsdb.text.events import event_line, marker_line

LOG = get_logger(__name__)


class Emitter:
    """Makes the events of one sink and offers them; for the worker's thread.

    :param view: what the sink has accepted, perhaps before this process began.
    :param most: events in one batch.
    """

    def __init__(self, guard: SinkGuard, view: SinkView, host: str, most: int) -> None:
        self._guard = guard
        self._sink = guard.sink
        self._view = view
        self._host = host
        self._most = most
        self._one_by_one = type(self._sink).emit_many is Sink.emit_many
        self._seq = 0
        self._origin: Origin = "update"
        self._replaying = False
        #: Events to be offered, each port once, so that a refusal affects no other event.
        self._batch: dict[str, PortEvent] = {}
        self._left: Sequence[PortEvent] = ()  # offered, and then it was time to wait

    def emit_facts(self, messages: Sequence[Facts]) -> None:
        """Offer the events of the changes of some messages.

        :raises Stopped: the deadline of stop has passed, and something is left.
        :raises MustWait: as SinkGuard.back_off(); the same messages must be offered again.
        """
        self._begin("update", replaying=False)
        for time, facts in messages:
            for uuid, _ in facts:
                if uuid in self._batch:
                    self._flush()
                    break
            self._add(self._selected(facts), time)
        self._flush()

    def emit_update(self, update: FullUpdate) -> None:
        """Offer the difference to a copy of all ports, between the markers of its origin.

        :raises Stopped: the deadline of stop has passed, and something is left.
        """
        self._begin(update.origin, replaying=update.replaying)
        if update.origin != "catchup":
            self._mark("sync_started", update.time, None)
        cut = selected(self._guard, update.cut)
        gone: list[Fact] = [(uuid, None) for uuid in self._view if uuid not in cut]
        self._add([*gone, *cut.items()] if gone else cut.items(), update.time)
        self._flush()
        if update.origin != "catchup":
            self._mark("sync_finished", update.time, len(cut))

    def _begin(self, origin: Origin, *, replaying: bool) -> None:
        self._origin = origin
        self._replaying = replaying
        self._batch = {}
        if self._left:
            left, self._left = self._left, ()
            self._offer(left)

    def _add(self, facts: Collection[Fact], time: datetime) -> None:
        """Add the events of one message, or of a full update, to the batch."""
        delivered, doubtful = self._view.get, self._view.doubtful
        for uuid, now in in_order(facts, delivered):
            if uuid in self._batch or len(self._batch) >= self._most:
                self._flush()
            if uuid in doubtful:
                following = self._next_of_doubtful(uuid, now)
            else:
                following = lifecycle.next_event(delivered(uuid), now, replaying=self._replaying)
            if following is None:
                continue
            if following.action == "offline" and now is not None:
                # its departure was just refused; the port is offered when it next changes
                continue
            self._seq += 1
            self._batch[uuid] = PortEvent(
                action=following.action,
                port=following.port,
                previous=following.previous,
                origin=self._origin,
                seq=self._seq,
                time=time,
                host=self._host,
            )

    def _selected(self, facts: Sequence[Fact]) -> Sequence[Fact]:
        """Return the facts with None for each port that the sink does not want."""
        wants = self._guard.selection
        if wants is None:
            return facts
        chosen = self._guard.wants
        return [
            (uuid, now if now is not None and chosen(now, wants) else None) for uuid, now in facts
        ]

    def _next_of_doubtful(self, uuid: str, now: Port | None) -> NextEvent | None:
        """Return the next event where it is uncertain what the sink received last: it is sent
        even what seems equal.
        """
        delivered = self._view.get(uuid)
        in_bracket = self._origin not in ("update", "catchup")
        following = lifecycle.next_event(delivered, now, replaying=in_bracket)
        return following if following or now is None else NextEvent("updated", now, delivered)

    def _mark(self, action: SyncAction, time: datetime, ports: int | None) -> None:
        self._seq += 1
        marker = SyncMarker(
            action=action,
            origin=self._origin,
            seq=self._seq,
            time=time,
            host=self._host,
            ports=ports,
        )
        call = self._sink.sync_started if action == "sync_started" else self._sink.sync_finished
        try:
            # Most sinks only note that a sync begins, whether their destination is up or not.
            self._guard.deliver(call, marker, proves=action == "sync_finished")
        except Refused as refused:
            self._refused(marker, refused)

    def _flush(self) -> None:
        if not self._batch:
            return
        events, self._batch = tuple(self._batch.values()), {}
        self._view.offering(events)
        self._offer(events)

    def _offer(self, events: Sequence[PortEvent]) -> None:
        if self._one_by_one:
            self._offer_each(events)
        else:
            self._offer_batch(events)

    def _offer_batch(self, events: Sequence[PortEvent]) -> None:
        try:
            while events:
                down = self._guard.attempt(self._sink.emit_many, events)
                arrived = _arrived(down, len(events))
                self._accepted(events[:arrived])
                events = events[arrived:]
                if down:
                    self._back_off(events)
        except Refused as refused:
            batch = counted(len(events), "event")
            LOG.warning(
                "sink %s refused a batch of %s (%s: %s); offering them one by one",
                self._guard.name,
                batch,
                type(refused.error).__name__,
                refused,
            )
            self._offer_each(events)

    def _offer_each(self, events: Sequence[PortEvent]) -> None:
        attempt, emit = self._guard.attempt, self._sink.emit
        accepted = self._view.accepted
        for number, event in enumerate(events):
            try:
                while (down := attempt(emit, event)) and not _arrived(down, 1):
                    self._back_off(events[number:])
            except Refused as refused:
                self._view.refused(event)
                self._refused(event, refused)
            else:
                accepted((event,))
                self._guard.counters["delivered"] += 1

    def _back_off(self, events: Sequence[PortEvent]) -> None:
        self._left = events  # where waiting is not for this thread
        self._guard.back_off()
        self._left = ()

    def _accepted(self, events: Sequence[PortEvent]) -> None:
        self._view.accepted(events)
        self._guard.counters["delivered"] += len(events)

    def _refused(self, what: PortEvent | SyncMarker, refused: Refused) -> None:
        self._guard.counters["refused"] += 1
        # Not the whole event: its row may have secrets, such as options:psk.
        text = event_line(what) if isinstance(what, PortEvent) else marker_line(what)
        LOG.error("sink %s refused %s", self._guard.name, text, exc_info=refused.error)


def selected(guard: SinkGuard, ports: Mapping[str, Port]) -> Mapping[str, Port]:
    """Return the ports that a sink wants."""
    wants = guard.selection
    if wants is None:
        return ports
    return {uuid: port for uuid, port in ports.items() if guard.wants(port, wants)}


def _arrived(down: SinkUnavailable | None, offered: int) -> int:
    """Return how many events arrived. An invalid number counts as none: repeat, never lose."""
    if down is None:
        return offered
    if isinstance(down.delivered, int) and 0 <= down.delivered <= offered:
        return down.delivered
    return 0
