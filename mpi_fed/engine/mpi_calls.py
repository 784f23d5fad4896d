"""The MPI calls of a round. Compiled code calls any MPI library directly; plain Python calls it through mpi4py.

The functions are looked up in the MPI library that mpi4py's extension module has loaded, and registered with LLVM under
private names, so that cached code works with any MPI library. Handles are read at run time and passed as int64: a
pointer of Open MPI fills all 64 bits, a 32-bit number of MPICH the lower half. Every call returns MPI's error code, 0
for success.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .compilation import COMPILED, Integer, inlined

if TYPE_CHECKING:
    from mpi4py import MPI

ROOT = 0
"""Rank of the root."""
COUNT_LIMIT = 2**31 - 1
"""Largest count of an MPI call with int arguments."""

Bytes = NDArray[np.uint8]
Counts = NDArray[np.int32]
Numbers = NDArray[Any]
Request = NDArray[np.int64]


class Comm(NamedTuple):
    """A communicator for compiled code: MPI's handles as integers, the rank of this process and the number of ranks.

    Attributes
    ----------
    handle : int
        The handle of the communicator.
    byte, int8, int16, int32, float32, float64 : int
        The handles of the datatypes MPI_BYTE, MPI_INT8_T, MPI_INT16_T, MPI_INT32_T, MPI_FLOAT and MPI_DOUBLE.
    sum, max : int
        The handles of the operations MPI_SUM and MPI_MAX.
    rank : int
        The rank of this process, 0 <= rank < size.
    size : int
        The number of ranks.
    """

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
    """Return an mpi4py communicator in the form that compiled code takes. The caller must keep `comm` alive."""
    mpi = _bind()
    handle = _handle(mpi, comm)
    _communicators[handle] = comm
    kinds = mpi.BYTE, mpi.INT8_T, mpi.INT16_T, mpi.INT32_T, mpi.FLOAT, mpi.DOUBLE, mpi.SUM, mpi.MAX
    return Comm._make([handle, *(_handle(mpi, kind) for kind in kinds), comm.rank, comm.size])


def disconnect(comm: Comm) -> None:
    """Free a communicator that was made for compiled code. Every rank of the communicator must call this."""
    _communicators.pop(comm.handle).Free()


def no_request() -> int:
    """Return the handle MPI_REQUEST_NULL."""
    mpi = _bind()
    return _handle(mpi, mpi.REQUEST_NULL)


_communicators: dict[int, Any] = {}
"""mpi4py's communicators, by handle."""


def _handle(mpi: ModuleType, thing: Any) -> int:
    kind = ctypes.c_int64 if mpi._sizeof(thing) == 8 else ctypes.c_int32
    return kind.from_address(mpi._addressof(thing)).value


