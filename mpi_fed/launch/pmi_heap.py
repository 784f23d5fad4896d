"""A clean heap for MPI_Init, with which MPICH mostly starts over several nodes under `srun --mpi=pmi2`.

MPICH 5 with UCX publishes 4096 bytes from where a rank's address begins, a few hundred bytes long, so the heap behind
it goes with it, with runs of zeros shortened. Slurm's server of PMI 1 cuts a line at 1024 bytes. Where text lay behind
the address, ranks got each other's addresses spoilt: MPI_Init ended with an error, or waited for ever. What MPI_Init
itself leaves behind the address can still do the same. Ranks of one node publish no addresses.
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator, Mapping

LARGEST = 1 << 16
"""Bytes of the largest blocks: below the size from which glibc maps each block for itself."""


class _Usage(ctypes.Structure):
    """glibc's struct mallinfo2."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    ]


def slurm_speaks_pmi1(environment: Mapping[str, str]) -> bool:
    """Whether Slurm speaks PMI 1 with this process."""
    return "PMI_FD" in environment and "SLURM_STEP_ID" in environment


@contextlib.contextmanager
def fresh_blocks() -> Iterator[int]:
    """Within it, no new block of memory is made of a freed one; yields how many freed ones there were.

    Takes milliseconds. Does nothing where the C library is not glibc 2.33 or newer.
    """
    freed: list[int] = []
    try:
        libc = ctypes.CDLL(None)
        libc.mallinfo2.restype = _Usage
        libc.sbrk.restype = libc.malloc.restype = ctypes.c_void_p
        libc.malloc.argtypes = [ctypes.c_size_t]
        libc.free.argtypes = [ctypes.c_void_p]
        libc.malloc_trim(0)  # so that the heap's top is new pages
    except (AttributeError, OSError):
        yield 0
        return
    top = libc.sbrk(0) - libc.mallinfo2().keepcost
    for size in _sizes():
        while block := libc.malloc(size):
            freed.append(block)
            if block >= top:
                break
    try:
        yield len(freed)
    finally:
        for block in freed:
            libc.free(block)


def _sizes() -> Iterator[int]:
    """Sizes of blocks from large to small, all of those that glibc keeps lists of."""
    size = LARGEST
    while size > 1024:
        yield size
        size //= 2
    yield from range(1024, 0, -16)
