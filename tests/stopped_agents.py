"""Stops: agents beside a busy switch are stopped with SIGSTOP and go on with SIGCONT, at random.

    .venv/bin/python -m tests.stopped_agents --seed 1 --stops 100 --agents 10 --longest 30

So does a debugger that attaches, or a host that is suspended. The agents run as an operator runs
them, `dfovsdb run` with a jsonl sink, each with a connection of its own to one server on which
ports come, change and go all the time. A stop may be shorter or longer than the probe intervals of
both sides. After each, the agent must be alive, and within a deadline its file, folded, must equal
what `ovs.db.idl` reads. `make test` runs some stops of it.
"""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple, Self

from dfovsdb import Port
from dfovsdb.doctor.reference import differences
from dfovsdb.testing import Sandbox, wait_until
from tests.freeports import free_port
from tests.functional.churning import Churn, ports_of
from tests.soak import Received

PROBE = 5  # seconds, of the agents; ovsdb-server has its own
REST = (0.2, 3.0)  # seconds between two stops of one agent


class Stopped(NamedTuple):
    """What happened to one agent."""

    stops: int
    seconds: float  #: in which it was stopped
    syncs: int  #: 1 if no stop cost the connection


class Agent:
    """`dfovsdb run` with one jsonl sink; a context manager."""

    def __init__(self, connection: str, folder: Path) -> None:
        folder.mkdir()
        self.file = Received(folder / "events.jsonl")
        self._log = folder / "log"
        configuration = folder / "dfovsdb.conf"
        configuration.write_text(
            f"[ovsdb]\nconnection = {connection}\ninactivity_probe = {PROBE}\n"
            f"[dfovsdb]\nsinks = jsonl\n[sink_jsonl]\npath = {self.file.path}\n"
        )
        self._command = [sys.executable, "-m", "dfovsdb", "--config-file", str(configuration)]

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen([*self._command, "run"], stderr=log)
        return self

    def __exit__(self, *_exc: object) -> None:
        self._process.kill()
        self._process.wait()

    def stop(self, seconds: float) -> None:
        """Stop it for so many seconds; it must be alive afterwards."""
        self._process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        self._process.send_signal(signal.SIGCONT)

    def equals(self, theirs: dict[str, Port]) -> bool:
        """Return whether its file, folded, has these ports; fail with its log if it has ended."""
        status = self._process.poll()
        assert status is None, f"ended with status {status}: {self._log.read_text()[-2000:]}"
        self.file.read()
        return not differences(self.file.ports, theirs)

    @property
    def syncs(self) -> int:
        """Return how often it has read the whole table."""
        return self._log.read_text().count(": synced, ")


def stops(
    seed: int, folder: Path, *, number: int, agents: int, longest: float
) -> Iterator[Stopped]:
    """Stop agents that many times in all; yield what happened to each.

    Every other agent is connected over tcp, where the server looks after its clients too.

    :param longest: seconds of the longest stop; the shortest has a thirtieth of them.
    """
    port = free_port()
    with Sandbox(vswitchd=False, port=port) as box, Churn(box) as churn:
        checking = threading.Lock()

        def one(which: int) -> Stopped:
            rng = random.Random(f"{seed} {which}")
            share = number // agents + (which < number % agents)
            connection = f"tcp:127.0.0.1:{port}" if which % 2 else box.connection
            seconds = 0.0
            with Agent(connection, folder / str(which)) as agent:
                wait_until(lambda: agent.syncs > 0)
                for _ in range(share):
                    length = rng.uniform(longest / 30, longest)
                    seconds += length
                    agent.stop(length)
                    time.sleep(rng.uniform(*REST))
                    with checking, churn.quiet():
                        wait_until(partial(agent.equals, ports_of(box)))
                return Stopped(share, seconds, agent.syncs)

        with ThreadPoolExecutor(agents) as pool:
            yield from pool.map(one, range(agents))


def main() -> int:
    """Run until all stops are done."""
    parser = argparse.ArgumentParser(prog="stopped_agents", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--stops", type=int, default=100, help="in all (100)")
    parser.add_argument("--agents", type=int, default=10, help="at a time (10)")
    parser.add_argument("--longest", type=float, default=30, help="seconds of a stop (30)")
    args = parser.parse_args()
    found: list[Stopped] = []
    with tempfile.TemporaryDirectory(prefix="dfovsdb-stops-") as folder:
        for item in stops(
            args.seed,
            Path(folder),
            number=args.stops,
            agents=args.agents,
            longest=args.longest,
        ):
            print(item, flush=True)
            found.append(item)
    seconds = sum(item.seconds for item in found)
    print(
        f"{sum(item.stops for item in found)} stops, {seconds:.0f} s in all; "
        f"{len(found)} agents alive, their files equal ovs.db.idl after each stop; "
        f"{sum(item.syncs for item in found) - len(found)} syncs beyond the first"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
