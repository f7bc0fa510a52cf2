"""The blueprint's "before": for each new port a fresh connection that selects three tables.

The way of a controller without a monitor of its own: it learns somehow that a port has come,
here by a bare monitor, and then asks the database for Bridge, Port and Interface to find out
what it is.
"""

from __future__ import annotations

import json
import socket
from typing import Any

from benchmarks.clients.observer import COLUMNS, Observer

_READ_SIZE = 1 << 18
_SELECT = [
    "Open_vSwitch",
    {"op": "select", "table": "Bridge", "where": [], "columns": ["name", "ports"]},
    {"op": "select", "table": "Port", "where": [], "columns": ["name", "interfaces"]},
    {"op": "select", "table": "Interface", "where": [], "columns": ["_uuid", *COLUMNS]},
]


def main() -> None:
    """Run until it is killed."""
    observer = Observer()
    path = observer.go().removeprefix("unix:")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(path)
        columns = [{"columns": COLUMNS, "select": {"initial": False}}]
        ask(sock, "monitor_cond", ["Open_vSwitch", "bench", {"Interface": columns}])
        observer.synced()
        decoder, text = json.JSONDecoder(), ""
        while data := sock.recv(_READ_SIZE):
            text += data.decode()
            while text:
                try:
                    message, end = decoder.raw_decode(text)
                except json.JSONDecodeError:
                    break
                text = text[end:]
                for changed in message["params"][1].get("Interface", {}):
                    find(path, changed, observer)


def find(path: str, uuid: str, observer: Observer) -> None:
    """Ask for everything, and look up one port in it."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(path)
        result = ask(sock, "transact", _SELECT)
    for row in result[2]["rows"]:
        if row["_uuid"][1] == uuid:
            ofport = row["ofport"] if isinstance(row["ofport"], int) else None
            ids = dict(row["external_ids"][1])
            observer.row(row["name"], ofport, ids.get("vm-id"))


def ask(sock: socket.socket, method: str, params: list[Any]) -> Any:
    """One request and its result."""
    sock.sendall(json.dumps({"method": method, "params": params, "id": 1}).encode())
    text = bytearray()
    while True:
        text += sock.recv(_READ_SIZE)
        if text.endswith(b"}"):
            try:
                return json.loads(text)["result"]
            except json.JSONDecodeError:
                continue


if __name__ == "__main__":
    main()
