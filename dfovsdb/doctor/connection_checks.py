"""Checks of the way to the database: its socket, its server, its schema, its tables."""

from __future__ import annotations

import errno
import grp
import os
import pwd
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from dfovsdb.doctor.context import Context
from dfovsdb.doctor.finding import Finding, StopExamination
from dfovsdb.errors import ConnectionLost
from dfovsdb.model import CORE_COLUMNS, REQUIRED_COLUMNS, TABLE
from dfovsdb.ovsdb import connect_help
from dfovsdb.ovsdb.connect_help import LISTEN, OPEN_TO_ALL, vsctl
from dfovsdb.ovsdb.session import DATABASE
from dfovsdb.text.escape import clean, counted


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
    there = {
        *tables[TABLE]["columns"],
        *(f"{name}.{column}" for name, table in tables.items() for column in table["columns"]),
    }
    missing = sorted(wanted - there)
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
        yield Finding(
            "note", "table", "there is no interface yet", f"`{vsctl(case.address)} add-br br-int`"
        )


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
