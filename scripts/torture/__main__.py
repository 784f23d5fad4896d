"""Test that runs survive kills and damaged files.

    python scripts/torture [--kills 100] [--rounds 2000000] [--mutations 10000] [--seed 0]

Kills: a run is killed with -9 at random moments, start-up included, and started again until it is done. Its log must
open after each kill, and at the end equal the log of an uninterrupted run, bit for bit. Mutations: each damaged study
file, log or checkpoint must be accepted, or be refused with one sentence: no traceback, crash, hang or file outside the
output folder. Crashes, such as those in HDF5's own reader, are counted separately. The script prints a table of each
part, and exits with 1 if any requirement was violated.
"""

from __future__ import annotations

import argparse
import sys

from kills import kills
from mutations import mutations


def main() -> int:
    """Run both parts and return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--kills", type=int, default=100, metavar="N", help="number of kills (default: 100)")
    parser.add_argument("--rounds", type=int, default=2_000_000, metavar="N", help="rounds of each of two repetitions")
    parser.add_argument("--mutations", type=int, default=10_000, metavar="N", help="number of files (default: 10,000)")
    parser.add_argument("--seed", type=int, default=0, help="seed of all random choices (default: 0)")
    arguments = parser.parse_args()
    passed = True
    if arguments.kills:
        passed &= kills(arguments.kills, arguments.rounds, arguments.seed)
    if arguments.mutations:
        passed &= mutations(arguments.mutations, arguments.seed)
    print("PASSED" if passed else "FAILED")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
