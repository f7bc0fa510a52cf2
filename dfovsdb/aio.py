"""asyncio: events in an `async for`, and a Monitor whose methods are awaited.

This is the same monitor, with its threads; its events are handed to the event loop. A slow
coroutine delays the worker that feeds it, and nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from concurrent.futures import Future
from typing import Literal, Self, TypeVar, Unpack, overload

from dfovsdb.classifiers.base import Classifier
from dfovsdb.defaults import DEFAULT_CONNECTION
from dfovsdb.errors import WaitTimeout
from dfovsdb.model import Port, PortEvent, SyncMarker
from dfovsdb.monitor import handle as threaded
from dfovsdb.monitor.options import (
    ConnectionOptions,
    MonitorOptions,
    check_timeout,
    check_watch,
    selection_of,
)
from dfovsdb.monitor.queue_sink import BatchSink
from dfovsdb.selection import Selection

_BATCHES = 16  # items that may wait for the coroutine; behind them the worker's queue is bounded

T = TypeVar("T")


@overload
def watch(
    connection: str = ...,
    *,
    once: bool = ...,
    timeout: float | None = ...,
    markers: Literal[False] = ...,
    kinds: Collection[str] = ...,
    names: Collection[str] = ...,
    classifiers: Sequence[Classifier] | None = ...,
    **options: Unpack[ConnectionOptions],
) -> AsyncGenerator[PortEvent, None]: ...


@overload
def watch(
    connection: str = ...,
    *,
    once: bool = ...,
    timeout: float | None = ...,
    markers: bool,
    kinds: Collection[str] = ...,
    names: Collection[str] = ...,
    classifiers: Sequence[Classifier] | None = ...,
    **options: Unpack[ConnectionOptions],
) -> AsyncGenerator[PortEvent | SyncMarker, None]: ...


def watch(
    connection: str = DEFAULT_CONNECTION,
    *,
    once: bool = False,
    timeout: float | None = None,
    markers: bool = False,
    kinds: Collection[str] = (),
    names: Collection[str] = (),
    classifiers: Sequence[Classifier] | None = None,
    **options: Unpack[ConnectionOptions],
) -> AsyncGenerator[PortEvent | SyncMarker, None]:
    """Yield events, as dfovsdb.watch() does; its arguments and errors are the same.

    Cancelling the task ends the monitor. If you leave the loop with `break` and the program
    continues, close the generator: `async with contextlib.aclosing(watch(…)) as events:`.
    """
    check_watch(once, timeout, None, markers, options)
    sink = _LoopSink()
    sink.selection = Selection(kinds=kinds, names=names) or None
    monitor = threaded.Monitor(
        connection, classifiers=classifiers, sinks={"watch": sink}, **options
    )
    return _events(monitor, sink, once=once, timeout=timeout, markers=markers)


async def _events(
    monitor: threaded.Monitor,
    sink: _LoopSink,
    *,
    once: bool,
    timeout: float | None,
    markers: bool,
) -> AsyncGenerator[PortEvent | SyncMarker, None]:
    loop = asyncio.get_running_loop()
    sink.connect(loop)
    deadline = None if timeout is None else loop.time() + timeout
    try:
        await _in_thread(monitor.start)
        with monitor.waits.ends(sink):
            while batch := await _next_batch(sink, deadline, monitor):
                for event in batch:
                    if isinstance(event, PortEvent) or markers:
                        yield event
                    if isinstance(event, SyncMarker) and event.action == "sync_finished":
                        deadline = None
                        if once:
                            return
        raise monitor.waits.over()
    finally:
        sink.release()
        await _in_thread(monitor.stop)


async def _next_batch(
    sink: _LoopSink, deadline: float | None, monitor: threaded.Monitor
) -> Sequence[PortEvent | SyncMarker]:
    try:
        async with asyncio.timeout_at(deadline):
            return await sink.next()
    except TimeoutError:
        raise monitor.waits.no_sync() from None


class Monitor:
    """dfovsdb.Monitor for coroutines; the arguments and the sinks are the same.

    An asynchronous context manager. Methods that do not wait are plain methods.
    """

    def __init__(self, connection: str, **options: Unpack[MonitorOptions]) -> None:
        self._monitor = threaded.Monitor(connection, **options)
        self.ports = self._monitor.ports
        self.replay = self._monitor.replay
        self.reopen = self._monitor.reopen

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Open the sinks, then connect; returns without waiting for the server.

        Cancelling the task stops the monitor.

        :raises ConfigurationError: a sink cannot be opened. Nothing is left running.
        """
        try:
            await _in_thread(self._monitor.start)
        except asyncio.CancelledError:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Disconnect, and let the sinks finish within stop_timeout. May be repeated."""
        await _in_thread(self._monitor.stop)

    @property
    def trouble(self) -> str:
        """Return why there is no connection, in one line; empty while there is one."""
        return self._monitor.trouble

    def events(
        self,
        *,
        kinds: Collection[str] = (),
        names: Collection[str] = (),
        markers: bool = False,
    ) -> AsyncGenerator[PortEvent | SyncMarker, None]:
        """Yield the events of this monitor, as dfovsdb.Monitor.events() does."""
        sink = _LoopSink()
        sink.selection = selection_of(kinds, names, markers, self._monitor.kinds)
        return self._events(sink, markers=markers)

    async def _events(
        self, sink: _LoopSink, *, markers: bool
    ) -> AsyncGenerator[PortEvent | SyncMarker, None]:
        sink.connect(asyncio.get_running_loop())
        with self._monitor.waits.ends(sink), self._monitor.waits.attached("events", sink):
            try:
                while batch := await sink.next():
                    for event in batch:
                        if markers or isinstance(event, PortEvent):
                            yield event
            finally:
                sink.release()

    async def wait_synced(self, timeout: float | None = None) -> bool:
        """Wait until the tables have been read; return False if the seconds have passed."""
        check_timeout(timeout)
        sink = _LoopSink()
        sink.connect(asyncio.get_running_loop())
        waits = self._monitor.waits
        with waits.ends(sink), waits.attached("wait_synced", sink):
            try:
                async with asyncio.timeout(timeout):
                    batch = await sink.next()
            except TimeoutError:
                return False
            finally:
                sink.release()
        if not batch:
            raise waits.over()
        return True

    async def wait_for(
        self,
        predicate: Callable[[Port], bool],
        timeout: float | None = None,
    ) -> Port:
        """Wait for a port, present or future, for which the predicate is true.

        :param timeout: seconds, None for as long as it takes.
        :raises WaitTimeout: the time has passed.
        """
        check_timeout(timeout)
        with self._monitor.waits.waiter(predicate) as future:
            return await _result(future, timeout, self._monitor.waits.no_such_port)

    async def wait_gone(
        self,
        predicate: Callable[[Port], bool],
        timeout: float | None = None,
    ) -> None:
        """Wait until there is no port for which the predicate is true.

        :param timeout: seconds, None for as long as it takes.
        :raises WaitTimeout: the time has passed.
        """
        check_timeout(timeout)
        with self._monitor.waits.gone_waiter(predicate) as future:
            await _result(future, timeout, self._monitor.waits.still_there)


async def _result(
    future: Future[T], timeout: float | None, late: Callable[[float | None], WaitTimeout]
) -> T:
    """Return the result of a future, or raise what `late` returns when the time has passed."""
    try:
        async with asyncio.timeout(timeout):
            return await asyncio.wrap_future(future)
    except TimeoutError:
        if future.done() and not future.cancelled():  # the predicate itself raised it
            return future.result()
        raise late(timeout) from None


class _LoopSink(BatchSink):
    """Hands batches to the event loop, and waits while they are not taken."""

    def __init__(self) -> None:
        self._batches: asyncio.Queue[Sequence[PortEvent | SyncMarker]] = asyncio.Queue()
        self._room = threading.Semaphore(_BATCHES)
        self._released = False
        self._loop: asyncio.AbstractEventLoop | None = None

    def connect(self, loop: asyncio.AbstractEventLoop) -> None:
        """Set the receiver of the batches, before anything is delivered."""
        self._loop = loop

    async def next(self) -> Sequence[PortEvent | SyncMarker]:
        """Return the next batch."""
        batch = await self._batches.get()
        self._room.release()
        return batch

    def release(self) -> None:
        """Stop handing over batches, and release a worker that waits."""
        self._released = True
        self._room.release()

    def end(self) -> None:
        """Tell the receiver that the monitor has ended, with an empty batch."""
        self._released = True
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._batches.put_nowait, ())
        self._room.release()

    def put(self, batch: Sequence[PortEvent | SyncMarker]) -> None:
        if self._released:
            return
        self._room.acquire()
        assert self._loop is not None
        # the event loop was closed: there is no receiver any more
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._batches.put_nowait, batch)


async def _in_thread(function: Callable[[], T]) -> T:
    """Run a blocking call to its end, even if the task is cancelled in the meantime.

    The executor receives it at once: a task of its own could be cancelled before it began.
    """
    return await asyncio.shield(asyncio.get_running_loop().run_in_executor(None, function))
