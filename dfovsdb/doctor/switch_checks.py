"""What usually goes wrong between an Open vSwitch and dfovsdb, examined in order.

A check is a function of a Context that yields findings; CHECKS is the list of them. A check that
raises StopExamination ends the examination, because later checks could only repeat the problem.
Nothing here changes a database: all requests only read.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import grp
import json
import os
import pwd
import shlex
import socket
import stat
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec

from dfovsdb.classifiers.base import Classifier
from dfovsdb.classifiers.chain import Chain
from dfovsdb.errors import ConnectionLost, DfovsdbError
from dfovsdb.model import CORE_COLUMNS, REQUIRED_COLUMNS, TABLE, Interface, Port
from dfovsdb.monitor import Monitor
from dfovsdb.ovsdb import connect_help, jsonrpc
from dfovsdb.ovsdb.address import Address
from dfovsdb.ovsdb.connect_help import LISTEN, OPEN_TO_ALL
from dfovsdb.ovsdb.session import DATABASE
from dfovsdb.ovsdb.transport import Transport
from dfovsdb.text.escape import clean, counted
from dfovsdb.tls import Tls

Level = Literal["fine", "note", "wrong"]
Process = Literal["runs", "stopped", "gone"]

_MOST = 10  # rows that one finding names
_POLL = 0.05  # seconds


class Finding(NamedTuple):
    """What a check has found, in one line, and what to do about it."""

    level: Level
    subject: str
    words: str
    remedy: str = ""


class StopExamination(Exception):
    """Further checks are pointless: the finding that says why."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.words)
        self.finding = finding


class Context:
    """One server, and what is known about it so far.

    :param options: of the connection, as for a Monitor.
    :param timeout: seconds to wait for each response of the server, and for ovs-vswitchd to accept
        a port.
    """

    def __init__(
        self,
        connection: str,
        classifiers: Sequence[Classifier],
        options: Mapping[str, Any],
        *,
        timeout: float = 5,
    ) -> None:
        self.connection = connection
        self.address = Address.parse(connection)
        self.chain = Chain(classifiers)
        self.classifiers = classifiers
        self.options = dict(options)
        self.timeout = timeout
        self.schema: dict[str, Any] = {}
        self.everything = _Everything(self.chain.extra_columns)
        self.monitor = Monitor(connection, classifiers=[self.everything], **self.options)

    def rows(self) -> list[Interface]:
        """Return every row of the table, by name."""
        rows = (port.interface for port in self.monitor.ports().values())
        return sorted((row for row in rows if row is not None), key=lambda row: row.name)

    @functools.cached_property
    def claims(self) -> list[tuple[Interface, Port | None]]:
        """Return every row with the port that a classifier makes of it, as of the first call."""
        return [(row, self.chain.port(row, None)) for row in self.rows()]

    @property
    def ports(self) -> list[Port]:
        """Return every row that a classifier claims."""
        return [port for _, port in self.claims if port is not None]

    @functools.cached_property
    def tls(self) -> Tls | None:
        """Return what secures the connection, as a Monitor makes it from the same options."""
        if self.address.method != "ssl":
            return None
        files = (self.options.get(f"ssl_{name}_file") for name in ("key", "cert", "ca_cert"))
        return Tls(*files, check_hostname=self.options.get("ssl_check_hostname", True))

    def ask(self, method: str, params: list[Any]) -> Any:
        """Make one request on a connection of its own; return its result.

        :raises ConnectionLost: there is no response.
        """
        decoder = jsonrpc.Decoder(jsonrpc.MAX_MESSAGE_SIZE)
        deadline = time.monotonic() + self.timeout
        with Transport(self.address, self.tls) as transport:
            transport.open()
            unsent = jsonrpc.encode(method, params, 1)
            while (left := deadline - time.monotonic()) > 0:
                if transport.ready and unsent:
                    transport.send(unsent)
                    unsent = b""
                for message in decoder.feed(transport.wait(left)):
                    if message.method is None and message.id == 1:
                        return None if message.error else msgspec.json.decode(message.result)
            silence = transport.silence
        raise ConnectionLost(f"{silence} within {self.timeout:g} s", "silent")


