"""The options of a Monitor: their types for type checkers, their checks at construction."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Literal, TypedDict

from dfovsdb.classifiers.base import Classifier
from dfovsdb.delivery.work_queue import Resync
from dfovsdb.errors import ConfigurationError
from dfovsdb.model import TABLE, PortEvent
from dfovsdb.sinks.base import Sink
from dfovsdb.text.escape import clean, close_to, did_you_mean

AnySink = Sink | Callable[[PortEvent], object]


class ConnectionOptions(TypedDict, total=False):
    """The options of watch() beside its own arguments; Monitor explains each."""

    tables: Sequence[str]
    resync: Resync
    host: str | None
    queue_limit: int
    stop_timeout: float
    ssl_key_file: str | None
    ssl_cert_file: str | None
    ssl_ca_cert_file: str | None
    ssl_check_hostname: bool
    record: str | os.PathLike[str] | None
    monitor: Literal["auto", "rfc7047"]
    inactivity_probe: float
    reconnect_min: float
    reconnect_max: float
    max_message_size: int


class MonitorOptions(ConnectionOptions, total=False):
    """The keyword arguments of Monitor."""

    classifiers: Sequence[Classifier] | None
    sinks: Sequence[AnySink] | Mapping[str, AnySink]
    state_dir: str | None


DEFAULTS: Mapping[str, Any] = {
    "classifiers": None,
    "sinks": (),
    "tables": (TABLE,),
    "resync": "replay",
    "host": None,
    "state_dir": None,
    "queue_limit": 1000,
    "stop_timeout": 5.0,
    "ssl_key_file": None,
    "ssl_cert_file": None,
    "ssl_ca_cert_file": None,
    "ssl_check_hostname": True,
    "record": None,
    "monitor": "auto",
    "inactivity_probe": 5.0,
    "reconnect_min": 1.0,
    "reconnect_max": 8.0,
    "max_message_size": 64 << 20,
}


def checked(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return every option with its value, or its default.

    :raises ConfigurationError: the error names the option that is unknown or has an invalid value.
    """
    for name in options:
        if name not in DEFAULTS:
            near = did_you_mean(close_to(clean(name), DEFAULTS))
            raise ConfigurationError(f"there is no option {clean(name)}{near}")
    values = {**DEFAULTS, **options}
    for name, check in _CHECKS.items():
        if why := check(values[name]):
            raise ConfigurationError(f"{name}: {values[name]!r:.80} {why}")
    return values


def _one_of(*text: str) -> Callable[[object], str]:
    return lambda value: "" if value in text else f"is not allowed: use {' or '.join(text)}"


def _number(lowest: float) -> Callable[[object], str]:
    def check(value: object) -> str:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return "is not a number of seconds"
        if not math.isfinite(value) or value < lowest:
            return f"is not allowed: use {lowest:g} or more seconds"
        return ""

    return check


def _integer(lowest: int) -> Callable[[object], str]:
    def check(value: object) -> str:
        if isinstance(value, bool) or not isinstance(value, int):
            return "is not an integer"
        return "" if value >= lowest else f"is not allowed: use {lowest} or more"

    return check


def _text(value: object) -> str:
    return (
        ""
        if value is None or (isinstance(value, str) and value)
        else "is not a string, or is empty"
    )


def _file(value: object) -> str:
    path = value is None or (isinstance(value, str | os.PathLike) and os.fspath(value))
    return "" if path else "is not a path"


def _several(value: object) -> str:
    if value is None or (isinstance(value, Collection) and not isinstance(value, str | bytes)):
        return ""
    return "is not a sequence"


_CHECKS: Mapping[str, Callable[[object], str]] = {
    "classifiers": _several,
    "sinks": _several,
    "tables": _several,
    "resync": _one_of("replay", "diff"),
    "host": _text,
    "state_dir": _file,
    "queue_limit": _integer(1),
    "stop_timeout": _number(0),
    "ssl_key_file": _file,
    "ssl_cert_file": _file,
    "ssl_ca_cert_file": _file,
    "ssl_check_hostname": lambda value: "" if isinstance(value, bool) else "is not True or False",
    "record": _file,
    "monitor": _one_of("auto", "rfc7047"),
    "inactivity_probe": _number(0),
    "reconnect_min": _number(0),
    "reconnect_max": _number(0),
    "max_message_size": _integer(1),
}
