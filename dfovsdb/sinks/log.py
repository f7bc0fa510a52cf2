"""The sink that writes one log line for each event."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oslo_config import cfg
from oslo_log import log as logging

from dfovsdb.sinks.base import Sink
from dfovsdb.text.events import event_line, marker_line

if TYPE_CHECKING:
    from dfovsdb.model import PortEvent, SyncMarker

LEVELS = ("DEBUG", "INFO", "WARNING")


class LogSink(Sink):
    """Write to the logger `dfovsdb.events`, through oslo.log."""

    options = (
        cfg.StrOpt("level", default="INFO", choices=LEVELS, help="Level of the log lines."),
    )

    def __init__(self, level: str = "INFO") -> None:
        self._level = getattr(logging, level)
        self._log = logging.getLogger("dfovsdb.events")

    def emit(self, event: PortEvent) -> None:
        self._log.log(self._level, "%s", event_line(event))

    def sync_started(self, marker: SyncMarker) -> None:
        self._log.log(self._level, "%s", marker_line(marker))

    def sync_finished(self, marker: SyncMarker) -> None:
        self._log.log(self._level, "%s", marker_line(marker))
