"""dfovsdb fleet: where a VIF is, and what the ports and hosts of a whole cloud are.

Found by its entry point (dfovsdb.commands); it needs the extra dfovsdb[nats].
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from dfovsdb.cli import arguments, common
from dfovsdb.cli.terminal import Terminal

if TYPE_CHECKING:
    from datetime import datetime

    from dfovsdb.fleet.fold import Moment
    from dfovsdb.fleet.reader import Claim, Fleet, Host, LogItem
    from dfovsdb.model import Port, PortEvent, SyncMarker

_INSTANCE = "nats"  # the options of this sink, unless --instance names another
_LISTEN = "127.0.0.1:9642"  # where the page is, unless an option says otherwise
_LOOK = 0.5  # seconds
_HOST = 15  # columns of a host's name beside an event
#: Columns of the ports that are left out in this order where the terminal is narrow.
_PORTS_GIVE_WAY = ("ofport", "kind", "agent", "state")


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its own commands."""
    parser = commands.add_parser(
        "fleet",
        help="query the ports of all hosts, from NATS (needs the extra dfovsdb[nats])",
        description="Answers for a whole cloud, from what the agents of all hosts keep in NATS "
        "with the sink `nats`. Servers and credentials are the options of that sink. Needs the "
        "extra dfovsdb[nats].",
    )
    _add_access(parser, instance=_INSTANCE, servers=None)
    fleet = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    where = fleet.add_parser(
        "where",
        help="on which host a VIF is",
        description="Prints every host that claims a VIF, the likeliest first: where OVN has "
        "installed it, then where it is active, then where the agent still reports. The status is "
        "1 if no host claims it.",
    )
    where.add_argument("iface_id", metavar="IFACE-ID", help="external_ids:iface-id of the port")
    arguments.add_wide(where)
    _set(where, _where)

    ports = fleet.add_parser(
        "ports",
        help="the ports of all hosts",
        description="Prints the ports of all hosts, or of some.",
    )
    _add_hosts(ports)
    arguments.add_selection(ports)
    arguments.add_wide(ports)
    _set(ports, _ports)

    hosts = fleet.add_parser(
        "hosts",
        help="the hosts: fresh or stale, and how many ports",
        description="Prints every host, whether its agent still reports (fresh) or not (stale), "
        "and how many ports it has, or had when it last reported.",
    )
    arguments.add_wide(hosts)
    _set(hosts, _hosts)

    conflicts = fleet.add_parser(
        "conflicts",
        help="VIFs on two hosts, MAC addresses of two VIFs, hosts of one name",
        description="Prints what cannot be true, such as a VIF that two hosts have at the same "
        "time. The status is 1 if there is anything.",
    )
    _set(conflicts, _conflicts)

    history = fleet.add_parser(
        "history",
        help="the life of a VIF, on all hosts",
        description="Prints the events of a VIF on all hosts from the log, the oldest first, each "
        "with the time since the one before it and the hosts that then have the VIF.",
    )
    history.add_argument("iface_id", metavar="IFACE-ID", help="external_ids:iface-id of the port")
    _add_times(history)
    arguments.add_wide(history)
    arguments.add_utc(history)
    _set(history, _history)

    watch = fleet.add_parser(
        "watch",
        help="events of all hosts as they happen",
        description="Prints the events of all hosts, or of some, until Ctrl-C.",
    )
    _add_times(watch)
    arguments.add_utc(watch)
    _add_hosts(watch)
    arguments.add_selection(watch)
    _set(watch, _watch)
    watch.set_defaults(ends_with_ctrl_c=True)

    web = fleet.add_parser(
        "web",
        help="show the cloud in a browser",
        description="Serves a page with all hosts, where a VIF is, and the page of each host, "
        "until Ctrl-C. Needs the extras dfovsdb[http] and dfovsdb[nats].",
    )
    arguments.add_listen(web, _LISTEN)
    _add_access(web)
    web.set_defaults(command=_web, ends_with_ctrl_c=True)

    create = fleet.add_parser(
        "create",
        help="create the stream and the buckets",
        description="Creates the stream and the buckets that do not exist, with the settings of "
        "the options. This is for agents with `create = false`; others create them themselves. "
        "Existing ones with other settings are refused.",
    )
    create.set_defaults(command=_run, answer=_create)
    _add_access(create)

    forget = fleet.add_parser(
        "forget",
        help="delete a host that was removed for good",
        description="Deletes the ports, VIFs, heartbeat and events of a host. It comes back with "
        "everything if its agent still runs.",
    )
    forget.add_argument("host", metavar="HOST", help="name of the host")
    _add_yes(forget)
    forget.set_defaults(command=_run, answer=_forget)
    _add_access(forget)

    tidy = fleet.add_parser(
        "tidy",
        help="remove the markers that the buckets keep for deleted keys",
        description="Removes old markers: NATS keeps one for each deleted key, so that readers "
        "learn of the deletion.",
    )
    tidy.add_argument(
        "--older",
        type=arguments.seconds,
        default=3600.0,
        metavar="TIME",
        help="only markers of keys that were deleted at least this long ago (default: 1h)",
    )
    _add_yes(tidy)
    tidy.set_defaults(command=_run, answer=_tidy)
    _add_access(tidy)


