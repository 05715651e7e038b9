"""`python -m tests.benchmarks [--only NAME ...] [--reps 5]`: print the table."""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import sys

import uvloop

from tests.benchmarks.lab import Lab, laboratory
from tests.benchmarks.measures import HEAVY, MEASURES


async def run(lab: Lab, names: list[str], reps: int) -> None:
    """Measure, the repetitions interleaved, so that a slow minute of the machine hits all alike."""
    for rep in range(1, reps + 1):
        for name in names:
            sys.stderr.write(f"{rep}/{reps} {name}\n")
            await MEASURES[name](lab)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description="Measure NAQ beside plain nats-py.")
    parser.add_argument(
        "--only", action="append", choices=MEASURES, help="may be repeated; default: all but those of the dashboard"
    )
    parser.add_argument("--reps", type=int, default=5, help="repetitions; the table shows their median and range")
    parser.add_argument("--size", type=int, default=1_000_000, help="jobs and records of dashboards; largest point of curves")
    given = parser.parse_args()
    with laboratory(given.size) as lab:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(run(lab, given.only or [name for name in MEASURES if name not in HEAVY], given.reps))
        finally:
            print(f"Python {platform.python_version()}, {os.cpu_count()} CPUs, {given.reps} repetitions\n")
            print(lab.results.table())


if __name__ == "__main__":
    main()
