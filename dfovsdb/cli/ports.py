"""dfovsdb ports and dfovsdb wait: the present ports, and a future one."""

from __future__ import annotations

import argparse
import logging
from itertools import islice
from typing import TYPE_CHECKING

from dfovsdb.cli import arguments, common
from dfovsdb.cli.terminal import Terminal

if TYPE_CHECKING:
    from dfovsdb.model import Port
    from dfovsdb.selection import Selection


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "ports",
        help="print the present ports",
        description="Prints the present ports, and ends.",
    )
    arguments.add_connection(parser)
    arguments.add_selection(parser)
    arguments.add_tables(parser)
    arguments.add_all(parser)
    arguments.add_wide(parser)
    parser.add_argument("--json", action="store_true", help="print JSON, one port on each line")
    parser.add_argument(
        "--timeout",
        type=arguments.seconds,
        default=common.SYNC_TIMEOUT,
        metavar="S",
        help="seconds to wait for a response of the server; the status is 1 after "
        "that time (default: %(default)s)",
    )
    parser.set_defaults(command=ports)

    parser = commands.add_parser(
        "wait",
        help="wait for a port",
        description="Waits for a port that matches all the given options, and prints it as JSON.",
    )
    arguments.add_connection(parser)
    arguments.add_selection(parser)
    arguments.add_tables(parser)
    parser.add_argument(
        "--link",
        action="append",
        default=[],
        choices=("up", "down"),
        help="the link state that the port must have",
    )
    parser.add_argument(
        "--attribute",
        action="append",
        default=[],
        type=_attribute,
        metavar="NAME=VALUE",
        help="an attribute that the port must have, such as ovn_installed=true; may be repeated, "
        "all must match",
    )
    parser.add_argument(
        "--gone", action="store_true", help="wait until there is no such port, and print nothing"
    )
    parser.add_argument(
        "--timeout",
        type=arguments.seconds,
        default=30.0,
        metavar="S",
        help="seconds to wait; the status is 1 after that time (default: %(default)s)",
    )
    parser.set_defaults(command=wait)


def _attribute(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    if not value:
        raise argparse.ArgumentTypeError(
            f"the value of {name} is empty, perhaps from a variable that is not set"
        )
    return name, value


def ports(args: argparse.Namespace) -> int:
    from dfovsdb.json_v1 import encode_port
    from dfovsdb.text.events import port_table
    from dfovsdb.text.natural import natural

    common.log_to_stderr(args, logging.ERROR)
    terminal = Terminal(wide=args.wide)
    with common.monitor(args, everything=True) as monitor:
        common.wait_answered(monitor, args.timeout)
        present = monitor.ports().values()
    fitting = list(filter(common.selection(args), present))
    shown = fitting if common.shows_all(args) else filter(_has_kind, fitting)
    selected = sorted(shown, key=lambda port: (port.kind, natural(port.name)))
    if args.json:
        for port in selected:
            terminal.write_json(encode_port(port))
    else:
        for line in port_table(selected, colour=terminal.colour, width=terminal.width):
            terminal.write(line)
        if line := common.of_no_kind(len(fitting) - len(selected)):
            terminal.write(line)
    return common.DONE


def wait(args: argparse.Namespace) -> int:
    from msgspec.structs import replace

    from dfovsdb.errors import ConfigurationError, WaitTimeout
    from dfovsdb.json_v1 import encode_port

    asked = common.selection(args)
    if not replace(asked, states=()):
        raise ConfigurationError(
            "wait: say for which port: --iface-id, --name, --kind or --bridge"
        )
    common.log_to_stderr(args, logging.WARNING)  # print at once what it waits for
    wanted = replace(asked, links=args.link, attributes=dict(args.attribute))
    with common.monitor(args, everything=True) as monitor:
        try:
            if args.gone:  # interfaces of no kind are still there too
                monitor.wait_gone(wanted, timeout=args.timeout)
                return common.DONE
            port = monitor.wait_for(
                lambda port: (common.shows_all(args) or _has_kind(port)) and wanted(port),
                timeout=args.timeout,
            )
        except WaitTimeout as error:
            fits = wanted if args.gone else replace(asked, states=())
            ports = islice(filter(fits, monitor.ports().values()), _MOST)
            there = [_as_it_is(port, wanted) for port in ports]
            raise WaitTimeout("; ".join([str(error), *there])) from None
    Terminal().write_json(encode_port(port))
    return common.DONE


_MOST = 5  # ports that are named after a timeout


def _as_it_is(port: Port, wanted: Selection) -> str:
    """Return what is known of a port that was awaited in another state."""
    if not _has_kind(port):
        return (
            f"interface {port.name} is there, {port.state}, and of no kind: no classifier claims "
            "it, see `dfovsdb doctor`"
        )
    why = f": {port.error}" if port.error else ""
    if wanted.links:
        why += f", link {port.link_state or 'unknown'}"
    for name in wanted.attributes:
        why += f", {name}={port.attributes.get(name) or 'none'}"
    return f"{port.kind} {port.name} is there, {port.state}{why}"


def _has_kind(port: Port) -> bool:
    return port.kind != arguments.OTHER
