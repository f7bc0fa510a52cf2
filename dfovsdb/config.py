"""The options of the core, and the options of plugins under their groups.

The only module of the core that names plugins: as defaults.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from oslo_config import cfg

from dfovsdb.errors import ConfigurationError

DEFAULT_CONNECTION = "tcp:127.0.0.1:6640"
DEFAULT_CLASSIFIERS = ("patch", "tunnel", "bridge", "service", "vm", "uplink")
DEFAULT_SINKS = ("log",)

OVSDB_OPTIONS: tuple[cfg.Opt, ...] = (
    cfg.StrOpt(
        "connection",
        default=DEFAULT_CONNECTION,
        help="Where ovsdb-server listens: tcp:HOST:PORT, tcp:[V6]:PORT, unix:PATH or "
        "ssl:HOST:PORT; the port is required.",
    ),
    cfg.StrOpt(
        "ssl_key_file",
        help="For ssl: connections, our private key: PEM, not encrypted, readable by this user "
        "only. Goes with ssl_cert_file.",
    ),
    cfg.StrOpt(
        "ssl_cert_file",
        help="For ssl: connections, the certificate that we show: PEM. Unset shows none; "
        "ovsdb-server usually asks for one.",
    ),
    cfg.StrOpt(
        "ssl_ca_cert_file",
        help="For ssl: connections, the certificate of the CA that signed the server's: PEM. "
        "Unset takes what the system trusts.",
    ),
    cfg.BoolOpt(
        "ssl_check_hostname",
        default=True,
        help="The server's certificate must name the host of the connection. Certificates that "
        "ovs-pki makes name none: connect to such a server with false, knowing that whoever has "
        "any certificate of the CA can then pose as the server.",
    ),
    cfg.StrOpt(
        "monitor",
        default="auto",
        choices=[
            ("auto", "monitor_cond, and monitor where the server does not know it"),
            ("rfc7047", "the plain method even where the server knows better"),
        ],
        help="Which method subscribes to the table.",
    ),
    cfg.ListOpt(
        "tables",
        default=["Interface"],
        help="What is read: Interface alone, or Interface, Port, Bridge, which say on which "
        "bridge a port is, with which VLANs and in which bond.",
    ),
    cfg.FloatOpt(
        "inactivity_probe",
        default=5,
        min=0,
        help="Seconds of silence after which the server is probed, and after as many again "
        "given up; 0 never probes, at least 1 otherwise.",
    ),
    cfg.FloatOpt(
        "reconnect_min",
        default=1,
        min=1,
        help="Seconds, shortest wait before another try to connect; the first is at once.",
    ),
    cfg.FloatOpt(
        "reconnect_max",
        default=8,
        min=1,
        help="Seconds, longest wait before another try to connect.",
    ),
    cfg.IntOpt(
        "max_message_size",
        default=256 << 20,
        min=1 << 16,
        help="Bytes; a longer message ends the connection. 50,000 interfaces are about 16 MB.",
    ),
)

DFOVSDB_OPTIONS: tuple[cfg.Opt, ...] = (
    cfg.ListOpt(
        "classifiers",
        default=list(DEFAULT_CLASSIFIERS),
        help="Classifiers in order, the first that claims a row wins: names of entry points "
        "of dfovsdb.classifiers, or INSTANCE=ENTRYPOINT.",
    ),
    cfg.ListOpt(
        "sinks",
        default=list(DEFAULT_SINKS),
        help="Sinks: names of entry points of dfovsdb.sinks, or INSTANCE=ENTRYPOINT.",
    ),
    cfg.StrOpt(
        "resync",
        default="replay",
        choices=[
            ("replay", "every port that is there is told online again"),
            ("diff", "only what differs is told"),
        ],
        help="What is told after a reconnect, besides the ports that vanished meanwhile.",
    ),
    cfg.StrOpt(
        "host",
        sample_default="<host name>",
        help="Name of this host in events; unset is the name that the system has.",
    ),
    cfg.IntOpt(
        "queue_limit",
        default=1000,
        min=1,
        help="Changes that may wait for one sink; past it they are dropped whole and the "
        "present state is told instead.",
    ),
    cfg.FloatOpt(
        "stop_timeout",
        default=5,
        min=0,
        help="Seconds that sinks have at the end to deliver what is left.",
    ),
    cfg.StrOpt(
        "state_dir",
        help="Folder, which must exist, in which is kept what sinks were told, so that ports that "
        "vanish while dfovsdb is down are told offline after a restart; unset writes nothing.",
    ),
)

METRICS_OPTIONS: tuple[cfg.Opt, ...] = (
    cfg.StrOpt(
        "listen",
        help="Where /metrics, /healthz, /readyz and /ports are served: HOST:PORT, [V6]:PORT, or "
        "a PORT of 127.0.0.1. Nobody is asked who he is, so let it be a loopback address, or one "
        "of a network that may know. Needs the extra dfovsdb[metrics]; unset listens nowhere.",
    ),
)

CORE_OPTIONS = {
    "ovsdb": OVSDB_OPTIONS,
    "dfovsdb": DFOVSDB_OPTIONS,
    "metrics": METRICS_OPTIONS,
}


def load(
    config_files: Sequence[str] = (),
    config_dirs: Sequence[str] = (),
    *,
    logging_args: Sequence[str] | None = None,
) -> cfg.ConfigOpts:
    """Read the configuration.

    :param config_files: none given looks where OpenStack programs look (~/.dfovsdb, ~,
        /etc/dfovsdb, /etc) for dfovsdb.conf.
    :param logging_args: registers oslo.log's options too, and sets these.
    :raises ConfigurationError: a file is missing or malformed, or a value is not allowed.
    """
    conf = cfg.ConfigOpts()
    for group, options in CORE_OPTIONS.items():
        conf.register_opts(options, group=group)
    if logging_args is not None:
        from oslo_log import log

        log.register_options(conf)
    args = [arg for file in config_files for arg in ("--config-file", file)]
    args += [arg for folder in config_dirs for arg in ("--config-dir", folder)]
    try:
        conf([*args, *(logging_args or ())], project="dfovsdb")
    except cfg.ConfigFilesNotFoundError as error:
        raise ConfigurationError(f"cannot read {', '.join(error.config_files)}") from None
    except cfg.Error as error:
        raise ConfigurationError(one_line(error)) from None
    check(conf, CORE_OPTIONS)
    return conf


def connection_options(conf: cfg.ConfigOpts) -> dict[str, Any]:
    """The keyword arguments of Monitor that [ovsdb] gives, but for the connection itself."""
    return {o.dest: conf.ovsdb[o.dest] for o in OVSDB_OPTIONS if o.dest != "connection"}


def delivery_options(conf: cfg.ConfigOpts) -> dict[str, Any]:
    """The keyword arguments of Monitor that [dfovsdb] gives, but for the plugins."""
    names = ("resync", "host", "queue_limit", "stop_timeout", "state_dir")
    return {name: conf.dfovsdb[name] for name in names}


def check(conf: cfg.ConfigOpts, groups: Mapping[str, Sequence[cfg.Opt]]) -> None:
    """Read every value once, so that a bad one is found at the start.

    :raises ConfigurationError: names the option and says why.
    """
    for group, options in groups.items():
        for option in options:
            try:
                value = conf[group][option.dest]
            except (cfg.Error, ValueError) as error:
                _, _, reason = one_line(error).rpartition(" is not valid: ")
                if option.secret:
                    reason = "this value is not allowed; it is a secret, and not shown"
                raise ConfigurationError(f"[{group}] {option.dest}: {reason}") from None
            if option.required and value in (None, ""):
                raise ConfigurationError(f"[{group}] {option.dest} is required")
            if isinstance(value, float) and not math.isfinite(value):
                raise ConfigurationError(f"[{group}] {option.dest}: {value} is no number to use")


def one_line(error: object) -> str:
    """The text of an error without its line breaks."""
    return " ".join(str(error).split())


def unique(names: Sequence[str], option: str) -> None:
    """Refuse a name that is there twice.

    :raises ConfigurationError: names it.
    """
    for name, group in itertools.groupby(sorted(names)):
        if len(list(group)) > 1:
            raise ConfigurationError(f"[dfovsdb] {option}: {name} is there twice")
