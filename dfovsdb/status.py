"""The status of a monitor as plain values, for metrics, readiness and the service manager."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from dfovsdb.histogram import HistogramCounts


class SinkStatus(NamedTuple):
    """One sink and its worker."""

    name: str
    available: bool  #: it is open, and in no outage
    queued: int  #: facts that wait, and those in hand
    oldest_age: float  #: seconds since the oldest fact that it has not accepted, 0 for none
    counters: Mapping[str, int]  #: delivered, refused, outages, errors, catchups
    #: seconds of each call that was accepted, where it is measured
    deliveries: HistogramCounts | None


class Status(NamedTuple):
    """A monitor at one moment."""

    alive: bool  #: the loop turns
    connected: bool
    synced: bool  #: there is a connection and the table was read on it
    trouble: str  #: why the last attempt or connection ended, in one line; empty once synced
    unsynced_for: float | None  #: seconds since the table was last known to be right, or the start
    next_try: float | None  #: seconds until the next attempt to connect; None while one is made
    message_age: float | None  #: seconds since the server was heard
    losses: Mapping[str, int]  #: connections and attempts that ended, by reason
    syncs: int
    sync_seconds: float | None  #: from the connection to the whole table, the last time
    rows: int
    kinds: Sequence[str]  #: that the classifiers offer
    ports: Mapping[tuple[str, str], int]  #: by kind and state
    classifier_errors: Mapping[str, int]  #: by kind
    sinks: Sequence[SinkStatus]
    busy_classifier: str | None = None  #: which has not answered for long, in one line

    @property
    def unclassified(self) -> int:
        """Rows that no classifier claims."""
        return max(0, self.rows - sum(self.ports.values()))

    def problems(self) -> list[str]:
        """Return why it is not ready, a line for each problem: the connection, the sync, each
        sink.
        """
        lines = [] if self.alive else ["the monitor thread is not responding"]
        if self.busy_classifier is not None:
            lines.append(self.busy_classifier)
        if not self.synced:
            lines.append(self._waiting())
        lines += [f"sink {sink.name} is unavailable" for sink in self.sinks if not sink.available]
        return lines

    def _waiting(self) -> str:
        """Return what is waited for and since when, with the last error."""
        since = "" if self.unsynced_for is None else f" for {self.unsynced_for:.0f} s"
        if self.connected:
            return f"waiting for the table{since}" + (
                f"; before: {self.trouble}" * bool(self.trouble)
            )
        tries = "trying now" if self.next_try is None else f"next try in {self.next_try:.0f} s"
        return f"waiting for the server{since}, {tries}" + (
            f": {self.trouble}" * bool(self.trouble)
        )
