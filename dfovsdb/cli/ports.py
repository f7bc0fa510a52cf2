"""dfovsdb ports and dfovsdb wait: the ports of now, and one that is to come."""

from __future__ import annotations

import argparse
import logging
from typing import TYPE_CHECKING

from dfovsdb.cli import common

if TYPE_CHECKING:
    from dfovsdb.model import Port


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "ports",
        help="the ports that are there now",
        description="Prints the ports that are there now, and ends.",
    )
    common.add_connection(parser)
    common.add_selection(parser)
    parser.add_argument("--json", action="store_true", help="JSON, one port a line")
    parser.add_argument(
        "--timeout",
        type=common.seconds,
        default=common.SYNC_TIMEOUT,
        metavar="S",
        help="seconds for the server to answer, where it takes the connection; status 1 past "
        "it (default: %(default)s)",
    )
    parser.set_defaults(command=ports)

    parser = commands.add_parser(
        "wait",
        help="wait until a port is there",
        description="Waits until there is a port that has everything that is asked for, and "
        "prints it as JSON.",
    )
    common.add_connection(parser)
    parser.add_argument(
        "--iface-id",
        action="append",
        default=[],
        metavar="ID",
        help="external_ids:iface-id of the port; may be repeated, one must match",
    )
    common.add_selection(parser)
    parser.add_argument(
        "--timeout",
        type=common.seconds,
        default=30.0,
        metavar="S",
        help="seconds to wait; status 1 past it (default: %(default)s)",
    )
    parser.set_defaults(command=wait)


def ports(args: argparse.Namespace) -> int:
    from dfovsdb.json_v1 import encode_port
    from dfovsdb.selection import Selection
    from dfovsdb.text.events import port_table

    common.log_to_stderr(args, logging.ERROR)
    terminal = common.Terminal()
    with common.monitor(args) as monitor:
        common.wait_answered(monitor, args.timeout)
        present = monitor.ports().values()
    selection = Selection(kinds=args.kind, states=args.state, names=args.name)
    selected = sorted(filter(selection, present), key=lambda port: (port.kind, port.name))
    if args.json:
        for port in selected:
            terminal.write_json(encode_port(port))
    else:
        for line in port_table(selected, colour=terminal.colour, width=terminal.width):
            terminal.write(line)
    return common.DONE


def wait(args: argparse.Namespace) -> int:
    from dfovsdb.errors import ConfigurationError, WaitTimeout
    from dfovsdb.json_v1 import encode_port
    from dfovsdb.selection import Selection

    if not (args.iface_id or args.name or args.kind):
        raise ConfigurationError("wait: say for which port: --iface-id, --name or --kind")
    common.log_to_stderr(args, logging.WARNING)  # what it waits for, at once
    selection = Selection(
        kinds=args.kind, states=args.state, names=args.name, iface_ids=args.iface_id
    )
    with common.monitor(args) as monitor:
        try:
            port = monitor.wait_for(selection, timeout=args.timeout)
        except WaitTimeout as error:
            other = Selection(kinds=args.kind, names=args.name, iface_ids=args.iface_id)
            there = [_as_it_is(port) for port in monitor.ports().values() if other(port)]
            raise WaitTimeout("; ".join([str(error), *there])) from None
    common.Terminal().write_json(encode_port(port))
    return common.DONE


def _as_it_is(port: Port) -> str:
    """A port that was waited for in another state."""
    why = f": {port.error}" if port.state == "failed" and port.error else ""
    return f"{port.kind} {port.name} is there, {port.state}{why}"
