"""Arguments that several commands have. It imports no library, so that `--help` is instant."""

from __future__ import annotations

import argparse

OTHER = "other"  #: the kind of interfaces that no classifier claims, if they are requested


def add_connection(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "connection",
        nargs="?",
        metavar="CONNECTION",
        help="tcp:HOST:PORT, unix:PATH or ssl:HOST:PORT (default: [ovsdb] connection; without one "
        "the socket of Open vSwitch on this host, or tcp:127.0.0.1:6640)",
    )


def add_listen(parser: argparse.ArgumentParser, default: str) -> None:
    parser.add_argument(
        "--listen",
        metavar="HOST:PORT",
        default=default,
        help="where the page is served (default: %(default)s). There is no authentication: use a "
        "loopback address, and `ssh -L` from elsewhere",
    )


def add_tables(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--tables",
        metavar="TABLES",
        help="the tables to read: Interface alone, or Interface,Port,Bridge (the default)",
    )


def add_selection(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--kind",
        action="append",
        default=[],
        type=_given,
        help="only ports of this kind; may be repeated",
    )
    parser.add_argument(
        "--name",
        action="append",
        default=[],
        type=_given,
        metavar="PATTERN",
        help="only ports whose name matches this shell pattern; may be repeated",
    )
    parser.add_argument(
        "--state",
        action="append",
        default=[],
        choices=("pending", "failed", "gone", "ready"),
        help="only ports in this state; may be repeated",
    )
    parser.add_argument(
        "--iface-id",
        action="append",
        default=[],
        type=_given,
        metavar="ID",
        help="only ports of this VIF (external_ids:iface-id); may be repeated",
    )
    parser.add_argument(
        "--bridge",
        action="append",
        default=[],
        type=_given,
        metavar="PATTERN",
        help="only ports on a bridge whose name matches this shell pattern; may be repeated",
    )


def _given(text: str) -> str:
    """Refuse an empty value, which no port has, so that nothing would be found to be gone."""
    if not text:
        raise argparse.ArgumentTypeError("it is empty, perhaps from a variable that is not set")
    return text


def add_all(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--all",
        action="store_true",
        help=f"also show interfaces that no classifier claims, as kind `{OTHER}`",
    )


def seconds(text: str) -> float:
    """Convert an argument: a duration such as 30, 30s or 10m, in seconds."""
    from dfovsdb.text.durations import seconds as parse

    try:
        return parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def add_wide(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--wide", action="store_true", help="print every column, however wide the terminal is"
    )


def add_utc(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--utc", action="store_true", help="print times in UTC")
