"""The whole cloud, as the agents of all hosts keep it in NATS with the sink `nats`.

For programs: `Fleet` reads the buckets and the log, from the NATS of `Servers` and the names of
`Streams`; `Fold` makes the ports of each host of the log. They need the extra `dfovsdb[nats]`.

command.py is `dfovsdb fleet`, reader.py what it asks, fold.py how the log is read. Nothing outside
of this folder and the sink knows of it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dfovsdb.fleet.fold import Fold
    from dfovsdb.fleet.reader import Fleet
    from dfovsdb.sinks.nats.servers import Servers
    from dfovsdb.sinks.nats.streams import Streams

__all__ = ["Fleet", "Fold", "Servers", "Streams"]

_HOME = {
    "Fleet": "dfovsdb.fleet.reader",
    "Fold": "dfovsdb.fleet.fold",
    "Servers": "dfovsdb.sinks.nats.servers",
    "Streams": "dfovsdb.sinks.nats.streams",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value
