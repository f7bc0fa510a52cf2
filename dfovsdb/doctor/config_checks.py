"""Checks whether `dfovsdb run` would start with this configuration, without starting anything.

The checks look as the doctor does, and for it. What a sink finds out when it is opened is not
known here.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

from oslo_config import cfg

from dfovsdb import config, plugins, unknown_options
from dfovsdb.delivery import view_store
from dfovsdb.disk import check_may_write
from dfovsdb.doctor.finding import Finding
from dfovsdb.errors import DfovsdbError
from dfovsdb.monitor import Monitor
from dfovsdb.sinks.base import Sink
from dfovsdb.sinks.isolated import IsolatedSink
from dfovsdb.sinks.jsonl import JsonlSink
from dfovsdb.telemetry.listen_address import is_held_by_us, web
from dfovsdb.text.escape import clean

#: The subject of what has no effect, with which the agent starts nevertheless.
OPTIONS = "options"


def examine(conf: cfg.ConfigOpts) -> Iterator[Finding]:
    """Check what the start would refuse, and the names that it would warn about."""
    yield from options_are_read(conf)
    yield from secrets_are_kept(conf)
    found = [*classifiers_can_be_built(conf), *sinks_can_be_built(conf)]
    yield from found
    if not any(finding.level == "wrong" for finding in found):
        yield from monitor_can_be_built(conf)
    if conf.dfovsdb.state_dir:
        yield state_dir_is_usable(conf.dfovsdb.state_dir)
    if "log_file" in conf and (conf.log_file or conf.log_dir):  # where oslo.log is in use
        yield log_can_be_written(Path(conf.log_dir or "", conf.log_file or "dfovsdb.log"))
    if conf.http.listen:
        yield port_is_free(conf.http.listen)


def options_are_read(conf: cfg.ConfigOpts) -> Iterator[Finding]:
    """Check that every name in the configuration has an effect."""
    try:
        names = list(unknown_options.unread(conf))
    except DfovsdbError:
        return  # a plugin cannot be imported: the checks below say so
    for text, mistaken in names:
        yield Finding("wrong" if mistaken else "note", OPTIONS, clean(text, 1000))
    if not names:
        files = ", ".join(map(clean, config.files(conf)))
        text = (
            f"every name is known in {files}" if files else "no file is read; the defaults apply"
        )
        yield Finding("fine", OPTIONS, text)


def secrets_are_kept(conf: cfg.ConfigOpts) -> Iterator[Finding]:
    """Check that files with secrets are not readable for everybody."""
    try:
        exposed = list(unknown_options.exposed(conf))
    except DfovsdbError:
        return  # options_are_read() has said so
    for text in exposed:
        yield Finding("note", "secrets", clean(text, 1000))


def classifiers_can_be_built(conf: cfg.ConfigOpts) -> Iterator[Finding]:
    """Check that the plugins are installed and accept their options."""
    try:
        plugins.CLASSIFIERS.build(conf.dfovsdb.classifiers, conf)
    except DfovsdbError as error:
        yield Finding("wrong", "classifiers", clean(str(error), 1000))


def sinks_can_be_built(conf: cfg.ConfigOpts) -> Iterator[Finding]:
    """Check that the plugins are installed and accept their options; none is opened."""
    try:
        built = plugins.SINKS.build(conf.dfovsdb.sinks, conf)
    except DfovsdbError as error:
        yield Finding("wrong", "sinks", clean(str(error), 1000))
        return
    for name in built:
        yield Finding("fine", "sink", f"{clean(name)} can be built; it was not opened")
    to_stdout = [clean(name) for name, sink in built.items() if _is_on_stdout(sink)]
    if len(to_stdout) > 1:
        text = f"{' and '.join(to_stdout)} all write to standard output"
        yield Finding("note", "sinks", text, f"set [sink_{to_stdout[-1]}] path")
    if not built:
        yield Finding("note", "sinks", "none is enabled", "set [dfovsdb] sinks")


def _is_on_stdout(sink: Sink) -> bool:
    """Return whether it writes to standard output, which a process of its own shares."""
    if isinstance(sink, IsolatedSink):
        return issubclass(sink.plugin, JsonlSink) and sink.arguments.get("path", "-") == "-"
    return isinstance(sink, JsonlSink) and sink.path == "-"


def monitor_can_be_built(conf: cfg.ConfigOpts) -> Iterator[Finding]:
    """Check the connection, the tables and what they need, and that every kind that a sink selects
    is one of the classifiers; state_dir has a check of its own.
    """
    options = {**config.delivery_options(conf), **config.connection_options(conf)}
    options["state_dir"] = None
    try:
        Monitor(
            conf.ovsdb.connection,
            classifiers=list(plugins.CLASSIFIERS.build(conf.dfovsdb.classifiers, conf).values()),
            sinks=plugins.SINKS.build(conf.dfovsdb.sinks, conf),
            **options,
        )
    except DfovsdbError as error:
        yield Finding("wrong", "ovsdb", clean(str(error), 1000))


def state_dir_is_usable(state_dir: str) -> Finding:
    """Check that the folder exists and its files may be written; nothing is created or locked."""
    try:
        view_store.check_folder(state_dir)
    except DfovsdbError as error:
        return Finding("wrong", "state_dir", clean(str(error), 1000))
    text = f"{clean(state_dir)} exists and may be written to"
    if (process := view_store.held_by(state_dir)) is not None:
        text += f"; process {process} has it in use: probably the running agent"
    return Finding("fine", "state_dir", text)


def log_can_be_written(path: Path) -> Finding:
    """Check that the file of the log may be written, or made in its folder; it is not opened."""
    there = path if os.path.exists(path) else path.parent
    try:
        there.stat()
        if there == path and path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        check_may_write(there)
    except OSError as error:
        text = f"{clean(str(path))} cannot be written: {clean(str(there))}: {error.strerror}"
        return Finding("wrong", "log", text, "change log_file or log_dir in [DEFAULT]")
    return Finding("fine", "log", f"{clean(str(path))} may be written")


def port_is_free(listen: str) -> Finding:
    """[http] can listen there, or dfovsdb already does: the running agent."""
    try:
        web()
        held = is_held_by_us(listen)
    except DfovsdbError as error:
        return Finding("wrong", "http", clean(str(error), 1000))
    text = "dfovsdb already listens there: probably the running agent" if held else "it is free"
    return Finding("fine", "http", f"[http] listen = {clean(listen)}: {text}")
