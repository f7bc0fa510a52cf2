"""Why there is no connection: what is logged about it, and how often."""

from __future__ import annotations

import logging
import re

from dfovsdb.errors import ConnectionLost, ProtocolError
from dfovsdb.logs import get_logger

LOG = get_logger(__name__)

_RELAPSE = 60.0  # seconds after a sync within which a protocol error counts as the previous one
# seconds in which a server that is ending may still accept a connection and close it
_ENDING = 1.0
_MOST_SAID = 20  # distinct problems in one outage, before they may be logged again
#: What differs between two reports of the same problem.
_VARIABLE = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|[0-9]+")


class OutageLog:
    """The present outage. The time is an argument, in monotonic seconds."""

    def __init__(self) -> None:
        self.text = ""  #: in one line, empty if there is none
        self._began = 0.0  # when the present outage began
        self._said: set[str] = set()  # what was logged about the present outage
        self._over_at = 0.0

    def over(self, now: float) -> float | None:
        """Record that the table has been read; return the seconds of the outage that has ended."""
        lasted = now - self._began if self.text and self._over_at else None
        self.text = ""
        self._over_at = now
        return lasted

    def say(self, lost: ConnectionLost, now: float) -> None:
        """Log each problem once; not every second, nor once for each sync if every sync causes it.

        The end of a working connection does not cause a warning yet; a failed reconnect does.
        """
        relapse = isinstance(lost, ProtocolError) and now - self._over_at < _RELAPSE
        if (not self.text and not relapse) or len(self._said) > _MOST_SAID:
            self._said.clear()
        if not self.text:
            self._began = now
        self.text = str(lost)
        same = _VARIABLE.sub("#", self.text)
        known = same in self._said
        self._said.add(same)
        # A server that ends closes first; the attempt that follows at once has the useful error.
        retried = lost.reason == "closed" and self._over_at > 0 and now - self._began < _ENDING
        LOG.log(
            logging.DEBUG if known else logging.INFO if retried else logging.WARNING,
            "waiting for the server: %s",
            lost,
            exc_info=None if known else lost.__cause__,
        )
