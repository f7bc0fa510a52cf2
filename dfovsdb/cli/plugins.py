"""dfovsdb plugins: list what is installed, and what is enabled."""

from __future__ import annotations

import argparse
import json

from dfovsdb.cli import common
from dfovsdb.cli.terminal import Terminal


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "plugins",
        help="list the installed classifiers and sinks",
        description="Lists every installed classifier and sink, which are enabled, in what "
        "order, and from which package; and why an enabled one cannot be used.",
    )
    parser.add_argument("--json", action="store_true", help="print JSON, one plugin on each line")
    parser.set_defaults(command=plugins)


def plugins(args: argparse.Namespace) -> int:
    from dfovsdb.plugins import CLASSIFIERS, SINKS
    from dfovsdb.text.escape import clean

    conf, terminal = common.configuration(args), Terminal()
    for finder, enabled in (
        (CLASSIFIERS, conf.dfovsdb.classifiers),
        (SINKS, conf.dfovsdb.sinks),
    ):
        if args.json:
            for one in finder.listed(enabled, conf):
                shown = {"type": finder.what, **one._asdict()}
                terminal.write_json(json.dumps(shown).encode())
            continue
        terminal.write(f"{finder.what}s")
        terminal.write(*(f"  {clean(line, 2000)}" for line in finder.table(enabled, conf)))
    return common.DONE