def examine(case: Context, *, verify: bool = False) -> Iterator[Finding]:
    """Run the checks in order, as far as they make sense."""
    try:
        for check in (*CHECKS, equals_the_reference) if verify else CHECKS:
            yield from check(case)
    except StopExamination as hopeless:
        yield hopeless.finding
    except DfovsdbError as error:
        yield Finding("wrong", "connection", clean(str(error), 1000))
    except Exception as error:  # noqa: BLE001 - no answer of any server may end the examination
        yield Finding(
            "wrong",
            "connection",
            "the server answers in a way that cannot be understood "
            f"({type(error).__name__}: {clean(str(error), 300)})",
            "check that this is the ovsdb-server of Open vSwitch, and not another program or a "
            "proxy that changes what it sends",
        )
    finally:
        case.monitor.stop()


# The checks, in their order.


def socket_may_be_opened(case: Context) -> Iterator[Finding]:
    """Check that there is a unix socket, and that this user may connect to it."""
    if case.address.method != "unix":
        return
    path, me = Path(case.address.host), _user(os.geteuid())
    try:
        mode = path.stat()
    except OSError as error:
        remedy = connect_help.remedy(case.address, error.errno or 0).removeprefix(": ")
        text = f"{path}: {error.strerror} (as {me})"
        raise StopExamination(Finding("wrong", "socket", text, remedy)) from None
    if not stat.S_ISSOCK(mode.st_mode):
        raise StopExamination(Finding("wrong", "socket", f"{path} is not a socket"))
    with socket.socket(socket.AF_UNIX) as client:
        if code := client.connect_ex(str(path)):
            user, group = _user(mode.st_uid), _group(mode.st_gid)
            text = f"{path} belongs to {user}:{group}, mode {mode.st_mode & 0o777:04o}: "
            remedy = connect_help.remedy(case.address, code).removeprefix(": ")
            if code == errno.EACCES:
                as_user = "" if mode.st_uid == 0 else f"run as {user}, or "
                remedy = (
                    f"{as_user}let a group of this user write to it, at each start of its server: "
                    f"`chgrp GROUP {path}; chmod 0770 {path}`; or {LISTEN} and connect to "
                    f"tcp:127.0.0.1:6640 ({OPEN_TO_ALL})"
                )
            text += f"{os.strerror(code)} (as {me})"
            raise StopExamination(Finding("wrong", "socket", text, remedy))
    yield Finding(
        "fine", "socket", f"{path} exists and may be opened by {me}, the user who runs this"
    )


def server_answers(case: Context) -> Iterator[Finding]:
    """Check that the server is an ovsdb-server, and has the database."""
    began = time.monotonic()
    try:
        databases = case.ask("list_dbs", [])
    except ConnectionLost as error:
        remedy = (
            ""
            if error.reason == "connect"
            else "check that it is an ovsdb-server and that it is running: "
            "`ovs-appctl -t ovsdb-server version`"
        )
        raise StopExamination(
            Finding("wrong", "server", clean(str(error), 1000), remedy)
        ) from None
    milliseconds = (time.monotonic() - began) * 1000
    yield Finding("fine", "server", f"{case.address} answers within {milliseconds:.0f} ms")
    if DATABASE not in (databases or ()):
        names = ", ".join(clean(str(name)) for name in databases or ()) or "none"
        text = f"there is no database {DATABASE}; the server has {names}"
        raise StopExamination(
            Finding("wrong", "database", text, "connect to the ovsdb-server of Open vSwitch")
        )


