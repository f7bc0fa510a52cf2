"""What the tables hold, as a compute host's do, and the connection that writes them."""

from __future__ import annotations

import json
import socket
import time
import uuid
from collections.abc import Iterator
from random import Random
from typing import Any

from benchmarks.clients.observer import END, MARK

_READ_SIZE = 1 << 16


class Writer:
    """A raw connection to the server: transactions, one or many in flight."""

    def __init__(self, connection: str) -> None:
        self._path = connection.removeprefix("unix:")
        self.connect()
        self._random = Random(0)
        self._ends = 0
        self.uuids: dict[str, str] = {}  #: of the rows that were filled in, by name

    def connect(self) -> None:
        """Connect, also again to a server that was restarted."""
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(self._path)

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def fill(self, count: int) -> None:
        """Make the Interface table hold `count` rows, of which one is the mark."""
        names: list[str] = []
        operations: list[dict[str, Any]] = []
        ports: list[list[str]] = []
        for number, row in enumerate(_rows(count)):
            names.append(row["name"])
            operations.append(
                {"op": "insert", "table": "Interface", "row": row, "uuid-name": f"i{number}"}
            )
            port = {"name": row["name"], "interfaces": ["named-uuid", f"i{number}"]}
            operations.append(
                {"op": "insert", "table": "Port", "row": port, "uuid-name": f"p{number}"}
            )
            ports.append(["named-uuid", f"p{number}"])
        bridge: dict[str, Any] = {"name": "br-int", "ports": ["set", ports]}
        operations.append({"op": "insert", "table": "Bridge", "row": bridge, "uuid-name": "b"})
        operations.append(
            {
                "op": "mutate",
                "table": "Open_vSwitch",
                "where": [],
                "mutations": [["bridges", "insert", ["named-uuid", "b"]]],
            }
        )
        results = self.transact(*operations)
        self.uuids = {name: results[2 * number]["uuid"][1] for number, name in enumerate(names)}

    def transact(self, *operations: Any) -> Any:
        """Run one transaction and wait for its result."""
        self._socket.sendall(_request(*operations))
        text = bytearray()
        while True:
            text += self._socket.recv(_READ_SIZE)
            if text.endswith(b"}"):
                try:
                    results = json.loads(text)["result"]
                except json.JSONDecodeError:
                    continue
                assert not any(result.get("error") for result in results), results[-1]
                return results

    def run(self, requests: list[bytes]) -> None:
        """Run prepared requests at full speed: each as soon as the one before is committed."""
        for request in requests:
            self._socket.sendall(request)
            self._socket.recv(_READ_SIZE)  # a reply is far shorter

    def set_mark(self, mark: str) -> float:
        """Change the mark.

        :returns: when the server's reply was there, in monotonic seconds.
        """
        ids = ["map", [["iface-id", _uuid(Random(0))], ["vm-id", mark]]]
        self._socket.sendall(_request(_update(self.uuids[MARK], {"external_ids": ids})))
        self._socket.recv(_READ_SIZE)
        return time.monotonic()

    def end(self) -> str:
        """Set a mark that ends something.

        :returns: the mark.
        """
        self._ends += 1
        mark = f"{END}-{self._ends}"
        self.set_mark(mark)
        return mark

    def changes(self, count: int) -> list[bytes]:
        """Prepared requests of one row each, none of them without an effect on its port."""
        random = self._random
        uuids = [
            row_uuid
            for name, row_uuid in self.uuids.items()
            if name != MARK and not name.startswith("qr-")  # a row that is no port
        ]
        random.shuffle(uuids)
        requests = []
        for number in range(count):
            change = (
                {"ofport": random.randrange(1, 60000), "mac_in_use": _mac(random)}
                if number % 2
                else {"mac_in_use": _mac(random), "error": ["set", []], "admin_state": "up"}
            )
            requests.append(_request(_update(uuids[number % len(uuids)], change)))
        return requests


def _request(*operations: Any) -> bytes:
    return json.dumps(
        {"method": "transact", "params": ["Open_vSwitch", *operations], "id": 1}
    ).encode()


def _update(row: str, columns: dict[str, Any]) -> dict[str, Any]:
    where = [["_uuid", "==", ["uuid", row]]]
    return {"op": "update", "table": "Interface", "where": where, "row": columns}


def _rows(count: int) -> Iterator[dict[str, Any]]:
    """Of twenty rows fifteen are VMs, two tunnels, two patch ports, one a router's leg."""
    random = Random(count)
    yield _vm(random, 1) | {"name": MARK}
    for number in range(1, count):
        kind = number % 20
        if kind < 2:
            row = _tunnel(random, number)
        elif kind < 4:
            row = _patch(number)
        elif kind == 4:
            row = _router_leg(random, number)
        else:
            row = _vm(random, number)
        yield row | {
            "ofport": number % 60000 + 1,
            "mac_in_use": _mac(random),
            "admin_state": "up",
            "link_state": "up",
        }


def _vm(random: Random, number: int) -> dict[str, Any]:
    iface_id = _uuid(random)
    ids = {
        "attached-mac": _mac(random),
        "iface-id": iface_id,
        "iface-status": "active",
        "ovn-installed": "true",
        "vm-uuid": _uuid(random),
    }
    return {"name": f"tap{iface_id[:8]}-{number}", "external_ids": _map(ids)}


def _tunnel(random: Random, number: int) -> dict[str, Any]:
    address = ".".join(str(random.randrange(1, 255)) for _ in range(4))
    return {
        "name": f"ovn-{random.randrange(1 << 24):06x}-{number}",
        "type": "geneve",
        "options": _map({"csum": "true", "key": "flow", "remote_ip": address}),
        "external_ids": _map({"ovn-chassis-id": _uuid(random)}),
    }


def _patch(number: int) -> dict[str, Any]:
    return {
        "name": f"patch-{number}",
        "type": "patch",
        "options": _map({"peer": f"patch-{number ^ 1}"}),
    }


def _router_leg(random: Random, number: int) -> dict[str, Any]:
    iface_id = _uuid(random)
    ids = {"attached-mac": _mac(random), "iface-id": iface_id, "iface-status": "active"}
    return {
        "name": f"qr-{iface_id[:8]}-{number}",
        "type": "internal",
        "external_ids": _map(ids),
    }


def _map(pairs: dict[str, str]) -> list[Any]:
    return ["map", [list(pair) for pair in pairs.items()]]


def _mac(random: Random) -> str:
    return "fa:16:3e:" + ":".join(f"{random.randrange(256):02x}" for _ in range(3))


def _uuid(random: Random) -> str:
    return str(uuid.UUID(int=random.getrandbits(128), version=4))
