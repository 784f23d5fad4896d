"""The checkpoint of a repetition in progress, next to its log: the state that the log does not hold.

The file is an uncompressed .npz without pickle. It holds `meta` (JSON), the root's arrays, and the clients' arrays in
the order of the clients, so that any number of ranks can continue the repetition. The file is written under a temporary
name and renamed. The state of a random stream is only the seed and the number of rounds done. A repetition that
continues from a checkpoint ends with the same bits as an uninterrupted repetition.
"""

from __future__ import annotations

import contextlib
import json
import os
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, RunError
from ..files import atomic_write, part_files
from ..launch.world import World
from ..study.configuration import Configuration
from ..version import __version__
from .simulation import Simulation

FORMAT, VERSION = "mpi-fed checkpoint", 2
SUFFIX = ".checkpoint"
_PIECE = 2**24
"""Largest number of bytes of clients' arrays in one MPI message."""
_TAG = 7

Arrays = dict[str, NDArray[Any]]


def path_of(log: Path) -> Path:
    """Return the path of the checkpoint of a log's repetition in progress."""
    return log.with_suffix(SUFFIX)


@dataclass(frozen=True)
class Checkpoint:
    """An undamaged checkpoint that fits its configuration."""

    path: Path
    seed: int
    done: int
    """Number of rounds done."""
    ranks: int
    """Number of ranks of the run that wrote the checkpoint."""


def save(world: World, log: Path, simulation: Simulation) -> None:
    """Write the checkpoint of the repetition in progress. Every rank calls it.

    Raises RunError if a rank's iterate differs from the root's iterate, InputError if the file cannot be written.
    """
    compare_iterates(world, simulation)
    clocks = world.comm.gather(simulation.wire.clock)
    if not world.is_root:
        for array in simulation.clients_arrays().values():
            for piece in _pieces(array):
                world.comm.Send(piece, 0, _TAG)
        return
    path = path_of(log)
    try:
        with atomic_write(path) as part, open(part, "wb") as file:
            with zipfile.ZipFile(file, "w") as archive:
                _write(archive, "meta", np.frombuffer(json.dumps(_meta(simulation)).encode(), np.uint8))
                for name, array in {**simulation.roots_arrays(), "clock": np.array(clocks)}.items():
                    _write(archive, name, array)
                for name, array in simulation.clients_arrays().items():
                    _write_clients(world, archive, name, array, simulation)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror or error}); free disk space, or give another --out"
        ) from None


def compare_iterates(world: World, simulation: Simulation) -> None:
    """Raise RunError on all ranks unless each rank holds the same model as the root, bit for bit."""
    roots = simulation.state.model.copy()
    world.comm.Bcast(roots)
    same = roots.tobytes() == simulation.state.model.tobytes()
    for rank, (agrees, host) in enumerate(world.comm.allgather((same, world.host))):
        if not agrees:
            raise RunError(
                f"{simulation.configuration.label}: after {simulation.done:,} rounds the iterate of rank {rank} on "
                f"{host} differs from the root's iterate, because the memory or the network of {host} is faulty; "
                f"run the study again without {host}"
            )


def load(log: Path, configuration: Configuration) -> Checkpoint | None:
    """Return the log's checkpoint, or None. Raises InputError if it is damaged or does not fit the configuration.

    Checksums cover every byte, so that `restore` can rely on the contents.
    """
    path = path_of(log)
    if not path.exists():
        return None
    with _checkpoint_errors(path), zipfile.ZipFile(path) as archive:
        if archive.testzip() is not None:
            raise ValueError("a checksum is wrong")
        meta = json.loads(_read(archive, "meta").tobytes())
        checkpoint = Checkpoint(path, int(meta["seed"]), int(meta["done"]), int(meta["ranks"]))
        if (meta["format"], meta["format_version"]) != (FORMAT, VERSION):
            raise ValueError(f"its format is {meta['format']} {meta['format_version']}, not {FORMAT} {VERSION}")
        tables, version = dict(meta["configuration"]), str(meta["package_version"])
    if difference := _difference(tables, version, configuration):
        raise InputError(f"{path}: {difference}; delete the file to restart the repetition of seed {checkpoint.seed}")
    if not 0 < checkpoint.done < configuration.rounds or checkpoint.seed not in configuration.seeds:
        place = f"round {checkpoint.done} of seed {checkpoint.seed}"
        raise InputError(f"{path}: {place} is not part of this study; delete the file, or move it away")
    return checkpoint


def restore(world: World, checkpoint: Checkpoint | None, simulation: Simulation) -> None:
    """Set the simulation to the state of a checkpoint. Every rank calls it; only the root passes the checkpoint."""
    saved = world.comm.bcast(checkpoint)
    simulation.start(saved.seed)
    simulation.go_to(saved.done)
    arrays, clients = simulation.roots_arrays(), simulation.clients_arrays()
    if world.is_root:
        with _checkpoint_errors(saved.path), zipfile.ZipFile(saved.path) as archive:
            for name, array in arrays.items():
                array[...] = _fitting(name, _read(archive, name), array)
            clocks = _fitting("clock", _read(archive, "clock"), np.zeros((saved.ranks, len(simulation.wire.clock))))
            for name, array in clients.items():
                _read_clients(world, archive, name, array, simulation)
    else:
        clocks = None
        for array in clients.values():
            for piece in _pieces(array):
                world.comm.Recv(piece, 0, _TAG)
    for array in arrays.values():
        world.comm.Bcast(array)
    if saved.ranks == world.size:  # on another number of ranks, the times of phases start at 0
        simulation.wire.clock[:] = world.comm.scatter(list(clocks) if clocks is not None else None)


