"""Print docs/python.md: every public name of dfovsdb, with its signature and its docstring.

    .venv/bin/python tools/python_reference.py

The page is read in the repository and is a part of `make docs`.
"""

from __future__ import annotations

import inspect
import re
import sys
import typing
from collections.abc import Iterator
from typing import Any

import dfovsdb
import dfovsdb.aio
import dfovsdb.errors
import dfovsdb.fleet
import dfovsdb.plugins
import dfovsdb.recording
import dfovsdb.testing
from dfovsdb.classifiers.base import like
from dfovsdb.monitor.options import DEFAULTS, MonitorOptions
from dfovsdb.testing.conformance import event_word

#: Heading, how it is imported, and the names.
PARTS: tuple[tuple[str, str, tuple[Any, ...]], ...] = (
    ("Watching", "from dfovsdb import …", (dfovsdb.watch, dfovsdb.Monitor)),
    ("asyncio", "from dfovsdb.aio import …", (dfovsdb.aio.watch, dfovsdb.aio.Monitor)),
    (
        "Values",
        "from dfovsdb import …",
        (
            dfovsdb.Interface,
            dfovsdb.Port,
            dfovsdb.PortEvent,
            dfovsdb.SyncMarker,
            dfovsdb.to_json,
            dfovsdb.from_json,
        ),
    ),
    (
        "Plugins",
        "from dfovsdb import …",
        (dfovsdb.Classifier, dfovsdb.Sink, dfovsdb.SinkContext),
    ),
    (
        "Helpers of plugins",
        "from dfovsdb.classifiers.base import like; from dfovsdb.plugins import …",
        (like, dfovsdb.plugins.default_classifiers),
    ),
    (
        "Helpers of their tests",
        "from dfovsdb.testing.conformance import event_word",
        (event_word,),
    ),
    (
        "Errors",
        "from dfovsdb.errors import …",
        tuple(
            value
            for value in vars(dfovsdb.errors).values()
            if inspect.isclass(value) and issubclass(value, Exception)
        ),
    ),
    ("Recordings", "from dfovsdb.recording import replay", (dfovsdb.recording.replay,)),
    (
        "The whole cloud",
        "from dfovsdb.fleet import …",
        tuple(getattr(dfovsdb.fleet, name) for name in ("Fleet", "Fold", "Servers", "Streams")),
    ),
    (
        "Tests",
        "from dfovsdb.testing import …",
        tuple(getattr(dfovsdb.testing, name) for name in dfovsdb.testing.__all__),
    ),
)


def main() -> None:
    """Write the page to standard output."""
    sys.stdout.write("\n".join(_page()) + "\n")


def _page() -> Iterator[str]:
    yield "# Python reference\n"
    yield "Generated from the docstrings by `make generate`. [Embedding](embedding.md) and"
    yield "[Plugins](plugins.md) explain how these are used.\n"
    for heading, how, names in PARTS:
        yield f"## {heading}\n`{how}`\n"
        for value in names:
            yield from _of(value)
        if heading == "Plugins":
            yield "### IGNORE"
            yield "The result of classify() for a row of no kind, whatever other classifiers"
            yield "say.\n"


def _of(value: Any) -> Iterator[str]:
    name = value.__name__
    yield f"### {name}"
    yield "```python"
    yield _signature(name, value)
    yield "```"
    yield _text(value)
    yield ""
    if name == "Monitor" and value is dfovsdb.Monitor:
        yield from _options()
    if inspect.isclass(value):
        yield from _fields(value)
        yield from _attributes(value)
        for method, found in vars(value).items():
            yield from _member(method, found)


def _member(name: str, found: Any) -> Iterator[str]:
    if name.startswith("_"):
        return
    function = found
    if isinstance(found, property):
        function = found.fget
    elif isinstance(found, (staticmethod, classmethod)):
        function = found.__func__
    if not inspect.isfunction(function) or not function.__doc__:
        return
    shown = name if isinstance(found, property) else _signature(name, function)
    yield f"- **`{shown}`**  "
    yield "  " + re.sub(r"\n(?=.)", "\n  ", _text(function)).rstrip()
    yield ""


def _options() -> Iterator[str]:
    yield "The options and their defaults:\n"
    yield "```python"
    for name in typing.get_type_hints(MonitorOptions):
        yield f"{name} = {DEFAULTS[name]!r}".replace("'", '"')
    yield "```\n"


def _fields(value: Any) -> Iterator[str]:
    """Return the fields of a value, which have types and no docstring of their own."""
    if value.__module__ != "dfovsdb.model":
        return
    yield "```python"
    for name, kind in inspect.get_annotations(value).items():
        yield f"{name}: {kind}"
    yield "```\n"


def _attributes(value: Any) -> Iterator[str]:
    """Return the attributes that a comment `#:` explains, and the fields of a NamedTuple."""
    explained: dict[str, str] = {}
    comment: list[str] = []
    for line in inspect.getsource(value).splitlines():
        stripped = line.strip()
        if stripped.startswith("#:"):
            comment.append(stripped.removeprefix("#:").strip())
        elif comment and (found := re.match(r"    ([a-z]\w*): (.+)", line)):
            explained[found[0].strip()] = " ".join(comment)
            comment = []
        else:
            comment = []
    for name in getattr(value, "_fields", ()):
        text = inspect.getdoc(getattr(value, name)) or ""
        if not text.startswith("Alias for field"):
            kind = inspect.get_annotations(value)[name]
            explained[f"{name}: {getattr(kind, '__forward_arg__', kind)}"] = " ".join(text.split())
    for name, text in explained.items():
        yield f"- **`{name}`**  "
        yield f"  {text}"
        yield ""


def _signature(name: str, value: Any) -> str:
    if inspect.isclass(value) and value.__module__ == "dfovsdb.model":
        return name  # its fields follow
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):
        return name
    kept = [one for one in signature.parameters.values() if one.name not in ("self", "cls")]
    shown = str(signature.replace(parameters=kept))
    # an address in memory, as of a default that is a function
    shown = re.sub(r"<function ([\w.<>]+) at 0x[0-9a-f]+>", "...", shown)
    shown = re.sub(r"ForwardRef\('([^']*)'\)", r"\1", shown)
    shown = re.sub(r"(: |-> )'([^']*)'", r"\1\2", shown)  # annotations are strings
    return f"{name}{shown}"


def _text(value: Any) -> str:
    """Return the docstring with its fields as a list."""
    lines: list[str] = []
    for line in (inspect.getdoc(value) or "").splitlines():
        field = re.match(r":(param|returns|raises)\s*([^:]*):\s*(.*)", line)
        if field:
            what, name, rest = field.groups()
            head = f"`{name}`" if what == "param" else f"{what} `{name}`" if name else what
            if lines and not lines[-1].startswith(("- ", "  ")):
                lines.append("")
            lines.append(f"- {head}: {rest}")
        elif lines and lines[-1].startswith(("- ", "  ")) and line.startswith("    "):
            lines.append("  " + line.strip())
        else:
            lines.append(line)
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).rstrip() + "\n"


if __name__ == "__main__":
    main()
