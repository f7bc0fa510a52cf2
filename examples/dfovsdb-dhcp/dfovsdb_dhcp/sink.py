"""A new destination: a file that always lists the present ports."""

import os
from collections.abc import Sequence
from pathlib import Path

from oslo_config import cfg

from dfovsdb import Port, PortEvent, Sink, SinkUnavailable


class PortListSink(Sink):
    """Keeps `kind name ofport` of every port in a file, replaced as a whole."""

    options = (cfg.StrOpt("path", required=True, help="The file to write."),)

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._ports: dict[str, Port] = {}

    def emit(self, event: PortEvent) -> None:
        self.emit_many([event])

    def emit_many(self, events: Sequence[PortEvent]) -> None:
        for event in events:
            if event.action == "offline":
                self._ports.pop(event.port.uuid, None)
            else:
                self._ports[event.port.uuid] = event.port
        try:
            self._write()
        except OSError as error:  # a full disk is an outage: the same events are offered again
            raise SinkUnavailable(f"{self._path}: {error.strerror}") from error

    def _write(self) -> None:
        ports = sorted((p.kind, p.name, p.ofport) for p in self._ports.values())
        new = self._path.with_suffix(".new")
        new.write_text("".join(f"{kind} {name} {ofport}\n" for kind, name, ofport in ports))
        os.replace(new, self._path)
