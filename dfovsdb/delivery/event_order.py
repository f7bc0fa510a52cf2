"""The order of the events of one message, or of a full update."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable, Sequence

from dfovsdb.delivery.work_queue import Fact
from dfovsdb.model import OFPP_LOCAL, Port


def in_order(facts: Collection[Fact], delivered: Callable[[str], Port | None]) -> Iterable[Fact]:
    """Return the facts of one message, or of a full update, in the order of their events.

    Ports that leave come first, and with them ports whose kind changes (they are there twice:
    they leave here, and arrive below); then ports that change; then those that arrive. Of the
    ports that change, one that gives up an iface-id comes before the one that takes it. So a name
    or an iface-id that moves from one row to another is never online twice.

    The local port of a bridge arrives before the ports on it, in a resend too, and leaves after
    them.
    """
    if len(facts) == 1:
        ((uuid, now),) = facts
        return [(uuid, None), (uuid, now)] if _turned(delivered(uuid), now) else facts
    gone: list[Fact] = []  # as last delivered, and so the next
    leaving: list[Fact] = []
    turned: list[Fact] = []
    changed: list[Fact] = []
    arrived: list[Fact] = []
    absent: list[Fact] = []
    # In a first sync these are nearly all, and many tuples would keep the collector busy.
    uuids: list[str] = []
    ports: list[Port] = []
    moved = False
    for fact in facts:
        uuid, now = fact
        before = delivered(uuid)
        if now is None:
            if before is None:
                absent.append(fact)
            else:
                gone.append((uuid, before))
        elif before is None:
            if _place(fact) == _ANYWHERE:
                uuids.append(uuid)
                ports.append(now)
            else:
                arrived.append(fact)
        elif now.kind != before.kind:
            leaving.append((uuid, before))
            turned.append(fact)
        else:
            changed.append(fact)
            moved = moved or before.attributes is not now.attributes
    gone += leaving
    arrived = turned + arrived
    gone.sort(key=_place, reverse=True)
    changed.sort(key=_place)  # in a resend they arrive again
    arrived.sort(key=_place)
    if moved and len(changed) > 1:
        changed = _givers_first(changed, delivered)
    first = [*absent, *((uuid, None) for uuid, _ in gone), *changed, *arrived]
    return itertools.chain(first, zip(uuids, ports, strict=True))


_ANYWHERE = 2  # the last place


def _place(fact: Fact) -> int:
    """Return where a port stands: the local port of a bridge, that of a fake bridge, any other."""
    port = fact[1]
    assert port is not None  # of what leaves it is the port as last delivered
    if port.ofport == OFPP_LOCAL or (port.bridge is not None and port.bridge == port.name):
        return 0
    row = port.interface
    is_fake = row is not None and row.fake_bridge and row.port_name == port.name
    return 1 if is_fake else _ANYWHERE


def _givers_first(changed: Sequence[Fact], delivered: Callable[[str], Port | None]) -> list[Fact]:
    """Return the changes with each that gives up an iface-id before the one that takes it.

    Where ports exchange theirs in a circle, it is cut somewhere.
    """
    givers: dict[str, int] = {}
    takes: list[str | None] = []
    for place, (uuid, now) in enumerate(changed):
        before = delivered(uuid)
        old = None if before is None else before.attributes.get("iface_id")
        new = None if now is None else now.attributes.get("iface_id")
        takes.append(new if new != old else None)
        if old and old != new:
            givers[old] = place
    if not givers:
        return list(changed)
    ordered: list[Fact] = []
    done: set[int] = set()
    for place in range(len(changed)):
        waiting: list[int] = []
        at: int | None = place
        while at is not None and at not in done:
            done.add(at)
            waiting.append(at)
            at = givers.get(takes[at] or "")
        ordered.extend(changed[one] for one in reversed(waiting))
    return ordered


def _turned(delivered: Port | None, now: Port | None) -> bool:
    return delivered is not None and now is not None and delivered.kind != now.kind
