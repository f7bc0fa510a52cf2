"""Events as text for people: log lines and the terminal. Nothing here knows a kind.

Names, ids and errors come from the database and may contain anything. What could break a line or
control a terminal is escaped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Any

from dfovsdb.model import Port, PortEvent, SyncMarker, changes
from dfovsdb.text.escape import clean, counted
from dfovsdb.text.local_time import local
from dfovsdb.text.tables import DIM, cut, painted, table

_COLOURS = {"online": "32", "updated": "33", "offline": "31"}
_STATES = {"ready": "0", "pending": "33", "failed": "31", "gone": "31"}
PORT_HEADER = ("kind", "name", "bridge", "state", "ofport", "link", "mac", "attributes")
#: Columns that are left out in this order where the terminal is narrow.
PORT_GIVES_WAY = ("mac", "ofport", "bridge", "kind")
#: What tells a person which port it is: shown first among the attributes.
_IDENTITY = ("pod", "namespace", "iface_id", "remote_ip", "peer")
#: What happened before it was found out: by a start of the agent, or a connection made again.
_LATE = {
    "initial": "found when the agent started",
    "resync": "found when the connection was back",
}
#: What the sync of an origin is called.
_SYNCS = {"initial": "initial sync", "resync": "sync after a reconnect", "replay": "resend"}
_RULE = 76  # columns of a rule
_SECOND = 30  # columns before a second line at most, so that an iface-id fits into eighty
_AMBIGUOUS = frozenset(' ="')


def event_line(event: PortEvent) -> str:
    """Return `online KIND tap4aa64e21-d9 ofport=5 iface_id=…`; a change as `ofport=2->5`."""
    port = event.port
    return f"{event.action} {clean(port.kind)} {_value(port.name)} {_details(event)}".rstrip()


def marker_line(marker: SyncMarker) -> str:
    """Return `sync_finished origin=initial ports=7`."""
    ports = "" if marker.ports is None else f" ports={marker.ports}"
    return f"{marker.action} origin={marker.origin}{ports}"


def terminal_lines(
    item: PortEvent | SyncMarker,
    *,
    colour: bool = False,
    width: int | None = None,
    selected: int | None = None,
    utc: bool = False,
) -> list[str]:
    """Return what people read: aligned, coloured; a rule where a sync begins and ends.

    An event is one line, or two where the terminal is narrow: the second one begins with what
    tells which port it is.

    :param selected: how many ports of a complete sync were selected, None for all.
    :param width: columns of the terminal, at which a line ends with `…`; None cuts nothing.
    """
    time = local(item.time, utc=utc).strftime("%H:%M:%S")
    if isinstance(item, SyncMarker):
        of = "" if selected is None else f"{selected:,} of "
        text = (
            "begins" if item.ports is None else f"is complete, {of}{counted(item.ports, 'port')}"
        )
        title = f"{time}  ── {_SYNCS.get(item.origin, item.origin)} {text} "
        rule = min(width or _RULE, _RULE)
        return [painted(title + "─" * max(0, rule - len(title)), DIM, colour=colour)]
    return _event_lines(item, time, "", colour=colour, width=width)


def _event_lines(
    event: PortEvent, time: str, note: str, *, before: str = "", colour: bool, width: int | None
) -> list[str]:
    """Return the line of an event, or two where the terminal is narrow.

    :param note: escaped text about the event, after what is known of the port.
    :param before: what stands before the time.
    """
    indent = len(f"{before}{time}  {event.action:<7}  ")
    second = min(indent, _SECOND)
    lines = _folded(event, note, width and width - indent, width and width - second)
    head = f"{before}{painted(time, DIM, colour=colour)}  {_action(event, colour=colour)}  "
    return [head + lines[0], *(" " * second + line for line in lines[1:])]


def _folded(event: PortEvent, note: str, width: int | None, second_width: int | None) -> list[str]:
    """Return the facts of an event in one line; in two if it is longer than the width, or in
    three, the last of which is the note.
    """
    port = event.port
    which = _which(port)
    whole = f"{which}  {_details(event)}".rstrip() + note
    if width is None or second_width is None or len(whole) <= width:
        return [whole]
    if event.action == "updated":
        facts, identity, others = list(_changes(event)), [], []
    else:
        facts, identity, others = list(_own(port)), list(_identity(port)), list(_others(port))
    first, space = which, "  "
    while facts and len(first + space + facts[0]) <= width:
        first, space = first + space + facts.pop(0), " "
    lines = [first.rstrip(), " ".join([*identity, *facts, *others])]
    if note and len(lines[1] + note) > second_width:
        lines.append(note.strip())
    else:
        lines[1] = (lines[1] + note).strip()
    widths = (width, second_width, second_width)
    return [cut(line, at) for line, at in zip(lines, widths, strict=False) if line]


def past_lines(
    event: PortEvent,
    *,
    before: str = "",
    note: str = "",
    colour: bool = False,
    width: int | None = None,
    utc: bool = False,
) -> list[str]:
    """Return what people read of the past, with the date: one line, or two as terminal_lines().

    :param before: what stands before the time.
    :param note: escaped text about the event.
    """
    time = local(event.time, utc=utc).strftime("%Y-%m-%d %H:%M:%S")
    if event.action != "online" and event.origin in _LATE:
        note = f" ({_LATE[event.origin]}){note}"
    return _event_lines(event, time, note, before=before, colour=colour, width=width)


def _which(port: Port) -> str:
    """Return the kind and the name, aligned."""
    return f"{clean(port.kind):<7}  {_value(port.name):<15}"


def _action(event: PortEvent, *, colour: bool) -> str:
    return painted(f"{event.action:<7}", _colour(event), colour=colour)


def _colour(event: PortEvent) -> str:
    """Return the colour of an action: no port that has failed is green."""
    if event.action != "offline" and event.port.state in ("failed", "gone"):
        return _STATES[event.port.state]
    return _COLOURS[event.action]


def timeline_lines(
    event: PortEvent,
    waited: timedelta | None,
    *,
    note: str = "",
    colour: bool = False,
    width: int | None = None,
    utc: bool = False,
) -> list[str]:
    """Return the same, with the time that has passed since the event before it."""
    after = ""
    if waited is not None:  # clocks of two hosts may differ
        after = f"-{lasting(-waited)}" if waited < timedelta() else f"+{lasting(waited)}"
    return past_lines(
        event, before=f"{after:>14}  ", note=note, colour=colour, width=width, utc=utc
    )


def lasting(waited: timedelta) -> str:
    """Return `4.2 s` or `0:11:23`."""
    seconds = waited.total_seconds()
    return f"{seconds:,.1f} s" if seconds < 100 else str(timedelta(seconds=round(seconds)))


def port_table(
    ports: Sequence[Port], *, colour: bool = False, width: int | None = None
) -> Iterator[str]:
    """Yield the lines of a table: a header, a line for each port, and a line with the total.

    :param width: columns of the terminal, at which a line ends with `…`; None cuts nothing.
    """
    lines = table(
        PORT_HEADER,
        [port_row(port) for port in ports],
        width=width,
        gives_way=PORT_GIVES_WAY,
        last=identity_width(ports),
        colour=colour,
        styles=[_STATES[port.state] for port in ports],
    )
    header = next(lines)
    yield header
    yield from lines
    kinds = Counter(port.kind for port in ports)
    counts = ", ".join(f"{clean(kind)} {kinds[kind]}" for kind in sorted(kinds))
    total = counted(len(ports), "port") + (f": {counts}" if counts else "")
    total += left_out(PORT_HEADER, header)
    yield painted(cut(total, width), DIM, colour=colour)


def left_out(names: Sequence[str], header: str) -> str:
    """Return ` (without NAME, NAME: --wide)`, empty if the header of a table has every column."""
    gone = [name for name in names if name not in header]
    return f" (without {', '.join(gone)}: --wide)" if gone else ""


def identity_width(ports: Iterable[Port]) -> int:
    """Return the columns that the longest identity takes with the `…` after it."""
    return max((len(identity(port)) + 1 for port in ports), default=0)


def port_facts(port: Port) -> str:
    """Return what has no column of its own in a table: who it is, why it failed, attributes."""
    return " ".join([*_identity(port), *_error(port), *_place(port), *_others(port)])


def identity(port: Port) -> str:
    """Return what tells a person which port it is, beside its name."""
    return " ".join(_identity(port))


def port_row(port: Port) -> tuple[str, ...]:
    """Return the cells of PORT_HEADER."""
    return (
        clean(port.kind, 16),
        clean(port.name, 40),
        clean(port.bridge or "-", 40),
        port.state,
        "-" if port.ofport is None else str(port.ofport),
        clean(port.link_state or "-"),
        clean(port.mac_in_use or "-"),
        port_facts(port),
    )


def _details(event: PortEvent) -> str:
    if event.action == "updated":
        return " ".join(_changes(event))
    return " ".join(_facts(event.port))


def _changes(event: PortEvent) -> Iterator[str]:
    for name, values in changes(event.previous, event.port).items():
        yield f"{clean(name.removeprefix('attributes.'))}={_change(*values)}"


def _facts(port: Port) -> Iterator[str]:
    yield from _own(port)
    yield from _identity(port)
    yield from _others(port)


def _own(port: Port) -> Iterator[str]:
    """Yield what is not an attribute."""
    yield f"ofport={port.ofport}" if port.state == "ready" else port.state
    yield from _error(port)
    if port.bridge is not None and port.bridge != port.name:
        yield f"bridge={_value(port.bridge)}"
    yield from _place(port)


def _error(port: Port) -> Iterator[str]:
    if port.error:
        yield f"error={_value(port.error)}"


def _place(port: Port) -> Iterator[str]:
    """Yield the VLANs and the bond of a port, where it has any."""
    if port.tag is not None:
        yield f"tag={port.tag}"
    if port.trunks:
        yield "trunks=" + ",".join(map(str, port.trunks))
    if port.bond is not None:
        yield f"bond={_value(port.bond)}"


def _identity(port: Port) -> Iterator[str]:
    for name in _IDENTITY:
        if (value := port.attributes.get(name)) is not None:
            yield f"{name}={_value(value)}"


def _others(port: Port) -> Iterator[str]:
    for name, value in port.attributes.items():
        if value is not None and name not in _IDENTITY:
            yield f"{clean(name)}={_value(value)}"


def _change(old: Any, new: Any) -> str:
    return f"{_value(old)}->{_value(new)}"


def _value(value: Any) -> str:
    """Return one word; in quotes if it could be mistaken for several, or for another field."""
    if value is None or value == ():
        return "none"
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    # A backslash is doubled, so that none can take the quotation mark at the end for itself.
    text = clean(str(value).replace("\\", "\\\\"))
    if text and _AMBIGUOUS.isdisjoint(text):
        return text
    return '"' + text.replace('"', '\\"') + '"'
