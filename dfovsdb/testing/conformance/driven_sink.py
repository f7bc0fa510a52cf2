"""One sink behind the real worker and on its thread, with every call recorded.

The conformance suite uses it to cause what normally happens to a sink only in case of a failure: a
lost acknowledgement, and a batch or an event that counts as refused.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

from dfovsdb.delivery.dispatcher import Dispatcher
from dfovsdb.errors import ConfigurationError, SinkUnavailable
from dfovsdb.json_v1 import to_json
from dfovsdb.model import Origin, Port, PortEvent, SyncMarker
from dfovsdb.plain_calls import nothing_ran, runs_later
from dfovsdb.sinks.base import Sink, check
from dfovsdb.testing.conformance.purity import place

_SYNCS = 50  # more than that are syncs without end
_TELLING = ("emit", "emit_many", "sync_started", "sync_finished")
_CALLS = ("open", *_TELLING, "poll", "reopen", "close")


class Call(NamedTuple):
    """One call of the sink that has returned, or raised."""

    method: str
    items: Sequence[PortEvent | SyncMarker]
    thread: int
    error: BaseException | None
    seconds: float


class TookNothing(AssertionError):
    """The time has passed, and not one event has arrived: the next sink of this kind will fail
    too.
    """


class DrivenSink:
    """A context manager: within it the sink is open; at its end remaining events are delivered.

    :param deadline: seconds that everything together may take.
    :param state_dir: where to find what the sink accepted before a restart; syncs then contain
        only the differences to it.
    """

    def __init__(self, sink: Sink, *, deadline: float, state_dir: Path | None = None) -> None:
        self.calls: list[Call] = []
        self.changed: list[str] = []  #: events that a call has changed
        self.lost_answers = 0  #: number of successful calls that are reported as outages
        self.refused_names: set[str] = set()  #: their events count as refused, without a call
        self.refuse_batches = False  #: every batch counts as refused, without a call
        self._depth = 0
        self._in_call: str | None = None
        self._until = time.monotonic() + deadline
        self._sink = sink
        try:
            check(sink)
        except ConfigurationError as error:
            raise AssertionError(str(error)) from None
        for name in _CALLS:  # not setattr(): the instances of a frozen dataclass refuse that
            object.__setattr__(sink, name, self._spy(name, getattr(sink, name)))
        self._dispatcher = Dispatcher(
            {"sink": sink},
            host="host",
            resync="diff" if state_dir else "replay",
            queue_limit=1_000_000,
            state_dir=str(state_dir) if state_dir else None,
        )
        (self.worker,) = self._dispatcher.workers

    def __enter__(self) -> Self:
        self._dispatcher.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_exc: object) -> None:
        hangs = self._in_call
        self._dispatcher.stop(max(0.2, self._until - time.monotonic()) if kind is None else 0.2)
        if kind is None and not self.worker.join(0):
            raise AssertionError(f"{self._in_call or hangs or 'a call'}() does not return")
        if kind is None and self._took_nothing():
            raise TookNothing(self._too_late())

    def sync(self, ports: Iterable[Port]) -> None:
        """Publish these ports as the whole table, as after a connect."""
        now = {port.uuid: port for port in ports}
        gone = [(uuid, None) for uuid in self._dispatcher.ports() if uuid not in now]
        self._dispatcher.publish_sync([*now.items(), *gone])

    def publish(self, *facts: Port | str) -> None:
        """Publish one message: ports as they are now, and uuids of those that are gone."""
        self._dispatcher.publish(
            [(fact, None) if isinstance(fact, str) else (fact.uuid, fact) for fact in facts]
        )

    def replay(self) -> None:
        """Resend the full state."""
        self._dispatcher.replay()

    def reopen(self) -> None:
        """Reopen, as SIGHUP does."""
        self._dispatcher.reopen()

    def settle(self) -> None:
        """Wait until the sink has the present state, and no sync has begun and not ended.

        :raises AssertionError: it does not get there in time, or requests resends without end.
        """
        self.until(lambda: self.worker.undelivered() == 0 and not self._in_sync())

    def _in_sync(self) -> bool:
        markers = self.of("sync_started", "sync_finished")
        return bool(markers) and (
            markers[-1].method == "sync_started" or markers[-1].error is not None
        )

    def until(self, condition: Callable[[], object]) -> None:
        """Wait for a condition.

        :raises AssertionError: as settle(); TookNothing where nothing ever arrived.
        """
        while not condition():
            if (failures := self.failures()) and not self._is_retrying():
                raise AssertionError(failures[0])
            if len(self.of("sync_started")) > _SYNCS:
                raise AssertionError(
                    "it requests resends without end: request_replay() is for "
                    "subscribers that join late"
                )
            if time.monotonic() > self._until:
                error = TookNothing if self._took_nothing() else AssertionError
                raise error(self._too_late())
            time.sleep(0.002)

    def _is_retrying(self) -> bool:
        """Return whether the events of a refused batch are still to be offered one by one."""
        last = self.calls[-1]
        return (
            time.monotonic() < self._until
            and (last.method == "emit_many" or (last.method == "emit" and last.error is None))
            and bool(self.worker.undelivered())
        )

    def selects(self, port: Port) -> bool:
        """Return whether the selection of the sink is true of a port.

        :raises AssertionError: it cannot tell.
        """
        selection = self._sink.selection
        if selection is None:
            return True
        try:
            answer: object = selection(port)
            selected = bool(answer)
        except (Exception, SystemExit) as error:
            raise AssertionError(
                f"selection raised {error!r:.200} {place(error)} of {port!r:.300}"
            ) from error
        assert not runs_later(answer), (
            f"selection returned {answer!r:.80}, which is true of everything, of {port!r:.300}"
        )
        return selected

    def of(self, *methods: str) -> list[Call]:
        """Return the calls of these methods."""
        return [call for call in self.calls if call.method in methods]

    def syncs(self, origin: Origin) -> int:
        """Return how many syncs of this origin the sink has accepted to their end."""
        return sum(
            call.error is None and item.origin == origin
            for call in self.of("sync_finished")
            for item in call.items
        )

    def failures(self) -> list[str]:
        """Return what the sink raised that is not an outage."""
        failed = [
            call
            for call in self.calls
            if call.error is not None and not isinstance(call.error, SinkUnavailable)
        ]
        alone = [call for call in failed if call.method == "emit"]
        # the events of a refused batch are offered one by one: show the one that caused it
        return [_failure(call) for call in [*alone, *(c for c in failed if c.method != "emit")]]

    def accepted(self, wants: Callable[[Port], bool] = lambda _port: True) -> list[str]:
        """Return the events that the sink accepted, as `online NAME`, in the order of
        acceptance.

        :param wants: which ports the sink delivers.
        """
        taken: list[str] = []
        for call in self.of("emit", "emit_many"):
            count = len(call.items) if call.error is None else getattr(call.error, "delivered", 0)
            taken += [
                f"{event.action} {event.port.name}"
                for event in call.items[:count]
                if isinstance(event, PortEvent) and wants(event.port)
            ]
        return taken

    def story(self) -> str:
        """Return the methods that were called, in order."""
        return " ".join(call.method for call in self.calls[-20:])

    def ports(self) -> Mapping[str, Port]:
        """Return what the sink should have in the end."""
        return self._dispatcher.ports()

    def _took_nothing(self) -> bool:
        """Return whether there was something to accept, and the whole time for it."""
        late = time.monotonic() > self._until
        return late and bool(self.worker.undelivered()) and not self.accepted()

    def _too_late(self) -> str:
        return f"not in time: {self._stuck()}; calls so far: {self.story()}"

    def _stuck(self) -> str:
        if self._in_call:
            return f"{self._in_call}() does not return"
        failed = [call for call in self.calls if call.error is not None]
        if not self.worker.available and failed:
            return f"{failed[-1].method}() still raises {failed[-1].error!r:.300}"
        return "it has ended?"

    def _spy(self, name: str, method: Callable[..., object]) -> Callable[..., None]:
        def call(*args: Any) -> None:
            if self._depth:  # the sink calls itself, as an inherited emit_many() does
                method(*args)
                return
            items = _items(name, args)
            self._count_as_refused(name, items)
            before = [to_json(one) for one in items]
            self._in_call = name
            self._depth += 1
            began = time.perf_counter()
            error: BaseException | None = None
            try:
                returned = method(*args)
                if runs_later(returned):
                    raise nothing_ran(method, returned)
            except BaseException as raised:
                error = raised
                raise
            finally:
                took = time.perf_counter() - began
                self._depth -= 1
                self._in_call = None
                self.changed += [
                    old.decode()
                    for old, one in zip(before, items, strict=True)
                    if to_json(one) != old
                ]
                self.calls.append(Call(name, items, threading.get_ident(), error, took))
            if name in _TELLING and self.lost_answers:
                self.lost_answers -= 1
                raise SinkUnavailable("the acknowledgement is lost")

        return call

    def _count_as_refused(self, name: str, items: Sequence[PortEvent | SyncMarker]) -> None:
        names = {one.port.name for one in items if isinstance(one, PortEvent)}
        if name == "emit_many" and (self.refuse_batches or names & self.refused_names):
            raise ValueError("this batch counts as refused")
        if name == "emit" and names & self.refused_names:
            raise ValueError("this event counts as refused")


def _failure(call: Call) -> str:
    assert call.error is not None
    return f"{call.method}() raised {call.error!r:.200} {place(call.error)} of {call.items}"[:700]


def _items(name: str, args: Sequence[Any]) -> Sequence[PortEvent | SyncMarker]:
    if name not in _TELLING:
        return ()
    return tuple(args[0]) if name == "emit_many" else args
