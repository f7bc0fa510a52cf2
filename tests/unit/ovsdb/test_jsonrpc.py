"""Framing: the same messages, however the reads cut the bytes."""

from __future__ import annotations

import contextlib
import itertools
import json
import tracemalloc
from collections.abc import Iterable
from typing import Any
from unittest import mock

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfovsdb.errors import ProtocolError
from dfovsdb.ovsdb import jsonrpc
from dfovsdb.ovsdb.jsonrpc import Decoder, Message
from tests.unit.samples import json_values, texts

PLENTY = 1 << 20

AWKWARD: list[dict[str, Any]] = [
    {"id": 1, "method": None, "result": {}, "error": None},
    {"id": None, "method": "update2", "params": ["dfovsdb", {"Interface": {}}]},
    {"id": "}{", "method": 'a"}{"b', "params": [r"\"}{", "\\", '"', "{", "}", "} {", "é😀"]},
    {"id": "echo", "method": "echo", "params": []},
    {"id": 2, "result": [{}, {"a": {}}], "error": {"error": "}{", "details": "{{{{"}},
]


def decoded(chunks: Iterable[bytes], limit: int = PLENTY) -> list[dict[str, Any]]:
    """What a decoder makes of these reads, with everything in it decoded."""
    decoder = Decoder(limit)
    return [shown(message) for chunk in chunks for message in decoder.feed(chunk)]


def shown(message: Message) -> dict[str, Any]:
    return {
        "id": message.id,
        "method": message.method,
        "params": json.loads(bytes(message.params) or b"null"),
        "result": json.loads(bytes(message.result) or b"null"),
        "error": message.error,
    }


