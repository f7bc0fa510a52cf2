"""How Sphinx builds the reference: `make docs`."""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from dfovsdb.cli.parser import _parser  # noqa: E402 - of this tree, whose help is shown
from dfovsdb.version import __version__  # noqa: E402

project = "dfovsdb"
author = "the dfovsdb authors"
release = __version__
extensions = ["myst_parser", "oslo_config.sphinxext"]
exclude_patterns = ["_build"]
smartquotes = False
html_theme = "alabaster"
html_title = f"dfovsdb {release}"
html_extra_path = ["events.schema.json", "dfovsdb.conf.sample"]
myst_heading_anchors = 3


def commands() -> str:
    """The help of the program and of each of its commands."""
    return "".join(
        f"## {name}\n\n```text\n{parser.format_help()}```\n\n"
        for name, parser in parsers("dfovsdb", _parser())
    )


def parsers(
    name: str, parser: argparse.ArgumentParser
) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """A parser, and those of its commands."""
    yield name, parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command, sub in action.choices.items():
                yield from parsers(f"{name} {command}", sub)


def fill_in(_app: object, _name: str, source: list[str]) -> None:
    """Put the help where the page of the command line says so."""
    source[0] = source[0].replace("<!-- commands -->", commands())


def setup(app: object) -> None:
    """Called by Sphinx."""
    app.connect("source-read", fill_in)  # type: ignore[attr-defined]  # a Sphinx
