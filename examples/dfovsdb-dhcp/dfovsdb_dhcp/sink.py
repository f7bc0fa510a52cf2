"""A new destination: a file that always lists the present ports."""

import os
from collections.abc import Sequence
from pathlib import Path

from oslo_config import cfg

from dfovsdb import Port, PortEvent, Sink, SinkContext, SinkUnavailable, SyncMarker


class PortListSink(Sink):
    """Keeps `kind name ofport` of every port in a file, replaced as a whole.

    With a state_dir the first sync after a restart contains only differences, so the sink requests
    a resend, which contains every present port, and leaves the file as it is until then.
    """

    options = (cfg.StrOpt("path", required=True, help="The file to write."),)

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._ports: dict[str, Port] = {}
        self._complete = False  # it knows every port

    def open(self, context: SinkContext) -> None:
        context.request_replay()

    def sync_finished(self, marker: SyncMarker) -> None:
        if marker.origin == "replay":
            self._complete = True
            self._write()

    def emit(self, event: PortEvent) -> None:
        self.emit_many([event])

    def emit_many(self, events: Sequence[PortEvent]) -> None:
        for event in events:
            if event.action == "offline":
                self._ports.pop(event.port.uuid, None)
            else:
                self._ports[event.port.uuid] = event.port
        if self._complete:
            self._write()

    def _write(self) -> None:
        ports = sorted((p.kind, p.name, str(p.ofport)) for p in self._ports.values())
        lines = "".join(f"{kind} {name} {ofport}\n" for kind, name, ofport in ports)
        new = self._path.with_suffix(".new")
        try:
            new.write_text(lines, errors="backslashreplace")
            os.replace(new, self._path)
        except OSError as error:  # a full disk is an outage: the same events are offered again
            raise SinkUnavailable(f"{self._path}: {error.strerror}") from error
