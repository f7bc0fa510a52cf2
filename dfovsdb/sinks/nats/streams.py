"""What is stored in JetStream: the log, and the buckets of the present state.

A bucket is a stream of NATS's key-value store. The stream is named KV_NAME, a key is a subject
under $KV.NAME, and the last message of a subject is its value (NATS ADR-8). Therefore the settings
of all four are settings of streams.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from nats.js import api

from dfovsdb.errors import ConfigurationError
from dfovsdb.sinks.nats.client import Connection, NatsError
from dfovsdb.sinks.nats.subjects import PREFIX

_NAME = re.compile(r"[-_0-9A-Za-z]+")
_DAY = 86400.0
_LOG_NAME = "the log"


@dataclass(frozen=True)
class Streams:
    """The names and settings of the stream and the buckets; `replicas` and the following
    parameters are options of the sink.

    :raises ConfigurationError: NATS does not accept a name, or two buckets have the same name.
    """

    stream: str = "dfovsdb"
    ports_bucket: str = "dfovsdb-ports"
    vifs_bucket: str = "dfovsdb-vifs"
    hosts_bucket: str = "dfovsdb-hosts"
    replicas: int = 1
    max_age: float = 7 * _DAY
    max_bytes: int = -1
    duplicate_window: float = 120.0
    time_to_live: float = 30.0

    def __post_init__(self) -> None:
        buckets = (self.ports_bucket, self.vifs_bucket, self.hosts_bucket)
        for name in (self.stream, *buckets):
            if not _NAME.fullmatch(name):
                raise ConfigurationError(f"{name!r}: use only letters, digits, - and _")
        if len(set(buckets)) < len(buckets):
            raise ConfigurationError("the buckets of ports, VIFs and hosts need different names")

    def configs(self) -> Sequence[api.StreamConfig]:
        """Return the settings of the stream and of the three buckets."""
        limits: dict[str, Any] = {
            "retention": api.RetentionPolicy.LIMITS,
            "storage": api.StorageType.FILE,
            "num_replicas": self.replicas,
        }
        log = api.StreamConfig(
            name=self.stream,
            subjects=[f"{PREFIX}.>"],
            max_age=self.max_age,
            max_bytes=self.max_bytes,
            duplicate_window=min(self.duplicate_window, self.max_age or self.duplicate_window),
            allow_direct=True,
            **limits,
        )
        ages = (
            (self.ports_bucket, 0.0),
            (self.vifs_bucket, 0.0),
            (self.hosts_bucket, self.time_to_live),
        )
        buckets = [
            api.StreamConfig(
                name=bucket_stream(name),
                subjects=[key_subject(name, ">")],
                max_age=age,
                max_msgs_per_subject=1,
                duplicate_window=min(self.duplicate_window, age or self.duplicate_window),
                discard=api.DiscardPolicy.NEW,
                allow_rollup_hdrs=True,
                deny_delete=True,
                allow_direct=True,
                **limits,
            )
            for name, age in ages
        ]
        return [log, *buckets]

    async def ready(self, link: Connection, *, create: bool) -> dict[str, datetime | None]:
        """Check that they exist; create them if that is configured.

        :returns: when each was created, so that a caller notices if one was created again.
        :raises NatsError: one does not exist and cannot be created.
        :raises ConfigurationError: one has settings that cannot work, or, if they are to be
            created, settings other than these.
        """
        made = {}
        for config in self.configs():
            assert config.name is not None
            info = await link.stream(config.name)
            if info is None:
                if not create:
                    raise NatsError(f"{_called(config)} does not exist, and create is false")
                info = await link.create(config)
            self._check(config, info.config, exactly=create)
            made[config.name] = info.created
        return made

    def _check(self, wanted: api.StreamConfig, found: api.StreamConfig, *, exactly: bool) -> None:
        names = ["subjects", "max_msgs_per_subject"]
        if exactly:
            names += ["max_age", "max_bytes", "num_replicas", "duplicate_window"]
        for name in names:
            here, there = getattr(wanted, name), getattr(found, name)
            if name == "max_bytes":
                here, there = (here or -1), (there or -1)
            if (here or 0) != (there or 0):
                raise ConfigurationError(
                    f"{_called(wanted)} has {name} {_shown(there)}, but {_shown(here)} is "
                    "configured: change one of them"
                    + ("" if not exactly else ", or set create = false to use it as it is")
                )
        if wanted.max_age and not found.max_age:
            if wanted.name == bucket_stream(self.hosts_bucket):
                raise ConfigurationError(
                    f"{_called(wanted)} has no max_age: a host would never be stale"
                )


def bucket_stream(bucket: str) -> str:
    """Return the name of the stream of a bucket."""
    return f"KV_{bucket}"


def key_subject(bucket: str, key: str) -> str:
    """Return the subject of a key, or of a filter of keys."""
    return f"$KV.{bucket}.{key}"


def _called(config: api.StreamConfig) -> str:
    name = config.name or ""
    return f"bucket {name[3:]}" if name.startswith("KV_") else f"stream {name}"


def _shown(value: Any) -> str:
    return ",".join(value) if isinstance(value, list) else f"{value:g}" if value else "none"
