"""The events for the sinks of the conformance suite, and what they add up to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from dfovsdb.classifiers.base import Classifier
from dfovsdb.classifiers.chain import Chain
from dfovsdb.model import Interface, Port, port_of
from dfovsdb.plugins import default_classifiers
from dfovsdb.testing.conformance.driven_sink import DrivenSink
from dfovsdb.testing.rows import corpus, interface


class _Anything(Classifier):
    kind = "anything"

    def classify(self, interface: Interface) -> Mapping[str, str | None]:
        return {"nothing": None, "empty": "", "é\n\x1b": interface.name}


def every_port() -> list[Port]:
    """Return every row of the collection as a port; unclaimed rows get a kind that nobody
    knows. There is no NUL in them: ovsdb-server refuses it (RFC 7047, section 3.1).
    """
    chain = Chain([*default_classifiers(), _Anything()])
    ports = [chain.port(row, None) for row in corpus() if not _has_nul(row)]
    return list({port.uuid: port for port in ports if port is not None}.values())


def _has_nul(row: Interface) -> bool:
    return any("\x00" in text for text in (row.name, row.type, *row.options.values()))


def vms(count: int) -> list[Port]:
    """Return ports `tap0`, `tap1`, …"""
    return [
        port_of(
            interface(f"tap{number}", ofport=number + 1, external_ids={"iface-id": f"v{number}"}),
            "vm",
            {"iface_id": f"v{number}"},
        )
        for number in range(count)
    ]


def changed(port: Port) -> Port:
    """Return the same port with another number and address."""
    return msgspec.structs.replace(port, ofport=4711, state="ready", mac_in_use="fe:16:3e:0:0:1")


def play(driven: DrivenSink) -> None:
    """Make ports come, change and go, in batches and alone; restart the database once."""
    ports = vms(6)
    driven.sync(ports[:3])
    driven.settle()
    driven.publish(*ports[3:])
    driven.publish(changed(ports[0]))
    driven.publish(changed(ports[3]), ports[1].uuid)
    driven.publish(msgspec.structs.replace(ports[4], kind="other", attributes={}))
    driven.settle()
    driven.sync([ports[0], ports[2], ports[5]])
    driven.publish(ports[5].uuid)


def fold(arrived: Iterable[str]) -> set[str]:
    """Return the names of the ports that are present after lines as arrived() returns them."""
    names: set[str] = set()
    for line in arrived:
        action, _, name = line.partition(" ")
        if action == "offline":
            names.discard(name)
        else:
            names.add(name)
    return names
