"""Commands of other installed packages, found by the entry points `dfovsdb.commands`.

Each entry point names a module with `add(commands)`, like the modules beside this one. The module
is imported to learn its arguments, so it should import a library only to run. This file knows no
name of a command.

Looking at all installed packages takes time. Therefore this file is used only if help, or a
command that is not built in, is requested.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator, Sequence
from functools import partial
from typing import NoReturn

from dfovsdb import entry_points
from dfovsdb.entry_points import EntryPoint

GROUP = "dfovsdb.commands"

Commands = argparse._SubParsersAction  # noqa: SLF001 - argparse has no other name for it


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add every installed command; one that cannot be used says why when it is called.

    A built-in command takes precedence over another with its name.
    """
    for name, offers in _offered():
        if name not in commands.choices:
            _add(commands, name, offers)


def _offered() -> Iterator[tuple[str, Sequence[EntryPoint]]]:
    found = sorted(set(entry_points.find(GROUP)))
    for name, offers in itertools.groupby(found, lambda offer: offer.name):
        yield name, list(offers)


def _add(
    commands: Commands[argparse.ArgumentParser],
    name: str,
    offers: Sequence[EntryPoint],
) -> None:
    if len(offers) > 1:
        packages = " and ".join(sorted(offer.package for offer in offers))
        _add_unusable(commands, name, f"is provided by {packages}; uninstall one of them")
        return
    (offer,) = offers
    try:
        offer.load().add(commands)
    except Exception as error:  # noqa: BLE001 - third-party code; the others must go on
        if name in commands.choices:
            del commands.choices[name]
        _add_unusable(
            commands,
            name,
            f"of package {offer.package} cannot be loaded from {offer.value}: {error!r}",
        )


def _add_unusable(commands: Commands[argparse.ArgumentParser], name: str, why: str) -> None:
    parser = commands.add_parser(
        name,
        help="cannot be used; call it to learn why",
        add_help=False,
        prefix_chars="\0",  # so that it takes any argument
    )
    parser.add_argument("rest", nargs="*")
    parser.set_defaults(command=partial(_refuse, name, why))


def _refuse(name: str, why: str, _args: argparse.Namespace) -> NoReturn:
    from dfovsdb.errors import ConfigurationError

    raise ConfigurationError(f"command {name!r} {why}")
