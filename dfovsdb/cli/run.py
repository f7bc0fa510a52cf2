"""dfovsdb run: the agent."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dfovsdb.cli import common
from dfovsdb.version import __version__

if TYPE_CHECKING:
    from oslo_config import cfg

    from dfovsdb.monitor import Monitor

_SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1}
_LOOK = 1.0  # seconds between two checks whether the monitor is running
_PAST = 1000  # events of the jsonl sinks that the page begins with
_LAST_LINES = 2.0  # seconds for the last log lines
_REPORT = 5.0  # seconds between two reports to the service manager, at most

#: Seconds after which a computing thread lets the others run. Python's default of 0.005 makes
#: every other sink many times slower while one of them computes; docs/performance.md has figures.
_SWITCH_INTERVAL = 0.0005


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "run",
        help="run the agent: deliver events to the configured sinks",
        description="Monitors the switch and delivers events to the configured sinks until "
        "SIGTERM or SIGINT, and then drains them. SIGHUP reopens files; SIGUSR1 resends the "
        "full state.",
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="examine the configuration, as doctor does, and end without starting anything; the "
        "status is 2 if the agent would not start with it, and 1 if names in it have no effect",
    )
    parser.set_defaults(command=run)


def run(args: argparse.Namespace) -> int:
    from oslo_log import log

    from dfovsdb.cli.journal import JournalFormatter, is_journal
    from dfovsdb.cli.log_writer import LogWriter
    from dfovsdb.errors import ConfigurationError
    from dfovsdb.logs import escape
    from dfovsdb.monitor.loop import THREAD
    from dfovsdb.text.escape import one_line

    conf = common.configuration(args, logging_args=["--debug"] if args.debug else [])
    if args.check:
        return _check(conf)
    if not (conf.log_file or conf.log_dir or conf.use_journal):
        # oslo.log would use standard output, which is for events
        conf.set_default("use_stderr", True)
    try:
        log.setup(conf, "dfovsdb", __version__)
    except Exception as error:  # noqa: BLE001 - each of its options raises something else
        raise ConfigurationError(
            f"the log cannot be opened: {one_line(error)}; change log_file, log_dir, use_journal, "
            "syslog_log_facility, default_log_levels or log_config_append in [DEFAULT]"
        ) from None
    root = logging.getLogger()
    for handler in root.handlers:
        if is_journal(handler):
            handler.setFormatter(JournalFormatter())
        escape(handler)
    # before any thread is started, because threads inherit it
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    writer = LogWriter(root.handlers, hurried=(THREAD,))
    root.handlers = [writer]
    status = common.FAILED
    try:
        status = _run(conf)
    except ConfigurationError:
        status = common.WRONG_USE
        raise
    finally:
        # Nobody reads the log: leaving in the usual way would wait for that, too.
        if not writer.finish(_LAST_LINES):
            os._exit(status)
    return status


def _run(conf: cfg.ConfigOpts) -> int:
    from dfovsdb import config, unknown_options
    from dfovsdb.logs import get_logger
    from dfovsdb.telemetry import systemd

    sys.setswitchinterval(_SWITCH_INTERVAL)
    logger = get_logger(__name__)
    for text, _ in unknown_options.unread(conf):
        logger.warning("configuration: %s", text)
    monitor = _monitor(conf)
    web = _web(conf, monitor)
    logger.info(
        "dfovsdb %s: connection %s, tables %s, sinks %s, state_dir %s, configuration %s",
        __version__,
        monitor.address,
        ", ".join(monitor.tables),
        ", ".join(conf.dfovsdb.sinks) or "none",
        conf.dfovsdb.state_dir or "none",
        ", ".join(config.files(conf)) or "none",
    )
    for text in unknown_options.exposed(conf):
        logger.warning("configuration: %s", text)
    with monitor, web:
        systemd.notify("READY=1")
        why = _serve(monitor, logger)
        logger.info(
            "shutting down (%s); waiting up to %g s for sinks to drain",
            why,
            conf.dfovsdb.stop_timeout,
        )
        systemd.notify("STOPPING=1", "STATUS=shutting down: waiting for sinks to drain")
    well = monitor.stop()  # stop() may be called again, and returns the same result
    logger.info(
        "stopped: %s",
        "all events were delivered" if well else "some events were not delivered (see above)",
    )
    return common.DONE


def _check(conf: cfg.ConfigOpts) -> int:
    from dfovsdb.cli import findings
    from dfovsdb.doctor import config_checks

    found = list(config_checks.examine(conf))
    findings.show(found)
    wrong = {finding.subject for finding in found if finding.level == "wrong"}
    if wrong - {config_checks.OPTIONS}:
        return common.WRONG_USE
    return common.FAILED if wrong else common.DONE


def _serve(monitor: Monitor, logger: logging.Logger) -> str:
    """Report, and handle signals until one of them requests the end; return its name and sender.

    :raises MonitorStopped: the monitor has ended by itself.
    """
    from dfovsdb.telemetry import systemd

    interval = min(_REPORT, (systemd.watchdog_interval() or _REPORT) / 3)
    signals = _signals()
    report_at = 0.0
    said = ""
    while True:
        if time.monotonic() >= report_at:
            systemd.report(monitor.status())
            report_at = time.monotonic() + interval
        try:
            signalled = signals.get(timeout=_LOOK)
        except queue.Empty:
            if not monitor.running:
                raise monitor.waits.over() from None
            if (busy := monitor.busy_classifier) and busy != said:
                logger.error("%s", busy)
            said = busy or ""
            continue
        if signalled.si_signo == signal.SIGHUP:
            logger.info("SIGHUP: reopening files; the configuration is not read again")
            monitor.reopen()
        elif signalled.si_signo == signal.SIGUSR1:
            logger.info("SIGUSR1: resending the full state to every sink")
            monitor.replay()
        else:
            name = signal.Signals(signalled.si_signo).name
            return f"{name} of process {signalled.si_pid}" if signalled.si_pid else name


def _signals() -> queue.SimpleQueue[signal.struct_siginfo]:
    """Return a queue of the signals that arrive.

    They are awaited without a timeout, because signal.sigtimedwait() returns uninitialized memory
    if it is interrupted after its time has passed, as by SIGSTOP and SIGCONT (CPython 3.10 to
    3.13).
    """
    signals: queue.SimpleQueue[signal.struct_siginfo] = queue.SimpleQueue()

    def listen() -> None:
        while True:
            signals.put(signal.sigwaitinfo(_SIGNALS))

    threading.Thread(target=listen, name="dfovsdb-signals", daemon=True).start()
    return signals


def _monitor(conf: cfg.ConfigOpts) -> Monitor:
    from dfovsdb import config, plugins
    from dfovsdb.monitor import Monitor

    return Monitor(
        conf.ovsdb.connection,
        classifiers=common.classifiers(conf),
        sinks=plugins.SINKS.build(conf.dfovsdb.sinks, conf),
        **config.delivery_options(conf),
        **config.connection_options(conf),
    )


def _web(conf: cfg.ConfigOpts, monitor: Monitor) -> contextlib.AbstractContextManager[object]:
    """Return the HTTP listener if it is configured; it binds its port before anything is
    started.
    """
    if not conf.http.listen:
        return contextlib.nullcontext()
    from dfovsdb.telemetry import listen_address

    def past() -> Sequence[bytes]:
        from dfovsdb.history import files_of, last_lines, paths_of

        return last_lines(list(files_of(paths_of(conf))), _PAST)

    return listen_address.web()(conf.http.listen, monitor, conf.http.hosts, past)
