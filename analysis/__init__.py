"""Post-hoc analysis of logs. Imports no MPI; everything heavy is imported where it is used."""

from .command import analyze, report
from .read import Log, load

__all__ = ["Log", "analyze", "load", "report"]
