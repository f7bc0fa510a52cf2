"""The command line: a file for each command, found by the parser.

Importing this package loads no library, so that `--help` answers at once.
"""

from __future__ import annotations

from dfovsdb.cli.parser import main

__all__ = ["main"]
