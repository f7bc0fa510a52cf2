"""The contract of a sink: where events go. What its worker promises is in docs/sinks.md."""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from dfovsdb.errors import SinkUnavailable

if TYPE_CHECKING:
    from oslo_config import cfg

    from dfovsdb.model import PortEvent, SyncMarker


class SinkContext(NamedTuple):
    """What a sink is told when it is opened."""

    host: str
    epoch: str
    request_replay: Callable[[], None]
    #: How it is with the switch, in one line: `synced`, or what is waited for.
    condition: Callable[[], str] = lambda: "unknown"


SinkContext.host.__doc__ = "Name of this host, as in every event."
SinkContext.epoch.__doc__ = """Names this run of the process: another run has another epoch, and
`seq` begins anew, so (host, epoch, seq) names what this sink is told."""
SinkContext.request_replay.__doc__ = """Ask to be told everything again, in a sync bracket; from
any thread, requests are merged."""


class Sink(abc.ABC):
    """A destination of events.

    All of it is called from one worker thread of its own, never concurrently. Returning from
    `emit`, `emit_many`, `sync_started` or `sync_finished` means delivered; a batching sink
    returns when the destination has it. Delivery is at least once.

    - SinkUnavailable: the destination is down; the same is offered again, with backoff.
    - Any other exception refuses the event: it is logged and counted, the port counts as not
      told, and it is offered again when it next changes and at the next sync or replay.

    There is no `__init__` here: a class takes its options as keyword arguments, each with a
    default, so that it can be built without any configuration file.
    """

    #: Its oslo.config options, read from [sink_INSTANCE] and passed by keyword.
    options: ClassVar[Sequence[cfg.Opt]] = ()
    #: Seconds without anything to tell after which poll() is called, None for never.
    poll_interval: float | None = None

    def open(self, context: SinkContext) -> None:
        """Called once, first. SinkUnavailable here is retried; anything else stops the start."""

    @abc.abstractmethod
    def emit(self, event: PortEvent) -> None:
        """Deliver one event."""

    def emit_many(self, events: Sequence[PortEvent]) -> None:
        """Deliver several, in order; override it where the destination takes batches.

        :raises SinkUnavailable: with `delivered`, how many from the beginning did arrive.
        """
        for delivered, event in enumerate(events):
            try:
                self.emit(event)
            except SinkUnavailable as error:
                raise SinkUnavailable(str(error), delivered) from error

    def sync_started(self, marker: SyncMarker) -> None:
        """A telling of the whole table begins."""

    def sync_finished(self, marker: SyncMarker) -> None:
        """It is complete: what was not told, and was known before, has been told offline."""

    def poll(self) -> None:
        """Nothing came for poll_interval: the time for heartbeats and late subscribers."""

    def reopen(self) -> None:
        """SIGHUP: open files again. After SinkUnavailable it is called again, with backoff."""

    def close(self) -> None:
        """Called once, last, where open() had returned."""