@functools.cache
def _bind() -> ModuleType:
    """Start MPI, register its functions with LLVM, and return mpi4py's module MPI."""
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

    def _external(name: str, result: Any, *arguments: Any) -> Callable[..., int]:
        function: Callable[..., int] = types.ExternalFunction(f"mpi_fed_{name}", result(*arguments))
        return function

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
    _wtime: Callable[..., float] = _external("MPI_Wtime", types.float64)

    @inlined
    def gather_bytes(comm: Comm, send: Bytes, count: Integer, receive: Bytes) -> int:
        """MPI_Gather of `count` bytes from every rank to the root."""
        return _gather(
            send.ctypes.data, count, comm.byte, receive.ctypes.data, count, comm.byte, np.int32(ROOT), comm.handle
        )

    @inlined
    def gather_counts(comm: Comm, send: Counts, receive: Counts) -> int:
        """MPI_Gather of the whole array `send`, int32, to the root."""
        n = len(send)
        return _gather(send.ctypes.data, n, comm.int32, receive.ctypes.data, n, comm.int32, np.int32(ROOT), comm.handle)

    @inlined
    def gatherv_bytes(comm: Comm, send: Bytes, count: Integer, receive: Bytes, counts: Counts, starts: Counts) -> int:
        """MPI_Gatherv of bytes: counts and starts are int32, one for each rank, and only the root reads them."""
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
    def allgather_bytes(comm: Comm, send: Bytes, count: Integer, receive: Bytes) -> int:
        """MPI_Allgather of `count` bytes from every rank to every rank."""
        return _allgather(send.ctypes.data, count, comm.byte, receive.ctypes.data, count, comm.byte, comm.handle)

    @inlined
    def allgather_counts(comm: Comm, send: Counts, receive: Counts) -> int:
        """MPI_Allgather of the whole array `send`, int32."""
        n = len(send)
        return _allgather(send.ctypes.data, n, comm.int32, receive.ctypes.data, n, comm.int32, comm.handle)

    @inlined
    def allgatherv_bytes(
        comm: Comm, send: Bytes, count: Integer, receive: Bytes, counts: Counts, starts: Counts
    ) -> int:
        """MPI_Allgatherv of bytes: counts and starts are int32, one for each rank."""
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
    def reduce_sum(comm: Comm, send: Numbers, receive: Numbers, count: Integer, kind: int) -> int:
        """MPI_Reduce to the root, MPI_SUM of `count` numbers of the MPI type `kind`."""
        return _reduce(send.ctypes.data, receive.ctypes.data, count, kind, comm.sum, np.int32(ROOT), comm.handle)

    @inlined
    def allreduce_sum(comm: Comm, send: Numbers, receive: Numbers, count: Integer, kind: int) -> int:
        """MPI_Allreduce, MPI_SUM of `count` numbers of the MPI type `kind`."""
        return _allreduce(send.ctypes.data, receive.ctypes.data, count, kind, comm.sum, comm.handle)

    @inlined
    def allreduce_max(comm: Comm, send: Numbers, receive: Numbers, count: Integer, kind: int) -> int:
        """MPI_Allreduce, MPI_MAX of `count` numbers of the MPI type `kind`."""
        return _allreduce(send.ctypes.data, receive.ctypes.data, count, kind, comm.max, comm.handle)

    @inlined
    def start_gather(comm: Comm, send: Bytes, count: Integer, receive: Bytes, to_all: bool, request: Request) -> int:
        """MPI_Igather of bytes, or MPI_Iallgather if `to_all`."""
        data, into, byte = send.ctypes.data, receive.ctypes.data, comm.byte
        if to_all:
            return _iallgather(data, count, byte, into, count, byte, comm.handle, request.ctypes.data)
        return _igather(data, count, byte, into, count, byte, np.int32(ROOT), comm.handle, request.ctypes.data)

    @inlined
    def start_gatherv(
        comm: Comm,
        send: Bytes,
        count: Integer,
        receive: Bytes,
        counts: Counts,
        starts: Counts,
        to_all: bool,
        request: Request,
    ) -> int:
        """MPI_Igatherv of bytes, or MPI_Iallgatherv if `to_all`."""
        data, into, byte = send.ctypes.data, receive.ctypes.data, comm.byte
        sizes, places = counts.ctypes.data, starts.ctypes.data
        if to_all:
            return _iallgatherv(data, count, byte, into, sizes, places, byte, comm.handle, request.ctypes.data)
        return _igatherv(data, count, byte, into, sizes, places, byte, np.int32(ROOT), comm.handle, request.ctypes.data)

    @inlined
    def start_reduce(
        comm: Comm, send: Numbers, receive: Numbers, count: Integer, kind: int, to_all: bool, request: Request
    ) -> int:
        """MPI_Ireduce, or MPI_Iallreduce if `to_all`: MPI_SUM of `count` numbers of the MPI type `kind`."""
        data, into = send.ctypes.data, receive.ctypes.data
        if to_all:
            return _iallreduce(data, into, count, kind, comm.sum, comm.handle, request.ctypes.data)
        return _ireduce(data, into, count, kind, comm.sum, np.int32(ROOT), comm.handle, request.ctypes.data)

    @inlined
    def wait(request: Request, status: Request) -> int:
        """MPI_Wait."""
        return _wait(request.ctypes.data, status.ctypes.data)

    @inlined
    def test(request: Request, done: Counts, status: Request) -> int:
        """MPI_Test."""
        return _test(request.ctypes.data, done.ctypes.data, status.ctypes.data)

    @inlined
    def bcast(comm: Comm, array: Numbers) -> int:
        """MPI_Bcast of a float64 or byte array from the root."""
        kind = comm.float64 if array.itemsize == 8 else comm.byte
        return _bcast(array.ctypes.data, len(array), kind, np.int32(ROOT), comm.handle)

    @inlined
    def barrier(comm: Comm) -> int:
        """MPI_Barrier."""
        return _barrier(comm.handle)

    @inlined
    def wtime() -> float:
        """MPI_Wtime, seconds on a monotonic clock of this process."""
        return _wtime()

