"""How the configuration is read and checked; opts.py has the options."""

from __future__ import annotations

import contextlib
import glob
import io
import math
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from oslo_config import cfg

from dfovsdb.errors import ConfigurationError
from dfovsdb.opts import CORE_OPTIONS, OVSDB_OPTIONS
from dfovsdb.text.escape import one_line


def load(
    config_files: Sequence[str] = (),
    config_dirs: Sequence[str] = (),
    *,
    logging_args: Sequence[str] | None = None,
    required: bool = True,
) -> cfg.ConfigOpts:
    """Read the configuration.

    :param config_files: the files to read. If empty, dfovsdb.conf is searched where OpenStack
        programs search (~/.dfovsdb, ~, /etc/dfovsdb, /etc).
    :param logging_args: arguments for oslo.log, whose options are then registered too.
    :param required: refuse a file that is found and cannot be read, instead of leaving it out.
    :raises ConfigurationError: a file is missing or malformed, or a value is not allowed.
    """
    conf = cfg.ConfigOpts()
    for group, options in CORE_OPTIONS.items():
        conf.register_opts(options, group=group)
    if logging_args is not None:
        from oslo_log import log

        log.register_options(conf)
    searched = {} if required or config_files or config_dirs else _readable()
    for file in config_files:
        if os.path.isdir(file):
            raise ConfigurationError(f"cannot read {file}: it is a folder; use --config-dir")
    for folder in config_dirs:
        if os.path.exists(folder) and not os.path.isdir(folder):
            raise ConfigurationError(
                f"cannot read {folder}: it is not a folder; use --config-file"
            )
    _read(conf, config_files, config_dirs, logging_args or (), searched)
    if (listen := os.environ.get("OS_METRICS__LISTEN")) is not None:  # its name before the page
        conf.set_default("listen", listen, group="http")
    check(conf, CORE_OPTIONS)
    if logging_args is not None:
        _check_logging(conf)
    return conf


def _read(
    conf: cfg.ConfigOpts,
    config_files: Sequence[str],
    config_dirs: Sequence[str],
    logging_args: Sequence[str],
    searched: Mapping[str, Any],
) -> None:
    """Read the files.

    :raises ConfigurationError: one is missing or malformed, or may not be read.
    """
    args = [arg for file in config_files for arg in ("--config-file", file)]
    args += [arg for folder in config_dirs for arg in ("--config-dir", folder)]
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):  # oslo.config prints some errors, and exits
            conf([*args, *logging_args], project="dfovsdb", **searched)
        if sys.stderr is not None:
            sys.stderr.write(said.getvalue())
    except SystemExit:
        text = one_line(said.getvalue().strip()).replace("argument --", "[DEFAULT] ", 1)
        raise ConfigurationError(text or "cannot read the configuration") from None
    except cfg.ConfigFilesNotFoundError as error:
        raise ConfigurationError(
            f"cannot read {', '.join(error.config_files)}: there is no such file"
        ) from None
    except cfg.ConfigFilesPermissionDeniedError as error:
        raise ConfigurationError(
            f"cannot read {', '.join(error.config_files)}: permission denied for uid "
            f"{os.geteuid()}"
        ) from None
    except UnicodeDecodeError as error:
        named = _in_order(
            config_files or conf.default_config_files, config_dirs or conf.default_config_dirs
        )
        file = next((file for file in named if not _is_utf8(file)), "the configuration")
        raise ConfigurationError(
            f"cannot read {file}: it is not UTF-8 ({one_line(error)}); correct the file"
        ) from None
    except OSError as error:
        raise ConfigurationError(f"cannot read the configuration: {one_line(error)}") from None
    except cfg.ConfigFileParseError as error:
        text = one_line(error.msg)  # with the file and the line
        if r"\ufeff" in text:  # as oslo.config quotes what some editors write
            what = "the file begins with a byte order mark: save it as UTF-8 without one"
        else:
            what = (
                "write [SECTION], NAME = VALUE or # COMMENT; a line that begins with a space "
                "continues the value above it"
            )
        raise ConfigurationError(f"cannot read the configuration {text}; {what}") from None
    except cfg.Error as error:
        raise ConfigurationError(one_line(error)) from None


