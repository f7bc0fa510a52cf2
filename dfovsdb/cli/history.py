"""dfovsdb history: what happened, from the files that the jsonl sink wrote."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from dfovsdb.cli import arguments, common
from dfovsdb.cli.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from oslo_config import cfg

    from dfovsdb.model import PortEvent


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "history",
        help="what happened, from the files of the jsonl sink",
        description="Prints the events that the jsonl sink wrote, the newest first. Without FILE "
        "the files are those of the jsonl sinks of the configuration, rotated and compressed ones "
        "too.",
    )
    parser.add_argument("file", nargs="*", metavar="FILE", help="a file, or one that is gzipped")
    arguments.add_selection(parser)
    parser.add_argument(
        "--action",
        action="append",
        default=[],
        choices=("online", "updated", "offline"),
        help="only such events; may be repeated",
    )
    parser.add_argument(
        "--since", metavar="TIME", help="not before: an ISO time, or so long ago: 90s, 10m, 2h, 1d"
    )
    parser.add_argument("--until", metavar="TIME", help="not after, as --since")
    parser.add_argument(
        "--timeline",
        action="store_true",
        help="the life of the selected ports, the oldest event first, with the time between",
    )
    arguments.add_utc(parser)
    parser.add_argument("--json", action="store_true", help="JSON version 1, one object a line")
    parser.set_defaults(command=history)


def history(args: argparse.Namespace) -> int:
    from dfovsdb.errors import ConfigurationError
    from dfovsdb.history import History, moment, timeline
    from dfovsdb.json_v1 import to_json
    from dfovsdb.text.escape import counted
    from dfovsdb.text.events import past_line, timeline_line

    selection = common.selection(args)
    files = args.file or list(_configured(common.configuration(args)))
    if not files:
        raise ConfigurationError(
            "history: no FILE is given, and no jsonl sink of the configuration has a path; add "
            "the sink `events=jsonl` with [sink_events] path = /var/log/dfovsdb/events.jsonl"
        )
    past = History(files)
    since, until = (None if text is None else moment(text) for text in (args.since, args.until))

    def wanted(event: PortEvent) -> bool:
        return (
            selection(event.port)
            and (not args.action or event.action in args.action)
            and (since is None or event.time >= since)
            and (until is None or event.time <= until)
        )

    terminal = Terminal(utc=args.utc)
    events = past.events(wanted, args.iface_id)
    if args.timeline:
        for event, waited in timeline(events):
            terminal.write(timeline_line(event, waited, colour=terminal.colour, utc=args.utc))
    else:
        for event in reversed(events):
            if args.json:
                terminal.write_json(to_json(event))
            else:
                terminal.write(past_line(event, colour=terminal.colour, utc=args.utc))
    if past.damaged and not args.json:
        terminal.write(f"{counted(past.damaged, 'line')} could not be read")
    return common.DONE


def _configured(conf: cfg.ConfigOpts) -> Iterator[str]:
    """Yield the files of the jsonl sinks of the configuration, with their rotated ones."""
    import glob

    from dfovsdb import plugins

    names = plugins.SINKS.instances("jsonl", conf.dfovsdb.sinks)
    groups = plugins.SINKS.groups([f"{name}=jsonl" for name in names])
    for group, options in groups.items():
        conf.register_opts(options, group=group)
        path = conf[group].path
        if path and path != "-":
            yield from sorted(
                file
                for file in glob.glob(f"{glob.escape(path)}*")
                if file == path or file[len(path)] in ".-"
            )
