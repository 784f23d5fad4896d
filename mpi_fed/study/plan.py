"""What a run is going to do, with everything checked that can be checked before MPI starts."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import InputError
from . import memory_estimate
from .load import Configuration, Study, load_study, placed


@dataclass(frozen=True)
class Plan:
    """The studies to run, on how many ranks, and the folder that gets a folder of logs for each."""

    studies: tuple[Study, ...]
    ranks: int
    out: Path

    def lines(self) -> list[str]:
        """What --dry-run prints: a line for each configuration, under a line for each study."""
        lines = []
        for study in self.studies:
            count = len(study.configurations)
            lines.append(
                f"{study.name}: {count} configuration{'s' * (count > 1)} on {_count(self.ranks, 'rank')}, "
                f"logs in {self.out / study.name}"
            )
            width = max(len(configuration.label) for configuration in study.configurations)
            lines += [f"  {_row(configuration, width, self.ranks)}" for configuration in study.configurations]
        return lines


def _row(configuration: Configuration, width: int, ranks: int) -> str:
    """Its memory is the root's, who needs the most."""
    sizes = [
        f"{configuration.rounds:,} rounds",
        _count(len(configuration.seeds), "repetition"),
        _count(configuration.clients, "client"),
        f"up to {memory_estimate.shown(sum(memory_estimate.of_rank(configuration, ranks).values()))}",
    ]
    end = [configuration.route.kind, configuration.file_name]
    return "  ".join([configuration.label.ljust(width), *sizes, *end])


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' * (number != 1)}"


def make_plan(
    paths: Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str] = "runs",
    overrides: Sequence[str] = (),
    only: str | None = None,
    ranks: int | None = None,
    variant: str | None = None,
    jobs: int = 1,
    here: int | None = None,
) -> Plan:
    """The plan for these studies. Without `ranks`, as many as clients, at most a job's share of the cores.

    `here` of the ranks run on this machine, all of them where it is not told: they must find memory.
    Raises InputError for whatever is wrong: a study, its data, fewer clients than ranks, a folder that cannot
    be written. Writes nothing.
    """
    wanted = ranks or max(1, len(os.sched_getaffinity(0)) // jobs)
    studies = load_studies(paths, overrides, only, default_clients=wanted, variant=variant)
    configurations = [c for study in studies for c in study.configurations]
    if ranks is None and len(configurations) < jobs:
        return make_plan(paths, out, overrides, only, None, variant, len(configurations))
    fewest = min(c.clients for c in configurations)
    if ranks is None and fewest < wanted:
        return make_plan(paths, out, overrides, only, fewest, variant, jobs)
    _check_names(studies)
    for study in studies:
        _check_clients(study, wanted)
        _check_writable(Path(out), Path(out) / study.name)
    check_problems(studies)
    for study in studies:
        memory_estimate.check(str(study.path), study.configurations, wanted, wanted if here is None else here)
    return Plan(tuple(studies), wanted, Path(out))


def load_studies(
    paths: Sequence[str | os.PathLike[str]],
    overrides: Sequence[str] = (),
    only: str | None = None,
    default_clients: int = 1,
    variant: str | None = None,
) -> list[Study]:
    """The studies, with those configurations alone whose label or file name contains `only`."""
    studies = [load_study(path, overrides, default_clients, variant) for path in paths]
    if only is None:
        return studies
    chosen = [
        replace(
            s, configurations=tuple(c for c in s.configurations if only in c.label or only in c.file_name)
        )
        for s in studies
    ]
    if not any(study.configurations for study in chosen):
        labels = [c.label for study in studies for c in study.configurations]
        more = f" and {len(labels) - 20} more" if len(labels) > 20 else ""
        raise InputError(f"--only {only}: no label contains this; there are {'; '.join(labels[:20])}{more}")
    return [study for study in chosen if study.configurations]


def _check_names(studies: Sequence[Study]) -> None:
    paths: dict[str, Path] = {}
    for study in studies:
        if study.name in paths:
            raise InputError(
                f"{study.path}: [study] name is {study.name!r}, as in {paths[study.name]}; give each its own"
            )
        paths[study.name] = study.path


def _check_clients(study: Study, ranks: int) -> None:
    fewest = min(configuration.clients for configuration in study.configurations)
    if fewest < ranks:
        raise InputError(
            f"{study.path}: [study] clients is {fewest}, fewer than the {ranks} ranks; "
            f"start at most {fewest} (--ranks {fewest}), or give at least {ranks} clients"
        )


def check_problems(studies: Sequence[Study]) -> None:
    """Let each problem check itself and its data, once for each number of clients. Raises InputError."""
    for study in studies:
        pairs = {(id(c.problem), c.clients): c for c in study.configurations}
        for configuration in pairs.values():
            with placed(f"{study.path}: [problem]"):
                configuration.problem.check(configuration.clients)


def _check_writable(out: Path, folder: Path) -> None:
    """Make an unnamed file in the folder, or in the nearest one above that exists; nothing of it remains."""
    try:
        above = [folder, *folder.absolute().parents]
        with tempfile.TemporaryFile(dir=next(path for path in above if path.exists() or path.is_symlink())):
            pass
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"--out {out}: cannot write to {folder} ({reason}); give another folder") from None
