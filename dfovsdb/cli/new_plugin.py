"""dfovsdb new-plugin: create the skeleton of a plugin package."""

from __future__ import annotations

import argparse

from dfovsdb.cli import common


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "new-plugin",
        help="create the skeleton of a plugin package",
        description="Writes the folder dfovsdb-NAME here: a classifier, a sink, their "
        "conformance tests, a configuration, entry points.",
    )
    parser.add_argument(
        "name", metavar="NAME", help="name of the kind and of the sink, such as edge"
    )
    parser.set_defaults(command=new_plugin)


def new_plugin(args: argparse.Namespace) -> int:
    from pathlib import Path

    from dfovsdb.cli import scaffold

    folder = scaffold.write(args.name, Path())
    print(f"{folder}/ was created; its README.md describes the next steps")
    return common.DONE
