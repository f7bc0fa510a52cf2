"""The options of a Monitor: their types for type checkers, their checks at construction."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Literal, TypedDict

from dfovsdb.classifiers.base import Classifier
from dfovsdb.delivery.work_queue import Resync
from dfovsdb.errors import ConfigurationError
from dfovsdb.model import TABLE, PortEvent
from dfovsdb.ovsdb.address import is_path
from dfovsdb.selection import Selection, check_kinds
from dfovsdb.sinks.base import Sink
from dfovsdb.text.durations import why_not_seconds
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
    shortest, longest = values["reconnect_min"], values["reconnect_max"]
    if shortest > longest:
        raise ConfigurationError(
            f"reconnect_min: {shortest:g} is more than reconnect_max, which is {longest:g}: "
            "lower the first or raise the second"
        )
    return values


def check_timeout(timeout: object) -> None:
    """Check the seconds that somebody wants to wait; None means as long as it takes.

    :raises ConfigurationError: one cannot wait for so long.
    """
    is_over = isinstance(timeout, int | float) and timeout < 0  # what is left of a longer time
    if not is_over and (why := why_not_seconds(timeout)):
        raise ConfigurationError(f"timeout: {timeout!r:.80} {why}")


def _check_flag(name: str, value: object) -> None:
    """Check an argument that is True or False.

    :raises ConfigurationError: it is something else, such as a string, which would be true.
    """
    if why := _flag(value):
        raise ConfigurationError(f"{name}: {value!r:.80} {why}")


def selection_of(
    kinds: Collection[str], names: Collection[str], markers: object, offered: Sequence[str]
) -> Selection | None:
    """Check the arguments of events(), and return which ports they select; None means all.

    :param offered: the kinds that the classifiers offer.
    :raises ConfigurationError: one of them cannot be used.
    """
    _check_flag("markers", markers)
    selection = Selection(kinds=kinds, names=names)
    check_kinds(kinds, offered, "kinds: ")
    return selection or None


def check_watch(
    once: object,
    timeout: object,
    stop_event: object,
    markers: object,
    options: Mapping[str, object],
) -> None:
    """Check what watch() takes beside the options of a Monitor, and that it is given no others.

    :raises ConfigurationError: one of them cannot be used.
    """
    _check_flag("once", once)
    _check_flag("markers", markers)
    check_timeout(timeout)
    for name in ("sinks", "state_dir"):
        if name in options:
            raise ConfigurationError(f"{name}: watch() does not take it: use Monitor({name}=…)")
    if stop_event is not None and not callable(getattr(stop_event, "is_set", None)):
        raise ConfigurationError(f"stop_event: {stop_event!r:.80} is not a threading.Event")


def _one_of(*text: str) -> Callable[[object], str]:
    return lambda value: "" if value in text else f"is not allowed: use {' or '.join(text)}"


def _seconds(value: object) -> str:
    return "is not a number of seconds" if value is None else why_not_seconds(value)


def _integer(lowest: int) -> Callable[[object], str]:
    def check(value: object) -> str:
        if isinstance(value, bool) or not isinstance(value, int):
            return "is not an integer"
        return "" if value >= lowest else f"is not allowed: use {lowest} or more"

    return check


def _text(value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, str) or not value:
        return "is not a string, or is empty"
    try:
        value.encode()
    except UnicodeEncodeError:
        return "is not valid Unicode, so no event could be written with it"
    return ""


def _flag(value: object) -> str:
    return "" if isinstance(value, bool) else "is not True or False"


def _file(value: object) -> str:
    if value is None:
        return ""
    path = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    return "" if isinstance(path, str) and path and is_path(path) else "is not a path"


def _several(value: object) -> str:
    if isinstance(value, Collection) and not isinstance(value, str | bytes):
        return ""
    return "is not a sequence"


def _texts(value: object) -> str:
    if why := _several(value):
        return why
    assert isinstance(value, Collection)
    return "" if all(isinstance(one, str) for one in value) else "does not consist of strings"


_CHECKS: Mapping[str, Callable[[object], str]] = {
    "classifiers": lambda value: "" if value is None else _several(value),
    "sinks": _several,
    "tables": _texts,
    "resync": _one_of("replay", "diff"),
    "host": _text,
    "state_dir": _file,
    "queue_limit": _integer(1),
    "stop_timeout": _seconds,
    "ssl_key_file": _file,
    "ssl_cert_file": _file,
    "ssl_ca_cert_file": _file,
    "ssl_check_hostname": _flag,
    "record": _file,
    "monitor": _one_of("auto", "rfc7047"),
    "inactivity_probe": _seconds,
    "reconnect_min": _seconds,
    "reconnect_max": _seconds,
    "max_message_size": _integer(1),
}
