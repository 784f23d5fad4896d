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

from .compilation import COMPILED, inlined

if TYPE_CHECKING:
    from mpi4py import MPI

ROOT = 0
COUNT_LIMIT = 2**31 - 1
"""Largest count of an MPI call with int arguments."""


class Comm(NamedTuple):
    """A communicator for compiled code: its handles, and where this process stands in it."""

    handle: int
    byte: int
    int8: int
    int16: int
    int32: int
    float32: int
    float64: int
    sum: int
    max: int
    rank: int
    size: int


def comm_of(comm: MPI.Comm) -> Comm:
    """The compiled view of an mpi4py communicator. The caller keeps `comm` alive."""
    MPI = _bind()
    handle = _handle(MPI, comm)
    _communicators[handle] = comm
    kinds = MPI.BYTE, MPI.INT8_T, MPI.INT16_T, MPI.INT32_T, MPI.FLOAT, MPI.DOUBLE, MPI.SUM, MPI.MAX
    return Comm._make([handle, *(_handle(MPI, kind) for kind in kinds), comm.rank, comm.size])


def disconnect(comm: Comm) -> None:
    """Free a communicator that was made for compiled code. Every rank of it calls this."""
    _communicators.pop(comm.handle).Free()


def no_request() -> int:
    """MPI_REQUEST_NULL."""
    MPI = _bind()
    return _handle(MPI, MPI.REQUEST_NULL)


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


_FUNCTIONS = (
    *("MPI_Gather", "MPI_Gatherv", "MPI_Allgather", "MPI_Allgatherv", "MPI_Reduce", "MPI_Allreduce"),
    *("MPI_Igather", "MPI_Igatherv", "MPI_Iallgather", "MPI_Iallgatherv", "MPI_Ireduce", "MPI_Iallreduce"),
    *("MPI_Wait", "MPI_Test", "MPI_Bcast", "MPI_Barrier", "MPI_Wtime"),
)

