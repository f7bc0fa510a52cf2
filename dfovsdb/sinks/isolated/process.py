"""The process of an isolated sink: it makes the calls that arrive, one at a time.

It ends with the process that started it, however that ends.
"""

from __future__ import annotations

import logging
import os
import pickle
import signal
import threading
import traceback
from queue import SimpleQueue

from dfovsdb.errors import SinkUnavailable
from dfovsdb.logs import get_logger, text_of
from dfovsdb.plain_calls import nothing_ran, runs_later
from dfovsdb.sinks.base import Sink, SinkContext
from dfovsdb.sinks.isolated.pipe import (
    Answer,
    AskCondition,
    AskReplay,
    Call,
    Condition,
    Logged,
    Pipe,
)
from dfovsdb.text.durations import why_not_seconds

LOG = get_logger(__name__)

#: Meant for the process that started this one, which passes on what concerns the sink.
_NOT_OURS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)


def main(descriptor: int) -> None:
    """Build the sink that is sent first, and make the calls that follow."""
    for number in _NOT_OURS:
        signal.signal(number, signal.SIG_IGN)
    # what the sink starts does not hold this end of the pipe
    os.set_inheritable(descriptor, False)
    os.register_at_fork(after_in_child=lambda: os.close(descriptor))
    pipe = Pipe(descriptor)
    what, level = pipe.receive()
    logging.basicConfig(level=level, handlers=[_Forward(pipe)], force=True)
    _Server(pipe, what).run()


class _Server:
    def __init__(self, pipe: Pipe, what: bytes) -> None:
        self._pipe = pipe
        self._what = what
        self._sink: Sink | None = None
        self._calls: SimpleQueue[Call] = SimpleQueue()
        self._conditions: SimpleQueue[str] = SimpleQueue()
        self._asking = threading.Lock()
        self._polls = True  # the last poll_interval could be waited for

    def run(self) -> None:
        threading.Thread(target=self._read, daemon=True).start()
        method = ""
        while method != "close":
            method, packed = self._calls.get()
            self._pipe.send(self._answer(method, packed))

    def _read(self) -> None:
        try:
            while True:
                message = self._pipe.receive()
                if isinstance(message, Condition):
                    self._conditions.put(message.text)
                else:
                    self._calls.put(message)
        finally:
            os._exit(0)  # also out of a call that does not return

    def _answer(self, method: str, packed: bytes) -> Answer:
        down = raised = None
        try:
            arguments = pickle.loads(packed)  # noqa: S301 - from our own process
            sink = self._built()
            if method == "open":
                host, epoch = arguments
                arguments = (SinkContext(host, epoch, self._ask_replay, self._condition),)
            call = getattr(sink, method)
            returned = call(*arguments)
            if runs_later(returned):
                raise nothing_ran(call, returned)
        except SinkUnavailable as error:
            # whatever else a sink has put there cannot be handed over, and means nothing
            delivered = error.delivered if isinstance(error.delivered, int) else 0
            after = error.retry_after if isinstance(error.retry_after, int | float) else None
            down = (text_of(error), delivered, after)
        except BaseException as error:  # noqa: BLE001 - SystemExit too: it refuses this event
            raised = (f"{type(error).__name__}: {text_of(error)}", traceback.format_exc())
        return Answer(self._poll_interval(), down, raised)

    def _poll_interval(self) -> float | None:
        try:
            interval = self._sink.poll_interval if self._sink else None
            why = why_not_seconds(interval)
        except BaseException as error:  # noqa: BLE001 - a property of a plugin
            interval, why = None, text_of(error)
        if why and self._polls:
            LOG.error("failed in poll_interval (%s); poll() is not called", why)
        self._polls = not why
        return None if why else interval

    def _built(self) -> Sink:
        if self._sink is None:
            plugin, arguments = pickle.loads(self._what)  # noqa: S301 - from our own process
            self._sink = plugin(**arguments)
        return self._sink

    def _ask_replay(self) -> None:
        self._pipe.send(AskReplay())

    def _condition(self) -> str:
        with self._asking:
            self._pipe.send(AskCondition())
            return self._conditions.get()


class _Forward(logging.Handler):
    """Has what is logged here logged by the process that started this one."""

    def __init__(self, pipe: Pipe) -> None:
        super().__init__()
        self._pipe = pipe

    def emit(self, record: logging.LogRecord) -> None:
        try:
            kept = ("name", "levelno", "levelname", "created", "msecs", "lineno", "funcName")
            attributes = {name: getattr(record, name) for name in kept}
            attributes["msg"] = record.getMessage()
            if record.exc_info:
                attributes["exc_text"] = logging.Formatter().formatException(record.exc_info)
            self._pipe.send(Logged(attributes))
        except Exception:  # noqa: BLE001 - a log call that is wrong breaks no sink
            self.handleError(record)
