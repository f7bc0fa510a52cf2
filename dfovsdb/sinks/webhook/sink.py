"""Events as CloudEvents, posted to a URL.

This file decides what is sent when, and what a response means. The format is in messages.py, the
signature in signing.py, and HTTP in client.py, which is imported only when a sink is built.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from oslo_config import cfg

from dfovsdb.errors import LONGEST_RETRY_AFTER, ConfigurationError, SinkUnavailable, needs_extra
from dfovsdb.logs import get_logger
from dfovsdb.sinks.base import Sink, SinkContext
from dfovsdb.sinks.webhook import messages as cloudevents
from dfovsdb.sinks.webhook.signing import Secrets
from dfovsdb.tls import Tls
from dfovsdb.version import __version__

if TYPE_CHECKING:
    from dfovsdb.model import PortEvent, SyncMarker
    from dfovsdb.sinks.webhook.client import Endpoint, Response

LOG = get_logger(__name__)

TOO_LARGE = 413
#: Responses of 4xx that do not concern the event but us, the URL or the moment; and the remedy.
#: 403 is not among them, because firewalls send it for what a request contains.
NOT_OF_THE_EVENT = {
    401: "; it does not accept our signature: compare secret_file and the clocks of both hosts",
    404: "; correct option url",
    405: "; correct option url",
    407: "",
    408: "",
    410: "; correct option url",
    421: "",
    425: "",
    429: "",
}


class WebhookRefused(Exception):
    """The receiver will not accept this, now or later."""


class WebhookSink(Sink):
    """Post to a URL; a 2xx response means delivered.

    5xx, a redirect, silence and a 4xx that does not concern the event are an outage; any other
    4xx is a refusal. The events of a refused batch are offered one by one; a batch that is too
    large is sent in halves.
    """

    options = (
        cfg.StrOpt(
            "url",
            required=True,
            secret=True,
            help="The URL to post to: https://HOST[:PORT]/PATH, or http://. Its path is treated "
            "as a secret and never shown. Needs the extra dfovsdb[webhook].",
        ),
        cfg.StrOpt(
            "secret_file",
            help="File with the secret that requests are signed with, in the format of Standard "
            "Webhooks or as any text of at least 16 characters. While the secret is "
            "being replaced, the file may contain several, one on each line. It is read again "
            "on SIGHUP. If unset, requests are not signed.",
        ),
        cfg.IntOpt(
            "batch_events",
            default=100,
            min=1,
            max=500,
            help="Maximum number of events in one request. 1 sends each event alone, as "
            "application/cloudevents+json.",
        ),
        cfg.IntOpt(
            "batch_bytes",
            default=512 << 10,
            min=1024,
            help="Maximum size of one request in bytes. A larger event is sent alone.",
        ),
        cfg.FloatOpt(
            "batch_age",
            default=0,
            min=0,
            max=60,
            help="Seconds that an event may wait for others to join it. Requests with less than a "
            "full batch are this far apart. 0 sends at once.",
        ),
        cfg.FloatOpt(
            "connect_timeout",
            default=5,
            min=0.1,
            max=300,
            help="Seconds to connect, including the TLS handshake.",
        ),
        cfg.FloatOpt(
            "read_timeout",
            default=10,
            min=0.1,
            max=300,
            help="Seconds that the receiver has for its whole response.",
        ),
        cfg.StrOpt(
            "ssl_ca_cert_file",
            help="Certificate of the CA that the receiver's certificate must lead to, a PEM file. "
            "If unset, the CAs that the system trusts are used.",
        ),
        cfg.StrOpt(
            "ssl_cert_file", help="Client certificate, a PEM file, for receivers that require one."
        ),
        cfg.StrOpt(
            "ssl_key_file", help="Private key of ssl_cert_file, a PEM file, not encrypted."
        ),
    )

    def __init__(
        self,
        url: str,
        secret_file: str | None = None,
        batch_events: int = 100,
        batch_bytes: int = 512 << 10,
        batch_age: float = 0,
        connect_timeout: float = 5,
        read_timeout: float = 10,
        ssl_ca_cert_file: str | None = None,
        ssl_cert_file: str | None = None,
        ssl_key_file: str | None = None,
    ) -> None:
        tls = Tls(ssl_key_file, ssl_cert_file, ssl_ca_cert_file)
        self._place = _place(url, tls, connect_timeout, read_timeout)
        if (ssl_ca_cert_file or ssl_cert_file) and not self._place.is_secure:
            raise ConfigurationError("ssl_… files are given, but url is http://: use https://")
        self._secrets = Secrets(secret_file) if secret_file else None
        self._most_events = self._may_be_events = batch_events
        self._most_bytes = batch_bytes
        self._age = batch_age
        self._sent_at = float("-inf")
        self._host = self._epoch = ""

    def open(self, context: SinkContext) -> None:
        self._host, self._epoch = context.host, context.epoch
        if self._place.is_open_to_others:
            LOG.warning(
                "posting to %s without TLS: everybody on the path can read and change what is "
                "sent; use https://",
                self._place.name,
            )

    def emit(self, event: PortEvent) -> None:
        self._post_all([event])

    def emit_many(self, events: Sequence[PortEvent]) -> None:
        if len(events) < self._may_be_events:
            self._wait_for_age()
        self._post_all(events)

    def sync_started(self, marker: SyncMarker) -> None:
        self._post_all([marker])

    def sync_finished(self, marker: SyncMarker) -> None:
        self._post_all([marker])

    def reopen(self) -> None:
        self._place.close()
        self._may_be_events = self._most_events
        try:
            if self._secrets:
                self._secrets.read()
        except ConfigurationError as error:
            LOG.error("%s; requests are signed with the previous secrets", error)

    def close(self) -> None:
        self._place.close()

    def _wait_for_age(self) -> None:
        """Wait for `batch_age`; events that arrive in the meantime are queued and form the next
        batch.
        """
        left = self._sent_at + self._age - time.monotonic()
        if left > 0:
            time.sleep(left)

    def _post_all(self, items: Sequence[PortEvent | SyncMarker]) -> None:
        delivered = 0
        while delivered < len(items):
            for message in cloudevents.messages(
                items[delivered:],
                self._host,
                self._epoch,
                most_events=self._may_be_events,
                most_bytes=self._most_bytes,
            ):
                if not self._post(message, delivered):
                    self._may_be_events = message.events // 2
                    break
                delivered += message.events

    def _post(self, message: cloudevents.Request, delivered: int) -> bool:
        """Send one message; return False if it is a batch that is too large.

        :raises SinkUnavailable: the receiver does not accept anything now.
        :raises WebhookRefused: the receiver does not accept this message.
        """
        answer = self._answer(message, delivered)
        if 200 <= answer.status < 300:
            return True
        if answer.status == TOO_LARGE and message.events > 1:
            return False
        what = f"{self._place.name} answered {answer.text}"
        if answer.status in NOT_OF_THE_EVENT or not 400 <= answer.status < 500:
            what += NOT_OF_THE_EVENT.get(answer.status, "")
            if 300 <= answer.status < 400:
                what += "; redirects are not followed: correct option url"
            if answer.retry_after is not None:
                what += f", and asks to wait {_duration(answer.retry_after)}"
            raise SinkUnavailable(what, delivered, answer.retry_after)
        raise WebhookRefused(what)

    def _answer(self, message: cloudevents.Request, delivered: int) -> Response:
        from dfovsdb.sinks.webhook.client import NoResponse

        headers = {"Content-Type": message.content_type, "User-Agent": f"dfovsdb/{__version__}"}
        if self._secrets:
            headers |= self._secrets.headers(message.id, int(time.time()), message.body)
        try:
            return self._place.post(headers, message.body)
        except (NoResponse, ConfigurationError) as error:
            raise SinkUnavailable(f"{self._place.name}: {error}", delivered) from None
        finally:
            self._sent_at = time.monotonic()


def _duration(seconds: float) -> str:
    if seconds > LONGEST_RETRY_AFTER:
        return "more than an hour; it is tried then"
    return f"{seconds:.0f} s"


def _place(url: str, tls: Tls, connect_timeout: float, read_timeout: float) -> Endpoint:
    try:
        from dfovsdb.sinks.webhook.client import Endpoint
    except ImportError as error:
        raise needs_extra(f"urllib3 ({error})", "webhook") from None
    return Endpoint(url, tls, connect_timeout, read_timeout)
