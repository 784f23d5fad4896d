"""The plan of a run, and all checks that are possible before MPI starts."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import InputError
from ..text import count, plural
from . import memory_estimate
from .load import Configuration, Study, input_errors, load_study
from .run_options import RunOptions


@dataclass(frozen=True)
class Plan:
    """The studies to run, the number of ranks, and the folder in which each study gets a folder for its logs."""

    studies: tuple[Study, ...]
    ranks: int
    out: Path

    @property
    def folders(self) -> list[Path]:
        """Folders of the studies' logs."""
        return [self.out / study.name for study in self.studies]

    def lines(self) -> list[str]:
        """Return the lines that --dry-run prints: one for each study, and below it one for each configuration."""
        lines = []
        for study, folder in zip(self.studies, self.folders, strict=True):
            number = len(study.configurations)
            configurations = f"{number} {plural('configuration', number)}"
            lines.append(f"{study.name}: {configurations} on {count(self.ranks, 'rank')}, logs in {folder}")
            width = max(len(configuration.label) for configuration in study.configurations)
            lines += [f"  {_row(configuration, width, self.ranks)}" for configuration in study.configurations]
        return lines


def _row(configuration: Configuration, width: int, ranks: int) -> str:
    """Return the line of one configuration. It shows the memory of the root, the rank that needs the most."""
    sizes = [
        f"{configuration.rounds:,} rounds",
        count(len(configuration.seeds), "repetition"),
        count(configuration.clients, "client"),
        f"up to {memory_estimate.show_bytes(sum(memory_estimate.of_rank(configuration, ranks).values()))}",
    ]
    end = [configuration.route.kind, configuration.file_name]
    return "  ".join([configuration.label.ljust(width), *sizes, *end])


def make_plan(options: RunOptions, ranks_here: int | None = None) -> Plan:
    """Return the plan for a run, after all checks. Writes nothing.

    If `options` give no number of ranks, the plan takes as many as there are clients, but at most a job's share of the
    cores. `ranks_here` is the number of ranks on this machine, whose memory is checked; by default all ranks.

    Raises InputError if a study or its data are wrong, if there are fewer clients than ranks, if the memory does not
    suffice, or if the folder of the logs cannot be written.
    """
    ranks = options.ranks or max(1, len(os.sched_getaffinity(0)) // options.jobs)
    studies = load_studies(options.studies, options.overrides, options.only, ranks, options.variant)
    configurations = [c for study in studies for c in study.configurations]
    if options.ranks is None and len(configurations) < options.jobs:
        return make_plan(replace(options, jobs=len(configurations)))
    fewest = min(c.clients for c in configurations)
    if options.ranks is None and fewest < ranks:
        return make_plan(replace(options, ranks=fewest))
    return plan_of(studies, ranks, Path(options.out), ranks_here)


def plan_of(studies: Sequence[Study], ranks: int, out: Path, ranks_here: int | None = None) -> Plan:
    """Return the plan for loaded studies, on this number of ranks. Raises InputError as `make_plan` does."""
    _check_names(studies)
    for study in studies:
        _check_clients(study, ranks)
        _check_writable(out, out / study.name)
    check_problems(studies)
    for study in studies:
        memory_estimate.check(str(study.path), study.configurations, ranks, ranks if ranks_here is None else ranks_here)
    return Plan(tuple(studies), ranks, out)


def load_studies(
    paths: Sequence[str | os.PathLike[str]],
    overrides: Sequence[str] = (),
    only: str | None = None,
    default_clients: int = 1,
    variant: str | None = None,
) -> list[Study]:
    """Load studies, and keep only configurations whose label or file name contains `only`. Raises InputError."""
    studies = [load_study(path, overrides, default_clients, variant) for path in paths]
    if only is None:
        return studies
    chosen = [
        replace(s, configurations=tuple(c for c in s.configurations if only in c.label or only in c.file_name))
        for s in studies
    ]
    if not any(study.configurations for study in chosen):
        labels = [c.label for study in studies for c in study.configurations]
        more = f" and {len(labels) - 20} more" if len(labels) > 20 else ""
        raise InputError(f"--only {only}: no label contains this text; the labels are: {'; '.join(labels[:20])}{more}")
    return [study for study in chosen if study.configurations]


def _check_names(studies: Sequence[Study]) -> None:
    paths: dict[str, Path] = {}
    for study in studies:
        if study.name in paths:
            raise InputError(
                f"{study.path}: [study] name is {study.name!r}, as in {paths[study.name]}; give each study its own name"
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
    """Check each problem and its data, once for each number of clients. Raises InputError."""
    for study in studies:
        pairs = {(id(c.problem), c.clients): c for c in study.configurations}
        for configuration in pairs.values():
            with input_errors(f"{study.path}: [problem]"):
                configuration.problem.check(configuration.clients)


def _check_writable(out: Path, folder: Path) -> None:
    """Raise InputError if no temporary file can be created in the folder, or in its nearest existing parent."""
    try:
        above = [folder, *folder.absolute().parents]
        with tempfile.TemporaryFile(dir=next(path for path in above if path.exists() or path.is_symlink())):
            pass
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"--out {out}: cannot write to {folder} ({reason}); give another folder") from None
