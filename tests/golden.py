"""The golden transcript: a recorded day of a real switch, and the events it gives as text.

python -m tests.golden            write the events anew, from the recording
python -m tests.golden --record   record another day first
"""

from __future__ import annotations

import sys
from pathlib import Path

from dfovsdb.cli.demo_day import play
from dfovsdb.model import PortEvent
from dfovsdb.recording import replay
from dfovsdb.text.events import event_line, marker_line

RECORDING = Path(__file__).parent / "recordings" / "day.jsonl"
EXPECTED = RECORDING.with_suffix(".txt")


def transcript(recording: Path) -> str:
    """A line for each event and marker; what times there are differs from day to day."""
    lines = (
        f"{item.seq:>3} {item.origin:<8} "
        + (event_line(item) if isinstance(item, PortEvent) else marker_line(item))
        for item in replay(recording)
    )
    return "".join(f"{line}\n" for line in lines)


def main() -> None:
    if "--record" in sys.argv:
        RECORDING.unlink(missing_ok=True)
        play(pause=0.05, record=str(RECORDING))
    EXPECTED.write_text(transcript(RECORDING))


if __name__ == "__main__":
    main()
