"""A plain script with ovs.db.idl: print every interface once, and end.

python -m benchmarks.clients.idl_once CONNECTION SCHEMA
"""

from __future__ import annotations

import sys

import ovs.db.idl
import ovs.poller

COLUMNS = ("name", "type", "ofport", "link_state", "admin_state", "error", "external_ids")


def main() -> None:
    """Print, and end."""
    helper = ovs.db.idl.SchemaHelper(location=sys.argv[2])
    helper.register_columns("Interface", list(COLUMNS))
    idl = ovs.db.idl.Idl(sys.argv[1], helper)
    before = idl.change_seqno
    while True:
        idl.run()
        if idl.change_seqno != before:
            break
        poller = ovs.poller.Poller()
        idl.wait(poller)
        poller.block()
    for row in idl.tables["Interface"].rows.values():
        print(row.name, row.type, row.ofport, row.link_state, row.external_ids)


if __name__ == "__main__":
    main()
