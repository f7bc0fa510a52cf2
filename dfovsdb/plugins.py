"""Find and build plugins. Only plugins that are named are imported."""

from __future__ import annotations

import importlib
import itertools
import os
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from dfovsdb import defaults, entry_points
from dfovsdb.classifiers import chain
from dfovsdb.classifiers.base import Classifier, WhenRead
from dfovsdb.entry_points import EntryPoint
from dfovsdb.errors import ConfigurationError, DfovsdbError
from dfovsdb.selection import Selection
from dfovsdb.sinks.base import Sink
from dfovsdb.sinks.base import check as check_sink
from dfovsdb.text.escape import close_to, did_you_mean, one_line

if TYPE_CHECKING:
    from oslo_config import cfg

P = TypeVar("P", bound=Classifier | Sink)

OUR_PACKAGE = "dfovsdb"
_NEAR = 0.7  # how similar a name must be to a known one to be suggested


class Listed(NamedTuple):
    """An enabled instance of a plugin, or a plugin that is installed and not enabled."""

    instance: str
    plugin: str  #: the name of the entry point
    package: str | None  #: None if it is not installed
    plugin_class: str | None  #: MODULE:CLASS
    position: int | None  #: in the configuration, from 1; None if it is not enabled
    problem: str | None  #: why the agent does not start with it, in one line

    @property
    def name(self) -> str:
        """Return what the configuration calls it: NAME or INSTANCE=NAME."""
        same = self.instance == self.plugin
        return self.plugin if same else f"{self.instance}={self.plugin}"


