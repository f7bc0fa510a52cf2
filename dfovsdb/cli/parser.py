"""The command line: its parser, its errors and its exit status. What is done is in commands/."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn

from dfovsdb.cli import doctor, new_plugin, plugins, ports, replay, run, sandbox, watch
from dfovsdb.cli.common import DONE, FAILED, WRONG_USE
from dfovsdb.version import __version__

#: In the order of the help.
COMMANDS = (run, watch, replay, ports, doctor, plugins, new_plugin, sandbox)

#: Options of the program itself, and what they take.
_OPTIONS = {"--config-file": "FILE", "--config-dir": "DIR", "--debug": ""}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status: 0 done, 1 failed, 2 wrong use."""
    from dfovsdb.errors import ConfigurationError, DfovsdbError

    parser = _parser(argv)
    args, unknown = parser.parse_known_args(argv)
    if unknown:
        parser.error(_unknown(unknown, args.command_name))
    try:
        status: int = args.command(args)
    except DfovsdbError as error:
        from dfovsdb.logs import harmless
        from dfovsdb.text.escape import clean

        if args.debug:
            traceback.print_exception(harmless(error))
        words = " ".join(str(error).split())
        print(f"dfovsdb: {clean(words, longest=2000)}", file=sys.stderr)
        return WRONG_USE if isinstance(error, ConfigurationError) else FAILED
    except BrokenPipeError:  # who read our output has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except KeyboardInterrupt:
        return DONE if args.ends_with_ctrl_c else FAILED
    return status


def _unknown(args: Sequence[str], command: str) -> str:
    """What to say of arguments that a command does not have; some are the program's own."""
    for arg in args:
        option = arg.partition("=")[0]
        if option in _OPTIONS:
            use = " ".join(filter(None, ("dfovsdb", option, _OPTIONS[option], command)))
            return f"{option} goes before the command: `{use}`"
    return f"unrecognized arguments: {' '.join(args)}"


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(WRONG_USE, f"{self.prog}: {message}; see `{self.prog} --help`\n")


def _parser(argv: Sequence[str] | None = ()) -> argparse.ArgumentParser:
    """The parser; it knows the commands of other packages where the arguments may need them."""
    parser: argparse.ArgumentParser = _Parser(
        prog="dfovsdb",
        description="The ports of an Open vSwitch host as events.",
        epilog="Exit status: 0 done, 1 failed at run time, 2 wrong use or configuration.",
    )
    parser.add_argument("--version", action="version", version=f"dfovsdb {__version__}")
    _add_options(parser)
    commands = parser.add_subparsers(
        title="commands", metavar="COMMAND", dest="command_name", required=True
    )

    parser.set_defaults(ends_with_ctrl_c=False)
    for module in COMMANDS:
        module.add(commands)
    if _command(argv) not in commands.choices:
        from dfovsdb.cli import external as found

        found.add(commands)
    return parser


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config-file",
        metavar="FILE",
        action="append",
        default=[],
        help="configuration; without it ~/.dfovsdb, ~, /etc/dfovsdb and /etc are searched "
        "for dfovsdb.conf",
    )
    parser.add_argument(
        "--config-dir",
        metavar="DIR",
        action="append",
        default=[],
        help="read every *.conf of a folder, after the files",
    )
    parser.add_argument("--debug", action="store_true", help="log more, and show tracebacks")


def _command(argv: Sequence[str] | None) -> str | None:
    """The command that the arguments name, whichever it is; None where they name none."""
    parser = _Parser(prog="dfovsdb", add_help=False)
    _add_options(parser)
    parser.add_argument("command", nargs="?")
    parser.add_argument("rest", nargs=argparse.REMAINDER)
    command: str | None = parser.parse_known_args(argv)[0].command
    return command