if COMPILED:
    import llvmlite.binding
    from numba.core import types

    def _external(name: str, result: Any, *arguments: Any) -> Any:
        return types.ExternalFunction(f"mpi_fed_{name}", result(*arguments))

    _int, _handle_type, _address = types.int32, types.int64, types.uintp
    _block = (_address, _int, _handle_type)
    _gather = _external("MPI_Gather", _int, *_block, *_block, _int, _handle_type)
    _vector = (*_block, _address, _address, _address, *_block[2:])
    _gatherv = _external("MPI_Gatherv", _int, *_vector, _int, _handle_type)
    _allgather = _external("MPI_Allgather", _int, *_block, *_block, _handle_type)
    _allgatherv = _external("MPI_Allgatherv", _int, *_vector, _handle_type)
    _operands = (_address, _address, _int, _handle_type, _handle_type)
    _reduce = _external("MPI_Reduce", _int, *_operands, _int, _handle_type)
    _allreduce = _external("MPI_Allreduce", _int, *_operands, _handle_type)
    _igather = _external("MPI_Igather", _int, *_block, *_block, _int, _handle_type, _address)
    _igatherv = _external("MPI_Igatherv", _int, *_vector, _int, _handle_type, _address)
    _iallgather = _external("MPI_Iallgather", _int, *_block, *_block, _handle_type, _address)
    _iallgatherv = _external("MPI_Iallgatherv", _int, *_vector, _handle_type, _address)
    _ireduce = _external("MPI_Ireduce", _int, *_operands, _int, _handle_type, _address)
    _iallreduce = _external("MPI_Iallreduce", _int, *_operands, _handle_type, _address)
    _wait = _external("MPI_Wait", _int, _address, _address)
    _test = _external("MPI_Test", _int, _address, _address, _address)
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
    def allgather_bytes(comm, send, count, receive):
        """MPI_Allgather of `count` bytes from every rank to every rank."""
        return _allgather(send.ctypes.data, count, comm.byte, receive.ctypes.data, count, comm.byte, comm.handle)

    @inlined
    def allgather_counts(comm, send, receive):
        """MPI_Allgather of all of `send`, int32."""
        n = len(send)
        return _allgather(send.ctypes.data, n, comm.int32, receive.ctypes.data, n, comm.int32, comm.handle)

    @inlined
    def allgatherv_bytes(comm, send, count, receive, counts, starts):
        """MPI_Allgatherv of bytes: counts and starts, int32, a rank."""
        return _allgatherv(
            send.ctypes.data,
            count,
            comm.byte,
            receive.ctypes.data,
            counts.ctypes.data,
            starts.ctypes.data,
            comm.byte,
            comm.handle,
        )

    @inlined
    def reduce_sum(comm, send, receive, count, kind):
        """MPI_Reduce to the root, MPI_SUM of `count` numbers of the MPI type `kind`."""
        return _reduce(send.ctypes.data, receive.ctypes.data, count, kind, comm.sum, np.int32(ROOT), comm.handle)

    @inlined
    def allreduce_sum(comm, send, receive, count, kind):
        """MPI_Allreduce, MPI_SUM of `count` floats of the MPI type `kind`."""
        return _allreduce(send.ctypes.data, receive.ctypes.data, count, kind, comm.sum, comm.handle)

    @inlined
    def allreduce_max(comm, send, receive, count, kind):
        """MPI_Allreduce, MPI_MAX of `count` floats of the MPI type `kind`."""
        return _allreduce(send.ctypes.data, receive.ctypes.data, count, kind, comm.max, comm.handle)

    @inlined
    def start_gather(comm, send, count, receive, to_all, request):
        """MPI_Igather of bytes, or MPI_Iallgather."""
        data, into, byte = send.ctypes.data, receive.ctypes.data, comm.byte
        if to_all:
            return _iallgather(data, count, byte, into, count, byte, comm.handle, request.ctypes.data)
        return _igather(data, count, byte, into, count, byte, np.int32(ROOT), comm.handle, request.ctypes.data)

    @inlined
    def start_gatherv(comm, send, count, receive, counts, starts, to_all, request):
        """MPI_Igatherv of bytes, or MPI_Iallgatherv."""
        data, into, byte = send.ctypes.data, receive.ctypes.data, comm.byte
        counts, starts = counts.ctypes.data, starts.ctypes.data
        if to_all:
            return _iallgatherv(data, count, byte, into, counts, starts, byte, comm.handle, request.ctypes.data)
        return _igatherv(
            data, count, byte, into, counts, starts, byte, np.int32(ROOT), comm.handle, request.ctypes.data
        )

    @inlined
    def start_reduce(comm, send, receive, count, kind, to_all, request):
        """MPI_Ireduce, or MPI_Iallreduce: MPI_SUM of `count` floats of the MPI type `kind`."""
        data, into = send.ctypes.data, receive.ctypes.data
        if to_all:
            return _iallreduce(data, into, count, kind, comm.sum, comm.handle, request.ctypes.data)
        return _ireduce(data, into, count, kind, comm.sum, np.int32(ROOT), comm.handle, request.ctypes.data)

    @inlined
    def wait(request, status):
        """MPI_Wait."""
        return _wait(request.ctypes.data, status.ctypes.data)

    @inlined
    def test(request, done, status):
        """MPI_Test."""
        return _test(request.ctypes.data, done.ctypes.data, status.ctypes.data)

    @inlined
    def bcast(comm, array):
        """MPI_Bcast of a float64 or byte array from the root."""
        kind = comm.float64 if array.itemsize == 8 else comm.byte
        return _bcast(array.ctypes.data, len(array), kind, np.int32(ROOT), comm.handle)

    @inlined
    def barrier(comm):
        """MPI_Barrier."""
        return _barrier(comm.handle)

    @inlined
    def wtime():
        """MPI_Wtime, seconds on a monotonic clock of this process."""
        return _wtime()

