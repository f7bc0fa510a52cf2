"""A sink for the tests of isolation: it can be imported by another process."""

from __future__ import annotations

import logging
import os
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

from dfovsdb.errors import SinkUnavailable
from dfovsdb.model import PortEvent, SyncMarker
from dfovsdb.sinks.base import Sink, SinkContext

LOG = logging.getLogger("dfovsdb.tests.file_sink")


class NoText(Exception):
    def __str__(self) -> str:
        raise SystemExit

    __repr__ = __str__


class NoOutageText(SinkUnavailable):
    __str__ = __repr__ = NoText.__str__


def not_picklable(**fields: Any) -> SinkUnavailable:
    error = SinkUnavailable("not now")
    vars(error).update(fields)
    return error


RAISED = {
    "later with an odd wait": not_picklable(retry_after=lambda: 1),
    "later with an odd number": not_picklable(delivered=lambda: 1),
    "refused": ValueError("this one never"),
    "later": SinkUnavailable("not now", retry_after=7),
    "refused without a text": NoText(),
    "later without a text": NoOutageText("not now"),
}


class FileSink(Sink):
    """Appends `ACTION NAME` to a file, and does what the name of a port asks for."""

    def __init__(self, path: str, *, fails: str = "") -> None:
        if fails == "to be built":
            raise ValueError("it cannot be built")
        self._path = Path(path)
        self._fails = fails

    def open(self, context: SinkContext) -> None:
        if self._fails == "to open":
            raise ValueError("it cannot be opened")
        self._context = context

    def emit(self, event: PortEvent) -> None:
        name = event.port.name
        if name in RAISED:
            raise RAISED[name]
        if name == "dies" and not self._path.with_name("died").exists():
            self._path.with_name("died").touch()
            os._exit(3)
        if name == "forks":
            subprocess.Popen(["sleep", "60"], close_fds=False)
            if os.fork() == 0:
                time.sleep(60)
                os._exit(0)
            os._exit(4)
        if name == "polls":
            self.poll_interval = lambda: 1  # type: ignore[assignment]  # wrong on purpose
        if name == "logs wrongly":
            LOG.warning("%d ports", "a")
        if name == "hangs":
            time.sleep(3600)
        if name == "asks":
            LOG.warning("the condition is %s", self._context.condition())
            thread = threading.Thread(target=self._context.request_replay)
            thread.start()
            thread.join()
        self._write(event.action, name)

    def sync_started(self, marker: SyncMarker) -> None:
        if self._fails == "no marker":
            self._write("marker", marker.action)

    def sync_finished(self, marker: SyncMarker) -> None:
        if self._fails == "no marker":
            self._write("marker", marker.action)

    def _write(self, action: str, name: str) -> None:
        try:
            with self._path.open("a") as file:
                file.write(f"{action} {name!r} {os.getpid()}\n")
        except OSError as error:
            raise SinkUnavailable(f"{self._path}: {error.strerror}") from error
