"""The entry points of the installed packages.

An installer writes them into a file beside the package (Python Packaging User Guide, "Entry points
specification"), and these files are read here. The standard library reads them too, but importing
its reader and stevedore took a fifth of the time of a short command. Therefore it is used only if
a package may be installed elsewhere than in a folder.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Iterator, Sequence
from importlib.machinery import PathFinder
from typing import Any, NamedTuple


class EntryPoint(NamedTuple):
    """What a package offers under a name."""

    name: str
    value: str  #: what to import, MODULE or MODULE:OBJECT
    package: str

    def load(self) -> Any:
        """Import it; raises what the import raises."""
        module, _, name = self.value.partition("[")[0].replace(" ", "").partition(":")
        found = importlib.import_module(module)
        for attribute in filter(None, name.split(".")):
            found = getattr(found, attribute)
        return found


def find(group: str) -> list[EntryPoint]:
    """Return what the installed packages offer in a group; nothing is imported of them.

    It looks at every installed package, so call it once for several names.
    """
    folders = [path for path in sys.path if isinstance(path, str)]  # an import passes others over
    return list(_from_folders(group, folders) if _only(folders) else _from_library(group))


def _only(folders: Sequence[str]) -> bool:
    """Return whether every package is in one of them: none in an archive, an egg or elsewhere."""
    return all(
        finder is PathFinder or not hasattr(finder, "find_distributions")
        for finder in sys.meta_path
    ) and not any(os.path.isfile(path) or path.endswith(".egg") for path in folders)


def _from_folders(group: str, folders: Sequence[str]) -> Iterator[EntryPoint]:
    seen = set()  # the first package of a name in sys.path is the one that is imported
    for folder in folders:
        for entry in _entries(folder or os.curdir):
            stem, _, suffix = entry.lower().rpartition(".")
            if suffix in ("dist-info", "egg-info"):
                package = re.sub("[-_.]+", "_", stem.partition("-")[0])
                if package not in seen:
                    seen.add(package)
                    yield from _of_package(os.path.join(folder, entry), group)


def _entries(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:  # as for an import
        return []


def _of_package(info: str, group: str) -> Iterator[EntryPoint]:
    section = package = ""
    for line in _lines(info, "entry_points.txt"):
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1]
        elif section == group and line and not line.startswith("#"):
            name, _, value = line.partition("=")
            package = package or _name(info)
            yield EntryPoint(name.strip(), value.strip(), package)


def _name(info: str) -> str:
    for line in (*_lines(info, "METADATA"), *_lines(info, "PKG-INFO")):
        if line.startswith("Name:"):
            return line.removeprefix("Name:").strip()
    return os.path.basename(info).partition("-")[0]


def _lines(info: str, file: str) -> list[str]:
    try:
        with open(os.path.join(info, file), encoding="utf-8", errors="replace") as text:
            return [line.strip() for line in text]
    except OSError:  # most packages have no entry point
        return []


def _from_library(group: str) -> Iterator[EntryPoint]:
    import importlib.metadata

    for point in importlib.metadata.entry_points(group=group):
        yield EntryPoint(point.name, point.value, point.dist.name if point.dist else "?")
