"""Coverage-guided fuzzing of the road from bytes to rows, with Atheris.

    pip install atheris && python -m tests.fuzz -max_total_time=60

No bytes of a server may raise anything but ConnectionLost, hold more than max_message_size, or
mean something else when they arrive in other pieces. Atheris is no test requirement: Hypothesis
looks for the same with every run of the tests; this finds what only hours find.
"""

from __future__ import annotations

import logging
import sys

import atheris

with atheris.instrument_imports(include=["dfovsdb"]):
    from dfovsdb.errors import ConnectionLost
    from dfovsdb.ovsdb.jsonrpc import Decoder
    from dfovsdb.ovsdb.replica import Replica
    from dfovsdb.ovsdb.session import Session, Snapshot

LIMIT = 1 << 16
_SNAPSHOT = b'{"id":1,"error":null,"result":{"Interface":{"u":{"initial":{"name":"a"}}}}}'
_UPDATE = b'{"id":null,"method":"update2","params":["dfovsdb",{"Interface":{"u":'
#: The conversation up to where the input comes in, or nothing: the input is the reply itself.
BEGINNINGS = (b"", _SNAPSHOT, _SNAPSHOT + _UPDATE)


def one_input(data: bytes) -> None:
    """The first two bytes choose the beginning and the pieces; the rest is from the server."""
    if len(data) < 2:
        return
    stream = BEGINNINGS[data[0] % len(BEGINNINGS)] + data[2:]
    size = data[1] + 1
    pieces = [stream[start : start + size] for start in range(0, len(stream), size)]
    whole, parts = decoded([stream]), decoded(pieces)
    if "lost" in (*whole[-1:], *parts[-1:]):  # other pieces may show the damage sooner
        whole, parts = (
            messages[: messages.index("lost")] if "lost" in messages else messages
            for messages in (whole, parts)
        )
        shorter = min(len(whole), len(parts))
        whole, parts = whole[:shorter], parts[:shorter]
    assert whole == parts
    converse(pieces)


def decoded(pieces: list[bytes]) -> list[object]:
    """What the framing makes of it; of a stream that ends in an error, no more than that."""
    decoder = Decoder(LIMIT)
    messages: list[object] = []
    try:
        for piece in pieces:
            for message in decoder.feed(piece):
                fields = (message.params, message.result)
                messages.append((message.id, message.method, *map(bytes, fields), message.error))
            assert len(decoder._partial) <= LIMIT
    except ConnectionLost:
        messages.append("lost")
    return messages


def converse(pieces: list[bytes]) -> None:
    """What the session and the replica make of it."""
    session, table = Session(0.0, max_message_size=LIMIT), Replica()
    session.connecting(0.0)
    session.begin(0.0)
    try:
        for now, piece in enumerate(pieces):
            for message in session.received(piece, float(now)):
                if isinstance(message, Snapshot):
                    table.replace(*message)
                else:
                    table.apply(message.updates)
            session.outgoing()
    except ConnectionLost as lost:
        session.lost(lost, 0.0)


if __name__ == "__main__":
    logging.disable()
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