def expected(objects: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    keys = ("id", "method", "params", "result", "error")
    return [{key: an_object.get(key) for key in keys} for an_object in objects]


def compact(an_object: Any) -> bytes:
    return json.dumps(an_object, ensure_ascii=False, separators=(",", ":")).encode()


STREAM = b"".join(map(compact, AWKWARD))


def test_a_message_in_one_read_is_decoded() -> None:
    assert decoded([compact(AWKWARD[0])]) == expected(AWKWARD[:1])


def test_several_messages_in_one_read_are_decoded_in_order() -> None:
    assert decoded([STREAM]) == expected(AWKWARD)


@pytest.mark.parametrize("an_object", AWKWARD)
def test_a_message_cut_at_every_position_is_decoded_whole(an_object: dict[str, Any]) -> None:
    whole = compact(an_object)
    for cut in range(1, len(whole)):
        assert decoded([whole[:cut], whole[cut:]]) == expected([an_object]), cut


def test_a_stream_cut_at_every_position_is_decoded_whole() -> None:
    for cut in range(1, len(STREAM)):
        assert decoded([STREAM[:cut], STREAM[cut:]]) == expected(AWKWARD), cut


def test_messages_that_arrive_byte_by_byte_are_decoded_each_with_its_last_byte() -> None:
    decoder = Decoder(PLENTY)
    counts = [len(list(decoder.feed(STREAM[i : i + 1]))) for i in range(len(STREAM))]
    ends, end = [], 0
    for an_object in AWKWARD:
        end += len(compact(an_object))
        ends.append(end - 1)
    assert [i for i, count in enumerate(counts) if count] == ends
    assert set(counts) == {0, 1}


@pytest.mark.parametrize("space", [b"", b" ", b"\n", b"\r\n", b"\t \n\n  "])
def test_white_space_around_messages_is_skipped(space: bytes) -> None:
    stream = space + space.join(map(compact, AWKWARD)) + space
    assert decoded([stream]) == expected(AWKWARD)
    assert decoded(stream[i : i + 1] for i in range(len(stream))) == expected(AWKWARD)


def test_indented_messages_are_decoded() -> None:
    stream = b"".join(json.dumps(an_object, indent=2).encode() for an_object in AWKWARD)
    assert decoded([stream]) == expected(AWKWARD)
    assert decoded([stream[:99], stream[99:]]) == expected(AWKWARD)


def test_nothing_and_white_space_are_no_message() -> None:
    assert decoded([b"", b" \r\n", b"\t"]) == []


def test_a_reply_may_lack_its_result() -> None:
    (message,) = decoded([b'{"id":1,"error":"unknown method"}'])
    assert (message["error"], message["result"]) == ("unknown method", None)


def test_keys_that_json_rpc_does_not_know_are_ignored() -> None:
    assert decoded([b'{"id":3,"jsonrpc":"2.0","more":{"a":["}{"]}}']) == expected([{"id": 3}])


@pytest.mark.parametrize(
    "garbage",
    [
        b"HTTP/1.1 400 Bad Request\r\n",
        b"[]",
        b"null",
        b"1",
        b'"{}"',
        b"}",
        b"}{",
        b"{}}",
        b"{]}",
        b"{}[]",
        b"{} x",
        b"\x16\x03\x01\x02\x00",
        b'{"id":1,}',
        b'{"method":5}',
        b'{"method":"\xff"}',
        b'{"id":1}x{"id":2}',
        b"{{}}{",
    ],
)
def test_garbage_is_a_protocol_error(garbage: bytes) -> None:
    with pytest.raises(ProtocolError, match="not JSON-RPC"):
        decoded([garbage])
    with pytest.raises(ProtocolError, match="not JSON-RPC"):
        decoded(garbage[i : i + 1] for i in range(len(garbage)))


def test_messages_before_the_garbage_are_yielded() -> None:
    feed = Decoder(PLENTY).feed(b'{"id":1}{"id":2}nonsense')
    assert next(feed).id == 1
    with pytest.raises(ProtocolError):
        next(feed)


@pytest.mark.parametrize("garbage", [b'[{"a":', b'nonsense{"a":"'])
def test_garbage_is_refused_although_its_braces_are_open(garbage: bytes) -> None:
    with pytest.raises(ProtocolError, match="not JSON-RPC"):
        decoded([garbage])


def test_the_error_shows_the_beginning_of_the_garbage_in_one_printable_line() -> None:
    with pytest.raises(ProtocolError) as raised:
        decoded([b"\x1b[31m\r\n" + b"y" * 5000])
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 200
    assert "\\x1b[31m" in str(raised.value)


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_deep_nesting_is_a_protocol_error(opening: bytes) -> None:
    closing = {b"[": b"]"}.get(opening, b"}")
    message = b'{"id":' + opening * 100_000 + b"1" + closing * 100_000 + b"}"
    with pytest.raises(ProtocolError):
        decoded([message])
    with pytest.raises(ProtocolError):
        decoded([message[:50_000], message[50_000:]])


def test_a_message_past_the_limit_is_refused_before_it_is_complete() -> None:
    decoder = Decoder(1000)
    list(decoder.feed(b'{"params":["' + b"x" * 900))
    with pytest.raises(ProtocolError, match="max_message_size, 1000 bytes"):
        list(decoder.feed(b"x" * 200))


def test_a_first_read_past_the_limit_is_refused() -> None:
    with pytest.raises(ProtocolError, match="max_message_size"):
        decoded([b'{"params":["' + b"x" * 2000], limit=1000)


def test_the_limit_is_on_one_message_not_on_the_stream() -> None:
    message = compact({"id": 1, "params": ["x" * 700]})
    stream = message * 20
    chunks = [stream[i : i + 300] for i in range(0, len(stream), 300)]
    assert len(decoded(chunks, limit=1000)) == 20


def test_a_request_is_encoded_with_its_id_and_a_notification_with_null() -> None:
    assert json.loads(jsonrpc.encode("echo", ["é"], 4)) == {
        "method": "echo",
        "params": ["é"],
        "id": 4,
    }
    assert json.loads(jsonrpc.encode("note", []))["id"] is None


def test_a_reply_carries_what_was_not_decoded_as_it_came() -> None:
    reply = jsonrpc.encode_reply("x", msgspec.Raw(b'["as","it", "came"]'))
    assert b'["as","it", "came"]' in reply
    assert json.loads(reply) == {"id": "x", "result": ["as", "it", "came"], "error": None}


# Whatever arrives.

messages = st.fixed_dictionaries(
    {},
    optional={
        "id": json_values,
        "method": st.none() | texts,
        "params": json_values,
        "result": json_values,
        "error": json_values,
        "}{": json_values,
    },
)
separators = st.sampled_from([b"", b"", b" ", b"\n", b"\r\n\t "])


@st.composite
def streams(draw: st.DrawFn) -> tuple[list[dict[str, Any]], bytes]:
    objects = draw(st.lists(messages, max_size=5))
    ascii_only = draw(st.booleans())
    stream = draw(separators)
    for an_object in objects:
        stream += json.dumps(
            an_object,
            ensure_ascii=ascii_only,
            separators=draw(st.sampled_from([(",", ":"), (", ", ": ")])),
            indent=draw(st.sampled_from([None, None, 1])),
        ).encode()
        stream += draw(separators)
    return objects, stream


def pieces(stream: bytes, cuts: Iterable[int]) -> list[bytes]:
    edges = sorted({min(cut, len(stream)) for cut in cuts} | {0, len(stream)})
    return [stream[a:b] for a, b in itertools.pairwise(edges)]


cuts = st.lists(st.integers(0, 400), max_size=30)
bits = st.lists(st.sampled_from([b"{", b"}", b'"', b"\\", b"[", b"]", b":", b",", b" ", b"1"]))


@given(streams(), cuts)
def test_any_splitting_of_a_stream_is_decoded_as_the_whole(
    stream: tuple[list[dict[str, Any]], bytes], where: list[int]
) -> None:
    objects, sent = stream
    assert decoded(pieces(sent, where)) == expected(objects)


def looking_through(size: int) -> Any:
    """Take reads longer than so many bytes for parts of a snapshot."""
    return mock.patch.multiple(jsonrpc, _LOOKED_THROUGH=size, _PIECE=size + 1)


@given(streams(), cuts, st.integers(0, 30))
def test_any_splitting_in_long_reads_is_decoded_as_the_whole(
    stream: tuple[list[dict[str, Any]], bytes], where: list[int], size: int
) -> None:
    objects, sent = stream
    with looking_through(size):
        assert decoded(pieces(sent, where)) == expected(objects)


def take(chunks: Iterable[bytes]) -> None:
    """Take whatever messages there are until the first ProtocolError, and nothing else."""
    decoder = Decoder(PLENTY)
    with contextlib.suppress(ProtocolError):
        for chunk in chunks:
            for _ in decoder.feed(chunk):
                pass


@given(st.binary() | bits.map(b"".join), cuts, st.integers(0, 30))
def test_any_noise_in_long_reads_is_messages_or_a_protocol_error(
    noise: bytes, where: list[int], size: int
) -> None:
    with looking_through(size):
        take(pieces(noise, where))


@given(streams(), st.binary(max_size=5), st.integers(0, 400), cuts)
def test_any_bytes_are_messages_or_a_protocol_error(
    stream: tuple[list[dict[str, Any]], bytes], noise: bytes, place: int, where: list[int]
) -> None:
    _, sent = stream
    take(pieces(sent[:place] + noise + sent[place:], where))


@given(st.binary() | bits.map(b"".join), cuts)
def test_any_noise_is_messages_or_a_protocol_error(noise: bytes, where: list[int]) -> None:
    take(pieces(noise, where))


@given(st.binary(max_size=300) | bits.map(b"".join), st.integers(1, 20), st.integers(1, 50))
def test_no_more_than_the_limit_and_one_read_is_ever_kept(
    noise: bytes, read: int, limit: int
) -> None:
    decoder = Decoder(limit)
    try:
        for i in range(0, len(noise), read):
            list(decoder.feed(noise[i : i + read]))
            assert len(decoder._partial) <= limit
    except ProtocolError:
        assert len(decoder._partial) <= limit + read


def scanned(message: bytes, read: int) -> int:
    """How many bytes a decoder scans, splits or decodes for a message that arrives in reads of
    this size.
    """
    total = 0
    may_end, split, decode = jsonrpc._Scan.may_end, Decoder._split_exactly, Decoder._decode

    def counted_may_end(self: jsonrpc._Scan, chunk: bytes) -> bool:
        nonlocal total
        total += len(chunk)
        return may_end(self, chunk)

    def counted_split(self: Decoder, data: bytes) -> Any:
        nonlocal total
        total += len(data)
        return split(self, data)

    def counted_decode(self: Decoder, data: bytes) -> Message:
        nonlocal total
        total += len(data)
        return decode(self, data)

    with (
        mock.patch.object(jsonrpc._Scan, "may_end", counted_may_end),
        mock.patch.object(Decoder, "_split_exactly", counted_split),
        mock.patch.object(Decoder, "_decode", counted_decode),
    ):
        reads = [message[i : i + read] for i in range(0, len(message), read)]
        assert len(decoded(reads)) == 1
    return total


@pytest.mark.parametrize(
    "filling",
    [
        {"a": {"b": "plain"}},
        {"a": {"b": "}{"}},
        {"a": {"b": '\\"}{'}},
    ],
)
def test_every_byte_of_a_long_message_is_looked_at_a_few_times_at_most(filling: Any) -> None:
    message = compact({"id": 1, "result": [filling] * 5000})
    assert scanned(message, read=512) <= 4 * len(message)


@pytest.mark.parametrize("ends_in_text", [False, True])
def test_the_long_reads_of_a_snapshot_are_looked_at_a_few_times_at_most(
    ends_in_text: bool,
) -> None:
    read = 20_000
    message = compact({"id": 1, "result": [{"a": {"b": "plain"}}] * 5000})
    if ends_in_text:  # from the third on, each read ends with a brace, which is in a string
        row = b'"' + b"x" * (read - 4) + b'}",'
        message = b'{"id":1,"result":["' + b"x" * (2 * read - 19) + b'",' + row * 30 + b"0]}"
        assert [message[n * read - 1 :][:1] for n in range(1, 33)] == [b"x"] * 2 + [b"}"] * 30
    assert scanned(message, read) <= (4 if ends_in_text else 2) * len(message)


@pytest.mark.parametrize("text", ["plain", "}{"])
def test_a_snapshot_is_yielded_with_its_last_read_and_what_follows_in_it(text: str) -> None:
    message = compact({"id": 1, "result": [{"a": {"b": text}}] * 5000})
    update = compact({"id": None, "method": "update2", "params": []})
    size = len(message) // 3 + 50
    for sent, yielded in ((message, 1), (message + update, 2), (message + update[:20], 0)):
        decoder = Decoder(PLENTY)
        reads = [sent[i : i + size] for i in range(0, len(sent), size)]
        *before, last = [list(decoder.feed(read)) for read in reads]
        assert not any(before)
        assert len(last) == yielded
    assert len(list(decoder.feed(update[20:]))) == 2


@pytest.mark.parametrize(
    "damage",
    [
        b'{"id":null,"method":"x","params":[{"a":"b"}]',
        b'{"id":null,"method":"x,"params":[]}',
        b"{]",
        b'{"id":null,"method:"x"}',
    ],
    ids=["a brace is lost", "a quote is lost", "nonsense", "the other quote is lost"],
)
@pytest.mark.parametrize("size", [1, 7, 39, 1000])
@pytest.mark.parametrize("long", [5, 20, 16_384])
def test_damage_is_found_with_the_next_messages_and_swallows_no_more(
    damage: bytes, size: int, long: int
) -> None:
    stream = damage + b'{"id":null,"method":"update2","params":["a",{}]}' * 3
    with looking_through(long), pytest.raises(ProtocolError):
        decoded(stream[start : start + size] for start in range(0, len(stream), size))


UPDATE = compact(
    {
        "id": None,
        "method": "update2",
        "params": [
            "dfovsdb",
            {"Interface": {f"u{n}": {"modify": {"name": "x" * 40}} for n in range(400)}},
        ],
    }
)
NEXT = b'{"id":"echo","method":"echo","params":[]}'


@pytest.mark.parametrize("size", [64, 4096, len(UPDATE)])
@pytest.mark.parametrize("where", [0.03, 0.25, 0.4, 0.8, 0.99])
@pytest.mark.parametrize("damage", [b"", b'"', b"\\"])
def test_a_quote_that_is_lost_or_added_anywhere_is_found_with_the_next_message(
    where: float, damage: bytes, size: int
) -> None:
    quote = UPDATE.index(b'"', int(len(UPDATE) * where))
    after = UPDATE[quote + (not damage) :]
    stream = UPDATE[:quote] + damage + after + NEXT
    reads = [stream[i : i + size] for i in range(0, len(stream), size)]
    with pytest.raises(ProtocolError):
        decoded(reads)


def test_a_snapshot_with_a_lost_quote_is_scanned_once() -> None:
    message = compact({"id": 1, "result": [{"name": f"tap{n}"} for n in range(20_000)]})
    quote = message.index(b'"', 10_008)
    total = 0
    may_end = jsonrpc._Scan.may_end

    def counted(self: jsonrpc._Scan, chunk: bytes) -> bool:
        nonlocal total
        total += len(chunk)
        return may_end(self, chunk)

    damaged = message[:quote] + message[quote + 1 :]
    with mock.patch.object(jsonrpc._Scan, "may_end", counted), pytest.raises(ProtocolError):
        decoded(damaged[i : i + 1000] for i in range(0, len(damaged), 1000))
    assert total < 2 * len(message)


@pytest.mark.parametrize("data", [b"\x0b", b"\x0c", b"\n\x0b\n"])
def test_only_what_json_calls_white_space_may_stand_alone(data: bytes) -> None:
    with pytest.raises(ProtocolError, match="not JSON-RPC"):
        list(Decoder(1 << 20).feed(data))


# Memory.

MANY = b"[" + b",".join([b"[]"] * 2_000_000) + b"]"  # 6 MB, and 25 times as much decoded


@pytest.mark.parametrize(
    ("message", "says"),
    [
        (b'{"id":%s,"result":{},"error":null}' % MANY, "the id of a message has more than 1024"),
        (b'{"id":1,"result":{},"error":%s}' % MANY, "the error of a reply has more than 65536"),
        (b'{"id":"echo","method":"echo","params":%s}' % MANY, "an echo request has more than"),
    ],
    ids=["id", "error", "echo"],
)
def test_what_would_take_much_more_memory_than_its_text_is_refused(
    message: bytes, says: str
) -> None:
    decoder = Decoder(1 << 23)
    tracemalloc.start()
    try:
        with pytest.raises(ProtocolError, match=says):
            list(decoder.feed(message))
        assert tracemalloc.get_traced_memory()[1] < 3 * len(message)
    finally:
        tracemalloc.stop()


def test_a_long_message_is_decoded_as_a_short_one_is() -> None:
    result = b'{"a":"%s"}' % (b"x" * 100_000)
    [message] = Decoder(1 << 23).feed(b'{"id":7,"error":"no","result":%s}' % result)
    assert (message.id, message.error, bytes(message.result)) == (7, "no", result)
    [message] = Decoder(1 << 23).feed(b'{"method":"update2","params":%s,"id":null}' % result)
    assert (message.id, message.error, message.method) == (None, None, "update2")
