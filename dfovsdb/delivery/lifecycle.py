"""The complete lifecycle of a port: (delivered, now) -> the next event.

`delivered` is the port as the sink has last accepted it.

delivered    now                    event
-----------  ---------------------  --------------------------------------
none         P                      online P
P            none                   offline P (as last delivered)
P            Q of another kind      offline P, and then online Q
P            Q, while resending     online Q, previous P
P            Q that differs         updated Q, previous P
P            equal                  nothing
"""

from __future__ import annotations

import msgspec

from dfovsdb.model import Action, Port, keep_known


class NextEvent(msgspec.Struct, frozen=True, gc=False):
    """The next event of one port."""

    action: Action
    port: Port
    previous: Port | None


def next_event(delivered: Port | None, now: Port | None, *, replaying: bool) -> NextEvent | None:
    """Return the event of one line of the table.

    A change of kind takes two lines: between them the port counts as not delivered.
    """
    if delivered is None:
        return None if now is None else NextEvent("online", now, None)
    if now is None or now.kind != delivered.kind:
        return NextEvent("offline", delivered, None)
    now = keep_known(delivered, now)
    if replaying:
        return NextEvent("online", now, delivered)
    return NextEvent("updated", now, delivered) if now != delivered else None
