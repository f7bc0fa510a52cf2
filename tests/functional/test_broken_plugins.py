"""Forty broken plugins: each is refused at the start, or harms nobody else at run time.

Whatever it does, the log or the error names the plugin, and another sink still receives what
`ovs.db.idl` sees.
"""

from __future__ import annotations

import logging
import textwrap
import threading
from pathlib import Path
from typing import Any

import pytest

from dfovsdb import Classifier, Monitor, Sink
from dfovsdb.errors import DfovsdbError
from dfovsdb.plugins import default_classifiers
from dfovsdb.testing import CaptureSink, Sandbox, wait_until
from tests.functional.churning import Churn, wait_for_the_same
from tests.waiting import DEADLINE

_HEAD = """
import collections.abc
import threading
import time

from dfovsdb import Classifier, Sink, SinkUnavailable


class BadText(Exception):
    def __str__(self):
        raise RuntimeError("no text")


class BadRepr(BadText):
    def __repr__(self):
        raise RuntimeError("nothing to show")


class BadMapping(collections.abc.Mapping):
    def __getitem__(self, key):
        raise KeyError(key)

    def __iter__(self):
        raise RuntimeError("no iteration")

    def __len__(self):
        return 1


RELEASE = threading.Event()  # at the end of a test


def deeper(level):
    return deeper(level + 1)

"""


def made(code: str, file: Path) -> Any:
    """The plugin of this code, as if it were in a module of its own."""
    text = _HEAD + textwrap.dedent(code)
    file.write_text(text)
    names: dict[str, Any] = {"__name__": "broken_plugin"}
    exec(compile(text, str(file), "exec"), names)
    return names["Broken"]


def classifier(body: str, more: str = 'kind = "broken"') -> str:
    head = "class Broken(Classifier):\n" + textwrap.indent(more, "    ") + "\n"
    return head + "    def classify(self, interface):\n" + textwrap.indent(body, " " * 8) + "\n"


def sink(body: str, name: str = "emit", argument: str = ", event") -> str:
    method = f"    def {name}(self{argument}):\n" + textwrap.indent(body, " " * 8) + "\n"
    rest = "" if name == "emit" else "    def emit(self, event):\n        pass\n"
    return "class Broken(Sink):\n    poll_interval = 0.01\n" + method + rest


AT_THE_START = {
    "a classifier without a kind": classifier("return {}", "pass"),
    "a kind that is a number": classifier("return {}", "kind = 5"),
    "a kind of two words": classifier("return {}", 'kind = "two words"'),
    "a column that is always rewritten": classifier(
        "return {}", 'kind = "broken"\ncolumns = frozenset({"statistics"})'
    ),
    "a column of another table": classifier(
        "return {}", 'kind = "broken"\ncolumns = frozenset({"Queue.dscp"})'
    ),
    "columns that are one text": classifier("return {}", 'kind = "broken"\ncolumns = "mtu"'),
    "a classifier that is a coroutine": (
        'class Broken(Classifier):\n    kind = "broken"\n'
        "    async def classify(self, interface):\n        return {}\n"
    ),
    "a classifier that is a generator": classifier("yield {}"),
    "a sink that is a coroutine": (
        "class Broken(Sink):\n    async def emit(self, event):\n        pass\n"
    ),
    "a sink that is a generator": sink("yield event"),
    "a sync that is a coroutine": (
        "class Broken(Sink):\n    def emit(self, event):\n        pass\n"
        "    async def sync_started(self, marker):\n        pass\n"
    ),
    "an open() that fails": sink('raise OSError("no such place")', "open", ", context"),
    "an open() whose error has no text": sink("raise BadText", "open", ", context"),
    "a poll_interval that is a text": (
        'class Broken(Sink):\n    poll_interval = "1"\n    def emit(self, event):\n        pass\n'
    ),
    "an open() that exits": sink('raise SystemExit("bye")', "open", ", context"),
}

CLASSIFIERS = {
    "it raises": 'raise ValueError("no")',
    "it has a typo": "return {'a': interface.ofprot}",
    "it misses a key": "return {'a': interface.external_ids['nobody']}",
    "it exits": "raise SystemExit(3)",
    "it is interrupted": "raise KeyboardInterrupt",
    "it has no memory": "raise MemoryError",
    "it never ends to call itself": "return deeper(0)",
    "its error has no text": "raise BadText",
    "its error shows nothing": "raise BadRepr",
    "it returns a text": "return 'broken'",
    "it returns a list": "return ['a']",
    "it returns True": "return True",
    "its attribute is a number": "return {'a': interface.ofport or 1}",
    "its attribute has no name": "return {None: 'a'}",
    "its mapping is broken": "return BadMapping()",
    "it changes what it is handed": "interface.external_ids['x'] = 'y'\nreturn None",
    "it changes the row": "interface.name = 'x'\nreturn None",
}

