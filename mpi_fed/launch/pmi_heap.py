"""A clean heap for MPI_Init, so that MPICH starts on several nodes under `srun --mpi=pmi2` in most cases.

MPICH 5 with UCX publishes 4096 bytes from the beginning of a rank's address, which is a few hundred bytes long, so the
heap after the address is sent too, with runs of zeros shortened. Slurm's PMI 1 server cuts a line at 1024 bytes. If
there was text after the address, ranks received damaged addresses: MPI_Init failed, or waited forever. Data that
MPI_Init itself leaves after the address can still cause this. Ranks of one node publish no addresses.
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator, Mapping

LARGEST = 1 << 16
"""Bytes of the largest blocks: less than the size from which glibc maps each block separately."""


class _Usage(ctypes.Structure):
    """The struct mallinfo2 of glibc."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    ]


def slurm_speaks_pmi1(environment: Mapping[str, str]) -> bool:
    """Return whether Slurm uses PMI 1 with this process."""
    return "PMI_FD" in environment and "SLURM_STEP_ID" in environment


@contextlib.contextmanager
def fresh_blocks() -> Iterator[int]:
    """Prevent within the block that memory freed earlier is allocated again; yield the number of freed blocks.

    Takes milliseconds. Does nothing unless the C library is glibc 2.33 or newer.
    """
    freed: list[int] = []
    try:
        libc = ctypes.CDLL(None)
        libc.mallinfo2.restype = _Usage
        libc.sbrk.restype = libc.malloc.restype = ctypes.c_void_p
        libc.malloc.argtypes = [ctypes.c_size_t]
        libc.free.argtypes = [ctypes.c_void_p]
        libc.malloc_trim(0)  # so that the top of the heap consists of new pages
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
    """Yield the sizes of blocks for which glibc keeps lists, from large to small."""
    size = LARGEST
    while size > 1024:
        yield size
        size //= 2
    yield from range(1024, 0, -16)
