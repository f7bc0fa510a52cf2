"""Helpers for tests of dfovsdb and of plugins.

A private real Open vSwitch, a capturing sink, a builder of rows, matchers, conformance suites. The
matchers need testtools and the suites pytest; both are imported when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dfovsdb import public_name
from dfovsdb.testing.capture import CaptureSink, wait_until
from dfovsdb.testing.rows import corpus, interface
from dfovsdb.testing.sandbox import Sandbox, SandboxError

if TYPE_CHECKING:
    from dfovsdb.testing.conformance import ClassifierConformance, SinkConformance
    from dfovsdb.testing.matchers import EndsAs, IsOffline, IsOnline, IsUpdated

__all__ = [
    "CaptureSink",
    "ClassifierConformance",
    "EndsAs",
    "IsOffline",
    "IsOnline",
    "IsUpdated",
    "Sandbox",
    "SandboxError",
    "SinkConformance",
    "corpus",
    "interface",
    "wait_until",
]

_HOME = {
    "ClassifierConformance": "testing.conformance",
    "EndsAs": "testing.matchers",
    "IsOffline": "testing.matchers",
    "IsOnline": "testing.matchers",
    "IsUpdated": "testing.matchers",
    "SinkConformance": "testing.conformance",
}


def __getattr__(name: str) -> Any:
    return public_name(__name__, _HOME, name)
