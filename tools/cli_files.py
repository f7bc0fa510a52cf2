"""Print what packages say of the command line, made of its parser.

    .venv/bin/python tools/cli_files.py man|bash|zsh

`man` is the manual page dfovsdb(1); `bash` and `zsh` are completions.
"""

from __future__ import annotations

import argparse
import sys

import shtab
from argparse_manpage.manpage import Manpage

from dfovsdb.cli.parser import _parser


def main() -> None:
    """Write one of them to standard output."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("what", choices=("man", "bash", "zsh"))
    what = arguments.parse_args().what
    parser = _parser(["--help"])  # with the commands of every installed package
    if what == "man":
        parser.man_short_description = "the ports of an Open vSwitch host as events"  # type: ignore[attr-defined]  # argparse-manpage reads it there
        page = str(Manpage(parser, format="single-commands-section"))
        sys.stdout.write(page)
    else:
        sys.stdout.write(shtab.complete(parser, shell=what))


if __name__ == "__main__":
    main()
