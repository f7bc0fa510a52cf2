"""The names of the package: each is there, and none costs anything until it is used."""

from __future__ import annotations

import subprocess
import sys

import pytest

import dfovsdb

NAMES = {
    "IGNORE",
    "watch",
    "Monitor",
    "Classifier",
    "Sink",
    "SinkContext",
    "SinkUnavailable",
    "Interface",
    "Port",
    "PortEvent",
    "SyncMarker",
    "to_json",
    "from_json",
    "DfovsdbError",
    "__version__",
}


def in_a_new_process(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_public_names_are_these() -> None:
    assert set(dfovsdb.__all__) == NAMES
    assert set(dir(dfovsdb)) == NAMES


@pytest.mark.parametrize("name", sorted(NAMES))
def test_each_name_is_there(name: str) -> None:
    assert getattr(dfovsdb, name) is not None


def test_a_name_is_the_one_of_its_module() -> None:
    from dfovsdb import model, watching
    from dfovsdb.monitor import handle as monitor

    assert dfovsdb.PortEvent is model.PortEvent
    assert dfovsdb.Monitor is monitor.Monitor
    assert dfovsdb.watch is watching.watch


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'dfovsdb' has no attribute 'nosuch'"):
        _ = dfovsdb.nosuch
    assert not hasattr(dfovsdb, "_nosuch")


def test_a_star_import_brings_all_names() -> None:
    assert in_a_new_process("from dfovsdb import *; print(watch.__name__)") == "watch"


def test_importing_the_package_imports_nothing_else() -> None:
    loaded = in_a_new_process(
        "import sys; before = set(sys.modules); import dfovsdb;"
        "print(*sorted(m for m in set(sys.modules) - before"
        " if m.partition('.')[0] not in sys.stdlib_module_names))"
    )
    assert loaded == "dfovsdb dfovsdb.version"


def test_values_need_neither_the_configuration_nor_the_connection() -> None:
    loaded = in_a_new_process(
        "import sys; from dfovsdb import PortEvent, to_json, from_json, SinkUnavailable;"
        "print(*sorted({m.partition('.')[0] for m in sys.modules} "
        "& {'ovs', 'oslo_config', 'stevedore', 'oslo_log'}))"
    )
    assert loaded == ""


def test_to_log_a_line_loads_no_wire_format() -> None:
    loaded = in_a_new_process("import sys, dfovsdb.logs; print('msgspec' in sys.modules)")
    assert loaded == "False"
    assert (
        in_a_new_process("import sys, dfovsdb.errors; print('msgspec' in sys.modules)") == "False"
    )
