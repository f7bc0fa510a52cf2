"""The whole cloud, as the agents of all hosts keep it in NATS with the sink `nats`.

For programs: `Fleet` reads the buckets and the log; `Servers` says where they are, and `Streams`
what they are called. `Fold` adds the log up to the ports of each host. All need `dfovsdb[nats]`.

command.py is `dfovsdb fleet`, reader.py what it asks, fold.py how the log is read. Nothing outside
of this folder and the sink knows of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dfovsdb import public_name

if TYPE_CHECKING:
    from dfovsdb.fleet.fold import Fold
    from dfovsdb.fleet.reader import Fleet
    from dfovsdb.sinks.nats.servers import Servers
    from dfovsdb.sinks.nats.streams import Streams

__all__ = ["Fleet", "Fold", "Servers", "Streams"]

_HOME = {
    "Fleet": "fleet.reader",
    "Fold": "fleet.fold",
    "Servers": "sinks.nats.servers",
    "Streams": "sinks.nats.streams",
}


def __getattr__(name: str) -> Any:
    return public_name(__name__, _HOME, name)
