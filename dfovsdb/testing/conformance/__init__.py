"""The promises that a plugin must keep, as tests that one subclass runs.

    class TestMyClassifier(ClassifierConformance):
        plugin = MyClassifier

    class TestMySink(SinkConformance):
        plugin = MySink

Where a plugin needs arguments, override `make()`. They need pytest and nothing else.
"""

from __future__ import annotations

from dfovsdb.testing.conformance.classifiers import ClassifierConformance
from dfovsdb.testing.conformance.sinks import SinkConformance, event_word

__all__ = ["ClassifierConformance", "SinkConformance", "event_word"]
