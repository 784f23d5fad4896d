"""Memory that is freed before MPI_Init is not allocated again within it."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

from mpi_fed.launch import pmi_heap

PROGRAM = """
import contextlib, ctypes, sys
from mpi_fed.launch import pmi_heap

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
SIZES = [40, 100, 500, 1000, 3000, 4096, 20000, 60000]
MARK = b"remains of a docstring"

blocks = [libc.malloc(size) for _ in range(200) for size in SIZES]
for block in blocks:
    ctypes.memmove(block + 16, MARK, len(MARK))  # the first 16 bytes are the allocator's once a block is free
for block in blocks[::2] + blocks[1::4]:
    libc.free(block)
with pmi_heap.fresh_blocks() if sys.argv[1] == "fresh" else contextlib.nullcontext():
    new = [libc.malloc(size) for size in SIZES for _ in range(20)]
print(sum(ctypes.string_at(block + 16, len(MARK)) == MARK for block in new))
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="needs glibc 2.33 or newer")
def test_blocks_allocated_within_have_no_old_content() -> None:
    def dirty(how: str) -> int:
        words = [sys.executable, "-P", "-c", PROGRAM, how]
        return int(subprocess.run(words, check=True, capture_output=True, text=True).stdout)

    assert dirty("plain") > 20
    assert dirty("fresh") == 0


def test_slurms_pmi_1_is_recognized() -> None:
    assert pmi_heap.slurm_speaks_pmi1({"PMI_FD": "3", "SLURM_STEP_ID": "0"})
    assert not pmi_heap.slurm_speaks_pmi1({"PMI_FD": "3"})
    assert not pmi_heap.slurm_speaks_pmi1({"SLURM_STEP_ID": "0"})
