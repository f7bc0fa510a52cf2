"""The lifecycle of a port, all of it: (told, now) -> the next event, and in which order.

told         now                    event
-----------  ---------------------  --------------------------------------
none         P                      online P
P            none                   offline P (as last told)
P            Q of another kind      offline P, and then online Q
P            Q, in a replaying sync online Q, previous P
P            Q that differs         updated Q, previous P
P            equal                  nothing
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from dfovsdb.model import Action, Port, keep_known


class NextEvent(NamedTuple):
    """What is to be told of one port next."""

    action: Action
    port: Port
    previous: Port | None


def next_event(told: Port | None, now: Port | None, *, replaying: bool) -> NextEvent | None:
    """One line of the table. A change of kind is two lines: told turns into none between."""
    if told is None:
        return None if now is None else NextEvent("online", now, None)
    if now is None or now.kind != told.kind:
        return NextEvent("offline", told, None)
    now = keep_known(told, now)
    if replaying:
        return NextEvent("online", now, told)
    return NextEvent("updated", now, told) if now != told else None


def steps(
    facts: Sequence[tuple[str, Port | None]], told: Callable[[str], Port | None]
) -> list[tuple[str, Port | None]]:
    """The facts of one message, or of one cut, in the order of telling.

    Ports that leave come first, and with them ports whose kind changes (they are there twice:
    they leave here, and arrive below); then ports that change, and may give up an iface-id;
    then those that arrive. So a name or an iface-id that moves from one row to another is
    never told online twice.
    """
    if len(facts) == 1:
        uuid, now = facts[0]
        return [(uuid, None), facts[0]] if _turned(told(uuid), now) else list(facts)
    gone: list[tuple[str, Port | None]] = []
    turned: list[tuple[str, Port | None]] = []
    changed: list[tuple[str, Port | None]] = []
    arrived: list[tuple[str, Port | None]] = []
    for fact in facts:
        uuid, now = fact
        before = told(uuid)
        if now is None:
            gone.append(fact)
        elif before is None:
            arrived.append(fact)
        elif now.kind != before.kind:
            turned.append(fact)
        else:
            changed.append(fact)
    return gone + [(uuid, None) for uuid, _ in turned] + changed + turned + arrived


def _turned(told: Port | None, now: Port | None) -> bool:
    return told is not None and now is not None and told.kind != now.kind
