"""Post-hoc analysis of logs. Imports no MPI; everything heavy is imported where it is used."""

from ..log.reader import Log, load
from .command import analyze, report

__all__ = ["Log", "analyze", "load", "report"]