def _is_utf8(file: str) -> bool:
    try:
        with open(file, encoding="utf-8") as opened:
            opened.read()
    except UnicodeDecodeError:
        return False
    except OSError:
        return True  # it says so itself
    return True


def _readable() -> dict[str, Any]:
    """Return the arguments that have oslo.config leave out what this user may not read."""
    files = cfg.find_config_files(project="dfovsdb")
    if all(os.access(file, os.R_OK) for file in files):
        return {}
    return {"default_config_files": [file for file in files if os.access(file, os.R_OK)]}


def files(conf: cfg.ConfigOpts) -> list[str]:
    """Return the files that the configuration was read from, in order."""
    return _in_order(conf.config_file, conf.config_dir)


def _in_order(files: Iterable[str], folders: Iterable[str]) -> list[str]:
    """Return the files, and those in the folders, each once."""
    folders = map(os.path.expanduser, folders)
    in_folders = (sorted(glob.glob(os.path.join(folder, "*.conf"))) for folder in folders)
    named = [*map(os.path.expanduser, files), *(f for some in in_folders for f in some)]
    return list(dict.fromkeys(named))  # oslo.config looks in /etc for program and project alike


def connection_options(conf: cfg.ConfigOpts) -> dict[str, Any]:
    """Return the keyword arguments of Monitor from [ovsdb], except the connection itself."""
    return {o.dest: conf.ovsdb[o.dest] for o in OVSDB_OPTIONS if o.dest != "connection"}


def delivery_options(conf: cfg.ConfigOpts) -> dict[str, Any]:
    """Return the keyword arguments of Monitor from [dfovsdb], except the plugins."""
    names = ("resync", "host", "queue_limit", "stop_timeout", "state_dir")
    return {name: conf.dfovsdb[name] for name in names}


#: What Python and oslo.config say of a value that is not allowed, and what to do.
_REASONS = (
    (r"invalid literal for int\(\) with base 10: (.*)", r"use a whole number, not \1"),
    (r"could not convert string to float: (.*)", r"use a number, not \1"),
    (r"Should be greater than or equal to (.*)", r"use \1 or more"),
    (r"Should be less than or equal to (.*)", r"use \1 or less"),
    (r"Unexpected boolean value (.*)", r"use true or false, not \1"),
    (r"Valid values are \[(.*)\], but found (.*)", r"use one of \1, not \2"),
)


def _plain(reason: str) -> str:
    for pattern, text in _REASONS:
        if found := re.fullmatch(pattern, reason):
            return found.expand(text)
    return reason


def _reason(error: Exception) -> str:
    return _plain(one_line(error).rpartition(" is not valid: ")[2])


def _check_logging(conf: cfg.ConfigOpts) -> None:
    """Read every option of [DEFAULT] once, as oslo.log would later.

    :raises ConfigurationError: the error names the option and the reason.
    """
    for name in conf:
        try:
            conf[name]
        except (cfg.Error, ValueError) as error:
            raise ConfigurationError(f"[DEFAULT] {name}: {_reason(error)}") from None


def check(conf: cfg.ConfigOpts, groups: Mapping[str, Sequence[cfg.Opt]]) -> None:
    """Read every value once, so that an invalid one is found at the start.

    :raises ConfigurationError: the error names the option and the reason.
    """
    for group, options in groups.items():
        for option in options:
            try:
                value = conf[group][option.dest]
            except (cfg.Error, ValueError) as error:
                reason = _reason(error)
                if option.secret:
                    reason = "this value is not allowed (it is secret and therefore not shown)"
                raise ConfigurationError(f"[{group}] {option.dest}: {reason}") from None
            if option.required and value in (None, ""):
                raise ConfigurationError(f"[{group}] {option.dest} is required")
            if isinstance(value, float) and not math.isfinite(value):
                raise ConfigurationError(
                    f"[{group}] {option.dest}: {value} is not a usable number"
                )
