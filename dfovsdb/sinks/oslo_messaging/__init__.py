"""A sink for the notification bus of oslo.messaging."""

from __future__ import annotations

from dfovsdb.sinks.oslo_messaging.sink import OsloMessagingSink

__all__ = ["OsloMessagingSink"]
