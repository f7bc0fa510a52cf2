"""What JetStream says of a message, and whether that means that it is stored."""

from __future__ import annotations

import pytest

from dfovsdb.sinks.nats.acks import decode_ack


@pytest.mark.parametrize(
    ("response", "failure"),
    [
        (b'{"stream":"S","seq":5}', None),
        (b'{"stream":"S","seq":5,"duplicate":true}', None),
        (
            b'{"stream":"S","seq":0,"duplicate":true}',
            "a duplicate of a message that is not stored yet",
        ),
        (
            b'{"error":{"code":503,"err_code":10077,"description":"no space"},"seq":0}',
            "JetStream is full: no space (10077)",
        ),
    ],
)
def test_only_a_message_that_has_a_sequence_is_stored(
    response: bytes, failure: str | None
) -> None:
    assert decode_ack(response).failure == failure
