"""The ports of an Open vSwitch host as events.

How data flows through the package:

    ovsdb/         bytes of the server  -> messages -> changed rows (the replica)
    classifiers/   changed rows         -> ports of a kind
    monitor/       the loop that runs both, and the handle Monitor
    delivery/      changed ports        -> events, compared with what each sink has accepted
    sinks/         events               -> destinations

The names below are the Python API; each is imported when it is first used.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dfovsdb.version import __version__

if TYPE_CHECKING:
    from dfovsdb.classifiers.base import IGNORE, Classifier
    from dfovsdb.errors import DfovsdbError, SinkUnavailable
    from dfovsdb.json_v1 import from_json, to_json
    from dfovsdb.model import Interface, Port, PortEvent, SyncMarker
    from dfovsdb.monitor import Monitor
    from dfovsdb.sinks.base import Sink, SinkContext
    from dfovsdb.watching import watch

__all__ = [
    "IGNORE",
    "Classifier",
    "DfovsdbError",
    "Interface",
    "Monitor",
    "Port",
    "PortEvent",
    "Sink",
    "SinkContext",
    "SinkUnavailable",
    "SyncMarker",
    "__version__",
    "from_json",
    "to_json",
    "watch",
]

_HOME = {
    "IGNORE": "classifiers.base",
    "Classifier": "classifiers.base",
    "DfovsdbError": "errors",
    "Interface": "model",
    "Monitor": "monitor",
    "Port": "model",
    "PortEvent": "model",
    "Sink": "sinks.base",
    "SinkContext": "sinks.base",
    "SinkUnavailable": "errors",
    "SyncMarker": "model",
    "from_json": "json_v1",
    "to_json": "json_v1",
    "watch": "watching",
}


def public_name(module: str, homes: Mapping[str, str], name: str) -> Any:
    """Return a public name of a package, imported when it is first used.

    :param homes: by name, the module below `dfovsdb` that has it.
    :raises AttributeError: there is no such name.
    """
    if name not in homes:
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{homes[name]}"), name)
    setattr(sys.modules[module], name, value)
    return value


def __getattr__(name: str) -> Any:
    return public_name(__name__, _HOME, name)


def __dir__() -> list[str]:
    return __all__
