"""Measure and model where compression pays: python -m analysis.does_it_pay [--out DIR] [--page FILE].

The program times rounds in shared memory and, if permitted (root, MPICH in .venv-mpich, iproute2: see
docs/virtual-cluster.md), over links of several rates on a virtual cluster. This takes about a quarter of an hour on two
otherwise idle cores. The program fits the model of docs/model.md to some results, compares the model with the other
results, and writes the page FILE (docs/does-it-pay.md) with its pictures in the same folder. Results that DIR already
contains are not measured again, so the page can be written again from saved results.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mpi_fed.engine import compile_switch

from .measure import BENCHES, ROOT, measure, small
from .page import write
from .results import read


def main() -> None:
    """Measure the missing results and write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    out = Path("runs/does-it-pay")
    parser.add_argument("--out", type=Path, default=out, metavar="DIR", help="folder of saved results")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "does-it-pay.md", metavar="FILE")
    mpich = ROOT / ".venv-mpich"
    parser.add_argument("--mpich", type=Path, default=mpich, metavar="DIR", help="environment with MPICH")
    parser.add_argument("--launches", type=int, default=3, metavar="L", help="launches in shared memory (default: 3)")
    parser.add_argument("--small", action="store_true", help="write a test page in a minute; its numbers mean little")
    parser.add_argument("--no-measuring", action="store_true", help="only write the page from the results in DIR")
    options = parser.parse_args()
    benches = small(BENCHES) if options.small else BENCHES
    if not options.no_measuring:
        measure(benches, options.out, options.mpich, options.launches)
    compile_switch.compile_kernels = False
    write(options.page, read(benches, options.out))
    print(f"page: {options.page}")


if __name__ == "__main__":
    main()