class Finder(Generic[P]):
    """The plugins of one kind: classifiers or sinks.

    :param common: options that each of them has beside its own, unless it has one of this name.
    :param apply: called with a plugin, the arguments that it was built with, and the values of
        these that are set; it returns the plugin to use.
    """

    def __init__(
        self,
        what: str,
        base: type[P],
        check: Callable[[P], None],
        common: Sequence[cfg.Opt] = (),
        apply: Callable[[P, Mapping[str, Any], Mapping[str, Any]], P] = lambda plugin, *_: plugin,
    ) -> None:
        self.what = what
        self.namespace = f"dfovsdb.{what}s"
        self._base = base
        self._check = check
        self._common = common
        self._apply = apply

    def group(self, instance: str) -> str:
        """Return the configuration group of an instance."""
        return f"{self.what}_{instance}"

    def installed(self) -> list[EntryPoint]:
        """Return every installed plugin by name, without importing anything."""
        return sorted(entry_points.find(self.namespace))

    def listed(self, enabled: Sequence[str], conf: cfg.ConfigOpts | None = None) -> list[Listed]:
        """Return each enabled instance in order, then each plugin that is not enabled.

        To find out what stops the start, what is enabled is imported and built, but not opened.
        """
        installed = self.installed()
        instances = [_instance(name) for name in enabled]
        used = {entry_point for _, entry_point in instances}
        found: list[Listed] = []
        for place, (instance, name) in enumerate(instances, start=1):
            same = [f"{one}={of}" for one, of in instances if one == instance]
            why = self._why_not(same, conf)
            found += [
                Listed(instance, name, plugin.package, plugin.value, place, why)
                for plugin in installed
                if plugin.name == name
            ] or [Listed(instance, name, None, None, place, why)]
        return found + [
            Listed(plugin.name, plugin.name, plugin.package, plugin.value, None, None)
            for plugin in installed
            if plugin.name not in used
        ]

    def table(self, enabled: Sequence[str], conf: cfg.ConfigOpts | None = None) -> Iterator[str]:
        """Return a line for each of listed(). One that stops the start has `!` as its position,
        and another line with the reason.
        """
        listed = self.listed(enabled, conf)
        width = max((len(one.name) for one in listed), default=0)
        # Two packages may have one plugin, and so one position.
        for position, same in itertools.groupby(listed, key=lambda one: one.position):
            problem = None
            for one in same:
                problem = one.problem
                mark = "-" if position is None else position if problem is None else "!"
                where = f"{one.package}  {one.plugin_class}" if one.package else "not installed"
                yield f"{mark:>2}  {one.name:<{width}}  {where}"
            if problem is not None:
                yield f"    {problem}"

    def _why_not(self, names: Sequence[str], conf: cfg.ConfigOpts | None) -> str | None:
        """Return the line with which they stop the start, or None if they can be built."""
        try:
            self.build(names, conf)
        except ConfigurationError as error:
            return str(error)
        return None

    def ours(self) -> Iterator[tuple[str, type[P]]]:
        """Return the plugins of this package by name, imported."""
        for found in self.installed():
            if found.package == OUR_PACKAGE:
                yield found.name, self._load(found.name)

    def groups(self, names: Sequence[str]) -> dict[str, Sequence[cfg.Opt]]:
        """Return the options of each named instance by configuration group; the plugins are
        imported.

        :param names: NAME or INSTANCE=NAME.
        :raises ConfigurationError: one cannot be imported, or its options are not a list of them.
        """
        groups: dict[str, Sequence[cfg.Opt]] = {}
        for instance, name in map(_instance, names):
            plugin = self._load(name)
            try:
                options = self.options(plugin)
                twice = Counter(option.dest for option in options).most_common(1)
            except Exception as error:
                raise self._has_no_options(instance, name, repr(error)) from error
            if twice and twice[0][1] > 1:
                why = f"its option {twice[0][0]} occurs twice"
                raise self._cannot_be_built(instance, name, why)
            groups[self.group(instance)] = options
        return groups

    def options(self, plugin: type[Any]) -> Sequence[cfg.Opt]:
        """Return the options of a plugin, those that all of its kind have included."""
        own = {option.dest for option in plugin.options}
        return (*plugin.options, *(option for option in self._common if option.dest not in own))

    def instances(self, entry_point: str, names: Sequence[str]) -> list[str]:
        """Return those of the named instances that use this entry point."""
        return [instance for instance, name in map(_instance, names) if name == entry_point]

    def build(self, names: Sequence[str], conf: cfg.ConfigOpts | None = None) -> dict[str, P]:
        """Import and build the named plugins, in order, by instance name.

        :param names: NAME or INSTANCE=NAME.
        :param conf: the source of their options; None builds them with their defaults.
        :raises ConfigurationError: one line that names the plugin, its package and the reason.
        """
        instances = [_instance(name) for name in names]
        _unique([instance for instance, _ in instances], f"{self.what}s")
        if not all(instance for instance, _ in instances):
            raise ConfigurationError(f"[dfovsdb] {self.what}s: use NAME or INSTANCE=NAME")
        installed = self.installed()
        return {
            instance: self._build(self._load(name, installed), instance, name, conf)
            for instance, name in instances
        }

    def _load(self, name: str, installed: Sequence[EntryPoint] | None = None) -> type[P]:
        installed = self.installed() if installed is None else installed
        found = [plugin for plugin in installed if plugin.name == name]
        if not found:
            names = sorted({plugin.name for plugin in installed})
            near = did_you_mean(close_to(name, names, _NEAR))
            available = f"{near} Available" if near else "; available"
            raise ConfigurationError(
                f"{self.what} {name!r} is not installed{available}: {', '.join(names) or 'none'}. "
                f"Install the package that provides it, or correct [dfovsdb] {self.what}s: NAME "
                "or INSTANCE=NAME"
            )
        if len(found) > 1:
            packages = " and ".join(sorted(plugin.package for plugin in found))
            raise ConfigurationError(
                f"{self.what} {name!r} is provided by {packages}; uninstall one of them"
            )
        (plugin,) = found
        try:
            loaded = _imported(plugin, self.namespace)
        except BaseException as error:  # SystemExit too: it ends no program but says what is wrong
            raise ConfigurationError(
                f"{self.what} {name!r} of package {plugin.package} cannot be imported from "
                f"{plugin.value}: {one_line(repr(error))}{_line(error)}"
            ) from error
        if not (isinstance(loaded, type) and issubclass(loaded, self._base)):
            raise ConfigurationError(
                f"{self.what} {name!r} of package {plugin.package} does not implement the "
                f"contract: {plugin.value} is not a subclass of dfovsdb.{self._base.__name__}"
            )
        return loaded

    def _build(self, plugin: type[P], instance: str, name: str, conf: cfg.ConfigOpts | None) -> P:
        group = self.group(instance)
        try:
            unread = conf is None and isinstance(plugin.options, WhenRead)
            own = set() if unread else {option.dest for option in plugin.options}
            options = () if unread else tuple(self.options(plugin))
            if conf is not None:
                conf.register_opts(options, group=group)
        except Exception as error:
            raise self._has_no_options(instance, name, repr(error)) from error
        values: dict[str, Any] = {}
        if conf is not None:
            from dfovsdb import config

            config.check(conf, {group: options})
            values = {option.dest: conf[group][option.dest] for option in options}
        secrets = [str(values[o.dest]) for o in options if o.secret and values.get(o.dest)]
        try:
            arguments = {name: value for name, value in values.items() if name in own}
            built = plugin(**arguments)
            self._check(built)
            common = {name: value for name, value in values.items() if name not in own and value}
            if common:
                built = self._apply(built, arguments, common)
        except DfovsdbError as error:
            raise ConfigurationError(f"[{group}] {_hidden(str(error), secrets)}") from None
        except BaseException as error:  # noqa: BLE001 - it is raised as ours, SystemExit too
            why = _hidden(repr(error) + _line(error), secrets)
            cause = None if secrets else error  # whose text a traceback would show
            raise self._cannot_be_built(instance, name, why) from cause
        return built

    def _has_no_options(self, instance: str, name: str, why: str) -> ConfigurationError:
        return self._cannot_be_built(
            instance, name, f"its options are not a list of oslo.config options: {why}"
        )

    def _cannot_be_built(self, instance: str, name: str, why: str) -> ConfigurationError:
        package = next((f.package for f in self.installed() if f.name == name), "?")
        return ConfigurationError(
            f"{self.what} {instance!r} of package {package} cannot be built: {one_line(why)}"
        )


