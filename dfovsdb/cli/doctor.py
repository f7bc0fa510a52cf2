"""dfovsdb doctor: examine what usually goes wrong, in order."""

from __future__ import annotations

import argparse
import itertools
import logging

from dfovsdb.cli import arguments, common, findings


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "doctor",
        help="find what usually goes wrong, and say what to do",
        description="Examines what usually goes wrong, and says for each point whether it is "
        "fine or what to do. The exit status is 0 if nothing is wrong, 1 if something is, and 2 "
        "if the command itself is wrong or its configuration cannot be read.",
    )
    arguments.add_connection(parser)
    parser.add_argument(
        "--verify",
        action="store_true",
        help="also read the tables with ovs.db.idl, and compare the results",
    )
    parser.add_argument(
        "--timeout",
        type=arguments.seconds,
        default=5.0,
        metavar="S",
        help="seconds to wait for each response, and for ovs-vswitchd to accept a port (default: "
        "%(default)s)",
    )
    arguments.add_tables(parser)
    parser.add_argument("--quiet", action="store_true", help="leave out what is fine")
    parser.add_argument("--json", action="store_true", help="print JSON, one finding on each line")
    parser.set_defaults(command=doctor)


def doctor(args: argparse.Namespace) -> int:
    from dfovsdb.doctor import config_checks
    from dfovsdb.doctor.context import Context
    from dfovsdb.doctor.examine import examine

    common.log_to_stderr(args, logging.ERROR)
    conf = common.configuration(args, logging_args=[])  # as run reads it
    case = Context(
        common.connection(args, conf),
        common.classifiers(conf),
        common.monitor_options(args, conf),
        timeout=args.timeout,
    )
    found = itertools.chain(config_checks.examine(conf), examine(case, verify=args.verify))
    wrong = findings.show(found, as_json=args.json, quiet=args.quiet)
    return common.FAILED if wrong else common.DONE
