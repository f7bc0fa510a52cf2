"""JSON-RPC 1.0 over a byte stream: framing and typed decoding (RFC 7047, section 4). No I/O.

The stream has no frames: objects follow each other with nothing, or white space, between them, and
a read may end anywhere, in a character too. Four facts make finding the ends cheap and exact:

1. One object is never the beginning of another, so bytes that decode as an object are one. In
   compact JSON `}{` is a boundary between two messages, or it is inside a string. So the bytes up
   to a `}{` are tried; most messages end there, and the first one that does not decode says that
   a string is in the way.
2. Outside strings, `}` is followed by `{` between messages and nowhere else. What is inside a
   string is known exactly from a place that is known to be outside: after an even number of quotes
   that no backslash escapes. So a pass over the bytes finds the boundaries that are real.
3. An object is complete when its braces outside strings balance. The depth, whether a string is
   open, and a backslash at the end are all that has to be kept from one read to the next. So each
   byte of an unfinished message is counted once, when it arrives, and it is decoded once, when the
   braces say that it may be complete; of long messages see below. The work is in proportion to
   the bytes, whatever they are and however the reads cut them.
4. Outside strings JSON has few letters: those of `true`, `false`, `null` and of numbers. A quote
   that was lost or added turns the inside out, and what was text is outside then. So damage is an
   error where it is seen, and swallows at most the rest of the read that it came with.

A snapshot comes in long reads, and to count it would take longer than to decode it. A long read
that does not end with `}` ends within a message, whose rest follows: it is kept unseen. One that
does may be the last, as a short read may, so what has come is decoded; if it is only truncated,
there is more to come. After a few such attempts, or if the text is wrong in another way,
everything unseen is counted after all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from dfovsdb.errors import ProtocolError
from dfovsdb.model import UNREADABLE

#: A string (or the beginning of one), or a boundary between two messages; whichever comes
#: first from a position outside strings, so that a boundary found this way is a real one.
_STRING_OR_BOUNDARY = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)|\}([ \t\r\n]*)\{', re.DOTALL)
_ESCAPED = re.compile(rb"\\.", re.DOTALL)
_BOUNDARY = re.compile(rb"\}[ \t\r\n]*\{")
_NO_OUTLINE = bytes(set(range(256)) - set(b'{}"'))
_WHITE_SPACE = b" \t\r\n"
#: The quote stands for the strings that were cut out.
_OUTSIDE_STRINGS = _WHITE_SPACE + b'"{}[]:,0123456789+-.Eeaflnrstu'
#: A chunk up to this size is looked through for what cannot be outside strings; of a longer one,
#: which is a part of a snapshot, the first bytes: the next chunk is looked at as well.
_LOOKED_THROUGH = 16 << 10
_SAMPLE = 1024
_ATTEMPTS = 4  # to decode a message of which not everything was counted
_PIECE = 64 << 10  # bytes that are counted at a time
_NO_JSON = msgspec.Raw(b"")

#: Bytes of a message, by default: what 100,000 ports need, with the tables Port and Bridge.
MAX_MESSAGE_SIZE = 64 << 20

#: What is decoded completely takes up to 25 times the memory of its text, as `[[],[],…` does.
_LONGEST_ID = 1024  # bytes of an id; ours are numbers
_LONGEST_ERROR = 64 << 10  # bytes of an error
_LONGEST_ECHO = 64 << 10  # bytes of the parameters of an echo request, which are sent back


class Message(msgspec.Struct, frozen=True, gc=False):
    """A request, a notification (`id` is null) or a reply (`method` is absent).

    `params` and `result` stay undecoded, so that the code that knows their type decodes them once.
    `error` may be an object or, from ovsdb-server for an unknown method, a bare string.
    """

    id: Any = None
    method: str | None = None
    params: msgspec.Raw = _NO_JSON
    result: msgspec.Raw = _NO_JSON
    error: Any = None


class _LongMessage(msgspec.Struct, frozen=True, gc=False):
    """The same, before the size of its parts is known."""

    id: msgspec.Raw = _NO_JSON
    method: str | None = None
    params: msgspec.Raw = _NO_JSON
    result: msgspec.Raw = _NO_JSON
    error: msgspec.Raw = _NO_JSON


class Decoder:
    """Turns the bytes of one connection into messages, however the reads divide them.

    :param max_message_size: bytes; a longer message is a ProtocolError.
    """

    def __init__(self, max_message_size: int) -> None:
        self._max = max_message_size
        self._decode_short = msgspec.json.Decoder(Message).decode
        self._decode_long = msgspec.json.Decoder(_LongMessage).decode
        self._partial = bytearray()  # an unfinished message, from its first byte
        self._scan = _Scan()  # of self._partial
        self._seen = 0  # bytes of self._partial that were scanned
        self._attempts = 0  # that are left

    def feed(self, data: bytes) -> Iterator[Message]:
        """Yield the messages that these bytes complete.

        :raises ProtocolError: the bytes are not JSON-RPC, or a message is too long. The decoder
            cannot be used afterwards.
        """
        if not self._partial:
            yield from self._split(data, 0)
            return
        before = len(self._partial)
        self._partial += data
        if len(data) > _LOOKED_THROUGH and not data.rstrip(_WHITE_SPACE).endswith(b"}"):
            self._check_size()
        elif self._seen < before and self._attempts:
            yield from self._attempt(before)
        else:
            yield from self._count()

    def _attempt(self, before: int) -> Iterator[Message]:
        """Yield what is complete if the unfinished message ends in the last read, which begins at
        the place `before`.
        """
        self._attempts -= 1
        boundary = self._partial.find(b"}{", before - 1)
        end = boundary + 1 or len(self._partial)
        try:
            # Not copied, if possible: messages refer to it, and it does not change.
            message = self._decode(self._partial[:end] if boundary >= 0 else self._partial)
        except UNREADABLE as error:
            if boundary < 0 and _is_truncated(error):
                self._check_size()
            else:
                yield from self._count()
            return
        rest, self._partial = self._partial[end:], bytearray()
        yield message
        yield from self._split(rest, 0)

    def _count(self) -> Iterator[Message]:
        """Count what was not; yield what is complete."""
        seen = self._seen
        if not self._may_end():
            self._check_size()
            return
        whole, self._partial = self._partial, bytearray()
        yield from self._split(whole, seen - 1)

    def _may_end(self) -> bool:
        """Scan what was not; return whether the unfinished message may end there."""
        pieces = range(self._seen, len(self._partial), _PIECE)
        self._seen = len(self._partial)
        return any(self._scan.may_end(self._partial[at : at + _PIECE]) for at in pieces)

    def _split(self, data: bytes | bytearray, first: int) -> Iterator[Message]:
        """Yield the messages of bytes in which no boundary is before the place `first`."""
        start = 0
        while (end := data.find(b"}{", max(start, first))) >= 0:
            message = self._try(data[start : end + 1])
            if message is None:
                break
            yield message
            start = end + 1
        tail = data[start:] if start else data
        # isspace() copies nothing, but accepts characters that are not white space in JSON.
        if not tail or (tail.isspace() and not tail.strip(_WHITE_SPACE)):
            return
        message = self._try(tail) if tail.endswith(b"}") else None
        if message is not None:
            yield message
        else:
            yield from self._split_exactly(tail.lstrip(_WHITE_SPACE))

    def _split_exactly(self, data: bytes | bytearray) -> Iterator[Message]:
        """Do the same for bytes with `}{` in a string, surrounding white space, or an incomplete
        end.
        """
        start = 0
        for match in _STRING_OR_BOUNDARY.finditer(data):
            if match.group(1) is not None:
                yield self._must(data[start : match.start() + 1])
                start = match.end() - 1
        tail = data[start:]
        if not tail.startswith(b"{"):
            raise ProtocolError(f"not JSON-RPC: {_shown(tail)}")
        self._scan = _Scan()
        if self._scan.may_end(tail):
            yield self._must(tail)
        else:
            self._partial = bytearray(tail)
            self._seen, self._attempts = len(tail), _ATTEMPTS
            self._check_size()

    def _try(self, data: bytes | bytearray) -> Message | None:
        try:
            return self._decode(data)
        except UNREADABLE:
            return None

    def _must(self, data: bytes | bytearray) -> Message:
        try:
            return self._decode(data)
        except UNREADABLE as error:
            raise ProtocolError(f"not JSON-RPC ({error}): {_shown(data)}") from None

    def _decode(self, data: bytes | bytearray) -> Message:
        if len(data) <= _LONGEST_ERROR:
            return self._decode_short(data)
        long = self._decode_long(data)
        for part, limit, what in (
            (long.id, _LONGEST_ID, "the id of a message"),
            (long.error, _LONGEST_ERROR, "the error of a reply"),
            (long.params if long.method == "echo" else b"", _LONGEST_ECHO, "an echo request"),
        ):
            if len(part) > limit:
                raise ProtocolError(f"{what} has more than {limit} bytes")
        return Message(_value(long.id), long.method, long.params, long.result, _value(long.error))

    def _check_size(self) -> None:
        if len(self._partial) > self._max:
            raise ProtocolError(
                f"a message is longer than [ovsdb] max_message_size, {self._max} bytes"
            )


class _Scan:
    """Decides for an incomplete message, chunk by chunk, whether it may be complete now.

    A damaged byte must not hide all messages that follow: text that cannot be JSON is an error.
    """

    def __init__(self) -> None:
        self._depth = 0
        self._in_string = False
        self._escape = b""  # a backslash at the end of a chunk
        self._before = b""  # `}`, where that is the last thing outside strings

    def may_end(self, chunk: bytes | bytearray) -> bool:
        """Return whether the message ends with or within this chunk.

        :raises ProtocolError: there is text outside strings that JSON does not allow there.
        """
        chunk = self._escape + chunk
        self._escape = b""
        if b"\\" in chunk:
            chunk = _ESCAPED.sub(b"", chunk)
            if chunk.endswith(b"\\"):
                chunk, self._escape = chunk[:-1], b"\\"
        if self._in_string:
            chunk = b'"' + chunk
        else:
            chunk = self._before + chunk
            self._depth += len(self._before)
        # Of a string without braces two quotes are left, which say nothing: to split what then
        # remains takes half the time of splitting the chunk.
        outline = chunk.translate(None, _NO_OUTLINE).replace(b'""', b"")
        self._in_string = outline.count(b'"') % 2 == 1
        outside = _outside_strings(outline)
        self._depth += outside.count(b"{") - outside.count(b"}")
        sample = chunk if len(chunk) <= _LOOKED_THROUGH else chunk[:_SAMPLE]
        if odd := _outside_strings(sample).translate(None, _OUTSIDE_STRINGS):
            raise ProtocolError(f"not JSON-RPC: {_shown(odd)} outside of strings")
        if self._depth <= 0:
            return True
        ends = not self._in_string and chunk.rstrip(_WHITE_SPACE).endswith(b"}")
        self._before = b"}" if ends else b""
        return bool(_BOUNDARY.search(chunk) and _BOUNDARY.search(_outside_strings(chunk)))


def _is_truncated(error: Exception) -> bool:
    """Return whether there is nothing wrong with some bytes but that they end too early."""
    return str(error) == "Input data was truncated"


def _outside_strings(text: bytes) -> bytes:
    """Return what is outside strings, in text that begins outside and contains no backslash."""
    return b'"'.join(text.split(b'"')[::2])


def encode(method: str, params: Any, request_id: Any = None) -> bytes:
    """Encode a request, or without an id a notification."""
    return msgspec.json.encode({"method": method, "params": params, "id": request_id})


def encode_reply(request_id: Any, result: Any, error: Any = None) -> bytes:
    """Encode the reply to a request; exactly one of `result` and `error` is not null."""
    return msgspec.json.encode({"result": result, "error": error, "id": request_id})


def _value(raw: msgspec.Raw) -> Any:
    return msgspec.json.decode(raw) if len(raw) else None


def _shown(data: bytes | bytearray) -> str:
    return ascii(data[:60].decode(errors="replace")) + ("…" if len(data) > 60 else "")
