"""dfovsdb replay: print the events of a recording."""

from __future__ import annotations

import argparse
import logging

from dfovsdb.cli import common
from dfovsdb.cli.terminal import Terminal


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "replay",
        help="print the events of a recording",
        description="Prints the events of a file that `dfovsdb watch --record` has written, as "
        "the configured classifiers see them, without any server.",
    )
    parser.add_argument(
        "file", metavar="FILE", help="a file that `dfovsdb watch --record` has written"
    )
    parser.add_argument(
        "--json", action="store_true", help="print JSON version 1, one object on each line"
    )
    parser.set_defaults(command=replay)


def replay(args: argparse.Namespace) -> int:
    from dfovsdb import recording

    conf = common.configuration_if_any(args)
    common.log_to_stderr(args, logging.WARNING)
    terminal = Terminal()
    events = recording.replay(
        args.file,
        classifiers=common.classifiers(conf),
        resync="replay" if conf is None else conf.dfovsdb.resync,
    )
    for event in events:
        terminal.show(event, json=args.json)
    return common.DONE
