"""The replica of dfovsdb beside that of ovs.db.idl."""

from __future__ import annotations

import contextlib
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from dfovsdb.doctor.context import Context
from dfovsdb.doctor.finding import MOST, Finding, StopExamination
from dfovsdb.model import TABLE
from dfovsdb.text.escape import clean, counted


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
        for line in different[:MOST]:
            yield Finding("wrong", "verify", clean(line, 500))
    else:
        equal = counted(len(ours), "interface is equal", "interfaces are equal")
        yield Finding("fine", "verify", f"{equal} to what ovs.db.idl reads")
