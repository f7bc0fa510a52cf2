"""What is used where nothing is configured: the one module of the core that names plugins."""

from __future__ import annotations

DEFAULT_CONNECTION = "tcp:127.0.0.1:6640"
DEFAULT_CLASSIFIERS = ("patch", "tunnel", "bridge", "service", "vm", "uplink")
DEFAULT_SINKS = ("log",)
