"""The sink that the worker sees: it hands each call to the process, and waits for the answer."""

from __future__ import annotations

import contextlib
import logging
import pickle
import socket
import subprocess
import sys
import threading
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
        self._process: _Process | None = None
        self._is_open = False
        self._lost_one = False  # a process ended by itself

    def open(self, context: SinkContext) -> None:
        self._context = context
        self._opened()

    def emit(self, event: PortEvent) -> None:
        self._opened().call("emit", event)

    def emit_many(self, events: Sequence[PortEvent]) -> None:
        self._opened().call("emit_many", events)

    def sync_started(self, marker: SyncMarker) -> None:
        self._opened().call("sync_started", marker)

    def sync_finished(self, marker: SyncMarker) -> None:
        self._opened().call("sync_finished", marker)

    def poll(self) -> None:
        self._opened().call("poll")

    def reopen(self) -> None:
        self._opened().call("reopen")

    def close(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        try:
            if self._is_open:
                process.call("close")
        finally:
            process.end()

    def _opened(self) -> _Process:
        """Return the process with the open sink in it; start it if necessary."""
        if self._process is not None and self._process.ended:
            self._process.end()
            self._process = None
            self._is_open, self._lost_one = False, True
        if self._process is None:
            self._process = _Process(self, self._what, self._context)
        if not self._is_open:
            self._open_there(self._process)
        return self._process

    def _open_there(self, process: _Process) -> None:
        try:
            process.call("open", self._context.host, self._context.epoch)
        except RaisedInItsProcess as error:
            if self._lost_one:  # it could be opened before, and the start is long over
                raise SinkUnavailable(f"it cannot be opened again: {error}") from error
            process.end(at_once=True)
            self._process = None
            raise
        self._is_open = True
        if self._lost_one:
            self._context.request_replay()


class _Process:
    """One run of the other process."""

    def __init__(self, sink: Sink, what: bytes, context: SinkContext) -> None:
        self._sink = sink
        self._context = context
        self._answers: SimpleQueue[Answer | None] = SimpleQueue()
        self.ended = False  #: by itself
        ours, theirs = socket.socketpair()
        with theirs:
            program = _PROGRAM.format(path=sys.path, descriptor=theirs.fileno())
            self._process = subprocess.Popen(  # noqa: S603 - this Python, and our own program
                [sys.executable, "-c", program],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        self._pipe = Pipe(ours.detach())
        self._reader = threading.Thread(target=self._read, name="dfovsdb-isolated", daemon=True)
        self._reader.start()
        with contextlib.suppress(OSError):  # the first call reports the end
            level = logging.getLogger("dfovsdb").getEffectiveLevel()
            self._pipe.send((what, level))

    def call(self, method: str, *arguments: Any) -> None:
        """Have the sink called.

        :raises SinkUnavailable: it raised this, or the process has ended.
        :raises RaisedInItsProcess: it raised something else.
        """
        with contextlib.suppress(OSError):
            self._pipe.send(Call(method, arguments))
        answer = self._answers.get()
        if answer is None:
            self.ended = True
            raise SinkUnavailable(f"its process {_how(self._process.wait())}")
        self._sink.poll_interval = answer.poll_interval
        if answer.down:
            raise SinkUnavailable(*answer.down)
        if answer.raised:
            error = RaisedInItsProcess(answer.raised[0])
            error.add_note(answer.raised[1])
            raise error

    def end(self, *, at_once: bool = False) -> None:
        """Wait for the end of the process, or end it."""
        try:
            self._process.wait(0 if at_once else _ENDING)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        self._pipe.close()

    def _read(self) -> None:
        with contextlib.suppress(EOFError):
            while True:
                self._arrived(self._pipe.receive())
        self._answers.put(None)

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
            logging.getLogger(record.name).handle(record)


def _how(status: int) -> str:
    return f"was ended by signal {-status}" if status < 0 else f"has ended with status {status}"
