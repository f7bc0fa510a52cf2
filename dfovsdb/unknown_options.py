"""Names in the configuration that nothing reads, because a typo must not go unnoticed.

oslo.config accepts every name and ignores those that it does not know. The names that are present
come from its parser; the names that are known come from the options themselves, including those of
oslo.log.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from oslo_config import cfg

from dfovsdb import entry_points
from dfovsdb.classifiers.base import Classifier
from dfovsdb.config import files
from dfovsdb.opts import CORE_OPTIONS
from dfovsdb.plugins import CLASSIFIERS, SINKS, Finder
from dfovsdb.sinks.base import Sink
from dfovsdb.text.escape import close_to, did_you_mean

_DEFAULT = "DEFAULT"
# how similar a group must be to a known one: those of other programs are not ours
_NEAR = 0.8
_NEAR_IN_FILE = 0.7  # our files have few sections of others
_VARIABLE = re.compile(r"OS_(?P<group>\w+?)__\w+")


class Unread(NamedTuple):
    """A name that has no effect, in one line."""

    text: str
    #: it is unknown; otherwise it belongs to a plugin that is installed but not enabled
    mistaken: bool


def list_opts() -> list[tuple[str, Sequence[cfg.Opt]]]:
    """Return every option, for oslo-config-generator: those of the core and of the included
    plugins.
    """
    groups: list[tuple[str, Sequence[cfg.Opt]]] = list(CORE_OPTIONS.items())
    for finder in (CLASSIFIERS, SINKS):
        for name, plugin in finder.ours():
            if options := finder.options(plugin):
                groups.append((finder.group(name), options))
    return groups


def unread(conf: cfg.ConfigOpts, environment: Mapping[str, str] = os.environ) -> Iterator[Unread]:
    """Return every name in the files and in the environment that has no effect.

    From the environment, this covers only OS_<GROUP>__<OPT> whose group is known, or nearly so,
    and with one underscore only names that are known otherwise: other programs are configured in
    the same way.

    :raises ConfigurationError: an enabled plugin cannot be imported.
    """
    known = _known(conf)
    for file in files(conf):
        sections: dict[str, dict[str, list[str]]] = {}
        cfg.ConfigParser(file, sections).parse()
        for section, options in sections.items():
            for text, mistaken in _of_section(section, options, known, conf):
                yield Unread(f"{file}: {text}", mistaken)
    yield from _of_environment(environment, known, conf)


def exposed(conf: cfg.ConfigOpts) -> Iterator[str]:
    """Yield what other users of the host, or other hosts, can read although it is a secret.

    :raises ConfigurationError: an enabled plugin cannot be imported.
    """
    groups = {
        **CORE_OPTIONS,
        **CLASSIFIERS.groups(conf.dfovsdb.classifiers),
        **SINKS.groups(conf.dfovsdb.sinks),
    }
    secrets: list[str] = []
    for group, options in groups.items():
        conf.register_opts(options, group=group)
        for option in options:
            try:
                value = conf[group][option.dest]
            except (cfg.Error, ValueError):
                continue  # it is reported where the plugin is built
            if value and option.secret:
                secrets.append(f"[{group}] {option.dest}")
            if value and _SECRET_FILE.fullmatch(option.dest) and _is_for_all(value):
                yield f"[{group}] {option.dest} = {value}: every user can read it; chmod 0600"
    for file in files(conf):
        if secrets and _is_for_all(file):
            yield f"{file} holds {secrets[0]}, and every user can read it; chmod 0640"
    host = (conf.http.listen or "").rpartition(":")[0].strip("[]")
    if host in ("0.0.0.0", "::"):  # noqa: S104 - it is warned of
        yield (
            f"[http] listen = {conf.http.listen}: every host that can reach this one can read all "
            "ports; name an address, such as 127.0.0.1"
        )


#: Options that name a file with a secret, as all of this package do.
_SECRET_FILE = re.compile(r"\w*(?:secret|key|credentials|password|token)_file")


def _is_for_all(path: str) -> bool:
    try:
        return bool(os.stat(path).st_mode & stat.S_IROTH)
    except (OSError, ValueError, TypeError):
        return False  # whoever needs it says so


def _known(conf: cfg.ConfigOpts) -> dict[str, set[str]]:
    """Return the names of all options that may be set, by group."""
    groups: list[tuple[str, Sequence[cfg.Opt]]] = [
        *CORE_OPTIONS.items(),
        *CLASSIFIERS.groups(conf.dfovsdb.classifiers).items(),
        *SINKS.groups(conf.dfovsdb.sinks).items(),
    ]
    # This is how oslo-config-generator obtains the options of a library.
    for point in entry_points.find("oslo.config.opts"):
        if point.name == "oslo.log":
            groups += [(group or _DEFAULT, options) for group, options in point.load()()]
    known: dict[str, set[str]] = {_DEFAULT: set(conf) - set(CORE_OPTIONS)}
    for group, options in groups:
        known.setdefault(_normal(group), set()).update(
            name
            for o in options
            for name in (o.dest, *(old.name for old in o.deprecated_opts))
            if name
        )
    return known


#: Sections that were renamed, and are still read from files: the old name, and the present one.
_RENAMED = {"metrics": "http"}


def _of_section(
    section: str,
    options: Mapping[str, Sequence[str]],
    known: Mapping[str, set[str]],
    conf: cfg.ConfigOpts,
) -> Iterator[Unread]:
    if not options:  # as in the sample, where everything is commented out
        return
    group = _RENAMED.get(_normal(section), _normal(section))
    if group not in known:
        yield _no_section(section, known, conf)
        return
    for option in options:
        if option not in known[group]:
            text = f"there is no option [{section}] {option}"
            yield Unread(text + did_you_mean(_near_option(group, option, known)), True)
        elif len(options[option]) > 1:
            times = f"{len(options[option])} times; the last one applies"
            yield Unread(f"[{section}] {option} is set {times}", False)
    if group != _normal(section):
        yield Unread(f"section [{section}] is now called [{group}]; it is still read", False)


def _of_environment(
    environment: Mapping[str, str], known: Mapping[str, set[str]], conf: cfg.ConfigOpts
) -> Iterator[Unread]:
    variables = {f"OS_{g}__{name}".upper() for g, names in known.items() for name in names}
    for variable in sorted(environment):
        if variable in variables:
            continue
        if variable == "OS_METRICS__LISTEN":
            yield Unread(f"{variable} is now called OS_HTTP__LISTEN; it is still read", False)
            continue
        if not (parts := _VARIABLE.fullmatch(variable)):
            if meant := _with_one_underscore(variable, known):
                yield Unread(f"{variable}: it is not read{did_you_mean([meant])}", True)
            continue
        group = parts["group"].lower()  # never DEFAULT, which belongs to every program
        if group in known:
            near = close_to(variable, variables)
            yield Unread(f"{variable}: there is no such option{did_you_mean(near)}", True)
        elif _plugin(group) or close_to(group, known, _NEAR):
            text, mistaken = _no_section(group, known, conf)
            yield Unread(f"{variable}: {text}", mistaken)


def _with_one_underscore(variable: str, known: Mapping[str, set[str]]) -> str | None:
    """Return the variable that OS_<GROUP>_<OPT> should be; other programs have such names too."""
    for group in known.keys() - {_DEFAULT}:
        prefix = f"OS_{group}_".upper()
        if variable.upper().startswith(prefix):
            option = variable[len(prefix) :].lower()
            if near := close_to(option, known[group], _NEAR):
                return f"{prefix}_{near[0].upper()}"
    return None


def _no_section(section: str, known: Mapping[str, set[str]], conf: cfg.ConfigOpts) -> Unread:
    near = close_to(_normal(section), known, _NEAR_IN_FILE)
    if not (plugin := _plugin(_normal(section))):
        return Unread(
            f"there is no section [{section}]{did_you_mean(f'[{n}]' for n in near)}", True
        )
    finder, name = plugin
    installed = any(found.name == name for found in finder.installed())
    instances = finder.instances(name, conf.dfovsdb[f"{finder.what}s"])
    if installed:
        near = [finder.group(instance) for instance in instances]
    text = f"section [{section}] has no effect: {finder.what}s does not name {name}"
    return Unread(text + did_you_mean(f"[{n}]" for n in near), not installed)


def _plugin(group: str) -> tuple[Finder[Classifier] | Finder[Sink], str] | None:
    """Return the finder and the instance that a group belongs to."""
    finders: tuple[Finder[Classifier] | Finder[Sink], ...] = (CLASSIFIERS, SINKS)
    for finder in finders:
        prefix = finder.group("")
        if group.startswith(prefix):
            return finder, group.removeprefix(prefix)
    return None


def _near_option(group: str, option: str, known: Mapping[str, set[str]]) -> list[str]:
    """Return an option of the group with a similar name, or one of another group with this
    name.
    """
    near = close_to(option.replace("-", "_"), known[group])
    return near or [f"[{other}] {option}" for other, names in known.items() if option in names]


def _normal(group: str) -> str:
    """Normalize as oslo.config compares groups: case matters only in DEFAULT."""
    return group if group == _DEFAULT else group.lower()
