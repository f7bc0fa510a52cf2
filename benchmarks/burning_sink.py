"""What a sink that computes, or many slow pages, do to the delay of events in another sink.

    python -m benchmarks.burning_sink

One change at a time is committed to a private database, a few milliseconds apart; the delay is
from the commit's reply to the sink. Rounds are interleaved; the figure is the median delay, as
a ratio to the same sink alone.
"""

from __future__ import annotations

import json
import random
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.burner import BURN, Burner
from dfovsdb import Monitor, PortEvent, Sink
from dfovsdb.sinks.isolated import IsolatedSink
from dfovsdb.telemetry.switch_page import Web
from dfovsdb.testing import Sandbox

CHANGES = 500
ROUNDS = 5
PAUSE = 0.001  # seconds between two changes, half of them to twice: less than what is burnt
PAGES = 200


class Stamp(Sink):
    """Notes when each change came."""

    def __init__(self) -> None:
        self.came: dict[str, float] = {}

    def emit(self, event: PortEvent) -> None:
        mark = event.port.attributes.get("attached_mac")
        if mark is not None:
            self.came[mark] = time.monotonic()


class Sleeper(Sink):
    """Waits for every event."""

    def emit(self, event: PortEvent) -> None:
        time.sleep(BURN)


def write(connection: str) -> None:
    """In a process of its own, so that no sink delays it: commit changes, print when."""
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(connection.removeprefix("unix:"))
        for number in range(CHANGES):
            mark = f"{time.monotonic_ns()}-{number}"
            ids: list[Any] = ["map", [["iface-id", "a"], ["attached-mac", mark]]]
            update = {
                "op": "update",
                "table": "Interface",
                "where": [["name", "==", "tap0"]],
                "row": {"external_ids": ids},
            }
            request = {"method": "transact", "params": ["Open_vSwitch", update], "id": mark}
            server.sendall(json.dumps(request).encode())
            while f'"id":"{mark}"'.encode() not in server.recv(1 << 16):
                pass
            print(mark, time.monotonic(), flush=True)
            time.sleep(PAUSE * random.uniform(0.5, 2))


@contextmanager
def slow_pages(monitor: Monitor, number: int) -> Iterator[None]:
    """Within the context so many clients of the page's events read nothing."""
    clients = []
    with Web("0", monitor) as web:
        host, port = web.url.removeprefix("http://").split(":")
        request = f"GET /events HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode()
        for _ in range(number):
            client = socket.socket()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect((host, int(port)))
            client.sendall(request)
            clients.append(client)
        for client in clients:
            client.recv(100)  # it is served
        try:
            yield
        finally:
            for client in clients:
                client.close()


def delay(connection: str, *others: Sink, pages: int = 0, instant: bool = False) -> float:
    """Median seconds from commit to sink."""
    stamp = Stamp()
    stamp.instant = instant
    with Monitor(connection, sinks=[stamp, *others]) as monitor, slow_pages(monitor, pages):
        monitor.wait_synced()
        written = subprocess.run(
            [sys.executable, "-m", "benchmarks.burning_sink", connection],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        ).stdout
        committed = {mark: float(at) for mark, at in map(str.split, written.splitlines())}
        deadline = time.monotonic() + 20
        while max(committed) not in stamp.came and time.monotonic() < deadline:
            time.sleep(0.01)
    return statistics.median(stamp.came[m] - committed[m] for m in committed if m in stamp.came)


def main() -> None:
    """Measure in turn, so that a machine that drifts drifts for all."""
    with Sandbox(vswitchd=False) as box:
        box.vsctl("add-br", "br-int")
        box.vsctl(
            "add-port",
            "br-int",
            "tap0",
            "--",
            "set",
            "interface",
            "tap0",
            "external_ids:iface-id=a",
        )
        ratios: dict[str, list[float]] = {
            "nothing, but instant": [],
            "a sink that sleeps": [],
            "a sink that computes": [],
            "a sink that computes, with isolate": [],
            f"{PAGES} pages that do not read": [],
        }
        for _ in range(ROUNDS):
            alone = delay(box.connection)
            ratios["nothing, but instant"].append(delay(box.connection, instant=True) / alone)
            ratios["a sink that sleeps"].append(delay(box.connection, Sleeper()) / alone)
            ratios["a sink that computes"].append(delay(box.connection, Burner()) / alone)
            isolated = delay(box.connection, IsolatedSink(Burner, {})) / alone
            ratios["a sink that computes, with isolate"].append(isolated)
            pages = delay(box.connection, pages=PAGES) / alone
            ratios[f"{PAGES} pages that do not read"].append(pages)
        for name, values in ratios.items():
            print(
                f"beside {name}: ratio {statistics.median(values):.1f} "
                f"({min(values):.1f}-{max(values):.1f})"
            )


if __name__ == "__main__":
    write(sys.argv[1]) if len(sys.argv) > 1 else main()
