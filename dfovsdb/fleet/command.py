"""dfovsdb fleet: where a VIF is, and what the ports and hosts of a whole cloud are.

Found by its entry point (dfovsdb.commands); it needs the extra dfovsdb[nats].
"""

from __future__ import annotations

import argparse
import contextlib
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dfovsdb.cli import arguments, common
from dfovsdb.cli.terminal import Terminal

if TYPE_CHECKING:
    from dfovsdb.fleet.reader import Claim, Fleet, Host
    from dfovsdb.model import Port, PortEvent, SyncMarker

_HOST = 15  # columns of a host's name beside an event


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its own commands."""
    parser = commands.add_parser(
        "fleet",
        help="query the ports of all hosts, from NATS (needs the extra dfovsdb[nats])",
        description="Answers for a whole cloud, from what the agents of all hosts keep in NATS "
        "with the sink `nats`. Servers and credentials are the options of that sink. Needs the "
        "extra dfovsdb[nats].",
    )
    parser.add_argument(
        "--instance",
        metavar="NAME",
        default="nats",
        help="take the options of [sink_NAME] (default: %(default)s)",
    )
    parser.add_argument(
        "--servers", metavar="URL[,URL]", help="other servers than the options name"
    )
    fleet = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    where = fleet.add_parser(
        "where",
        help="on which host a VIF is",
        description="Prints every host that claims a VIF: the one where it is active, and whose "
        "agent is heard of, first. Status 1 where no host does.",
    )
    where.add_argument("iface_id", metavar="IFACE-ID", help="external_ids:iface-id of the port")
    _set(where, _where)

    ports = fleet.add_parser(
        "ports",
        help="the ports of all hosts",
        description="Prints the ports of all hosts, or of some.",
    )
    _add_hosts(ports)
    arguments.add_selection(ports)
    _set(ports, _ports)

    hosts = fleet.add_parser(
        "hosts",
        help="the hosts: fresh or stale, and how many ports",
        description="Prints every host, whether its agent is heard of (fresh) or not (stale), "
        "and how many ports it has, or had when it was heard of last.",
    )
    _set(hosts, _hosts)

    watch = fleet.add_parser(
        "watch",
        help="events of all hosts as they happen",
        description="Prints the events of all hosts, or of some, until Ctrl-C.",
    )
    watch.add_argument(
        "--since",
        type=arguments.seconds,
        metavar="TIME",
        help="begin so long ago, from the log: 90s, 10m, 2h, 1d",
    )
    _add_hosts(watch)
    arguments.add_selection(watch)
    _set(watch, _watch)
    watch.set_defaults(ends_with_ctrl_c=True)

    create = fleet.add_parser(
        "create",
        help="make the stream and the buckets",
        description="Makes the stream and the buckets where they are not there, with the settings "
        "that the options say, as an agent does whose option `create` is true; for where agents "
        "may not. Refuses those that have other settings.",
    )
    create.set_defaults(command=_run, answer=_create)


def _add_hosts(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--host", action="append", default=[], help="only this host; may be repeated"
    )


def _set(parser: argparse.ArgumentParser, answer: Any) -> None:
    what = "JSON version 1" if answer is _watch else "JSON"
    parser.add_argument("--json", action="store_true", help=f"{what}, one object a line")
    parser.set_defaults(command=_run, answer=answer)


def _run(args: argparse.Namespace) -> int:
    import asyncio

    from dfovsdb.errors import needs_extra

    common.log_to_stderr(args, logging.WARNING)
    try:
        import nats  # noqa: F401 - is it there?
    except ModuleNotFoundError:
        raise needs_extra("fleet", "nats") from None
    fleet = _fleet(args)
    asyncio.run(_answer(args, fleet))
    return common.DONE


async def _answer(args: argparse.Namespace, fleet: Fleet) -> None:
    async with fleet:
        await args.answer(args, fleet, Terminal())


def _fleet(args: argparse.Namespace) -> Fleet:
    from dfovsdb import config
    from dfovsdb.errors import ConfigurationError
    from dfovsdb.fleet.reader import Fleet
    from dfovsdb.logs import get_logger
    from dfovsdb.sinks.nats.servers import Servers
    from dfovsdb.sinks.nats.sink import ACCESS_OPTIONS, STREAM_OPTIONS
    from dfovsdb.sinks.nats.streams import Streams

    conf = common.configuration(args)
    group = _group(args)
    conf.register_opts((*ACCESS_OPTIONS, *STREAM_OPTIONS), group=group)
    config.check(conf, {group: (*ACCESS_OPTIONS, *STREAM_OPTIONS)})
    access = {option.dest: conf[group][option.dest] for option in ACCESS_OPTIONS}
    timeout = access.pop("timeout")
    if args.servers is not None:
        access["servers"] = [server for server in args.servers.split(",") if server]
    try:
        return Fleet(
            Servers(**access),
            Streams(**{option.dest: conf[group][option.dest] for option in STREAM_OPTIONS}),
            timeout=timeout,
            notice=lambda line: get_logger(__name__).warning("%s", line),
        )
    except ConfigurationError as error:
        raise ConfigurationError(f"[{group}] {error}") from None


def _group(args: argparse.Namespace) -> str:
    return f"sink_{args.instance}"


async def _create(args: argparse.Namespace, fleet: Fleet, terminal: Terminal) -> None:
    from dfovsdb import config
    from dfovsdb.sinks.nats import NatsSink
    from dfovsdb.sinks.nats.streams import Streams

    conf, group = common.configuration(args), _group(args)
    conf.register_opts(NatsSink.options, group=group)
    config.check(conf, {group: NatsSink.options})
    names = Streams.__dataclass_fields__
    for name in await fleet.create(Streams(**{name: conf[group][name] for name in names})):
        terminal.write(f"{name} is there")


async def _where(args: argparse.Namespace, fleet: Fleet, terminal: Terminal) -> None:
    from dfovsdb.errors import DfovsdbError
    from dfovsdb.text.escape import clean
    from dfovsdb.text.tables import table

    claims = await fleet.where(args.iface_id)
    if not claims:
        raise DfovsdbError(f"no host claims the VIF {clean(args.iface_id)}")
    if args.json:
        for claim in claims:
            _write_json(
                terminal,
                host=claim.host,
                fresh=claim.fresh,
                active=claim.active,
                port=claim.port.facts(),
            )
    else:
        header = ("host", "agent", "vif", "state", "ofport", "kind", "name", "attributes")
        for line in table(header, [_claim_row(claim) for claim in claims], width=terminal.width):
            terminal.write(line)


async def _ports(args: argparse.Namespace, fleet: Fleet, terminal: Terminal) -> None:
    from dfovsdb.text.natural import natural
    from dfovsdb.text.tables import table

    selection = common.selection(args)
    found: list[tuple[str, Port]] = []
    for host in args.host or [None]:
        found += [pair async for pair in fleet.ports(host) if selection(pair[1])]
    found.sort(key=lambda pair: (natural(pair[0]), pair[1].kind, natural(pair[1].name)))
    if args.json:
        for host, port in found:
            _write_json(terminal, host=host, port=port.facts())
        return
    header = ("host", "kind", "name", "state", "ofport", "attributes")
    for line in table(
        header, [_port_row(host, port) for host, port in found], width=terminal.width
    ):
        terminal.write(line)
    terminal.write(f"{len(found)} ports on {len({host for host, _ in found})} hosts")


async def _hosts(args: argparse.Namespace, fleet: Fleet, terminal: Terminal) -> None:
    from dfovsdb.text.tables import table

    hosts = await fleet.hosts()
    if args.json:
        for host in hosts:
            beat = host.heartbeat
            _write_json(
                terminal,
                host=host.name,
                fresh=beat is not None,
                ports=host.ports,
                last=host.last,
                version=beat and beat.version,
                epoch=beat and beat.epoch,
                connection=beat and beat.connection,
            )
        return
    header = ("host", "agent", "ports", "last heard", "version", "switch")
    for line in table(header, [_host_row(host) for host in hosts], width=terminal.width):
        terminal.write(line)
    stale = sum(host.heartbeat is None for host in hosts)
    total = sum(host.ports for host in hosts)
    terminal.write(f"{len(hosts)} hosts, {len(hosts) - stale} fresh, {stale} stale: {total} ports")


async def _watch(args: argparse.Namespace, fleet: Fleet, terminal: Terminal) -> None:
    from datetime import UTC, datetime, timedelta

    from dfovsdb.model import PortEvent

    since = None
    if args.since is not None:
        since = datetime.now(UTC) - timedelta(seconds=args.since)
    selection = common.selection(args)
    only = args.host[0] if len(args.host) == 1 else None
    async with contextlib.aclosing(fleet.log(since, only)) as log:
        async for item, line, _, _ in log:
            if args.host and item.host not in args.host:
                continue
            if isinstance(item, PortEvent) and not selection(item.port):
                continue
            if args.json:
                terminal.write_json(line)
            else:
                terminal.write(_event_line(item, terminal))


def _event_line(item: PortEvent | SyncMarker, terminal: Terminal) -> str:
    """Write an item as `dfovsdb watch` does, beside the host."""
    from dfovsdb.text.escape import clean
    from dfovsdb.text.events import terminal_line

    host = f"{clean(item.host):<{_HOST}}  "
    width = None if terminal.width is None else max(0, terminal.width - len(host))
    return host + terminal_line(item, colour=terminal.colour, width=width)


def _claim_row(claim: Claim) -> Sequence[str]:
    from dfovsdb.text.escape import clean

    host, kind, name, state, ofport, attributes = _port_row(claim.host, claim.port)
    status = clean(claim.port.attributes.get("iface_status") or "-")
    return (host, _agent(fresh=claim.fresh), status, state, ofport, kind, name, attributes)


def _port_row(host: str, port: Port) -> Sequence[str]:
    from dfovsdb.text.escape import clean
    from dfovsdb.text.events import port_facts

    ofport = "-" if port.ofport is None else str(port.ofport)
    return (
        clean(host),
        clean(port.kind, 16),
        clean(port.name, 40),
        port.state,
        ofport,
        port_facts(port),
    )


def _host_row(host: Host) -> Sequence[str]:
    from dfovsdb.text.escape import clean
    from dfovsdb.text.local_time import local

    last = local(host.last).strftime("%Y-%m-%d %H:%M:%S") if host.last else "-"
    beat = host.heartbeat
    version, connection = (beat.version, beat.connection) if beat else ("-", "-")
    return (
        clean(host.name),
        _agent(fresh=beat is not None),
        str(host.ports),
        last,
        clean(version),
        clean(connection),
    )


def _agent(*, fresh: bool) -> str:
    return "fresh" if fresh else "stale"


def _write_json(terminal: Terminal, **values: Any) -> None:
    import msgspec

    terminal.write_json(msgspec.json.encode(values))
