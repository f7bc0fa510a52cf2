"""A sink that computes, in a module of its own: another process can import it."""

from __future__ import annotations

import time

from dfovsdb import PortEvent, Sink

BURN = 0.002  #: seconds for each event


class Burner(Sink):
    """Computes for every event."""

    def emit(self, event: PortEvent) -> None:
        end = time.monotonic() + BURN
        while time.monotonic() < end:
            pass
