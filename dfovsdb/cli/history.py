"""dfovsdb history: what happened, from the files that the jsonl sink wrote."""

from __future__ import annotations

import argparse
import os
import sys
import time
from typing import TYPE_CHECKING

from dfovsdb.cli import arguments, common
from dfovsdb.cli.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from dfovsdb.history import History
    from dfovsdb.model import PortEvent

_LOOK = 0.5  # seconds between two looks at a file that is followed


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "history",
        help="what happened, from the files of the jsonl sink",
        description="Prints the events that the jsonl sink wrote, the newest first. Without FILE "
        "the files are those of the jsonl sinks of the configuration, rotated and compressed ones "
        "too.",
    )
    parser.add_argument("file", nargs="*", metavar="FILE", help="a file, plain or gzipped")
    arguments.add_selection(parser)
    parser.add_argument(
        "--action",
        action="append",
        default=[],
        choices=("online", "updated", "offline"),
        help="only events with this action; may be repeated",
    )
    parser.add_argument(
        "--since",
        metavar="TIME",
        help="nothing earlier: an ISO time, or how long ago (90s, 10m, 2h, 1d)",
    )
    parser.add_argument("--until", metavar="TIME", help="nothing later; written like --since")
    parser.add_argument(
        "--timeline",
        action="store_true",
        help="print the oldest event of the selected ports first, with the time between events",
    )
    parser.add_argument(
        "--follow",
        action="store_true",
        help="print the oldest event first, then new events as they are written, until Ctrl-C",
    )
    arguments.add_wide(parser)
    arguments.add_utc(parser)
    parser.add_argument(
        "--json", action="store_true", help="print JSON version 1, one object on each line"
    )
    parser.set_defaults(command=history, ends_with_ctrl_c=True)


def history(args: argparse.Namespace) -> int:
    from dfovsdb.errors import ConfigurationError
    from dfovsdb.history import History, moment, timeline
    from dfovsdb.text.escape import clean, counted
    from dfovsdb.text.events import timeline_lines

    files = args.file or _files_of_the_configuration(args)
    if args.follow and args.timeline:
        raise ConfigurationError("history: --follow cannot be combined with --timeline")
    since, until = (None if text is None else moment(text) for text in (args.since, args.until))
    selection = common.selection(args)

    def wanted(event: PortEvent) -> bool:
        return (
            selection(event.port)
            and (not args.action or event.action in args.action)
            and (since is None or event.time >= since)
            and (until is None or event.time <= until)
        )

    past = History(files)
    terminal = Terminal(wide=args.wide, utc=args.utc)
    forwards = args.timeline or args.follow
    events = past.events(wanted, args.iface_id, since=since, newest_first=not forwards)
    shown = 0
    for event, waited in timeline(events):
        shown += 1
        if args.timeline:
            terminal.write(*timeline_lines(event, waited, **terminal.style))
        else:
            _show(event, terminal, as_json=args.json)
    if not shown or since is not None:
        _say_how_far_back(past, since, utc=args.utc)
    problems = [
        f"{clean(file)} was cut or is damaged: its events may be wrong or missing"
        for file in past.incomplete
    ]
    if past.damaged:
        problems.append(f"{counted(past.damaged, 'line')} could not be read")
    for problem in problems:
        if args.json:
            print(f"dfovsdb: {problem}", file=sys.stderr)
        else:
            terminal.write(problem)
    if args.follow:
        _follow(past.follow(wanted, args.iface_id), terminal, as_json=args.json)
    return common.DONE


def _files_of_the_configuration(args: argparse.Namespace) -> list[str]:
    from dfovsdb.errors import ConfigurationError, DfovsdbError
    from dfovsdb.history import files_of, paths_of

    paths = list(paths_of(common.configuration(args)))
    if not paths:
        raise ConfigurationError(
            "history: no FILE is given, and no jsonl sink of the configuration has a path; add "
            "the sink `events=jsonl` with [sink_events] path = /var/log/dfovsdb/events.jsonl"
        )
    files = list(files_of(paths))
    if not files:
        for path in paths:
            try:
                os.stat(path)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise DfovsdbError(f"history: {path}: {error.strerror}") from None
        raise DfovsdbError(
            f"history: {' and '.join(paths)} of the configuration does not exist yet: the agent "
            "creates it when it starts; look at `systemctl status dfovsdb`"
        )
    return files


def _follow(events: Iterator[PortEvent | None], terminal: Terminal, *, as_json: bool) -> None:
    for event in events:
        if event is None:
            time.sleep(_LOOK)
        else:
            _show(event, terminal, as_json=as_json)


def _show(event: PortEvent, terminal: Terminal, *, as_json: bool) -> None:
    from dfovsdb.json_v1 import to_json
    from dfovsdb.text.events import past_lines

    if as_json:
        terminal.write_json(to_json(event))
    else:
        terminal.write(*past_lines(event, **terminal.style))


def _say_how_far_back(past: History, since: datetime | None, *, utc: bool) -> None:
    """Say from when on the files are, if they do not reach back as far as was asked."""
    from dfovsdb.text.local_time import local

    begins = past.begins()
    if begins is not None and (since is None or begins > since):
        at = local(begins, utc=utc).strftime("%Y-%m-%d %H:%M:%S")
        print(f"dfovsdb: the files begin at {at}; what was before is not known", file=sys.stderr)