def _add_access(parser: argparse.ArgumentParser, **defaults: str | None) -> None:
    """Add the options for the servers; commands have them too, without defaults of their own."""
    parser.add_argument(
        "--instance",
        metavar="NAME",
        default=defaults.get("instance", argparse.SUPPRESS),
        help="take the options of [sink_NAME] (default: nats)",
    )
    parser.add_argument(
        "--servers",
        metavar="URL[,URL]",
        default=defaults.get("servers", argparse.SUPPRESS),
        help="servers to use instead of those that the options name",
    )


def _add_times(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--since",
        type=_moment,
        metavar="TIME",
        help="begin with the log of the past: an ISO time, or how long ago (90s, 10m, 2h, 1d)",
    )
    parser.add_argument(
        "--until", type=_moment, metavar="TIME", help="end there; written like --since"
    )


def _add_yes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--yes", action="store_true", help="do not ask")


def _moment(text: str) -> datetime:
    """Convert an argument to a time."""
    from dfovsdb.errors import ConfigurationError
    from dfovsdb.history import moment

    try:
        return moment(text)
    except ConfigurationError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _add_hosts(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--host", action="append", default=[], help="only this host; may be repeated"
    )


def _set(parser: argparse.ArgumentParser, answer: Any) -> None:
    what = "JSON version 1" if answer is _watch else "JSON"
    parser.add_argument(
        "--json", action="store_true", help=f"print {what}, one object on each line"
    )
    parser.set_defaults(command=_run, answer=answer)
    _add_access(parser)


def _run(args: argparse.Namespace) -> int:
    import asyncio

    from dfovsdb.errors import needs_extra

    common.log_to_stderr(args, logging.WARNING)
    try:
        import nats  # noqa: F401 - is it there?
    except ModuleNotFoundError:
        raise needs_extra("fleet", "nats") from None
    fleet = _fleet(args)
    return asyncio.run(_answer(args, fleet)) or common.DONE


def _web(args: argparse.Namespace) -> int:
    import time

    from dfovsdb.errors import DfovsdbError, needs_extra

    common.log_to_stderr(args, logging.WARNING)
    try:
        from dfovsdb.fleet.web import FleetWeb
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in ("nats", "starlette", "uvicorn"):
            raise
        raise needs_extra("fleet web", "nats" if package == "nats" else "http") from None
    _fleet(args)  # what is wrong in the options is said now
    with FleetWeb(args.listen, lambda: _fleet(args)) as web:
        Terminal().write(f"The page is on {web.url}/ (Ctrl-C ends it)")
        while web.running:
            time.sleep(_LOOK)
    raise DfovsdbError("the listener has ended")


async def _answer(args: argparse.Namespace, fleet: Fleet) -> int | None:
    async with fleet:
        of = {name: getattr(args, name, False) for name in ("wide", "utc")}
        status: int | None = await args.answer(args, fleet, Terminal(**of))
        return status


def _fleet(args: argparse.Namespace) -> Fleet:
    from dfovsdb import config
    from dfovsdb.errors import ConfigurationError
    from dfovsdb.fleet.reader import Fleet
    from dfovsdb.logs import get_logger
    from dfovsdb.sinks.nats.servers import Servers
    from dfovsdb.sinks.nats.sink import ACCESS_OPTIONS, STREAM_OPTIONS
    from dfovsdb.sinks.nats.streams import Streams
    from dfovsdb.text.escape import clean

    conf = common.configuration(args)
    group = _group(args)
    variables = f"OS_{group.upper()}__"
    if args.instance != _INSTANCE and not (
        group in conf.list_all_sections() or any(name.startswith(variables) for name in os.environ)
    ):
        raise ConfigurationError(
            f"--instance {clean(args.instance)}: the configuration has no section [{clean(group)}]"
        )
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
    from dfovsdb.fleet.reader import undecided
    from dfovsdb.text.escape import clean
    from dfovsdb.text.tables import table

    claims = await fleet.where(args.iface_id)
    if not claims:
        raise DfovsdbError(f"no host claims the VIF {clean(args.iface_id)}")
    several = undecided(claims)
    if args.json:
        for claim in claims:
            _write_json(
                terminal,
                host=claim.host,
                fresh=claim.fresh,
                active=claim.active,
                undecided=claim.host in several,
                port=claim.port.facts(),
            )
    else:
        header = ("host", "agent", "vif", "state", "ofport", "kind", "name", "attributes")
        for line in table(header, [_claim_row(claim) for claim in claims], width=terminal.width):
            terminal.write(line)
        if several:
            hosts = " and ".join(map(clean, several))
            every = "both" if len(several) == 2 else "all"
            terminal.write(f"{hosts} {every} claim it: the platform does not say yet who has it")


