"""Read logs and analyse them. Imports no MPI; everything heavy is imported where it is used.

`command.py` is what `mpi-fed analyze` calls: `prediction.py` asks theory, `summary.py` makes the document of
`document.py` with the statistics of `rates.py` and the verdicts of `validity.py`, `decision.py` and `heterogeneity.py`
compare; `summary_table.py` (with `cells.py`, `sentences.py`), `figures.py` (of `series.py`) and `page.py` (with
`scorecard.py`) show it. `scaling/` is `mpi-fed scaling`, `cost_model/` is `mpi-fed model`.
"""

from ..log.reader import Log, load
from .command import analyze, report

__all__ = ["Log", "analyze", "load", "report"]