SINKS = {
    "it raises": sink('raise ValueError("no")'),
    "it exits": sink("raise SystemExit(3)"),
    "it is interrupted": sink("raise KeyboardInterrupt"),
    "it never ends to call itself": sink("deeper(0)"),
    "its error has no text": sink("raise BadText"),
    "its error shows nothing": sink("raise BadRepr"),
    "its batch has an error that shows nothing": sink("raise BadRepr", "emit_many", ", events"),
    "it returns a coroutine": sink(
        "async def later():\n    pass\ncoroutine = later()\nthreading.Timer(0, coroutine.close)."
        "start()\nreturn coroutine"
    ),
    "it changes the event": sink("event.port.attributes['x'] = 'y'"),
    "it is down for ever": sink('raise SinkUnavailable("down")'),
    "it delivered less than nothing": sink(
        'raise SinkUnavailable("down", -5)', "emit_many", ", events"
    ),
    "it delivered more than there was": sink(
        'raise SinkUnavailable("down", 10**6)', "emit_many", ", events"
    ),
    "it delivered a text": sink('raise SinkUnavailable("down", "two")', "emit_many", ", events"),
    "it wants to wait for ever": sink('raise SinkUnavailable("down", retry_after=float("inf"))'),
    "it wants to wait for a text": sink('raise SinkUnavailable("down", retry_after="soon")'),
    "the text of its outage fails": (
        "class BadOutage(SinkUnavailable):\n    __str__ = BadText.__str__\n\n\n"
        + sink("raise BadOutage('down')")
    ),
    "its selection fails": sink("pass")
    + "    def selection(self, port):\n        raise BadText\n",
    "its selection exits": sink("pass") + "    def selection(self, port):\n        exit(3)\n",
    "it hangs": sink("RELEASE.wait()"),
    "it changes the batch": sink("events.append(1)", "emit_many", ", events"),
    "its sync fails": sink('raise ValueError("no")', "sync_started", ", marker"),
    "its poll fails": sink('raise ValueError("no")', "poll", ""),
    "its close fails": sink('raise ValueError("no")', "close", ""),
}


def test_there_are_forty_of_them() -> None:
    assert len(AT_THE_START) + len(CLASSIFIERS) + len(SINKS) >= 40


@pytest.mark.parametrize("name", AT_THE_START)
def test_what_cannot_work_is_refused_before_anything_is_read(name: str, tmp_path: Path) -> None:
    broken = made(AT_THE_START[name], tmp_path / "broken_plugin.py")
    plugin = broken()
    options: dict[str, Any] = {"sinks": {"broken": plugin}}
    if isinstance(plugin, Classifier):
        options = {"classifiers": [plugin]}
    with pytest.raises((DfovsdbError, OSError, SystemExit)) as raised:
        Monitor(f"unix:{tmp_path}/nobody", **options).start()
    if isinstance(raised.value, DfovsdbError):
        assert "roken" in str(raised.value)
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_classifier_that_fails_is_named_and_loses_nobodys_event(
    name: str, ovsdb_sandbox: Sandbox, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "broken_plugin.py"
    broken = made(classifier(CLASSIFIERS[name]), file)()
    delivered = CaptureSink()
    ovsdb_sandbox.add_bridge("br-int")
    with (
        Monitor(
            ovsdb_sandbox.connection,
            classifiers=[broken, *default_classifiers()],
            sinks={"good": delivered},
        ) as monitor,
        Churn(ovsdb_sandbox) as churn,
    ):
        churn.wait_for_rounds(20)
        churn.end()
        wait_for_the_same(ovsdb_sandbox, monitor.ports)
        wait_until(lambda: delivered.ports == monitor.ports())
        assert monitor.status().classifier_errors["broken"] > 0
    first = next(r for r in caplog.records if "classifier broken failed" in r.getMessage())
    assert first.levelno == logging.ERROR
    assert first.exc_info
    assert first.exc_text is None or "broken_plugin.py" in first.exc_text


@pytest.mark.parametrize("name", SINKS)
def test_a_sink_that_fails_is_named_and_loses_nobodys_event(
    name: str, ovsdb_sandbox: Sandbox, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken: Sink = made(SINKS[name], tmp_path / "broken_plugin.py")()
    delivered = CaptureSink()
    ovsdb_sandbox.add_bridge("br-int")
    monitor = Monitor(
        ovsdb_sandbox.connection, sinks={"broken": broken, "good": delivered}, stop_timeout=0.5
    )
    with monitor, Churn(ovsdb_sandbox) as churn:
        churn.wait_for_rounds(20)
        churn.end()
        wait_for_the_same(ovsdb_sandbox, monitor.ports)
        wait_until(lambda: delivered.ports == monitor.ports())
    wait_until(lambda: "sink broken" in caplog.text, DEADLINE)
    assert "sink good" not in caplog.text
    type(broken).emit.__globals__["RELEASE"].set()
    wait_until(lambda: "dfovsdb-broken" not in [one.name for one in threading.enumerate()])
