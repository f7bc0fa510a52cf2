"""dfovsdb sandbox and dfovsdb demo: a throw-away Open vSwitch for experiments, and a
demonstration.
"""

from __future__ import annotations

import argparse
import logging
import signal
import sys

from dfovsdb.cli import common


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "sandbox",
        help="start a private, real Open vSwitch",
        description="Starts ovsdb-server and ovs-vswitchd in a private directory (no root, no "
        "kernel module), prints their connection, and ends with Ctrl-C.",
    )
    parser.set_defaults(command=sandbox, ends_with_ctrl_c=True)

    parser = commands.add_parser(
        "demo",
        help="play a day of a host on a private switch",
        description="Plays a day of a host on a private switch, and prints the events.",
    )
    parser.add_argument("--fast", action="store_true", help="without pauses between the scenes")
    parser.add_argument(
        "--web",
        action="store_true",
        help="show the day in a browser too, and stay until Ctrl-C (needs the extra "
        "dfovsdb[http])",
    )
    parser.set_defaults(command=demo)


def sandbox(_args: argparse.Namespace) -> int:
    from dfovsdb.testing.sandbox import Sandbox

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with Sandbox() as ovs:
        print(ovs.connection)
        print(ovs.tcp_connection)
        print(ovs.hint, file=sys.stderr)
        sys.stdout.flush()
        while True:
            signal.pause()


def demo(args: argparse.Namespace) -> int:
    from dfovsdb.cli.demo_day import play

    common.log_to_stderr(args, logging.ERROR)
    pause = 0 if args.fast else 2.0 if args.web else 0.7
    return common.DONE if play(pause=pause, web=args.web) else common.FAILED
