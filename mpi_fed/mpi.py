"""The MPI calls of a round, from compiled code on any MPI; without compilation the same calls over mpi4py.

mpi4py's own libmpi is found among what its extension module loaded, and its functions are registered with LLVM under
private names, so that cached code binds to whichever MPI is there. Handles are read at run time and passed as int64:
Open MPI's pointers fill it, MPICH's 32-bit numbers sit in the low half. Every call returns MPI's code, 0 for success.
"""

from __future__ import annotations

import ctypes
import functools
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .jit import COMPILED, inlined

if TYPE_CHECKING:
    from mpi4py import MPI

ROOT = 0
COUNT_LIMIT = 2**31 - 1
"""Largest count of an MPI call with int arguments."""


class Comm(NamedTuple):
    """A communicator for compiled code: its handles, and where this process stands in it."""

    handle: int
    byte: int
    int32: int
    float64: int
    rank: int
    size: int


def comm_of(comm: MPI.Comm) -> Comm:
    """The compiled view of an mpi4py communicator. The caller keeps `comm` alive."""
    MPI = _bind()
    handle = _handle(MPI, comm)
    _communicators[handle] = comm
    byte, int32, float64 = (_handle(MPI, kind) for kind in (MPI.BYTE, MPI.INT32_T, MPI.DOUBLE))
    return Comm(handle, byte, int32, float64, comm.rank, comm.size)


_communicators: dict[int, MPI.Comm] = {}


def _handle(MPI: Any, thing: Any) -> int:
    kind = ctypes.c_int64 if MPI._sizeof(thing) == 8 else ctypes.c_int32
    return kind.from_address(MPI._addressof(thing)).value


@functools.cache
def _bind() -> Any:
    """mpi4py's MPI, started, with its functions known to LLVM. Whoever only reads studies never gets here."""
    from mpi4py import MPI

    if COMPILED:
        library = ctypes.CDLL(MPI.__file__)
        for name in _FUNCTIONS:
            llvmlite.binding.add_symbol(f"mpi_fed_{name}", ctypes.cast(getattr(library, name), ctypes.c_void_p).value)
    return MPI


_FUNCTIONS = ("MPI_Gather", "MPI_Gatherv", "MPI_Bcast", "MPI_Barrier", "MPI_Wtime")

if COMPILED:
    import llvmlite.binding
    from numba.core import types

    def _external(name: str, result: Any, *arguments: Any) -> Any:
        return types.ExternalFunction(f"mpi_fed_{name}", result(*arguments))

    _int, _handle_type, _address = types.int32, types.int64, types.uintp
    _block = (_address, _int, _handle_type)
    _gather = _external("MPI_Gather", _int, *_block, *_block, _int, _handle_type)
    _gatherv = _external("MPI_Gatherv", _int, *_block, _address, _address, _address, *_block[2:], _int, _handle_type)
    _bcast = _external("MPI_Bcast", _int, *_block, _int, _handle_type)
    _barrier = _external("MPI_Barrier", _int, _handle_type)
    _wtime = _external("MPI_Wtime", types.float64)

    @inlined
    def gather_bytes(comm, send, count, receive):
        """MPI_Gather of `count` bytes from every rank to the root."""
        return _gather(
            send.ctypes.data, count, comm.byte, receive.ctypes.data, count, comm.byte, np.int32(ROOT), comm.handle
        )

    @inlined
    def gather_counts(comm, send, receive):
        """MPI_Gather of all of `send`, int32, to the root."""
        n = len(send)
        return _gather(send.ctypes.data, n, comm.int32, receive.ctypes.data, n, comm.int32, np.int32(ROOT), comm.handle)

    @inlined
    def gatherv_bytes(comm, send, count, receive, counts, starts):
        """MPI_Gatherv of bytes: counts and starts, int32, a rank; they are read at the root alone."""
        return _gatherv(
            send.ctypes.data,
            count,
            comm.byte,
            receive.ctypes.data,
            counts.ctypes.data,
            starts.ctypes.data,
            comm.byte,
            np.int32(ROOT),
            comm.handle,
        )

    @inlined
    def bcast(comm, array):
        """MPI_Bcast of a float64 array from the root."""
        return _bcast(array.ctypes.data, len(array), comm.float64, np.int32(ROOT), comm.handle)

    @inlined
    def barrier(comm):
        """MPI_Barrier."""
        return _barrier(comm.handle)

    @inlined
    def wtime():
        """MPI_Wtime, seconds on a monotonic clock of this process."""
        return _wtime()

else:

    def gather_bytes(comm, send, count, receive):
        """MPI_Gather of `count` bytes from every rank to the root."""
        target = [receive, count, _bind().BYTE] if comm.rank == ROOT else None
        _communicators[comm.handle].Gather([send, count, _bind().BYTE], target, ROOT)
        return 0

    def gather_counts(comm, send, receive):
        """MPI_Gather of all of `send`, int32, to the root."""
        target = [receive, len(send), _bind().INT32_T] if comm.rank == ROOT else None
        _communicators[comm.handle].Gather([send, len(send), _bind().INT32_T], target, ROOT)
        return 0

    def gatherv_bytes(comm, send, count, receive, counts, starts):
        """MPI_Gatherv of bytes: counts and starts, int32, a rank; they are read at the root alone."""
        target = [receive, (counts, starts), _bind().BYTE] if comm.rank == ROOT else None
        _communicators[comm.handle].Gatherv([send, count, _bind().BYTE], target, ROOT)
        return 0

    def bcast(comm, array):
        """MPI_Bcast of a float64 array from the root."""
        _communicators[comm.handle].Bcast([array, _bind().DOUBLE], ROOT)
        return 0

    def barrier(comm):
        """MPI_Barrier."""
        _communicators[comm.handle].Barrier()
        return 0

    def wtime():
        """MPI_Wtime, seconds on a monotonic clock of this process."""
        return _bind().Wtime()
