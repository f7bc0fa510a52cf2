"""A sink that posts CloudEvents to a URL."""

from __future__ import annotations

from dfovsdb.sinks.webhook.sink import WebhookSink

__all__ = ["WebhookSink"]
