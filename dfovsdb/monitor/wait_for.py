"""The sinks behind Monitor.wait_for() and wait_gone(): they wait for ports, or until none is left.

Both decide when a sync is complete, and from then on after each batch, so that of several rows
that one transaction brings the best is found, and not the first that comes along.
"""

from __future__ import annotations

import abc
import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from typing import Generic, TypeVar

from dfovsdb.errors import ConfigurationError
from dfovsdb.model import Port, PortEvent, SyncMarker
from dfovsdb.plain_calls import runs_later, runs_nothing
from dfovsdb.sinks.base import Sink

T = TypeVar("T")


class _Waiting(Sink, abc.ABC, Generic[T]):
    """Keeps the ports for which a predicate is true, until a future is fulfilled.

    :raises ConfigurationError: the predicate is not a function that can be called.
    """

    def __init__(self, predicate: Callable[[Port], bool]) -> None:
        if not callable(predicate):
            raise ConfigurationError(f"predicate: {predicate!r:.80} is not a function of a port")
        if runs_nothing(predicate):
            raise ConfigurationError(
                f"predicate: {predicate!r:.80} is a coroutine or generator function, which is "
                "true of every port: use a plain function"
            )
        self._predicate = predicate
        self._synced = False
        self._fitting: dict[str, Port] = {}
        self.future: Future[T] = Future()

    def emit(self, event: PortEvent) -> None:
        self.emit_many((event,))

    def emit_many(self, events: Sequence[PortEvent]) -> None:
        if self.future.done():
            return
        try:
            for event in events:
                self._note(event)
        except BaseException as error:  # noqa: BLE001 - it belongs to the caller of wait_for()
            self.fail(error)
        if self._synced:
            self._decide()

    def sync_finished(self, marker: SyncMarker) -> None:  # noqa: ARG002 - of the contract
        self._synced = True
        self._decide()

    def fail(self, error: BaseException) -> None:
        """Let the future raise this."""
        if isinstance(error, StopIteration):  # it cannot be raised in a coroutine (PEP 479)
            error, cause = RuntimeError("the predicate raised StopIteration"), error
            error.__cause__ = cause
        self._settle(lambda: self.future.set_exception(error))

    def _note(self, event: PortEvent) -> None:
        if event.action != "offline" and self._fits(event.port):
            self._fitting[event.port.uuid] = event.port
        else:
            self._fitting.pop(event.port.uuid, None)

    def _fits(self, port: Port) -> bool:
        answer = self._predicate(port)
        if runs_later(answer):
            raise TypeError(f"the predicate returned {answer!r:.80}, which is true of every port")
        return bool(answer)

    @abc.abstractmethod
    def _decide(self) -> None:
        """Fulfil the future if it is time to."""

    @staticmethod
    def _settle(settle: Callable[[], None]) -> None:
        # the waiting caller has given up in the meantime
        with contextlib.suppress(InvalidStateError):
            settle()


class WaitForPort(_Waiting[Port]):
    """Fulfils its future with the best port that fits.

    Several rows may have one iface-id: the VIF's own, the patch ports of a trunk, the second row
    of an emulated device, both ends of a live migration. The VIF's own row is the best, also while
    it does not fit yet; of others one that is ready, whose iface-status is not inactive, and of
    which OVN says that its flows are installed.
    """

    def __init__(self, predicate: Callable[[Port], bool]) -> None:
        super().__init__(predicate)
        self._own: dict[str, str] = {}  # uuid of rows that are no patch ports -> iface-id

    def _note(self, event: PortEvent) -> None:
        port = event.port
        iface_id = port.attributes.get("iface_id")
        if iface_id and port.type != "patch":
            if event.action == "offline":
                self._own.pop(port.uuid, None)
            else:
                self._own[port.uuid] = iface_id
        super()._note(event)

    def _decide(self) -> None:
        own = set(self._own.values()) if self._fitting else set()
        fitting = [
            port
            for port in self._fitting.values()
            if port.type != "patch" or port.attributes.get("iface_id") not in own
        ]
        if fitting:
            best = min(fitting, key=_rank)
            self._settle(lambda: self.future.set_result(best))


def _rank(port: Port) -> tuple[bool, bool, bool, bool, bool]:
    attribute = port.attributes.get
    is_inactive = attribute("iface_status") == "inactive"
    no_flows = attribute("ovn_installed") != "true"
    return (
        port.type == "patch",
        port.state != "ready",
        is_inactive,
        no_flows,
        bool(attribute("twin")),
    )


class WaitUntilGone(_Waiting[None]):
    """Fulfils its future when no port matches."""

    def _decide(self) -> None:
        if not self._fitting:
            self._settle(lambda: self.future.set_result(None))