async def _ports(args: argparse.Namespace, fleet: Fleet, terminal: Terminal) -> None:
    from dfovsdb.text.events import identity_width, left_out
    from dfovsdb.text.natural import natural
    from dfovsdb.text.tables import table

    selection = common.selection(args)
    found: list[tuple[str, Port]] = []
    for host in dict.fromkeys(args.host) or [None]:
        found += [pair async for pair in fleet.ports(host) if selection(pair[1])]
    fresh = await fleet.fresh()
    found.sort(key=lambda pair: (natural(pair[0]), pair[1].kind, natural(pair[1].name)))
    if args.json:
        for host, port in found:
            _write_json(terminal, host=host, fresh=host in fresh, port=port.facts())
        return
    header = ("host", "agent", "kind", "name", "state", "ofport", "attributes")
    rows = [
        (name, _agent(fresh=host in fresh), *rest)
        for host, port in found
        for name, *rest in [_port_row(host, port)]
    ]
    lines = table(
        header,
        rows,
        width=terminal.width,
        gives_way=_PORTS_GIVE_WAY,
        last=identity_width(port for _, port in found),
    )
    terminal.write(shown := next(lines), *lines)
    total = f"{len(found)} ports on {len({host for host, _ in found})} hosts"
    terminal.write(total + left_out(header, shown))


