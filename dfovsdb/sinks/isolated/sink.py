"""The sink that the worker sees: it hands each call to the process, and waits for the answer."""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from queue import SimpleQueue
from typing import Any

from dfovsdb.errors import ConfigurationError, SinkUnavailable
from dfovsdb.logs import get_logger
from dfovsdb.model import PortEvent, SyncMarker
from dfovsdb.sinks.base import Sink, SinkContext
from dfovsdb.sinks.isolated.pipe import (
    Answer,
    AskCondition,
    AskReplay,
    Call,
    Condition,
    Logged,
    Pipe,
    pack,
)

LOG = get_logger(__name__)

_ENDING = 1.0  # seconds that the process has to end after close()
_EVERY = 1.0  # seconds between two starts of a process that ends by itself
#: The process imports from where this one does, also where that is a single file.
_PROGRAM = (
    "import sys; sys.path[:] = {path!r}; "
    "from dfovsdb.sinks.isolated.process import main; main({descriptor})"
)


class RaisedInItsProcess(Exception):
    """What a sink raised in its process; the traceback is a note."""


class IsolatedSink(Sink):
    """Has the calls of another sink made in a process of its own.

    If that process ends by itself, this is an outage: the next attempt starts another one, opens
    the sink there, and requests a resend, because the sink may have forgotten what it was sent.

    :param plugin: the class of the sink.
    :param arguments: the keyword arguments of its `__init__`.
    :raises ConfigurationError: these cannot be handed to another process.
    """

    def __init__(self, plugin: type[Sink], arguments: Mapping[str, Any]) -> None:
        try:
            self._what = pack((plugin, dict(arguments)))
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise ConfigurationError(
                f"isolate: {plugin.__name__} cannot be built in another process: {error}"
            ) from None
        self.plugin = plugin
        self.arguments = arguments
        self._process: _Process | None = None
        self._lost_one = False  # a process ended by itself
        self._begun = 0.0  # when the process was started, in monotonic seconds

    def open(self, context: SinkContext) -> None:
        self._context = context
        self._opened()

    def emit(self, event: PortEvent) -> None:
        self._opened().call("emit", event)

    def emit_many(self, events: Sequence[PortEvent]) -> None:
        self._opened().call("emit_many", events)

    def sync_started(self, marker: SyncMarker) -> None:
        process = self._opened()
        process.call("sync_started", marker)
        process.knows_sync = True

    def sync_finished(self, marker: SyncMarker) -> None:
        process = self._opened()
        if process.knows_sync:  # otherwise a resend follows, which it will see from the beginning
            process.call("sync_finished", marker)

    def poll(self) -> None:
        self._opened().call("poll")

    def reopen(self) -> None:
        self._opened().call("reopen")

    def close(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        try:
            if process.is_open:
                process.call("close")
        finally:
            process.end()

    def _opened(self) -> _Process:
        """Return the process with the open sink in it; start it if necessary."""
        if self._process is not None and self._process.ended:
            self._process.end()
            self._process = None
            self._lost_one = True
        if self._process is None:
            self._process = self._begin()
        if not self._process.is_open:
            self._open_there(self._process)
        return self._process

    def _begin(self) -> _Process:
        """Start the process, at most once in _EVERY seconds."""
        wait = self._begun + _EVERY - time.monotonic()
        if self._begun and wait > 0:
            raise SinkUnavailable("its process has ended again", retry_after=wait)
        self._begun = time.monotonic()
        try:
            return _Process(self, self._what, self._context)
        except OSError as error:
            raise SinkUnavailable(f"its process cannot be started: {error.strerror}") from None

    def _open_there(self, process: _Process) -> None:
        try:
            process.call("open", self._context.host, self._context.epoch)
        except RaisedInItsProcess as error:
            if self._lost_one:  # it could be opened before, and the start is long over
                raise SinkUnavailable(f"it cannot be opened again: {error}") from error
            process.end(at_once=True)
            self._process = None
            raise
        process.is_open = True
        if self._lost_one:
            self._context.request_replay()


class _Process:
    """One run of the other process."""

    def __init__(self, sink: Sink, what: bytes, context: SinkContext) -> None:
        self._sink = sink
        self._context = context
        self._answers: SimpleQueue[Answer | None] = SimpleQueue()
        self.is_open = False  #: the sink in it
        self.knows_sync = False  #: the sink in it was called when a sync began
        self.ended = False  #: by itself
        self._ending = False  # because it is asked to
        self._socket, theirs = socket.socketpair()
        with theirs, contextlib.ExitStack() as undo:
            undo.callback(self._socket.close)
            path = [one for one in sys.path if isinstance(one, str)]  # an import needs no others
            program = _PROGRAM.format(path=path, descriptor=theirs.fileno())
            self._process = subprocess.Popen(  # noqa: S603 - this Python, and our own program
                [sys.executable, "-c", program],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
            undo.pop_all()
        self._pipe = Pipe(os.dup(self._socket.fileno()))
        self._threads = [
            threading.Thread(target=target, name="dfovsdb-isolated", daemon=True)
            for target in (self._read, self._watch)
        ]
        for thread in self._threads:
            thread.start()
        with contextlib.suppress(OSError):  # the first call reports the end
            level = logging.getLogger("dfovsdb").getEffectiveLevel()
            self._pipe.send((what, level))

    def call(self, method: str, *arguments: Any) -> None:
        """Have the sink called.

        :raises SinkUnavailable: it raised this, or the process has ended.
        :raises RaisedInItsProcess: it raised something else.
        """
        with contextlib.suppress(OSError):
            self._pipe.send(Call(method, pack(arguments)))
        answer = None if self.ended else self._answers.get()
        if answer is None:
            self.ended = True
            raise SinkUnavailable(f"its process {_how(self._process.wait())}")
        self._sink.poll_interval = answer.poll_interval
        if answer.down:
            raise SinkUnavailable(*answer.down)
        if answer.raised:
            error = RaisedInItsProcess(answer.raised[0])
            for line in answer.raised[1].splitlines():
                error.add_note(line)
            raise error

    def end(self, *, at_once: bool = False) -> None:
        """Wait for the end of the process, or end it."""
        self._ending = True
        try:
            self._process.wait(0 if at_once else _ENDING)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for thread in self._threads:
            thread.join()
        self._pipe.close()
        self._socket.close()

    def _watch(self) -> None:
        """End the reading with the process, even if one that it started holds the other end."""
        self._process.wait()
        with contextlib.suppress(OSError):  # it is shut down already
            self._socket.shutdown(socket.SHUT_RDWR)

    def _read(self) -> None:
        with contextlib.suppress(EOFError):
            while True:
                message = self._pipe.receive()
                try:
                    self._arrived(message)
                except Exception:
                    LOG.exception("a message of an isolated sink")
        self._answers.put(None)
        if not self._ending:  # the worker may have nothing to do; this wakes it
            self._context.request_replay()

    def _arrived(self, message: Any) -> None:
        if isinstance(message, Answer):
            self._answers.put(message)
        elif isinstance(message, AskReplay):
            self._context.request_replay()
        elif isinstance(message, AskCondition):
            with contextlib.suppress(OSError):
                self._pipe.send(Condition(self._context.condition()))
        elif isinstance(message, Logged):
            record = logging.makeLogRecord(message.record)
            logger = logging.getLogger(record.name)
            if logger.isEnabledFor(record.levelno):
                logger.handle(record)


def _how(status: int) -> str:
    return f"was ended by signal {-status}" if status < 0 else f"has ended with status {status}"