def columns_are_there(case: Context) -> Iterator[Finding]:
    """Check that the schema contains what is monitored."""
    case.schema = case.ask("get_schema", [DATABASE]) or {}
    tables = case.schema.get("tables", {})
    if TABLE not in tables:
        raise StopExamination(Finding("wrong", "database", f"{DATABASE} has no table {TABLE}"))
    version = clean(str(case.schema.get("version", "?")))
    yield Finding("fine", "database", f"{DATABASE} {version} has a table {TABLE}")
    wanted = {*CORE_COLUMNS, *case.chain.extra_columns}
    missing = sorted(wanted - tables[TABLE]["columns"].keys())
    text = f"it does not have {', '.join(missing)}"
    if REQUIRED_COLUMNS.intersection(missing):
        remedy = "these columns are required: is this a database of Open vSwitch?"
        raise StopExamination(Finding("wrong", "columns", text, remedy))
    if missing:
        yield Finding(
            "note", "columns", text, "they count as empty; this is an older Open vSwitch"
        )
    else:
        yield Finding("fine", "columns", f"all {len(wanted)} monitored columns exist")


def table_is_read(case: Context) -> Iterator[Finding]:
    """Check that the server answers the monitor request with the tables."""
    case.monitor.start()
    if not case.monitor.wait_synced(case.timeout):
        text = case.monitor.trouble or f"not read within {case.timeout:g} s"
        raise StopExamination(Finding("wrong", "table", clean(text, 1000)))
    rows = len(case.rows())
    yield Finding("fine", "table", f"read: {counted(rows, 'interface')}")
    if not rows:
        yield Finding("note", "table", "there is no interface yet", "`ovs-vsctl add-br br-int`")


def switch_lives(case: Context) -> Iterator[Finding]:
    """ovs-vswitchd is running, and gives new interfaces their OpenFlow port."""
    remedy = "start it; on Debian and Ubuntu `systemctl start openvswitch-switch`"
    process = _vswitchd(case)
    if process == "gone":
        yield Finding("wrong", "ovs-vswitchd", "its process does not exist", remedy)
    elif process == "stopped":
        text = "its process is stopped (by SIGSTOP or a debugger)"
        remedy = "let it continue: `kill -CONT PID`"
        yield Finding("wrong", "ovs-vswitchd", text, remedy)
    at_fault = process in ("gone", "stopped")
    deadline = time.monotonic() + case.timeout
    while pending := [row for row in case.rows() if row.ofport is None]:
        if at_fault or time.monotonic() > deadline:
            waiting = counted(len(pending), "interface waits", "interfaces wait")
            text = f"{waiting} for it: {_names(pending)}"
            if any(row.ofport is not None for row in case.rows()):  # it serves the others
                remedy = "the log of ovs-vswitchd says why, as `ovs-vsctl show` may do"
            yield Finding("wrong", "ovs-vswitchd", text, "" if at_fault else remedy)
            return
        time.sleep(_POLL)
    if not at_fault:
        yield Finding("fine", "ovs-vswitchd", "no interface waits for it")


def classifiers_claim(case: Context) -> Iterator[Finding]:
    """Report what each classifier claims."""
    counts = Counter(port.kind for port in case.ports)
    for classifier in case.classifiers:
        yield Finding("fine", "classifier", f"{clean(classifier.kind)}: {counts[classifier.kind]}")
    for kind, errors in case.chain.failures.by_kind.items():
        text = f"{clean(kind)} failed on {counted(errors, 'row')}"
        yield Finding(
            "wrong", "classifier", text, "the log line contains the row and the traceback"
        )
    if not case.classifiers:
        yield Finding("wrong", "classifier", "none is enabled", "set [dfovsdb] classifiers")


def unclaimed_rows(case: Context) -> Iterator[Finding]:
    """Report which interfaces no classifier claims, and what they would need."""
    unclaimed = [row for row, port in case.claims if port is None]
    for row in unclaimed[:_MOST]:
        near = (
            f"{clean(classifier.kind)}: {clean(why)}"
            for classifier in case.classifiers
            if (why := _nearly(classifier, row))
        )
        text = f"no classifier claims {clean(row.name)} (type {clean(row.type or 'system')})"
        yield Finding("note", "unclaimed", text, "; ".join(near))
    if more := len(unclaimed) - _MOST:
        if more > 0:
            yield Finding("note", "unclaimed", f"and {more} more")