else:

    def _kind(comm: Comm, handle: int) -> Any:
        mpi = _bind()
        types_of = {comm.int8: mpi.INT8_T, comm.int16: mpi.INT16_T, comm.int32: mpi.INT32_T, comm.float32: mpi.FLOAT}
        return types_of.get(handle, mpi.DOUBLE)

    def gather_bytes(comm: Comm, send: Bytes, count: Integer, receive: Bytes) -> int:
        """MPI_Gather of `count` bytes from every rank to the root."""
        target = [receive, count, _bind().BYTE] if comm.rank == ROOT else None
        _communicators[comm.handle].Gather([send, count, _bind().BYTE], target, ROOT)
        return 0

    def gather_counts(comm: Comm, send: Counts, receive: Counts) -> int:
        """MPI_Gather of the whole array `send`, int32, to the root."""
        target = [receive, len(send), _bind().INT32_T] if comm.rank == ROOT else None
        _communicators[comm.handle].Gather([send, len(send), _bind().INT32_T], target, ROOT)
        return 0

    def gatherv_bytes(comm: Comm, send: Bytes, count: Integer, receive: Bytes, counts: Counts, starts: Counts) -> int:
        """MPI_Gatherv of bytes: counts and starts are int32, one for each rank, and only the root reads them."""
        target = [receive, (counts, starts), _bind().BYTE] if comm.rank == ROOT else None
        _communicators[comm.handle].Gatherv([send, count, _bind().BYTE], target, ROOT)
        return 0

    def allgather_bytes(comm: Comm, send: Bytes, count: Integer, receive: Bytes) -> int:
        """MPI_Allgather of `count` bytes from every rank to every rank."""
        _communicators[comm.handle].Allgather([send, count, _bind().BYTE], [receive, count, _bind().BYTE])
        return 0

    def allgather_counts(comm: Comm, send: Counts, receive: Counts) -> int:
        """MPI_Allgather of the whole array `send`, int32."""
        n = len(send)
        _communicators[comm.handle].Allgather([send, n, _bind().INT32_T], [receive, n, _bind().INT32_T])
        return 0

    def allgatherv_bytes(
        comm: Comm, send: Bytes, count: Integer, receive: Bytes, counts: Counts, starts: Counts
    ) -> int:
        """MPI_Allgatherv of bytes: counts and starts are int32, one for each rank."""
        _communicators[comm.handle].Allgatherv([send, count, _bind().BYTE], [receive, (counts, starts), _bind().BYTE])
        return 0

    def reduce_sum(comm: Comm, send: Numbers, receive: Numbers, count: Integer, kind: int) -> int:
        """MPI_Reduce to the root, MPI_SUM of `count` numbers of the MPI type `kind`."""
        of = _kind(comm, kind)
        target = [receive, count, of] if comm.rank == ROOT else None
        _communicators[comm.handle].Reduce([send, count, of], target, _bind().SUM, ROOT)
        return 0

    def allreduce_sum(comm: Comm, send: Numbers, receive: Numbers, count: Integer, kind: int) -> int:
        """MPI_Allreduce, MPI_SUM of `count` numbers of the MPI type `kind`."""
        of = _kind(comm, kind)
        _communicators[comm.handle].Allreduce([send, count, of], [receive, count, of], _bind().SUM)
        return 0

    def allreduce_max(comm: Comm, send: Numbers, receive: Numbers, count: Integer, kind: int) -> int:
        """MPI_Allreduce, MPI_MAX of `count` numbers of the MPI type `kind`."""
        of = _kind(comm, kind)
        _communicators[comm.handle].Allreduce([send, count, of], [receive, count, of], _bind().MAX)
        return 0

    _in_progress: dict[int, Any] = {}
    """mpi4py's requests, by the address of the array that compiled code would store the request in."""

    def start_gather(comm: Comm, send: Bytes, count: Integer, receive: Bytes, to_all: bool, request: Request) -> int:
        """MPI_Igather of bytes, or MPI_Iallgather if `to_all`."""
        source, target = [send, count, _bind().BYTE], [receive, count, _bind().BYTE]
        _start(comm, request, "Iallgather" if to_all else "Igather", to_all, source, target)
        return 0

    def start_gatherv(
        comm: Comm,
        send: Bytes,
        count: Integer,
        receive: Bytes,
        counts: Counts,
        starts: Counts,
        to_all: bool,
        request: Request,
    ) -> int:
        """MPI_Igatherv of bytes, or MPI_Iallgatherv if `to_all`."""
        source, target = [send, count, _bind().BYTE], [receive, (counts, starts), _bind().BYTE]
        _start(comm, request, "Iallgatherv" if to_all else "Igatherv", to_all, source, target)
        return 0

    def start_reduce(
        comm: Comm, send: Numbers, receive: Numbers, count: Integer, kind: int, to_all: bool, request: Request
    ) -> int:
        """MPI_Ireduce, or MPI_Iallreduce if `to_all`: MPI_SUM of `count` numbers of the MPI type `kind`."""
        source, target = [send, count, _kind(comm, kind)], [receive, count, _kind(comm, kind)]
        _start(comm, request, "Iallreduce" if to_all else "Ireduce", to_all, source, target, _bind().SUM)
        return 0

    def _start(
        comm: Comm, request: Request, name: str, to_all: bool, source: list[Any], target: list[Any], *operation: Any
    ) -> None:
        call = getattr(_communicators[comm.handle], name)
        if to_all:
            _in_progress[request.ctypes.data] = call(source, target, *operation)
        else:
            _in_progress[request.ctypes.data] = call(source, target if comm.rank == ROOT else None, *operation, ROOT)

    def wait(request: Request, status: Request) -> int:
        """MPI_Wait."""
        if (started := _in_progress.pop(request.ctypes.data, None)) is not None:
            started.Wait()
        return 0

    def test(request: Request, done: Counts, status: Request) -> int:
        """MPI_Test."""
        if (started := _in_progress.get(request.ctypes.data)) is not None:
            started.Test()
        return 0

    def bcast(comm: Comm, array: Numbers) -> int:
        """MPI_Bcast of a float64 or byte array from the root."""
        kind = _bind().DOUBLE if array.itemsize == 8 else _bind().BYTE
        _communicators[comm.handle].Bcast([array, kind], ROOT)
        return 0

    def barrier(comm: Comm) -> int:
        """MPI_Barrier."""
        _communicators[comm.handle].Barrier()
        return 0

    def wtime() -> float:
        """MPI_Wtime, seconds on a monotonic clock of this process."""
        seconds: float = _bind().Wtime()
        return seconds
