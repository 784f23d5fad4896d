"""The options of `mpi-fed run`, defined once for the parser, the command line of the ranks and the batch script."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import dataclass

CHECKPOINT_SECONDS = 60.0
"""Default number of seconds between two checkpoints of a repetition in progress."""


@dataclass(frozen=True)
class RunOptions:
    """Options of a run, one field for each option."""

    studies: tuple[str, ...]
    out: str = "runs"
    overrides: tuple[str, ...] = ()
    variant: str | None = None
    only: str | None = None
    plugins: tuple[str, ...] = ()
    checkpoint_seconds: float = CHECKPOINT_SECONDS
    analyze: bool = True
    ranks: int | None = None
    jobs: int = 1
    dry_run: bool = False

    @classmethod
    def of(cls, arguments: Namespace) -> RunOptions:
        """Return the options of a command line of `mpi-fed run`, or of a command that shares some of its options."""
        return cls(
            studies=tuple(arguments.studies),
            out=arguments.out,
            overrides=tuple(arguments.set),
            variant=arguments.variant,
            only=arguments.only,
            plugins=tuple(arguments.plugin),
            checkpoint_seconds=arguments.checkpoint_seconds,
            analyze=not getattr(arguments, "no_analyze", False),
            ranks=getattr(arguments, "ranks", None),
            jobs=getattr(arguments, "jobs", 1),
            dry_run=arguments.dry_run,
        )

    def to_argv(self) -> list[str]:
        """Return the arguments of `mpi-fed` that are parsed into the same options."""
        argv = ["run", *self.studies, f"--out={self.out}"]
        argv += ["--no-analyze"] if not self.analyze else []
        argv += [f"--checkpoint-seconds={_decimal(self.checkpoint_seconds)}"]
        argv += [f"--set={override}" for override in self.overrides]
        argv += [f"--variant={self.variant}"] if self.variant is not None else []
        argv += [f"--plugin={plugin}" for plugin in self.plugins]
        argv += [f"--only={self.only}"] if self.only is not None else []
        argv += [f"--ranks={self.ranks}"] if self.ranks is not None else []
        argv += [f"--jobs={self.jobs}"] if self.jobs != 1 else []
        return argv + (["--dry-run"] if self.dry_run else [])


def _decimal(number: float) -> str:
    """Return the number as text without an exponent, which the parser does not accept."""
    return f"{number:.9f}".rstrip("0").rstrip(".")