def platforms_have_their_classifier(case: Context) -> Iterator[Finding]:
    """Recognise platforms by their rows, and report which classifier to add."""
    enabled = {type(classifier) for classifier in case.classifiers}
    for name, platform in _platforms():
        if platform in enabled:
            continue
        asked = platform()
        rows = [row for row in case.rows() if _claims(asked, row)]
        if rows:
            text = (
                f"{counted(len(rows), 'interface looks', 'interfaces look')} like those of {name}"
            )
            remedy = f"add {name} to [dfovsdb] classifiers, before service, vm and uplink"
            yield Finding("note", "platform", f"{text}: {_names(rows)}", remedy)


def _platforms() -> Iterator[tuple[str, type[Classifier]]]:
    """Yield the classifiers of platforms by their entry points, imported when they are needed."""
    from dfovsdb.classifiers.antrea import AntreaClassifier
    from dfovsdb.classifiers.kube_ovn import KubeOvnClassifier
    from dfovsdb.classifiers.ovn_kubernetes import OvnKubernetesClassifier
    from dfovsdb.classifiers.ovs_cni import OvsCniClassifier
    from dfovsdb.classifiers.proxmox import ProxmoxClassifier
    from dfovsdb.classifiers.xen import XenClassifier

    yield "ovn_kubernetes", OvnKubernetesClassifier
    yield "kube_ovn", KubeOvnClassifier
    yield "antrea", AntreaClassifier
    yield "ovs_cni", OvsCniClassifier
    yield "xen", XenClassifier
    yield "proxmox", ProxmoxClassifier


def _claims(classifier: Classifier, row: Interface) -> bool:
    return classifier.classify(row) is not None


def ports_failed(case: Context) -> Iterator[Finding]:
    """Report what the switch could not open, and which devices vanished: claimed or not."""
    kinds = {row.uuid: port.kind for row, port in case.claims if port is not None}
    ports = sorted(case.monitor.ports().values(), key=lambda port: port.name)
    failed = [port for port in ports if port.state in ("failed", "gone")]
    for port in failed[:_MOST]:
        kind = clean(kinds.get(port.uuid, "interface"))
        text = f"{kind} {clean(port.name)}: {clean(port.error or 'no reason given')}"
        show = f"`ovs-vsctl list Interface {shlex.quote(clean(port.name))}`"
        if port.type == "patch":
            remedy = "create the other patch port, or correct options:peer of one of them"
        elif port.state == "gone":
            remedy = "start what provides the device again, such as its VM; or delete the port"
        else:
            remedy = "correct this, and the switch will open it"
        subject = "failed port" if port.state == "failed" else "gone port"
        yield Finding("wrong", subject, text, f"{remedy}; {show} shows all of it")
    if (more := len(failed) - _MOST) > 0:
        yield Finding("wrong", "failed port", f"and {more} more")
    if not failed:
        yield Finding("fine", "ports", "none has failed")


def iface_ids_are_unique(case: Context) -> Iterator[Finding]:
    """Check that no VIF is on two interfaces, except while it migrates."""
    rows: dict[str, list[Interface]] = defaultdict(list)
    for row in case.rows():
        iface_id = row.external_ids.get("iface-id")
        if iface_id and row.type != "patch":  # a trunk has its ids on its patch ports too
            rows[iface_id].append(row)
    several = {iface_id: same for iface_id, same in rows.items() if len(same) > 1}
    for iface_id, same in list(several.items())[:_MOST]:
        text = f"{clean(iface_id)} is on {_names(same)}"
        active = [row for row in same if row.external_ids.get("iface-status") != "inactive"]
        if len(active) > 1:
            yield Finding(
                "wrong", "iface-id", text, "remove it from the interfaces that are left over"
            )
        else:
            yield Finding("note", "iface-id", text, "one is active: perhaps a live migration")
    if not several:
        yield Finding("fine", "iface-id", "none is on two interfaces")


