"""dfovsdb, whole: decoding, replica, classification, lifecycle, dispatcher, a recording sink.

python -m benchmarks.clients.ours CONNECTION [diff] [blocked] [tables]
"""

from __future__ import annotations

import sys
import threading

from benchmarks.clients.observer import Observer
from dfovsdb import Monitor, Port, PortEvent, Sink, SyncMarker
from dfovsdb.model import TABLE, TABLES


class Recorder(Sink):
    """Keeps the ports that it received, as any consumer of events would."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._ports: dict[str, Port] = {}

    def emit(self, event: PortEvent) -> None:
        port = event.port
        if event.action == "offline":
            del self._ports[port.uuid]
        else:
            self._ports[port.uuid] = port
        self._observer.row(port.name, port.ofport, port.attributes.get("vm_id"))

    def sync_finished(self, _marker: SyncMarker) -> None:
        self._observer.synced()


class Blocked(Sink):
    """Takes its first event and never returns."""

    def emit(self, _event: PortEvent) -> None:
        threading.Event().wait()


def main() -> None:
    """Run until it is killed."""
    arguments = sys.argv[2:]
    observer = Observer()
    sinks: list[Sink] = [Recorder(observer)]
    if "blocked" in arguments:
        sinks.append(Blocked())
    connection = observer.go()
    resync = "diff" if "diff" in arguments else "replay"
    tables = TABLES if "tables" in arguments else (TABLE,)
    with Monitor(connection, sinks=sinks, tables=tables, resync=resync, stop_timeout=0.1):  # type: ignore[arg-type]  # argv
        sys.stdin.read()


if __name__ == "__main__":
    main()
