"""dfovsdb web: the page of a switch, in a browser."""

from __future__ import annotations

import argparse
import logging
import time

from dfovsdb.cli import arguments, common

LISTEN = "127.0.0.1:9641"  #: where the page is, unless an option says otherwise
_LOOK = 0.5  # seconds


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "web",
        help="show the switch in a browser; needs no configuration",
        description="Serves a page that shows the switch as it is now, and /metrics, /healthz, "
        "/readyz and /ports, until Ctrl-C. Needs the extra dfovsdb[http].",
    )
    arguments.add_connection(parser)
    arguments.add_listen(parser, LISTEN)
    arguments.add_tables(parser)
    parser.set_defaults(command=web, ends_with_ctrl_c=True, kind=[])


def web(args: argparse.Namespace) -> int:
    from dfovsdb.cli.terminal import Terminal
    from dfovsdb.telemetry import listen_address

    common.log_to_stderr(args, logging.WARNING, times=True)
    monitor = common.monitor(args)
    listener = listen_address.web("--listen")(args.listen, monitor)
    with monitor, listener:
        Terminal().write(f"The page is on {listener.url}/ (Ctrl-C ends it)")
        while monitor.running:
            time.sleep(_LOOK)
    raise monitor.waits.over()
