"""Events as text for people: log lines and the terminal. Nothing here knows a kind.

Names, ids and errors come from the database and may contain anything. What could break a line or
control a terminal is escaped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

from dfovsdb.model import Port, PortEvent, SyncMarker, changes
from dfovsdb.text.escape import clean, counted
from dfovsdb.text.local_time import local

_COLOURS = {"online": "32", "updated": "33", "offline": "31"}
_DIM = "2"
_STATES = {"ready": "0", "pending": "33", "failed": "31", "gone": "31"}
_HEADER = ("kind", "name", "bridge", "state", "ofport", "link", "mac")
_RULE = 76  # columns of a rule
_AMBIGUOUS = frozenset(' ="')


def event_line(event: PortEvent) -> str:
    """Return `online KIND tap4aa64e21-d9 ofport=5 iface_id=…`; a change as `ofport=2->5`."""
    port = event.port
    return f"{event.action} {clean(port.kind)} {_value(port.name)} {_details(event)}".rstrip()


def marker_line(marker: SyncMarker) -> str:
    """Return `sync_finished origin=initial ports=7`."""
    ports = "" if marker.ports is None else f" ports={marker.ports}"
    return f"{marker.action} origin={marker.origin}{ports}"


def terminal_line(
    item: PortEvent | SyncMarker,
    *,
    colour: bool = False,
    width: int | None = None,
    selected: int | None = None,
) -> str:
    """Return a line for people: aligned, coloured; a rule where a sync begins and ends.

    :param selected: how many ports of a complete sync were selected, None for all.
    :param width: columns of the terminal, at which the line ends with `…`; None cuts nothing.
    """
    if isinstance(item, SyncMarker):
        of = "" if selected is None else f"{selected:,} of "
        text = (
            "begins" if item.ports is None else f"is complete, {of}{counted(item.ports, 'port')}"
        )
        title = f"── {item.origin} sync {text} "
        rule = min(width or _RULE, _RULE)
        return _painted(title + "─" * max(0, rule - len(title)), _DIM, colour=colour)
    port = item.port
    time = local(item.time).strftime("%H:%M:%S")
    facts = f"{clean(port.kind):<6}  {_value(port.name):<15}  {_details(item)}".rstrip()
    left = len(facts) if width is None else width - len(f"{time}  {item.action:<7}  ")
    if len(facts) > left:
        facts = facts[: max(0, left - 1)] + "…"
    return (
        f"{_painted(time, _DIM, colour=colour)}  "
        f"{_painted(f'{item.action:<7}', _COLOURS[item.action], colour=colour)}  {facts}"
    )


def past_line(event: PortEvent, *, colour: bool = False) -> str:
    """Return a line of the past: with the date, and the host where that is known."""
    time = local(event.time).strftime("%Y-%m-%d %H:%M:%S")
    facts = f"{clean(event.port.kind):<6}  {_value(event.port.name):<15}  {_details(event)}"
    action = _painted(f"{event.action:<7}", _COLOURS[event.action], colour=colour)
    return f"{_painted(time, _DIM, colour=colour)}  {action}  {facts.rstrip()}"


def timeline_line(event: PortEvent, waited: timedelta | None, *, colour: bool = False) -> str:
    """Return the same, with the time that has passed since the event before it."""
    after = "" if waited is None else f"+{waited.total_seconds():,.1f} s"
    return f"{after:>14}  {past_line(event, colour=colour)}"


def port_table(
    ports: Sequence[Port], *, colour: bool = False, width: int | None = None
) -> Iterator[str]:
    """Yield the lines of a table: a header, a line for each port, and a line with the total.

    :param width: columns of the terminal, at which a line ends with `…`; None cuts nothing.
    """
    rows = [_row(port) for port in ports]
    widths = [
        max(map(len, column)) for column in zip(_HEADER, *(row[:-1] for row in rows), strict=True)
    ]
    yield _painted(_aligned((*_HEADER, "attributes"), widths, width), _DIM, colour=colour)
    for port, row in zip(ports, rows, strict=True):
        yield _painted(_aligned(row, widths, width), _STATES[port.state], colour=colour)
    kinds = Counter(port.kind for port in ports)
    counts = ", ".join(f"{clean(kind)} {kinds[kind]}" for kind in sorted(kinds))
    total = counted(len(ports), "port") + (f": {counts}" if counts else "")
    yield _painted(_cut(total, width), _DIM, colour=colour)


def port_facts(port: Port) -> str:
    """Return what has no column of its own in a table: why a port failed, and its attributes."""
    return " ".join([*_error(port), *_place(port), *_attributes(port)])


def _row(port: Port) -> tuple[str, ...]:
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


def _aligned(row: Sequence[str], widths: Sequence[int], width: int | None) -> str:
    cells = [f"{cell:<{columns}}" for cell, columns in zip(row, widths, strict=False)]
    return _cut("  ".join([*cells, row[-1]]).rstrip(), width)


def _cut(text: str, width: int | None) -> str:
    return text if width is None or len(text) <= width else text[: max(0, width - 1)] + "…"


def _details(event: PortEvent) -> str:
    if event.action == "updated":
        return " ".join(f"{name}={_change(*values)}" for name, values in _news(event))
    return " ".join(_facts(event.port))


def _news(event: PortEvent) -> Iterator[tuple[str, tuple[Any, Any]]]:
    for name, values in changes(event.previous, event.port).items():
        yield clean(name.removeprefix("attributes.")), values


def _facts(port: Port) -> Iterator[str]:
    yield f"ofport={port.ofport}" if port.state == "ready" else port.state
    yield from _error(port)
    if port.bridge is not None and port.bridge != port.name:
        yield f"bridge={_value(port.bridge)}"
    yield from _place(port)
    yield from _attributes(port)


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


def _attributes(port: Port) -> Iterator[str]:
    for name, value in port.attributes.items():
        if value is not None:
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


def _painted(text: str, code: str, *, colour: bool) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if colour else text
