"""What commands share: the configuration, the server, the monitor, the log on standard error."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dfovsdb.cli.arguments import OTHER

if TYPE_CHECKING:
    from oslo_config import cfg

    from dfovsdb.classifiers.base import Classifier
    from dfovsdb.monitor import Monitor
    from dfovsdb.selection import Selection
    from dfovsdb.sinks.base import Sink

DONE, FAILED, WRONG_USE = 0, 1, 2
#: path of the socket of ovsdb-server in packages of Open vSwitch
SOCKET = "/run/openvswitch/db.sock"
SYNC_TIMEOUT = 10.0  #: seconds that commands with an immediate answer wait for the server


def selection(args: argparse.Namespace) -> Selection:
    """Return the selection that the arguments ask for."""
    from dfovsdb.selection import Selection

    return Selection(
        kinds=args.kind,
        states=args.state,
        names=args.name,
        bridges=args.bridge,
        iface_ids=args.iface_id,
    )


def tables(args: argparse.Namespace) -> list[str]:
    """Return the tables that a command for people reads: all, unless an option says otherwise."""
    from dfovsdb.model import TABLES

    if args.tables is None:
        return list(TABLES)
    return [name.strip() for name in args.tables.split(",")]


def is_configured(args: argparse.Namespace) -> bool:
    """Return whether there may be a configuration: a file, a folder or a variable.

    It looks where oslo.config looks, and does not need it: to import it takes longer than all the
    rest of a command.
    """
    if args.config_file or args.config_dir:
        return True
    if any(name.startswith("OS_") and "__" in name for name in os.environ):
        return True
    program = os.path.basename(sys.argv[0]).removesuffix(".py")
    home = os.path.expanduser("~")
    folders = [f"{home}/.dfovsdb", home, "/etc/dfovsdb", "/etc"]
    snaps = (os.environ.get("SNAP_COMMON"), os.environ.get("SNAP"))
    folders += [f"{snap}/etc/dfovsdb" for snap in snaps if snap]
    return any(
        os.path.exists(f"{folder}/{name}.conf{suffix}")
        for folder in folders
        for name in ("dfovsdb", program)
        for suffix in ("", ".d")
    )


def configuration_if_any(args: argparse.Namespace) -> cfg.ConfigOpts | None:
    """Return the configuration, or None where there is none and the defaults apply."""
    return configuration(args) if is_configured(args) else None


def configuration(
    args: argparse.Namespace, logging_args: Sequence[str] | None = None
) -> cfg.ConfigOpts:
    from dfovsdb import config

    # A command with a CONNECTION does not need the configuration of the service.
    required = getattr(args, "connection", None) is None
    return config.load(
        args.config_file, args.config_dir, logging_args=logging_args, required=required
    )


def classifiers(
    conf: cfg.ConfigOpts | None, kinds: Sequence[str] = (), *, everything: bool = False
) -> list[Classifier]:
    """Return the enabled classifiers, which must offer the requested kinds.

    :param everything: give rows that no classifier claims the kind `other`.
    """
    from dfovsdb import plugins
    from dfovsdb.defaults import DEFAULT_CLASSIFIERS
    from dfovsdb.selection import check_kinds

    names = DEFAULT_CLASSIFIERS if conf is None else conf.dfovsdb.classifiers
    built = list(plugins.CLASSIFIERS.build(names, conf).values())
    offered = {classifier.kind for classifier in built}
    if everything:
        from dfovsdb.classifiers.match import MatchClassifier  # only what is used is imported

        built.append(MatchClassifier(OTHER))
        offered.update({OTHER}.intersection(kinds))
    check_kinds(kinds, sorted(offered), "--kind ")
    return built


def shows_all(args: argparse.Namespace) -> bool:
    """Return whether interfaces that no classifier claims are asked for, by --all or --kind."""
    return getattr(args, "all", False) or OTHER in args.kind


def of_no_kind(count: int) -> str:
    """Return a line that says how many interfaces no classifier claims; empty for none."""
    if not count:
        return ""
    interfaces = "1 interface is" if count == 1 else f"{count} interfaces are"
    return f"{interfaces} of no kind: see `dfovsdb doctor`, or --all"


def connection(args: argparse.Namespace, conf: cfg.ConfigOpts | None) -> str:
    """Return the server that the arguments or the configuration name.

    If neither names one, it is the socket of Open vSwitch on this host if that exists and may be
    opened, and otherwise the default of the configuration; a line on standard error says which.

    :raises ConfigurationError: the argument is empty.
    """
    from dfovsdb.defaults import DEFAULT_CONNECTION
    from dfovsdb.errors import ConfigurationError

    if args.connection is not None:
        if not args.connection.strip():
            raise ConfigurationError(
                "CONNECTION is empty, perhaps from a variable that is not set: name a server, "
                f"such as unix:{SOCKET}, or leave it out"
            )
        return str(args.connection)
    configured: str = DEFAULT_CONNECTION
    if conf is not None:
        from oslo_config.cfg import Locations

        configured = conf.ovsdb.connection
        location = conf.get_location("connection", "ovsdb")
        if location is not None and location.location is not Locations.opt_default:
            return configured
    why = "as no CONNECTION is given"
    if os.access(SOCKET, os.R_OK | os.W_OK):
        configured = f"unix:{SOCKET}"
    elif os.path.exists(SOCKET):
        why += f" and this user may not use {SOCKET}: try sudo"
    else:
        why += f" and there is no {SOCKET}"
    print(f"dfovsdb: connecting to {configured}, {why}", file=sys.stderr)
    return configured


def monitor(
    args: argparse.Namespace, sinks: Sequence[Sink] = (), *, everything: bool = False
) -> Monitor:
    """Return a monitor of the server that the arguments or the configuration name."""
    from dfovsdb.monitor import Monitor

    conf = configuration_if_any(args)
    return Monitor(
        connection(args, conf),
        classifiers=classifiers(conf, args.kind, everything=everything),
        sinks=sinks,
        **monitor_options(args, conf),
    )


def monitor_options(args: argparse.Namespace, conf: cfg.ConfigOpts | None) -> dict[str, Any]:
    """Return the keyword arguments of a Monitor for people, except the plugins."""
    if conf is None:
        return {"tables": tables(args)}
    from dfovsdb import config

    return {
        **config.connection_options(conf),
        "host": conf.dfovsdb.host,
        "resync": conf.dfovsdb.resync,
        "tables": tables(args),
    }


_GLANCE = 0.05  # seconds


def wait_answered(monitor: Monitor, timeout: float) -> None:
    """Wait until the tables are read, with a single attempt, for a command that wants an answer
    now.

    :raises ConnectionLost: there is no connection, or it broke.
    :raises WaitTimeout: there is one, and no answer within so many seconds.
    """
    from dfovsdb.errors import ConnectionLost, WaitTimeout

    deadline = time.monotonic() + timeout
    while not monitor.wait_synced(min(_GLANCE, timeout)):
        if monitor.trouble:
            raise ConnectionLost(monitor.trouble)
        if time.monotonic() >= deadline:
            raise WaitTimeout(f"{monitor.address}: no answer within {timeout:g} s")


def log_to_stderr(args: argparse.Namespace, level: int, *, times: bool = False) -> None:
    """Log for people.

    :param times: begin each line with the time, as the lines of events do.
    """
    from dfovsdb.logs import escape

    handler = logging.StreamHandler()
    form = "%(asctime)s  dfovsdb: %(message)s" if times else "dfovsdb: %(message)s"
    formatter = logging.Formatter(form, "%H:%M:%S")
    if getattr(args, "utc", False):
        formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    escape(handler)
    logger = logging.getLogger("dfovsdb")
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG if args.debug else level)
