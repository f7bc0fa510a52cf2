"""The loop that walks from the socket to the sinks, and the handle that programs hold."""

from __future__ import annotations

from dfovsdb.monitor.handle import Monitor

__all__ = ["Monitor"]
