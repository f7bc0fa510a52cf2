"""The command: run the work, print the table, write JSON and the plot."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from benchmarks import report, work


def main() -> None:
    """Parse the arguments and run."""
    names = [kind.__name__ for kind in work.ALL]
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("work", nargs="*", help=f"which of {', '.join(names)}; all by default")
    parser.add_argument("--quick", action="store_true", help="small tables, few rounds")
    parser.add_argument("--rounds", type=int, help="how often everything is repeated")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    parser.add_argument("--plot", type=Path, help="draw them into this PNG file")
    args = parser.parse_args()
    if unknown := set(args.work).difference(names):
        parser.error(f"no such work: {', '.join(unknown)}")
    scale = work.QUICK if args.quick else work.FULL
    if args.rounds:
        scale = scale._replace(rounds=args.rounds)
    samples = []
    began = time.monotonic()
    for kind in work.ALL:
        if not args.work or kind.__name__ in args.work:
            print(f"{time.monotonic() - began:4.0f} s  {kind.__name__}", file=sys.stderr)
            samples += list(kind(scale))
    print(f"{time.monotonic() - began:4.0f} s  done", file=sys.stderr)
    figures = report.summarize(samples)
    print(report.table(figures))
    for path in (args.json, args.plot):
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
    if args.json:
        report.write_json(args.json, figures, quick=args.quick)
    if args.plot:
        report.plot(args.plot, figures)


if __name__ == "__main__":
    main()
