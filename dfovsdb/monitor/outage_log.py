"""Why there is no connection: what the log is told of it, and how often."""

from __future__ import annotations

import logging
import re

from dfovsdb.errors import ConnectionLost, ProtocolError
from dfovsdb.logs import get_logger

LOG = get_logger(__name__)

_RELAPSE = 60.0  # seconds after a sync within which a protocol error is the old one again
_ENDING = 1.0  # seconds in which a server that ends may still take a connection and close it
_MOST_SAID = 20  # different troubles in one outage, before they may be said again
#: What differs between two reports of the same trouble.
_VARIABLE = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|[0-9]+")


class OutageLog:
    """The present one. The time is an argument, in monotonic seconds."""

    def __init__(self) -> None:
        self.words = ""  #: in one line, empty where there is none
        self._began = 0.0  # when the present outage did
        self._said: set[str] = set()  # what the log has been told of the present outage
        self._over_at = 0.0

    def over(self, now: float) -> None:
        """The table has been read."""
        self.words = ""
        self._over_at = now

    def say(self, lost: ConnectionLost, now: float) -> None:
        """Each trouble once, not once a second; nor once a sync, where every sync leads to it.

        The end of a connection that worked is no warning yet: that there is no other one is.
        """
        relapse = isinstance(lost, ProtocolError) and now - self._over_at < _RELAPSE
        if (not self.words and not relapse) or len(self._said) > _MOST_SAID:
            self._said.clear()
        if not self.words:
            self._began = now
        self.words = str(lost)
        same = _VARIABLE.sub("#", self.words)
        known = same in self._said
        self._said.add(same)
        # A server that ends closes first; the attempt that follows at once says what to do.
        retried = lost.reason == "closed" and self._over_at > 0 and now - self._began < _ENDING
        LOG.log(
            logging.DEBUG if known else logging.INFO if retried else logging.WARNING,
            "waiting for the server: %s",
            lost,
            exc_info=None if known else lost.__cause__,
        )
