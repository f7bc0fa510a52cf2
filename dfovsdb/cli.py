"""The commands: parse, wire, report. No logic, and nothing imported before it is needed."""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

from dfovsdb.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator

    from oslo_config import cfg

    from dfovsdb.model import PortEvent, SyncMarker
    from dfovsdb.monitor import Monitor

DONE, FAILED, WRONG_USE = 0, 1, 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status: 0 done, 1 failed, 2 wrong use."""
    from dfovsdb.errors import ConfigurationError, DfovsdbError

    args = _parser().parse_args(argv)
    try:
        status: int = args.command(args)
    except DfovsdbError as error:
        from dfovsdb.logs import harmless
        from dfovsdb.text import clean

        if args.debug:
            traceback.print_exception(harmless(error))
        words = " ".join(str(error).split())
        print(f"dfovsdb: {clean(words, longest=2000)}", file=sys.stderr)
        return WRONG_USE if isinstance(error, ConfigurationError) else FAILED
    except BrokenPipeError:  # who read our output has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except KeyboardInterrupt:
        return DONE if args.command in (_watch, _sandbox) else FAILED
    return status


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(WRONG_USE, f"{self.prog}: {message}; see `{self.prog} --help`\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="dfovsdb",
        description="The ports of an Open vSwitch host as events.",
        epilog="Exit status: 0 done, 1 failed at run time, 2 wrong use or configuration.",
    )
    parser.add_argument("--version", action="version", version=f"dfovsdb {__version__}")
    parser.add_argument(
        "--config-file", metavar="FILE", action="append", default=[],
        help="configuration; without it ~/.dfovsdb, ~, /etc/dfovsdb and /etc are searched "
        "for dfovsdb.conf",
    )  # fmt: skip
    parser.add_argument(
        "--config-dir", metavar="DIR", action="append", default=[],
        help="read every *.conf of a folder, after the files",
    )  # fmt: skip
    parser.add_argument("--debug", action="store_true", help="log more, and show tracebacks")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    run = commands.add_parser(
        "run", help="the agent: monitor with the configured sinks",
        description="Monitors with the configured sinks until SIGTERM or SIGINT, then drains "
        "them. SIGHUP reopens files, SIGUSR1 tells everything again.",
    )  # fmt: skip
    run.set_defaults(command=_run)

    watch = commands.add_parser(
        "watch", help="events on the terminal, no configuration needed",
        description="Prints events until Ctrl-C.",
    )  # fmt: skip
    watch.add_argument(
        "connection", nargs="?", metavar="CONNECTION",
        help="tcp:, unix: or ssl: (default: [ovsdb] connection, tcp:127.0.0.1:6640)",
    )  # fmt: skip
    watch.add_argument("--json", action="store_true", help="JSON version 1, one object a line")
    watch.add_argument("--once", action="store_true", help="end after the first sync")
    watch.add_argument(
        "--timeout", type=float, metavar="S", help="seconds for the first sync; status 1 past it"
    )
    watch.set_defaults(command=_watch)

    plugins = commands.add_parser(
        "plugins", help="every installed classifier and sink",
        description="Lists every installed classifier and sink, which are enabled, in what "
        "order, and from which package.",
    )  # fmt: skip
    plugins.set_defaults(command=_plugins)

    sandbox = commands.add_parser(
        "sandbox", help="a private, real Open vSwitch",
        description="Starts ovsdb-server and ovs-vswitchd in a private directory (no root, no "
        "kernel module), prints their connection, and ends with Ctrl-C.",
    )  # fmt: skip
    sandbox.set_defaults(command=_sandbox)

    demo = commands.add_parser(
        "demo", help="a scripted day of a host, on a sandbox",
        description="Plays a day of a host on a sandbox and shows the events it makes.",
    )  # fmt: skip
    demo.add_argument(
        "--fast", action="store_true", help="without the pauses that make it readable"
    )
    demo.set_defaults(command=_demo)
    return parser


def _run(args: argparse.Namespace) -> int:
    from oslo_log import log

    from dfovsdb.logs import escape

    conf = _configuration(args, logging_args=["--debug"] if args.debug else [])
    if not (conf.log_file or conf.log_dir or conf.use_journal):
        conf.set_default("use_stderr", True)  # oslo.log would take stdout, which is for events
    log.setup(conf, "dfovsdb", __version__)
    for handler in logging.getLogger().handlers:
        escape(handler)
    wanted = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1}
    signal.pthread_sigmask(signal.SIG_BLOCK, wanted)  # before any thread, which inherits it
    monitor = _monitor(conf)
    with monitor:
        while (number := signal.sigwait(wanted)) not in (signal.SIGTERM, signal.SIGINT):
            if number == signal.SIGHUP:
                monitor.reopen()
            else:
                monitor.replay()
    return DONE


def _monitor(conf: cfg.ConfigOpts) -> Monitor:
    from dfovsdb import config, plugins
    from dfovsdb.monitor import Monitor

    return Monitor(
        conf.ovsdb.connection,
        classifiers=list(plugins.CLASSIFIERS.build(conf.dfovsdb.classifiers, conf).values()),
        sinks=plugins.SINKS.build(conf.dfovsdb.sinks, conf),
        **config.delivery_options(conf),
        **config.connection_options(conf),
    )


def _watch(args: argparse.Namespace) -> int:
    from dfovsdb import config, plugins
    from dfovsdb.watching import watch

    conf = _configuration(args)
    answers_at_once = args.once and args.timeout is not None  # with one line if it fails
    _log_to_stderr(
        logging.DEBUG if args.debug else logging.ERROR if answers_at_once else logging.WARNING
    )
    events = watch(
        args.connection or conf.ovsdb.connection,
        once=args.once,
        timeout=args.timeout,
        markers=True,
        classifiers=list(plugins.CLASSIFIERS.build(conf.dfovsdb.classifiers, conf).values()),
        resync=conf.dfovsdb.resync,
        host=conf.dfovsdb.host,
        **config.connection_options(conf),
    )
    for line in _lines(events, json=args.json):
        sys.stdout.buffer.write(line + b"\n")
        sys.stdout.flush()
    return DONE


def _lines(events: Iterator[PortEvent | SyncMarker], *, json: bool) -> Iterator[bytes]:
    from dfovsdb.json_v1 import to_json
    from dfovsdb.text import clean_json, terminal_line

    terminal = sys.stdout.isatty()
    if json:
        lines = map(to_json, events)
        yield from map(clean_json, lines) if terminal else lines
        return
    colour = terminal and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
    columns = shutil.get_terminal_size().columns if terminal else None
    encoding = sys.stdout.encoding or "utf-8"
    for event in events:
        line = terminal_line(event, colour=colour, width=columns)
        yield line.encode(encoding, errors="replace")


def _plugins(args: argparse.Namespace) -> int:
    from dfovsdb import plugins

    conf = _configuration(args)
    for finder, enabled in (
        (plugins.CLASSIFIERS, conf.dfovsdb.classifiers),
        (plugins.SINKS, conf.dfovsdb.sinks),
    ):
        print(f"{finder.what}s")
        for line in finder.table(enabled):
            print(f"  {line}")
    return DONE


def _sandbox(_args: argparse.Namespace) -> int:
    from dfovsdb.testing.sandbox import Sandbox

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with Sandbox() as sandbox:
        print(sandbox.connection)
        print(sandbox.tcp_connection)
        print(sandbox.hint, file=sys.stderr)
        sys.stdout.flush()
        while True:
            signal.pause()


def _demo(args: argparse.Namespace) -> int:
    from dfovsdb.testing.demo import play

    _log_to_stderr(logging.DEBUG if args.debug else logging.ERROR)
    return DONE if play(pause=0 if args.fast else 0.7) else FAILED


def _configuration(
    args: argparse.Namespace, logging_args: Sequence[str] | None = None
) -> cfg.ConfigOpts:
    from dfovsdb import config

    return config.load(args.config_file, args.config_dir, logging_args=logging_args)


def _log_to_stderr(level: int) -> None:
    from dfovsdb.logs import escape

    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("dfovsdb: %(message)s"))
    escape(handler)
    logger = logging.getLogger("dfovsdb")
    logger.addHandler(handler)
    logger.setLevel(level)
