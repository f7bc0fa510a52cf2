"""What usually goes wrong between an Open vSwitch and dfovsdb, examined in order.

A check is a function of a Context that yields findings; CHECKS is the list of them. A check that
raises StopExamination ends the examination, because later checks could only repeat the problem.
Nothing here changes a database: all requests only read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from dfovsdb.doctor.connection_checks import (
    columns_are_there,
    server_answers,
    socket_may_be_opened,
    table_is_read,
)
from dfovsdb.doctor.context import Context
from dfovsdb.doctor.finding import Finding, StopExamination
from dfovsdb.doctor.switch_checks import (
    classifiers_claim,
    iface_ids_are_unique,
    platforms_have_their_classifier,
    ports_failed,
    switch_lives,
    tunnels_differ,
    unclaimed_rows,
)
from dfovsdb.doctor.verify import equals_the_reference
from dfovsdb.errors import DfovsdbError
from dfovsdb.text.escape import clean

CHECKS: tuple[Callable[[Context], Iterable[Finding]], ...] = (
    socket_may_be_opened,
    server_answers,
    columns_are_there,
    table_is_read,
    switch_lives,
    classifiers_claim,
    unclaimed_rows,
    platforms_have_their_classifier,
    tunnels_differ,
    ports_failed,
    iface_ids_are_unique,
)


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
