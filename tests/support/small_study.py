"""A study that takes seconds, run in the world of the tests, and its logs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mpi_fed.study.load import load_study
from support.study_text import Table, study_text

R, K, D, N, RANKS, SLOTS = 2, 1000, 20, 3, 2, 2
"""Three clients on two ranks: one on the first and two on the second, so that a gather has two slots a rank."""


def small_study(*compressors: Table, **tables: Any) -> str:
    """Return the text of a study of R repetitions of K rounds with N clients in D dimensions."""
    sizes: dict[str, Any] = {"rounds": K, "repetitions": R, "clients": N, "problem": {"dimension": D}}
    return study_text(*compressors, **(sizes | tables))


def run_in_world(comm: Any, folder: Path, text: str, *overrides: str) -> dict[str, Path]:
    """Run a study in this world, with its files in the root's folder; return label -> path of the log."""
    from mpi_fed.launch.world import start
    from mpi_fed.runner.repetitions import run
    from mpi_fed.study.plan import make_plan
    from mpi_fed.study.run_options import RunOptions

    folder = Path(comm.bcast(str(folder)))
    if comm.rank == 0:
        (folder / "test.toml").write_text(text)
    comm.Barrier()
    run(make_plan(RunOptions((str(folder / "test.toml"),), str(folder), overrides, ranks=comm.size)), start())
    study = load_study(folder / "test.toml", overrides)
    comm.Barrier()  # the root may write another study there next
    return {c.label: folder / "test" / c.file_name for c in study.configurations}
