"""The floor: the same request, and the bytes are drained; nothing is decoded."""

from __future__ import annotations

import json
import re
import socket

from benchmarks.clients.observer import COLUMNS, Observer

_READ_SIZE = 1 << 20
_MARK = re.compile(rb'"vm-id","(mark-\d+|end-\d+)"')


def main() -> None:
    """Connect, ask, drain; connect again when the server has gone."""
    observer = Observer()
    connection = observer.go()
    while True:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(connection.removeprefix("unix:"))
            drain(sock, observer)


def drain(sock: socket.socket, observer: Observer) -> None:
    """Read until the server closes the connection."""
    request = ["Open_vSwitch", "bench", {"Interface": [{"columns": COLUMNS}]}]
    sock.sendall(json.dumps({"method": "monitor_cond", "params": request, "id": 1}).encode())
    # The server answers in order, so the reply to this one ends the snapshot.
    sock.sendall(b'{"method":"echo","params":[],"id":"drained"}')
    tail = b""
    while b'"id":"drained"' not in tail:
        data = sock.recv(_READ_SIZE)
        if not data:
            return
        tail = tail[-64:] + data[-64:]
    observer.synced()
    while data := sock.recv(_READ_SIZE):
        if b"vm-id" in data:
            for mark in _MARK.findall(data):
                observer.mark(mark.decode())


if __name__ == "__main__":
    main()
