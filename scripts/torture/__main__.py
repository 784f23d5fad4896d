"""What a run survives: python scripts/torture [--kills 100] [--rounds 2000000] [--mutations 10000] [--seed 0]

Kills: a run is killed with -9 at random moments, start-up included, and started again until it is done; its log must
open after each kill, and at the end be that of a run that nothing interrupted, bit for bit. Mutations: damaged study
files, logs and checkpoints; each must be taken, or be refused with one sentence: no traceback, no crash, no hang, no
file outside the output folder. What HDF5's own reader does not survive is counted apart. Prints a table of each, and
exits with 1 where anything was not as it must be.
"""

from __future__ import annotations

import argparse
import sys

from kills import kills
from mutations import mutations


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--kills", type=int, default=100, metavar="N")
    parser.add_argument("--rounds", type=int, default=2_000_000, metavar="N", help="of each of two repetitions")
    parser.add_argument("--mutations", type=int, default=10_000, metavar="N")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    sound = True
    if arguments.kills:
        sound &= kills(arguments.kills, arguments.rounds, arguments.seed)
    if arguments.mutations:
        sound &= mutations(arguments.mutations, arguments.seed)
    print("SOUND" if sound else "NOT SOUND")
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit(main())