def _imported(plugin: EntryPoint, namespace: str) -> Any:
    """Import a plugin: one of another package with stevedore. It raises what the import raises."""
    if plugin.package == OUR_PACKAGE:
        return plugin.load()
    from importlib import metadata  # these two need longer than all of our own plugins

    from stevedore.named import NamedExtensionManager

    class Manager(NamedExtensionManager[Any]):
        """Looks at no package again, and makes no cache file in the user's home."""

        def list_entry_points(self) -> list[metadata.EntryPoint]:
            return [metadata.EntryPoint(plugin.name, plugin.value, namespace)]

    manager = Manager(namespace, [plugin.name], on_load_failure_callback=_reraise)
    return manager[plugin.name].plugin


CLASSIFIERS: Finder[Classifier] = Finder("classifier", Classifier, chain.check)  # type: ignore[type-abstract]  # the base itself is meant


def _as_configured(sink: Sink, arguments: Mapping[str, Any], common: Mapping[str, Any]) -> Sink:
    """Return the sink in a process of its own if this is configured, and with its selection."""
    wanted = dict(common)
    if wanted.pop("isolate", False):
        from dfovsdb.sinks.isolated import IsolatedSink  # most hosts need no other process

        isolated = IsolatedSink(type(sink), arguments)
        isolated.selection = sink.selection
        sink = isolated
    if wanted:
        sink.selection = Selection(**wanted)
    return sink


def _of_every_sink() -> Sequence[cfg.Opt]:
    from dfovsdb.opts import SINK_OPTIONS

    return SINK_OPTIONS


SINKS: Finder[Sink] = Finder("sink", Sink, check_sink, WhenRead(_of_every_sink), _as_configured)  # type: ignore[type-abstract]  # the base itself is meant


def default_classifiers() -> list[Classifier]:
    """Return new instances of the default classifiers of a Monitor, in their order.

    `[MyClassifier(), *default_classifiers()]` adds one to them: the first that claims a row wins.
    """
    return list(CLASSIFIERS.build(defaults.DEFAULT_CLASSIFIERS).values())


def _unique(names: Sequence[str], option: str) -> None:
    """Refuse a name that occurs twice.

    :raises ConfigurationError: the error contains the name.
    """
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigurationError(f"[dfovsdb] {option}: {twice[0]} occurs twice")


def _instance(name: str) -> tuple[str, str]:
    instance, equals, entry_point = name.partition("=")
    return (instance.strip(), entry_point.strip()) if equals else (name.strip(), name.strip())


def _hidden(text: str, secrets: Sequence[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, "***")
    return text


def _line(error: BaseException) -> str:
    """Return the line that raised it, as `, at FILE:LINE`; empty where it is in no file.

    The lines that import and build a plugin are not where its error is.
    """
    import oslo_config
    import stevedore

    libraries = (
        __file__,
        entry_points.__file__,
        *oslo_config.__path__,
        *stevedore.__path__,
        *importlib.__path__,
    )
    lines = [
        f", at {os.path.basename(frame.filename)}:{frame.lineno}"
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<") and not frame.filename.startswith(libraries)
    ]
    return lines[-1] if lines else ""


def _reraise(_manager: object, _entry_point: object, error: BaseException) -> None:
    raise error
