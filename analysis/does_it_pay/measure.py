"""Run the benches in shared memory and, if permitted, on a virtual cluster with links of several rates."""

from __future__ import annotations

import shlex
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypedDict

ROOT = Path(__file__).resolve().parents[2]
CLUSTER = ROOT / "scripts" / "virtual_cluster.py"
FLOATS, FEW = ("none",), ("none", "quantization levels=127", "rand-h")
LINEAR = ("bernoulli", "rand-h")
BOTH_WAYS = ("quantization levels=127", "quantization levels=1023", "rand-h")
COMMON = ("bernoulli mask=common", "rand-h mask=common", "bernoulli p=0.1 mask=common")
SHARED = ("quantization levels=7", "quantization levels=1023")
QUANTIZED = ("quantization levels=1", "quantization levels=127", "quantization levels=1023")
ALL = (*FLOATS, *QUANTIZED, *LINEAR)
REFUSED = 2
"""The exit status of virtual_cluster if it cannot create a cluster."""


@dataclass(frozen=True)
class Bench:
    """One file of results."""

    name: str
    compressors: tuple[str, ...]
    dimensions: tuple[int, ...]
    downlinks: tuple[int, ...] = (32, 16)
    """Bits of a float of the iterate on the downlink."""
    both_ways: bool = False
    """True if the downlink sends the step's direction, compressed like the messages, in place of the iterate."""
    route: str = "auto"
    rate: str | None = None
    """Rate of the hosts' links; None in shared memory."""
    hosts: int = 2
    repetitions: int | None = None
    checks: bool = False
    """True if the results are left out of the fit and compared with the model."""

    def words(self, file: Path, launches: int) -> list[str]:
        """Return the arguments of mpi-fed."""
        words = ["bench", "--route", self.route, "--compressor", *self.compressors]
        words += ["--dimension", *map(str, self.dimensions)]
        words += ["--downlink", "same"] if self.both_ways else ["--downlink-bits", *map(str, self.downlinks)]
        words += ["--repetitions", str(self.repetitions)] if self.repetitions else []
        return [*words, *([] if self.rate else ["--launches", str(launches)]), "--out", str(file)]


SIZES, HELD, FEW_SIZES = (1_000, 10_000, 100_000, 1_000_000), (30_000, 100_000), (1_000, 30_000, 100_000)


class Choice(TypedDict):
    """Fields of a bench that several benches share."""

    compressors: tuple[str, ...]
    downlinks: tuple[int, ...]
    route: str


SUMMED: Choice = {"compressors": ("none value_bits=32",), "downlinks": (32,), "route": "allreduce"}
MASKED: Choice = {"compressors": COMMON, "downlinks": (32,), "route": "allreduce"}
LEVELS: Choice = {"compressors": SHARED, "downlinks": (16,), "route": "reduce-levels"}
BENCHES = (
    Bench("memory", (*ALL, "partial-participation"), SIZES),
    Bench("memory-allreduce", dimensions=SIZES, **SUMMED),
    Bench("memory-both-ways", BOTH_WAYS, SIZES, both_ways=True),
    Bench("memory-common", dimensions=SIZES, **MASKED),
    Bench("memory-shared-scale", dimensions=SIZES, **LEVELS),
    Bench("unlimited", ALL, SIZES, rate="none", repetitions=20),
    Bench("unlimited-allreduce", dimensions=SIZES, rate="none", repetitions=20, **SUMMED),
    Bench("unlimited-both-ways", BOTH_WAYS, SIZES, rate="none", repetitions=20, both_ways=True),
    Bench("1gbit", ALL, SIZES, rate="1gbit", repetitions=20),
    Bench("1gbit-allreduce", dimensions=SIZES, rate="1gbit", repetitions=20, **SUMMED),
    Bench("1gbit-both-ways", BOTH_WAYS, SIZES, rate="1gbit", repetitions=20, both_ways=True),
    Bench("1gbit-common", dimensions=SIZES, rate="1gbit", repetitions=20, **MASKED),
    Bench("1gbit-shared-scale", dimensions=SIZES, rate="1gbit", repetitions=20, **LEVELS),
    Bench("100mbit", ALL, SIZES[:3], rate="100mbit", repetitions=20),
    Bench("100mbit-allreduce", dimensions=SIZES[:3], rate="100mbit", repetitions=20, **SUMMED),
    Bench("100mbit-both-ways", BOTH_WAYS, SIZES[:3], rate="100mbit", repetitions=20, both_ways=True),
    Bench("100mbit-common", dimensions=SIZES[:3], rate="100mbit", repetitions=20, **MASKED),
    Bench("100mbit-shared-scale", dimensions=SIZES[:3], rate="100mbit", repetitions=20, **LEVELS),
    Bench("300mbit", ALL, HELD, rate="300mbit", repetitions=20, checks=True),
    Bench("300mbit-both-ways", BOTH_WAYS, HELD, rate="300mbit", repetitions=20, checks=True, both_ways=True),
    Bench("300mbit-common", dimensions=HELD, rate="300mbit", repetitions=20, checks=True, **MASKED),
    Bench("300mbit-shared-scale", dimensions=HELD, rate="300mbit", repetitions=20, checks=True, **LEVELS),
    Bench("30mbit", FEW, (30_000, 100_000), (16,), rate="30mbit", repetitions=20, checks=True),
    Bench("10mbit", FEW, (30_000,), (16,), rate="10mbit", repetitions=20, checks=True),
    Bench("30mbit-4-hosts", FEW, (30_000,), (16,), rate="30mbit", hosts=4, repetitions=20, checks=True),
)


def small(benches: tuple[Bench, ...]) -> tuple[Bench, ...]:
    """Return benches that take seconds, for a test page whose numbers mean little."""
    chosen = [b for b in benches if b.rate is None or b.name in ("1gbit", "300mbit")]
    return tuple(
        replace(b, compressors=FEW if len(b.compressors) > 3 else b.compressors, dimensions=FEW_SIZES, repetitions=20)
        for b in chosen
    )


def measure(benches: tuple[Bench, ...], out: Path, mpich: Path, launches: int) -> None:
    """Run the benches whose results `out` lacks. If no link can be shaped, print a line and leave the links out."""
    out.mkdir(parents=True, exist_ok=True)
    for bench in benches:
        file = out / f"{bench.name}.json"
        if file.exists():
            continue
        command = _command(bench, file, mpich, launches)
        print(shlex.join(command), flush=True)
        completed = subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=False)
        if bench.rate and completed.returncode == REFUSED:
            print("does_it_pay: no link can be shaped here (see the line above); the page will have no links")
            return
        if completed.returncode:
            raise SystemExit(f"does_it_pay: the bench ended with status {completed.returncode}; see the lines above")


def _command(bench: Bench, file: Path, mpich: Path, launches: int) -> list[str]:
    words = bench.words(file.absolute(), launches)
    if bench.rate is None:
        return [sys.executable, "-m", "mpi_fed", *words]
    ranks = [str(mpich.absolute() / "bin" / "mpi-fed"), *words]
    return [str(CLUSTER), "run", "--hosts", str(bench.hosts), "--rate", bench.rate, "--", *ranks]
