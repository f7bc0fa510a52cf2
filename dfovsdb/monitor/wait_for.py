"""The sink behind Monitor.wait_for(): it waits for one port."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError

from dfovsdb.model import Port, PortEvent
from dfovsdb.sinks.base import Sink


class WaitForPort(Sink):
    """Fulfils a future with the first port that fits."""

    def __init__(self, predicate: Callable[[Port], bool]) -> None:
        self._predicate = predicate
        self.future: Future[Port] = Future()

    def emit(self, event: PortEvent) -> None:
        if self.future.done() or event.action == "offline":
            return
        try:
            if self._predicate(event.port):
                self._settle(lambda: self.future.set_result(event.port))
        except Exception as error:  # noqa: BLE001 - it belongs to the caller of wait_for()
            failed = error
            self._settle(lambda: self.future.set_exception(failed))

    @staticmethod
    def _settle(settle: Callable[[], None]) -> None:
        with contextlib.suppress(InvalidStateError):  # who waited has given up meanwhile
            settle()