async def _hosts(args: argparse.Namespace, fleet: Fleet, terminal: Terminal) -> None:
    from dfovsdb.text.tables import table

    hosts = await fleet.hosts()
    if args.json:
        for host in hosts:
            beat = host.said
            _write_json(
                terminal,
                host=host.name,
                fresh=host.heartbeat is not None,
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


def _check_times(args: argparse.Namespace) -> None:
    from dfovsdb.errors import ConfigurationError

    if args.since is not None and args.until is not None and args.since > args.until:
        raise ConfigurationError("--since is later than --until")


async def _watch(args: argparse.Namespace, fleet: Fleet, terminal: Terminal) -> None:
    import asyncio
    from datetime import UTC, datetime

    _check_times(args)
    only = args.host[0] if len(args.host) == 1 else None
    now = datetime.now(UTC)
    await fleet.position()  # a log that does not exist is said once, and not waited for
    if args.until is not None and args.until <= now:
        await _print(args, fleet.past(args.since, args.until, only), terminal)
        return
    left = None if args.until is None else (args.until - now).total_seconds()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(left), contextlib.aclosing(fleet.log(args.since, only)) as log:
            await _print(args, log, terminal)


async def _print(
    args: argparse.Namespace, log: AsyncIterator[LogItem], terminal: Terminal
) -> None:
    from dfovsdb.model import PortEvent

    selection = common.selection(args)
    async for item, line, _, _ in log:
        if args.host and item.host not in args.host:
            continue
        if isinstance(item, PortEvent) and not selection(item.port):
            continue
        if args.json:
            terminal.write_json(line)
        else:
            for shown in _event_lines(item, terminal):
                terminal.write(shown)


async def _conflicts(args: argparse.Namespace, fleet: Fleet, terminal: Terminal) -> int:
    from dfovsdb.text.escape import clean, counted

    found = await fleet.conflicts()
    for conflict in found:
        if args.json:
            _write_json(terminal, **conflict._asdict())
        else:
            terminal.write(f"{conflict.kind} {clean(conflict.what)} {clean(conflict.text, 1000)}")
    if not args.json:
        count = counted(len(found), "conflict")
        terminal.write(count if found else "there is no conflict")
    return common.FAILED if found else common.DONE


async def _history(args: argparse.Namespace, fleet: Fleet, terminal: Terminal) -> None:
    """Print the life of a VIF: each event with the wait before it, and the hosts that have it."""
    from datetime import timedelta

    from dfovsdb.errors import DfovsdbError
    from dfovsdb.fleet.fold import Life
    from dfovsdb.json_v1 import to_json
    from dfovsdb.text.escape import clean
    from dfovsdb.text.events import lasting, timeline_lines

    _check_times(args)
    life = Life(args.iface_id)
    # What was later says who had it before. Asked first, where it is says nothing of what comes
    # in the meantime.
    claims = await fleet.where(args.iface_id)
    async for item, *_ in fleet.past(args.since):
        life.add(item)
    for claim in claims:
        life.is_on(claim.host, claim.port)
    before: PortEvent | None = None
    hosts: list[str] = []
    on_several = on_none = timedelta()
    for moment in life.moments():
        event = moment.event
        if args.until is not None and event.time > args.until:
            continue  # another host may have sent an earlier event after it
        waited = None if before is None else event.time - before.time
        if args.json:
            terminal.write_json(to_json(event))
        else:
            terminal.write(*timeline_lines(event, waited, note=_then(moment), **terminal.style))
        if waited is not None:
            on_several += waited if len(hosts) > 1 else timedelta()
            on_none += waited if not hosts else timedelta()
        before, hosts = event, moment.hosts
    if before is None:
        raise DfovsdbError(f"the log has no event of the VIF {clean(args.iface_id)}")
    if not args.json:
        several, none = (lasting(max(one, timedelta())) for one in (on_several, on_none))
        terminal.write(
            f"between these events: on several hosts for {several}, on no host for {none}"
        )


def _then(moment: Moment) -> str:
    """Return who has a VIF after one of its events, and which waits have ended with it."""
    from dfovsdb.text.escape import clean
    from dfovsdb.text.events import lasting

    hosts = ", ".join(map(clean, moment.hosts)) or "no host"
    note = f"  host={clean(moment.event.host)}, then on {hosts}"
    if moment.ready is not None:
        note += f"; ready {lasting(moment.ready)} after it came"
    if moment.installed is not None:
        note += f"; OVN has installed it {lasting(moment.installed)} after it came"
    return note


async def _forget(args: argparse.Namespace, fleet: Fleet, terminal: Terminal) -> None:
    from dfovsdb.errors import DfovsdbError
    from dfovsdb.text.escape import clean

    host = clean(args.host)
    known = {one.name: one for one in await fleet.hosts()}
    if args.host not in known:
        raise DfovsdbError(f"there is no host {host}: `dfovsdb fleet hosts` lists all")
    state = "it has a recent heartbeat" if known[args.host].heartbeat else "it is stale"
    await _confirm(
        args, fleet, f"Delete host {host} with {known[args.host].ports} ports ({state})?"
    )
    await fleet.forget(args.host)
    terminal.write(f"host {host} is deleted")


async def _tidy(args: argparse.Namespace, fleet: Fleet, terminal: Terminal) -> None:
    await _confirm(args, fleet, "Remove what the buckets keep of deleted keys?")
    await fleet.tidy(args.older)
    terminal.write("the buckets are tidy")


async def _confirm(args: argparse.Namespace, fleet: Fleet, question: str) -> None:
    """Ask on the terminal, and connect again: meanwhile nothing answers the server.

    :raises ConfigurationError: nobody can be asked, or the answer is no.
    """
    import signal
    import sys

    from dfovsdb.errors import ConfigurationError

    if args.yes:
        return
    if sys.stdin is None or not sys.stdin.isatty():
        raise ConfigurationError(
            "this asks before it deletes, and there is no terminal: add --yes"
        )
    # asyncio would note Ctrl-C for later, while input() goes on waiting
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        answer = input(f"{question} [y/N] ")
    except EOFError:  # Ctrl-D
        answer = ""
    finally:
        signal.signal(signal.SIGINT, handler)
    if answer.strip().lower() not in ("y", "yes"):
        raise ConfigurationError("nothing was deleted")
    await fleet.reconnect()


def _event_lines(item: PortEvent | SyncMarker, terminal: Terminal) -> Iterator[str]:
    """Yield the lines of an item as `dfovsdb watch` prints them, beside the host."""
    from dfovsdb.text.escape import clean
    from dfovsdb.text.events import terminal_lines

    host = f"{clean(item.host):<{_HOST}}  "
    width = None if terminal.width is None else max(0, terminal.width - len(host))
    for line in terminal_lines(item, colour=terminal.colour, width=width, utc=terminal.utc):
        yield host + line
        host = " " * len(host)


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
    beat = host.said
    version, connection = (beat.version, beat.connection) if beat else ("-", "-")
    return (
        clean(host.name),
        _agent(fresh=host.heartbeat is not None),
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