else:

    def _kind(comm, handle):
        MPI = _bind()
        types_of = {comm.int8: MPI.INT8_T, comm.int16: MPI.INT16_T, comm.int32: MPI.INT32_T, comm.float32: MPI.FLOAT}
        return types_of.get(handle, MPI.DOUBLE)

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

    def allgather_bytes(comm, send, count, receive):
        """MPI_Allgather of `count` bytes from every rank to every rank."""
        _communicators[comm.handle].Allgather([send, count, _bind().BYTE], [receive, count, _bind().BYTE])
        return 0

    def allgather_counts(comm, send, receive):
        """MPI_Allgather of all of `send`, int32."""
        n = len(send)
        _communicators[comm.handle].Allgather([send, n, _bind().INT32_T], [receive, n, _bind().INT32_T])
        return 0

    def allgatherv_bytes(comm, send, count, receive, counts, starts):
        """MPI_Allgatherv of bytes: counts and starts, int32, a rank."""
        _communicators[comm.handle].Allgatherv([send, count, _bind().BYTE], [receive, (counts, starts), _bind().BYTE])
        return 0

    def reduce_sum(comm, send, receive, count, kind):
        """MPI_Reduce to the root, MPI_SUM of `count` numbers of the MPI type `kind`."""
        of = _kind(comm, kind)
        target = [receive, count, of] if comm.rank == ROOT else None
        _communicators[comm.handle].Reduce([send, count, of], target, _bind().SUM, ROOT)
        return 0

    def allreduce_sum(comm, send, receive, count, kind):
        """MPI_Allreduce, MPI_SUM of `count` floats of the MPI type `kind`."""
        of = _kind(comm, kind)
        _communicators[comm.handle].Allreduce([send, count, of], [receive, count, of], _bind().SUM)
        return 0

    def allreduce_max(comm, send, receive, count, kind):
        """MPI_Allreduce, MPI_MAX of `count` floats of the MPI type `kind`."""
        of = _kind(comm, kind)
        _communicators[comm.handle].Allreduce([send, count, of], [receive, count, of], _bind().MAX)
        return 0

    _under_way: dict[int, Any] = {}

    def start_gather(comm, send, count, receive, to_all, request):
        """MPI_Igather of bytes, or MPI_Iallgather."""
        source, target = [send, count, _bind().BYTE], [receive, count, _bind().BYTE]
        _start(comm, request, "Iallgather" if to_all else "Igather", to_all, source, target)
        return 0

    def start_gatherv(comm, send, count, receive, counts, starts, to_all, request):
        """MPI_Igatherv of bytes, or MPI_Iallgatherv."""
        source, target = [send, count, _bind().BYTE], [receive, (counts, starts), _bind().BYTE]
        _start(comm, request, "Iallgatherv" if to_all else "Igatherv", to_all, source, target)
        return 0

    def start_reduce(comm, send, receive, count, kind, to_all, request):
        """MPI_Ireduce, or MPI_Iallreduce: MPI_SUM of `count` floats of the MPI type `kind`."""
        source, target = [send, count, _kind(comm, kind)], [receive, count, _kind(comm, kind)]
        _start(comm, request, "Iallreduce" if to_all else "Ireduce", to_all, source, target, _bind().SUM)
        return 0

    def _start(comm, request, name, to_all, source, target, *operation):
        call = getattr(_communicators[comm.handle], name)
        if to_all:
            _under_way[request.ctypes.data] = call(source, target, *operation)
        else:
            _under_way[request.ctypes.data] = call(source, target if comm.rank == ROOT else None, *operation, ROOT)

    def wait(request, status):
        """MPI_Wait."""
        if (started := _under_way.pop(request.ctypes.data, None)) is not None:
            started.Wait()
        return 0

    def test(request, done, status):
        """MPI_Test."""
        if (started := _under_way.get(request.ctypes.data)) is not None:
            started.Test()
        return 0

    def bcast(comm, array):
        """MPI_Bcast of a float64 or byte array from the root."""
        kind = _bind().DOUBLE if array.itemsize == 8 else _bind().BYTE
        _communicators[comm.handle].Bcast([array, kind], ROOT)
        return 0

    def barrier(comm):
        """MPI_Barrier."""
        _communicators[comm.handle].Barrier()
        return 0

    def wtime():
        """MPI_Wtime, seconds on a monotonic clock of this process."""
        return _bind().Wtime()
