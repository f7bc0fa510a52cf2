"""Signing of requests with secrets that are kept in a file.

Standard Webhooks 1.0.0 (standardwebhooks.com), symmetric signatures: HMAC-SHA256 of
`ID.TIMESTAMP.BODY`, in base64, for each secret. The secrets never leave this module.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from pathlib import Path

from dfovsdb.errors import ConfigurationError

PREFIX = "whsec_"  # prefix of a key in base64; without it the line itself is the key
SHORTEST = 16  # bytes of a key


class Secrets:
    """The secrets of a file: one on each line, and several while they are being replaced.

    :raises ConfigurationError: the file cannot be read, is empty, or has a secret that is too
        short.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._keys: Sequence[bytes] = ()
        self.read()

    def read(self) -> None:
        """Read the file again. If that fails, keep the previous secrets and raise as above."""
        try:
            lines = Path(self._path).read_text(encoding="ascii").split()
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or "it is not ASCII text"
            raise ConfigurationError(f"secret_file {self._path!r} cannot be read: {why}") from None
        keys = [self._key(line) for line in lines]
        if not keys:
            raise ConfigurationError(
                f"secret_file {self._path!r} is empty: write one secret on each line"
            )
        self._keys = keys

    def headers(self, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
        """Return the headers of a request that is sent at this time (seconds since 1970)."""
        content = f"{message_id}.{timestamp}.".encode() + body
        digests = (hmac.new(key, content, hashlib.sha256).digest() for key in self._keys)
        return {
            "webhook-id": message_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": " ".join(
                f"v1,{base64.b64encode(digest).decode()}" for digest in digests
            ),
        }

    def _key(self, line: str) -> bytes:
        try:
            key = base64.b64decode(line.removeprefix(PREFIX), validate=True)
        except binascii.Error:
            key = b""
        key = key if line.startswith(PREFIX) else line.encode()
        if len(key) < SHORTEST:
            raise ConfigurationError(
                f"secret_file {self._path!r} contains a secret that is shorter than {SHORTEST} "
                f"bytes, or that is not base64 after {PREFIX}: make one with "
                f"`echo {PREFIX}$(openssl rand -base64 32)`"
            )
        return key
