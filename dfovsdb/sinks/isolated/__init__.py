"""Any sink in a process of its own, where what it computes takes no time from the others.

`[sink_INSTANCE] isolate = true` wraps the sink of that instance in an IsolatedSink. Its calls are
made in the other process, one at a time, and return when they have returned there.
"""

from dfovsdb.sinks.isolated.sink import IsolatedSink

__all__ = ["IsolatedSink"]
