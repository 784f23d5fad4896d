"""Where compression pays, measured and modelled: python -m analysis.does_it_pay [--out DIR] [--page FILE]

Benches shared memory, and links of several rates on a virtual cluster where that is permitted (root, MPICH in
.venv-mpich, iproute2: docs/virtual-cluster.md), about a quarter of an hour on two cores that have nothing else
to do. Fits the model of docs/model.md to some of it, holds it against the rest, and writes the page FILE
(docs/does-it-pay.md) with its pictures beside it. What is in DIR already is not measured again: so the page can be made
again from saved results.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mpi_fed.engine import compile_switch

from .measure import BENCHES, ROOT, measure, small
from .page import write
from .results import read


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("runs/does-it-pay"), metavar="DIR", help="of saved results")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "does-it-pay.md", metavar="FILE")
    parser.add_argument("--mpich", type=Path, default=ROOT / ".venv-mpich", metavar="DIR", help="with MPICH")
    parser.add_argument("--launches", type=int, default=3, metavar="L", help="in shared memory (default: 3)")
    parser.add_argument("--small", action="store_true", help="a look at the page in a minute; its figures mean little")
    parser.add_argument("--no-measuring", action="store_true", help="the page alone, from what is in DIR")
    options = parser.parse_args()
    benches = small(BENCHES) if options.small else BENCHES
    if not options.no_measuring:
        measure(benches, options.out, options.mpich, options.launches)
    compile_switch.compile_kernels = False
    write(options.page, read(benches, options.out))
    print(f"page: {options.page}")


if __name__ == "__main__":
    main()
