"""What functional tests share."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from tests.waiting import DEADLINE


def json_lines(*arguments: str) -> tuple[int, list[dict[str, Any]]]:
    """Run a command with --json; return its status, and the objects that it has printed."""
    done = subprocess.run(
        [sys.executable, "-m", "dfovsdb", *arguments, "--json"],
        text=True,
        capture_output=True,
        timeout=DEADLINE,
        check=False,
    )
    assert done.stderr == ""
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def insert(name: str, number: int = 0, **columns: Any) -> list[dict[str, Any]]:
    """Operations that add a port to the bridge br-int, without ovs-vswitchd."""
    row = {"name": name, **columns}
    return [
        {"op": "insert", "table": "Interface", "row": row, "uuid-name": f"i{number}"},
        {
            "op": "insert",
            "table": "Port",
            "uuid-name": f"p{number}",
            "row": {"name": name, "interfaces": ["named-uuid", f"i{number}"]},
        },
        {
            "op": "mutate",
            "table": "Bridge",
            "where": [["name", "==", "br-int"]],
            "mutations": [["ports", "insert", ["named-uuid", f"p{number}"]]],
        },
    ]


def vm(iface_id: str) -> dict[str, Any]:
    """The columns that make a VM's port."""
    return {"external_ids": ["map", [["iface-id", iface_id]]]}
