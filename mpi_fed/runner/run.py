"""Run a study from Python: on this process, or on the ranks of an existing communicator."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import InputError
from ..study.load import Study, load_study
from ..study.plan import Plan, plan_of
from ..study.run_options import RunOptions

if TYPE_CHECKING:
    from mpi4py import MPI

    from ..launch.world import World

T = TypeVar("T")


def run(
    study: Study | str | os.PathLike[str] | Mapping[str, Any],
    out: str | os.PathLike[str] | None = None,
    comm: MPI.Intracomm | None = None,
    *,
    progress: bool = True,
) -> list[Path]:
    """Run every configuration of a study that its logs lack, and return the paths of the logs.

    The trajectories are equal to those of `mpi-fed run`, bit for bit, on any number of ranks. The first run compiles
    the round, which takes from seconds to minutes; later runs load the compiled round from the cache.

    Parameters
    ----------
    study : Study, path or mapping
        A study, or an argument of `load_study`.
    out : str or os.PathLike, optional
        The folder of the logs, which go to `out/NAME_OF_THE_STUDY`. The default is `runs`.
    comm : mpi4py.MPI.Intracomm, optional
        The ranks that hold the clients. Every rank of `comm` calls `run` with the same arguments; rank 0 is the root
        and writes the logs. The default is all ranks that the launcher started, or one rank without a launcher.
    progress : bool, default True
        Report progress on standard error.

    Returns
    -------
    list of pathlib.Path
        One log (HDF5) for each configuration, in the order of the study.

    Raises
    ------
    InputError
        If the study, its data or the folder is wrong. Nothing has been run then.
    WorldError
        If MPI is missing, or the launcher belongs to another MPI.
    RunError
        If a message arrives changed, or the iterates of two ranks differ.
    KeyboardInterrupt
        On Ctrl-C, SIGTERM or SIGUSR1. A checkpoint has been saved, and the next call continues from it.

    Notes
    -----
    During the run, NumPy's BLAS is limited to one thread, because its results depend on the number of threads. With
    more than one rank, an error during the run ends all ranks, because the others may be waiting inside a collective.

    Examples
    --------
    >>> import mpi_fed
    >>> study = {
    ...     "study": {"name": "first", "rounds": 1000},
    ...     "problem": {"kind": "gaussian", "dimension": 10},
    ...     "compressor": [{"kind": "none"}, {"kind": "quantization", "levels": 1}],
    ... }
    >>> mpi_fed.run(study)  # doctest: +SKIP
    [PosixPath('runs/first/none-....h5'), PosixPath('runs/first/quantization-levels-1-....h5')]
    """
    from ..launch import stop_signals
    from ..launch.launcher import CHECKPOINTED

    with _one_thread(), stop_signals.watching(), contextlib.ExitStack() as stack:
        world = stack.enter_context(_world(comm))
        plan = _agreed(world, lambda: _plan(study, out, world))
        with _ending_all(world):
            from ..log.writer import log_path
            from .repetitions import run as run_plan

            status = run_plan(plan, world, show_progress=progress)
            configurations = plan.studies[0].configurations
            logs = [log_path(plan.folders[0], configuration) for configuration in configurations]
            status, paths = world.comm.bcast((status, logs))
    if status == CHECKPOINTED:
        raise KeyboardInterrupt("a checkpoint is saved; run the study again to continue from it")
    return list(paths)


@contextlib.contextmanager
def _world(comm: MPI.Intracomm | None) -> Iterator[World]:
    from ..launch.world import start, world_of

    if comm is None:
        yield start()
        return
    world = world_of(comm)
    yield world
    world.node.Free()


def _plan(study: Study | str | os.PathLike[str] | Mapping[str, Any], out: Any, world: World) -> Plan:
    loaded = study if isinstance(study, Study) else load_study(study, default_clients=world.size)
    return plan_of([loaded], world.size, Path(RunOptions.out if out is None else out), world.node_size)


def _agreed(world: World, make: Callable[[], T]) -> T:
    """Return the result of `make` on this rank. If it raises InputError on any rank, every rank raises InputError."""
    result, error = None, None
    try:
        result = make()
    except InputError as caught:
        error = str(caught)
    errors = [text for text in world.comm.allgather(error) if text is not None]
    if errors:
        raise InputError(error or errors[0])
    assert result is not None
    return result


@contextlib.contextmanager
def _ending_all(world: World) -> Iterator[None]:
    """Let an error pass if there is one rank; otherwise end all ranks, because others may wait for this rank."""
    from ..launch.world import guard

    with guard(world) if world.size > 1 else contextlib.nullcontext():
        yield


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Limit BLAS to one thread within the block, in this process and in the environment."""
    import scipy.linalg  # noqa: F401  (loads NumPy's BLAS and its own, so that both are limited and restored)
    import threadpoolctl

    name = "OMP_NUM_THREADS"
    before = os.environ.get(name)
    with threadpoolctl.threadpool_limits(1):
        os.environ[name] = "1"
        try:
            yield
        finally:
            os.environ.pop(name) if before is None else os.environ.update({name: before})