CHECKS: tuple[Callable[[Context], Iterable[Finding]], ...] = (
    socket_may_be_opened,
    server_answers,
    columns_are_there,
    table_is_read,
    switch_lives,
    classifiers_claim,
    unclaimed_rows,
    platforms_have_their_classifier,
    ports_failed,
    iface_ids_are_unique,
)


def equals_the_reference(case: Context) -> Iterator[Finding]:
    """Compare the replica of dfovsdb with that of ovs.db.idl; only the classifiers are shared."""
    from dfovsdb.doctor.reference import Reference, differences
    from dfovsdb.doctor.tls_proxy import TlsProxy

    with contextlib.ExitStack() as stack:
        connection = case.connection
        if case.tls is not None:  # ovs.stream would not check what we check
            connection = stack.enter_context(TlsProxy(case.address, case.tls)).connection
        file = stack.enter_context(tempfile.NamedTemporaryFile("w", suffix=".ovsschema"))
        json.dump(case.schema, file)
        file.flush()
        tables = case.options.get("tables", (TABLE,))
        reference = stack.enter_context(
            Reference(connection, Path(file.name), [case.everything], tables)
        )
        deadline = time.monotonic() + case.timeout
        while True:  # both read a switch that keeps changing
            try:
                reference.refresh(case.timeout)
            except TimeoutError as error:
                raise StopExamination(Finding("wrong", "verify", str(error))) from None
            ours, theirs = case.monitor.ports(), reference.ports()
            different = differences(ours, theirs)
            if not different or time.monotonic() > deadline:
                break
    if different:
        text = f"{counted(len(different), 'difference')} to ovs.db.idl"
        yield Finding("wrong", "verify", text, "this is a bug in dfovsdb: please report it")
        for line in different[:_MOST]:
            yield Finding("wrong", "verify", clean(line, 500))
    else:
        equal = counted(len(ours), "interface is equal", "interfaces are equal")
        yield Finding("fine", "verify", f"{equal} to what ovs.db.idl reads")


class _Everything(Classifier):
    """Claims every row, with everything that it contains, so that all of it is compared."""

    kind = "interface"

    def __init__(self, columns: frozenset[str]) -> None:
        self.columns = columns

    def classify(self, interface: Interface) -> Mapping[str, str | None]:
        facts: dict[str, str | None] = {}
        for column, pairs in (
            ("external_ids", interface.external_ids),
            ("options", interface.options),
        ):
            facts |= {f"{column}:{key}": value for key, value in pairs.items()}
        return facts


def _user(uid: int) -> str:
    """Return the name of a user, or the number if there is none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return f"gid {gid}"


def _vswitchd(case: Context) -> Process | None:
    """Return the state of the process according to its pid file; None if it is unknown."""
    if case.address.method != "unix":
        return None
    folder = Path(case.address.host).parent
    if _process(folder / "ovsdb-server.pid", "ovsdb-server") == "gone":
        return None  # another layout, another pid namespace, or processes that are not to be seen
    return _process(folder / "ovs-vswitchd.pid", "ovs-vswitchd")


def _process(pid_file: Path, name: str) -> Process:
    """Return the state of the process; one of another name has got the number since."""
    try:
        facts = Path("/proc", str(int(pid_file.read_text())), "stat").read_text()
    except (OSError, ValueError):
        return "gone"
    head, _, rest = facts.rpartition(")")  # proc(5); the name before it may contain anything
    if head.partition("(")[2] != name:
        return "gone"
    state = rest.split()[0]
    return "gone" if state in "ZX" else "stopped" if state in "Tt" else "runs"


def _nearly(classifier: Classifier, row: Interface) -> str | None:
    """Return what a row would need to be of a kind, according to the classifier, which is
    third-party code.
    """
    try:
        text = classifier.nearly(row)
        return text and str(text)
    except Exception as error:  # noqa: BLE001 - said in its place
        return f"nearly() raised {error!r}"


def _names(rows: Sequence[Interface]) -> str:
    names = [clean(row.name) for row in rows[:_MOST]]
    return ", ".join(names) + (f" and {len(rows) - _MOST} more" if len(rows) > _MOST else "")
