"""dfovsdb watch: print events on the terminal."""

from __future__ import annotations

import argparse
import logging

from dfovsdb.cli import arguments, common
from dfovsdb.cli.terminal import Terminal


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "watch",
        help="print events; needs no configuration",
        description="Prints events until Ctrl-C.",
    )
    arguments.add_connection(parser)
    parser.add_argument(
        "--json", action="store_true", help="print JSON version 1, one object on each line"
    )
    parser.add_argument("--once", action="store_true", help="end after the first sync")
    parser.add_argument(
        "--timeout",
        type=arguments.seconds,
        metavar="S",
        help="seconds to wait for the first sync; the status is 1 after that time",
    )
    parser.add_argument(
        "--live",
        action="store_true",
        help="show a table that updates in place (needs the extra dfovsdb[tui])",
    )
    parser.add_argument(
        "--record",
        metavar="FILE",
        help="record what the server sends in a new file, for `dfovsdb replay`",
    )
    arguments.add_selection(parser)
    arguments.add_tables(parser)
    arguments.add_all(parser)
    arguments.add_wide(parser)
    arguments.add_utc(parser)
    parser.set_defaults(command=watch, ends_with_ctrl_c=True)


def watch(args: argparse.Namespace) -> int:
    from dfovsdb import watching
    from dfovsdb.cli.unclaimed import Unclaimed as _Unclaimed
    from dfovsdb.model import PortEvent

    if args.live:
        return _live(args)
    conf = common.configuration_if_any(args)
    common.log_to_stderr(args, logging.WARNING, times=True)  # print at once what it waits for
    terminal = Terminal(wide=args.wide, utc=args.utc)
    selection = common.selection(args)
    there: set[str] = set()  # number of selected ports, shown beside the number of all
    unclaimed = _Unclaimed(selection)
    everything = common.shows_all(args)
    events = watching.watch(
        common.connection(args, conf),
        once=args.once,
        timeout=args.timeout,
        markers=True,
        classifiers=[*common.classifiers(conf, args.kind, everything=everything), unclaimed],
        record=args.record,
        **common.monitor_options(args, conf),
    )
    for event in events:
        if isinstance(event, PortEvent):
            if not selection(event.port):
                continue
            (there.discard if event.action == "offline" else there.add)(event.port.uuid)
        terminal.show(event, json=args.json, selected=len(there) if selection else None)
        if event.action == "sync_finished" and not args.json:
            if line := common.of_no_kind(unclaimed.count()):
                terminal.write(line)
    return common.DONE


_DRAWN_EVERY = 0.25  # seconds


def _live(args: argparse.Namespace) -> int:
    from dfovsdb.cli.keyboard import keys
    from dfovsdb.errors import ConfigurationError, needs_extra

    if args.json or args.once or args.timeout is not None:
        raise ConfigurationError(
            "watch: --live cannot be combined with --json, --once or --timeout"
        )
    if not Terminal().here:
        raise ConfigurationError("watch: --live needs a terminal, and standard output is not one")
    try:
        from rich.console import Console
        from rich.live import Live

        from dfovsdb.cli.live_table import LiveTable
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "rich":
            raise
        raise needs_extra("watch: --live", "tui") from None
    common.log_to_stderr(args, logging.CRITICAL)  # the head of the table shows what is wrong
    board = LiveTable(common.selection(args))
    everything = common.shows_all(args)
    console = Console(highlight=False, markup=False)
    with (
        common.monitor(args, [board], everything=everything) as monitor,
        Live(console=console, screen=True, auto_refresh=False) as live,
        keys() as key,
    ):
        while True:
            unclaimed = 0 if everything else monitor.status().unclassified
            of_no_kind = f"  of no kind: {unclaimed} (--all)" if unclaimed else ""
            head = f"{monitor.address}  {monitor.condition}{of_no_kind}"
            live.update(board.render(head, console.width, console.height), refresh=True)
            if not board.press(key(_DRAWN_EVERY), console.height):
                return common.DONE
