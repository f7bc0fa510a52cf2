"""A sink for NATS JetStream: a log of events, and the present state in key-value buckets."""

from __future__ import annotations

from dfovsdb.sinks.nats.sink import NatsSink

__all__ = ["NatsSink"]
