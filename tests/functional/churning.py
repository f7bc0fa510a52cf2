"""Ports that come, change and go while a test goes on."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any, Self

from dfovsdb.doctor.reference import Reference, differences
from dfovsdb.model import Port
from dfovsdb.testing import Sandbox, wait_until
from dfovsdb.testing.sandbox import find_schema
from tests.functional.helpers import insert, vm

MANY = 30  # ports that stay


class Churn:
    """A context manager: from its beginning to its end there are changes, on the bridge br-int."""

    def __init__(self, box: Sandbox) -> None:
        self.rounds = 0
        self._box = box
        self._stop = threading.Event()
        self._change = threading.Lock()
        names = [f"tap{number}" for number in range(MANY)]
        box.transact(*(op for n, name in enumerate(names) for op in insert(name, n, **vm(name))))
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.end()

    def end(self) -> None:
        """No more changes. May be repeated."""
        self._stop.set()
        self._thread.join()

    @contextlib.contextmanager
    def quiet(self) -> Iterator[None]:
        """Within the context nothing changes."""
        with self._change:
            yield

    def wait_for_rounds(self, number: int) -> None:
        """Let so many changes happen."""
        end = self.rounds + number
        wait_until(lambda: self.rounds >= end)

    def _run(self) -> None:
        while not self._stop.wait(0.005):
            with self._change:
                self._do_change()

    def _do_change(self) -> None:
        self.rounds += 1
        name = f"tap{self.rounds % (MANY // 2)}"
        self._box.transact(
            {
                "op": "update",
                "table": "Interface",
                "where": [["name", "==", name]],
                "row": {"ofport": self.rounds},
            }
        )
        extra = f"extra{self.rounds % 5}"
        if self.rounds % 10 < 5:
            self._box.transact(*insert(extra, 0, **vm(extra)))
        else:
            self._box.vsctl("--if-exists", "del-port", extra)


def ports_of(box: Sandbox) -> dict[str, Port]:
    """What `ovs.db.idl` sees."""
    with Reference(box.connection, find_schema()) as reference:
        reference.refresh()
        return reference.ports()


def wait_for_the_same(box: Sandbox, ports: Any) -> None:
    """Wait until `ports()` of a receiver are those that `ovs.db.idl` sees."""
    theirs = ports_of(box)
    wait_until(lambda: differences(ports(), theirs) == [])
