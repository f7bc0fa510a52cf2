"""Of the whole run."""

from __future__ import annotations

import signal

# A shell starts its background jobs with SIGINT ignored, and so would be started what the tests
# start and end with Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)
