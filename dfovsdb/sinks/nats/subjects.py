"""Names for NATS: subjects of the log and keys of the buckets, and how to read them back.

Hosts, kinds and iface-ids may contain any character. A token of a subject or a key may contain
letters, digits and a few other characters, but no dot, blank or wildcard. Therefore every other
byte of the UTF-8 encoding is written `=XX`. The empty name is `=`. A name that is too long for a
subject becomes `==` and its SHA-256, which can be looked up but not read back. No library, no I/O.
"""

from __future__ import annotations

import hashlib
import re

PREFIX = "dfovsdb.v1"
LONGEST = (
    256  #: characters of a token; a subject of three is far below the 4096 that a server allows
)

_PLAIN = re.compile(r"[-_0-9A-Za-z]+")
_ESCAPE = re.compile(r"=([0-9A-F]{2})")
_PLAIN_BYTES = frozenset(b"-_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")


def token(name: str) -> str:
    """Return a token for any name; two names never have the same token."""
    if len(name) <= LONGEST and _PLAIN.fullmatch(name):
        return name
    data = name.encode()
    encoded = "".join(chr(byte) if byte in _PLAIN_BYTES else f"={byte:02X}" for byte in data)
    if len(encoded) > LONGEST:
        return f"=={hashlib.sha256(data).hexdigest()}"
    return encoded or "="


def name_of(word: str) -> str | None:
    """Return the name of a token; None if it was too long to be kept, or is not such a token."""
    if word == "=":
        return ""
    if word.startswith("=="):
        return None
    try:
        name = _ESCAPE.sub(lambda match: chr(int(match[1], 16)), word).encode("latin-1").decode()
    except UnicodeError:
        return None
    return name if token(name) == word else None  # each name has one token, no other names it


def subject(host: str, what: str) -> str:
    """Return a subject of the log; `what` is a kind, or `sync` for the markers."""
    return f"{PREFIX}.{token(host)}.{token(what)}"


def port_key(host: str, uuid: str) -> str:
    """Return the key of a port in the bucket of ports."""
    return f"{token(host)}.{token(uuid)}"


def vif_key(iface_id: str, host: str, uuid: str) -> str:
    """Return the key of a host's claim to a VIF in the bucket of VIFs."""
    return f"{token(iface_id)}.{token(host)}.{token(uuid)}"
