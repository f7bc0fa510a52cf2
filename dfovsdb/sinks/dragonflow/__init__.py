"""A sink for a Dragonflow controller, in process or over ZeroMQ."""

from __future__ import annotations

from dfovsdb.sinks.dragonflow.sink import DragonflowSink

__all__ = ["DragonflowSink"]
