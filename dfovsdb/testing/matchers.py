"""Matchers of testtools: for the contents of an event, and for what events add up to.

- assert_that(event, IsOnline("tap0", kind="vm", iface_id="4aa64e21"))
- assert_that(capture, EndsAs(monitor.ports()))
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from testtools.matchers import Matcher, Mismatch  # type: ignore[attr-defined]  # not in __all__

from dfovsdb.model import PORT_FACTS, Action, Port, PortEvent, SyncMarker
from dfovsdb.testing.capture import CaptureSink
from dfovsdb.text.events import event_line, marker_line

Received = PortEvent | SyncMarker
if TYPE_CHECKING:
    _Matcher = Matcher[Any]
else:
    _Matcher = Matcher  # older versions cannot be subscripted


class _Is(_Matcher):
    """Matches one event of a port with these facts.

    :param name: of the port.
    :param facts: fields of the Port, `origin`, or else its attributes.
    """

    action: Action

    def __init__(self, name: str | None = None, **facts: Any) -> None:
        self._facts = facts if name is None else {"name": name, **facts}

    def match(self, event: Received) -> Mismatch | None:
        """Return None if the event matches."""
        wrong = list(self._wrong(event))
        return Mismatch(f"{_line(event)}: {', '.join(wrong)}") if wrong else None

    def _wrong(self, event: Received) -> Iterator[str]:
        if not isinstance(event, PortEvent) or event.action != self.action:
            yield f"not {self.action}"
            return
        for fact, expected in self._facts.items():
            if fact == "origin":
                found: Any = event.origin
            elif fact in PORT_FACTS:
                found = getattr(event.port, fact)
            else:
                found = event.port.attributes.get(fact, "no such attribute")
            if found != expected:
                yield f"{fact} is {found!r}, not {expected!r}"

    def __str__(self) -> str:
        facts = ", ".join(f"{name}={value!r}" for name, value in self._facts.items())
        return f"{type(self).__name__}({facts})"


class IsOnline(_Is):
    """Matches an online event of a port with these facts: `IsOnline("tap0", kind="vm")`."""

    action = "online"


class IsUpdated(_Is):
    """Matches an updated event of a port with these facts."""

    action = "updated"


class IsOffline(_Is):
    """Matches an offline event of a port with these facts."""

    action = "offline"


class EndsAs(_Matcher):
    """Matches events, or a CaptureSink, whose events add up to these ports.

    :param ports: ports by uuid, as Monitor.ports() returns them, or just the ports.
    """

    def __init__(self, ports: Mapping[str, Port] | Iterable[Port]) -> None:
        known = ports.values() if isinstance(ports, Mapping) else ports
        self._ports = {port.uuid: port for port in known}

    def match(self, received: CaptureSink | Iterable[Received]) -> Mismatch | None:
        """Return None if they do; otherwise which ports differ, and the transcript."""
        items = list(received.items if isinstance(received, CaptureSink) else received)
        ports = fold(items)
        wrong = [
            _difference(self._ports.get(uuid), ports.get(uuid))
            for uuid in self._ports.keys() | ports.keys()
            if self._ports.get(uuid) != ports.get(uuid)
        ]
        if not wrong:
            return None
        return Mismatch("\n".join([*sorted(wrong), "what was received:", *map(_line, items)]))

    def __str__(self) -> str:
        return f"EndsAs({', '.join(sorted(port.name for port in self._ports.values()))})"


def fold(received: Iterable[Received]) -> dict[str, Port]:
    """Return by uuid the ports that a receiver of these events holds to be present."""
    ports: dict[str, Port] = {}
    for item in received:
        if isinstance(item, SyncMarker):
            continue
        if item.action == "offline":
            ports.pop(item.port.uuid, None)
        else:
            ports[item.port.uuid] = item.port
    return ports


def _difference(expected: Port | None, found: Port | None) -> str:
    if expected is None:
        assert found is not None
        return f"{found.name} is reported, but should not be present"
    if found is None:
        return f"{expected.name} is not reported"
    old, new = expected.facts(), found.facts()
    news = ", ".join(
        f"{name} is {new[name]!r}, not {old[name]!r}" for name in old if old[name] != new[name]
    )
    return f"{expected.name}: {news}"


def _line(item: Received) -> str:
    return event_line(item) if isinstance(item, PortEvent) else marker_line(item)