def discard(log: Path) -> None:
    """Remove the checkpoint of a log whose repetition is done, and unfinished checkpoints of killed runs."""
    path = path_of(log)
    path.unlink(missing_ok=True)
    for part in part_files(path):
        part.unlink(missing_ok=True)


def _meta(simulation: Simulation) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "format_version": VERSION,
        "package_version": __version__,
        "configuration_id": simulation.configuration.id,
        "configuration": simulation.configuration.tables,
        "seed": int(simulation.seed),
        "done": simulation.done,
        "ranks": simulation.comm.size,
    }


def _difference(tables: dict[str, Any], version: str, configuration: Configuration) -> str | None:
    """Return the first difference from the checkpoint's version and tables to the present ones, or None."""
    if version != __version__:
        return f"was written by mpi-fed {version}, but this is {__version__}, whose results may differ"
    now = configuration.tables
    for name in tables:
        if name not in now:
            return f"had a table [{name}] when it was written, but the study has no such table now"
    for name in now:
        was, new = tables.get(name), now[name]
        if not isinstance(was, dict):
            return f"has no table [{name}]"
        for key in [*new, *(key for key in was if key not in new)]:
            if (name, key) not in (("study", "name"), ("study", "repetitions")) and was.get(key) != new.get(key):
                return f"[{name}] {key} was {was.get(key)!r} when it was written, but is {new.get(key)!r} now"
    return None


def _write(archive: zipfile.ZipFile, name: str, array: NDArray[Any]) -> None:
    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
        np.lib.format.write_array(member, array, allow_pickle=False)


def _write_clients(
    world: World, archive: zipfile.ZipFile, name: str, rows: NDArray[Any], simulation: Simulation
) -> None:
    """Write an array with one row for each client: first the root's rows, then the rows that other ranks send."""
    shape = (simulation.configuration.clients, *rows.shape[1:])
    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
        header = {"descr": np.lib.format.dtype_to_descr(rows.dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(member, header)
        for piece in _pieces(rows):
            member.write(piece.tobytes())
        for rank in range(1, world.size):
            for piece in _pieces(_room(rows, simulation, rank)):
                world.comm.Recv(piece, rank, _TAG)
                member.write(piece.tobytes())


def _read_clients(
    world: World, archive: zipfile.ZipFile, name: str, rows: NDArray[Any], simulation: Simulation
) -> None:
    """Read the root's rows into `rows`, and send the other ranks their rows."""
    shape = (simulation.configuration.clients, *rows.shape[1:])
    with archive.open(f"{name}.npy") as member:
        _check_header(name, member, shape, rows.dtype)
        for piece in _pieces(rows):
            piece[...] = _next(member, piece)
        for rank in range(1, world.size):
            for piece in _pieces(_room(rows, simulation, rank)):
                world.comm.Send(_next(member, piece), rank, _TAG)


def _next(member: IO[bytes], like: NDArray[Any]) -> NDArray[Any]:
    data = member.read(like.nbytes)
    return np.frombuffer(data, like.dtype).reshape(like.shape)


def _room(rows: NDArray[Any], simulation: Simulation, rank: int) -> NDArray[Any]:
    """Return an empty array like `rows` for a rank's clients; only the pieces that are used take memory."""
    hosts = simulation.wire.hosts
    return np.empty((int(hosts[rank + 1] - hosts[rank]), *rows.shape[1:]), rows.dtype)


def _pieces(array: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Yield the array in blocks of rows, as views."""
    rows = max(1, _PIECE // max(1, array.itemsize * int(np.prod(array.shape[1:]))))
    for start in range(0, len(array), rows):
        yield array[start : start + rows]


def _read(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    with archive.open(f"{name}.npy") as member:
        return np.lib.format.read_array(member, allow_pickle=False)


def _fitting(name: str, array: NDArray[Any], target: NDArray[Any]) -> NDArray[Any]:
    if array.shape != target.shape or array.dtype != target.dtype:
        raise ValueError(
            f"its array {name} is {array.dtype} of shape {array.shape}, but must be {target.dtype} of shape "
            f"{target.shape}"
        )
    return array


def _check_header(name: str, member: IO[bytes], shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    if np.lib.format.read_magic(member) != (1, 0):
        raise ValueError(f"{name} is not an array in the format .npy 1.0")
    actual_shape, fortran, actual_dtype = np.lib.format.read_array_header_1_0(member)
    if (actual_shape, fortran, actual_dtype) != (shape, False, dtype):
        raise ValueError(
            f"its array {name} is {actual_dtype} of shape {actual_shape}, but must be {dtype} of shape {shape}"
        )


@contextlib.contextmanager
def _checkpoint_errors(path: Path) -> Iterator[None]:
    """Replace any error that a damaged file, or a file of another kind, causes by an InputError with one sentence."""
    try:
        yield
    except (
        *(OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, OverflowError, MemoryError),
        *(zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, SyntaxError, RecursionError),
    ) as error:
        reason = getattr(error, "strerror", None) or str(error).split("\n")[0] or type(error).__name__
        raise InputError(
            f"{path}: cannot be read as a checkpoint ({reason}); delete the file to restart the repetition"
        ) from None
