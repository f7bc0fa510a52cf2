"""The contract of a sink, a destination of events. docs/sinks.md has the promises of its
worker.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from dfovsdb.errors import ConfigurationError, SinkUnavailable
from dfovsdb.plain_calls import place, properties_of, runs_nothing
from dfovsdb.text.durations import why_not_seconds

if TYPE_CHECKING:
    from oslo_config import cfg

    from dfovsdb.model import Port, PortEvent, SyncMarker


class SinkContext(NamedTuple):
    """The context that open() of a sink receives."""

    host: str
    epoch: str
    request_replay: Callable[[], None]
    condition: Callable[[], str] = lambda: "unknown"


SinkContext.host.__doc__ = "Name of this host, as in every event."
SinkContext.epoch.__doc__ = """Identifies this run of the process. Another run has another epoch,
and its `seq` begins at 1 again, so (host, epoch, seq) identifies each event of this sink."""
SinkContext.condition.__doc__ = """Return the state of the connection to the switch: `synced`, or
what is waited for, in one line. It may be called from any thread."""
SinkContext.request_replay.__doc__ = """Request a resend: `online` for every present port
between markers of the origin `replay`. It may be called from any thread, from open() on, and
pending requests are merged. During an outage the resend is among what is offered after it."""


class Sink(abc.ABC):
    """A destination of events.

    All of it is called from one worker thread of its own, never concurrently. Returning from
    `emit`, `emit_many`, `sync_started` or `sync_finished` means delivered; a batching sink
    returns when the destination has it. Delivery is at least once.

    - SinkUnavailable: the destination is down; the same is offered again, with backoff.
    - Any other exception refuses the event: it is logged and counted, and it is not
      recorded as accepted. It is offered again when the port next changes, and at the next sync
      or resend.

    There is no `__init__` here: a class takes its options as keyword arguments, each with a
    default, so that it can be built without any configuration file.
    """

    #: The options of oslo.config, read from [sink_INSTANCE] and passed as keyword arguments.
    options: ClassVar[Sequence[cfg.Opt]] = ()
    #: Seconds without anything to deliver after which poll() is called, None for never.
    poll_interval: float | None = None
    #: True if no call of it ever waits, neither for I/O nor for a lock that is held for long.
    #: Changes may then be delivered on the thread that reads from the server, which is sooner; its
    #: calls come from two threads in turn, never at the same time.
    instant: bool = False
    #: Which ports it receives; None means all. A port for which it becomes false goes offline.
    selection: Callable[[Port], bool] | None = None

    def open(self, context: SinkContext) -> None:
        """Prepare the sink. Called once, before all other calls.

        SinkUnavailable is retried; any other exception stops the start.
        """

    @abc.abstractmethod
    def emit(self, event: PortEvent) -> None:
        """Deliver one event."""

    def emit_many(self, events: Sequence[PortEvent]) -> None:
        """Deliver several events in order; override it if the destination accepts batches.

        :raises SinkUnavailable: `delivered` says how many from the beginning have arrived.
        """
        for delivered, event in enumerate(events):
            try:
                self.emit(event)
            except SinkUnavailable as error:
                raise SinkUnavailable(str(error), delivered, error.retry_after) from error

    def sync_started(self, marker: SyncMarker) -> None:
        """Begin a sync: what differs from what the sink has accepted follows, or every port.

        Every port comes if the origin is `replay`, and with `resync = replay`; in the first sync
        also if there is no state_dir.
        """

    def sync_finished(self, marker: SyncMarker) -> None:
        """End a sync: the sink has accepted all present ports, and offline for all others.

        `marker.ports` is their number, of those that this sink is to have.
        """

    def poll(self) -> None:
        """Use a pause of poll_interval seconds, for example for heartbeats or late subscribers.

        SinkUnavailable begins an outage; it ends when poll() or another call returns.
        """

    def reopen(self) -> None:
        """Reopen files, after SIGHUP. After SinkUnavailable it is called again, with backoff."""

    def close(self) -> None:
        """Release everything. Called once, after all other calls, if open() has returned."""


_CALLS = ("open", "emit", "emit_many", "sync_started", "sync_finished", "poll", "reopen", "close")


def check(sink: object) -> None:
    """Check that this can be a sink, before it is opened.

    :raises ConfigurationError: it cannot, or calling it would do nothing.
    """
    if not isinstance(sink, Sink):
        raise ConfigurationError(f"{sink!r:.80} is not a sink: it must be an instance of Sink")
    with properties_of(f"sink {type(sink).__name__}"):
        _check(sink)


def _check(sink: Sink) -> None:
    for name in _CALLS:
        function = getattr(sink, name, None)
        if runs_nothing(function):
            raise ConfigurationError(
                f"sink {type(sink).__name__}: {name}() is a coroutine or generator function, and "
                f"a call of it does nothing ({place(function)}): use def "
                "without yield, and asyncio.run() or a thread of your own for coroutines"
            )
    if runs_nothing(sink.selection):
        raise ConfigurationError(
            f"sink {type(sink).__name__}: selection is a coroutine or generator function, which "
            f"is true of every port ({place(sink.selection)}): use def without yield"
        )
    if sink.selection is not None and not callable(sink.selection):
        raise ConfigurationError(
            f"sink {type(sink).__name__}: selection is {sink.selection!r:.80}, not a function of "
            "a port"
        )
    if why := why_not_seconds(sink.poll_interval):
        raise ConfigurationError(
            f"sink {type(sink).__name__}: poll_interval: {sink.poll_interval!r:.80} {why}"
        )


class FunctionSink(Sink):
    """Turn a function of one event into a sink.

    :raises ConfigurationError: it is a coroutine or generator function.
    """

    def __init__(self, function: Callable[[PortEvent], object]) -> None:
        if runs_nothing(function):
            raise ConfigurationError(
                f"{function!r:.80} is a coroutine or generator function, and a call of it does "
                "nothing: use a plain function"
            )
        self._function = function

    def emit(self, event: PortEvent) -> None:
        # What it returns tells the worker whether it has done anything.
        return self._function(event)  # type: ignore[return-value]
