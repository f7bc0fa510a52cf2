"""Damage: one byte of what a real server sends is lost, doubled or replaced, at a random place.

    .venv/bin/python -m tests.damage --seed 1 --seconds 600

In each round the agent's connection breaks and is made again through a proxy, over tcp or a unix
socket, while ports come, change and go. One byte is damaged: of the first message or of a later
one. The byte belongs to the structure of the JSON, because no client can know that a letter within
a value was another one. Each damage must be noticed, by another connection, or be harmless: the
view equals that of `ovs.db.idl`. `make test` runs some rounds of it.
"""

from __future__ import annotations

import argparse
import logging
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from dfovsdb import Monitor
from dfovsdb.doctor.reference import differences
from dfovsdb.testing import CaptureSink, Sandbox, wait_until
from tests.functional.churning import Churn, ports_of
from tests.functional.faultproxy import Fault, FaultProxy
from tests.waiting import DEADLINE

PROBE = 1.0  # seconds, the shortest that the agent accepts
_STRUCTURE = b'{}[]",:'
_FAR = 30_000  # bytes: the first message, and as much again


class Round(NamedTuple):
    """One damage, and what came of it."""

    over: str  #: unix or tcp
    kind: str  #: lost, doubled or replaced
    place: int  #: bytes after the beginning of the connection
    after: float | None  #: seconds until it was noticed; None if it was harmless


class Damage(Fault):
    """Damages the first byte of the structure at a random place of a connection."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__(rng)
        self.kind = rng.choice(("lost", "doubled", "replaced"))
        self.place = rng.randrange(_FAR)
        self.time: float | None = None
        self._passed = 0

    def to_client(self, data: bytes) -> Iterator[bytes]:
        start = max(0, self.place - self._passed)
        self._passed += len(data)
        if self.time is None:
            for at in range(start, len(data)):
                if data[at] in _STRUCTURE:
                    byte = data[at : at + 1]
                    new = {"lost": b"", "doubled": byte * 2, "replaced": b"\xff"}[self.kind]
                    data = data[:at] + new + data[at + 1 :]
                    self.time = time.monotonic()
                    break
        yield data


def rounds(seed: int, number: int | None, seconds: float) -> Iterator[Round]:
    """Yield what came of each damage.

    :param number: how many, None for as many as fit into the seconds.
    :raises AssertionError: one was not noticed, and the view is wrong.
    """
    rng = random.Random(seed)
    end = time.monotonic() + seconds
    done = 0
    with ExitStack() as stack:
        box = stack.enter_context(Sandbox())
        box.add_bridge("br-int")
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        agents = []
        for over, path in (("tcp", None), ("unix", folder / "socket")):
            proxy = stack.enter_context(FaultProxy(box.connection, seed, path))
            sink = CaptureSink()
            monitor = Monitor(
                proxy.connection, sinks=[sink], inactivity_probe=PROBE, reconnect_max=1
            )
            stack.enter_context(monitor)
            agents.append((over, proxy, sink))
        churn = stack.enter_context(Churn(box))
        while done != number and time.monotonic() < end:
            yield _round(*rng.choice(agents), box, churn)
            done += 1


def _round(over: str, proxy: FaultProxy, sink: CaptureSink, box: Sandbox, churn: Churn) -> Round:
    made: list[Damage] = []

    def damage(rng: random.Random) -> Fault:
        if made:
            return Fault(rng)  # one connection of the round is damaged
        made.append(Damage(rng))
        return made[0]

    proxy.fault = damage
    proxy.cut()
    wait_until(lambda: made, what="another connection")
    fault, accepted = made[0], proxy.accepted
    wait_until(lambda: fault.time is not None, what="the damage")
    assert fault.time is not None
    noticed = None
    with churn.quiet():
        theirs = ports_of(box)
        deadline = time.monotonic() + DEADLINE
        while True:
            if noticed is None and proxy.accepted > accepted:
                noticed = time.monotonic() - fault.time
            if not differences(sink.ports, theirs):
                break
            assert time.monotonic() < deadline, f"not noticed: {over} {fault.kind} {fault.place}"
            time.sleep(0.01)
    return Round(over, fault.kind, fault.place, noticed)


def _figures(seed: int, found: list[Round]) -> str:
    times = [item.after for item in found if item.after is not None]
    unix = sum(item.over == "unix" for item in found)
    return (
        f"seed {seed}: {len(found)} bytes damaged ({unix} over a unix socket), {len(times)} "
        f"noticed, after {max(times, default=0) / PROBE:.1f} probe intervals at most; "
        f"{len(found) - len(times)} harmless; no view stayed wrong"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    parser.add_argument("--seconds", type=float, default=600)
    args = parser.parse_args()
    logging.getLogger("dfovsdb").addHandler(logging.NullHandler())  # what is logged is expected
    found = []
    for item in rounds(args.seed, None, args.seconds):
        found.append(item)
        if len(found) % 50 == 0:
            print(_figures(args.seed, found), flush=True)
    print(_figures(args.seed, found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
