"""`dfovsdb new-plugin`: the skeleton of a plugin package, written from templates."""

from __future__ import annotations

import re
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template

from dfovsdb import plugins
from dfovsdb.errors import ConfigurationError

_NAME = re.compile(r"[a-z][a-z0-9]*([_-][a-z0-9]+)*")
_SUFFIX = ".in"


def write(name: str, parent: Path) -> Path:
    """Write the folder `dfovsdb-NAME`: a classifier, a sink, their tests and a configuration.

    :param name: of the kind and of the sink, a lower-case word.
    :param parent: the folder in which the new one is created.
    :returns: the new folder.
    :raises ConfigurationError: the name is invalid or taken, or the folder exists.
    """
    word = name.removeprefix("dfovsdb-")
    _check(word)
    folder = parent / f"dfovsdb-{word}"
    names = {
        "project": folder.name,
        "package": folder.name.replace("-", "_"),
        "kind": word,
        "word": "".join(part.capitalize() for part in re.split("[_-]", word)),
    }
    try:
        folder.mkdir()
        _copy(resources.files("dfovsdb") / "etc" / "new-plugin", folder, names)
    except FileExistsError:
        raise ConfigurationError(f"{folder} already exists: choose another name") from None
    except OSError as error:
        raise ConfigurationError(f"{folder} cannot be written: {error.strerror}") from None
    return folder


def _check(word: str) -> None:
    if not _NAME.fullmatch(word):
        raise ConfigurationError(
            f"{word!r:.80} is not a valid name: use lower-case letters and digits, as in "
            "edge or edge-router"
        )
    for finder in (plugins.CLASSIFIERS, plugins.SINKS):
        for found in finder.installed():
            if found.name == word and found.package != f"dfovsdb-{word}":
                raise ConfigurationError(
                    f"package {found.package} already has a {finder.what} {word!r}: "
                    "choose another name"
                )


def _copy(source: Traversable, target: Path, names: dict[str, str]) -> None:
    for entry in source.iterdir():
        if entry.is_dir():
            folder = target / (names["package"] if entry.name == "package" else entry.name)
            folder.mkdir()
            _copy(entry, folder, names)
        elif entry.name.endswith(_SUFFIX):
            name = entry.name.removesuffix(_SUFFIX).replace("plugin.conf", f"{names['kind']}.conf")
            text = Template(entry.read_text(encoding="utf-8")).substitute(names)
            (target / name).write_text(text, encoding="utf-8")
