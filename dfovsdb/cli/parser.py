"""The parser of the command line, its errors and its exit status. The commands are in modules of
their own.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn, TextIO

from dfovsdb.cli.common import DONE, FAILED, WRONG_USE
from dfovsdb.version import __version__

#: The module of each command, in the order of the help.
_MODULES = {
    "run": "run",
    "watch": "watch",
    "replay": "replay",
    "ports": "ports",
    "wait": "ports",
    "doctor": "doctor",
    "history": "history",
    "web": "web",
    "plugins": "plugins",
    "new-plugin": "new_plugin",
    "sandbox": "sandbox",
    "demo": "sandbox",
}

#: Options of the program itself, and whether they take a value.
_OPTIONS = {"--config-file": "FILE", "--config-dir": "DIR", "--debug": ""}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; return the exit status: 0 done, 1 failed, 2 wrong use."""
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
        text = " ".join(str(error).split())
        try:
            print(f"dfovsdb: {clean(text, longest=2000)}", file=sys.stderr)
        except OSError:  # a full disk, for example: the status says what it can
            _write_no_more(sys.stderr)
        return WRONG_USE if isinstance(error, ConfigurationError) else FAILED
    except BrokenPipeError:  # the reader of our output has closed it
        _write_no_more(sys.stdout)
        return DONE
    except KeyboardInterrupt:
        return DONE if args.ends_with_ctrl_c else FAILED
    return status


def _write_no_more(stream: TextIO) -> None:
    """Discard what is still buffered, which Python would write when it ends, and fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _unknown(args: Sequence[str], command: str) -> str:
    """Return an error about arguments that a command does not have; some belong to the program."""
    for arg in args:
        option = arg.partition("=")[0]
        if option in _OPTIONS:
            use = " ".join(filter(None, ("dfovsdb", option, _OPTIONS[option], command)))
            return f"{option} goes before the command: `{use}`"
    return f"unrecognized arguments: {' '.join(args)}"


class _Parser(argparse.ArgumentParser):
    """A parser that reports an error in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(WRONG_USE, f"{self.prog}: {message}; see `{self.prog} --help`\n")


def _parser(argv: Sequence[str] | None = ()) -> argparse.ArgumentParser:
    """Return the parser: of one command if the arguments name it, else of all.

    The others, and those of other packages, need not be imported for that one.
    """
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
    module = _MODULES.get(_command(argv) or "")
    for name in [module] if module else dict.fromkeys(_MODULES.values()):
        importlib.import_module(f"dfovsdb.cli.{name}").add(commands)
    if not module:
        from dfovsdb.cli import external

        external.add(commands)
    return parser


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config-file",
        metavar="FILE",
        action="append",
        default=[],
        help="configuration file; by default dfovsdb.conf is searched "
        "in ~/.dfovsdb, ~, /etc/dfovsdb and /etc",
    )
    parser.add_argument(
        "--config-dir",
        metavar="DIR",
        action="append",
        default=[],
        help="also read every *.conf file in this folder, after the files",
    )
    parser.add_argument(
        "--debug", action="store_true", help="log more, and show tracebacks of errors"
    )


def _command(argv: Sequence[str] | None) -> str | None:
    """Return the command in the arguments, whichever it is.

    :returns: None if there is none, or another option of the program before it (--help).
    """
    parser = _Parser(prog="dfovsdb", add_help=False)
    _add_options(parser)
    parser.add_argument("command", nargs="?")
    parser.add_argument("rest", nargs=argparse.REMAINDER)
    args, others = parser.parse_known_args(argv)
    return None if others else args.command
