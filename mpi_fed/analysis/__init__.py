"""Read logs and analyse them.

MPI is not imported, and heavy packages are imported only in the functions that use them.

`command.py` implements `mpi-fed analyze`. `prediction.py` computes the theory's prediction for a log. `summary.py`
fills in the document that `document.py` defines, with the statistics of `rates.py` and the verdicts of `validity.py`.
`decision.py` and `heterogeneity.py` compare configurations. `summary_table.py` (with `cells.py` and `sentences.py`),
`figures.py` (with `series.py`) and `page.py` (with `scorecard.py`) present the document. `dataset.py` loads logs as an
`xarray.Dataset`. `scaling/` implements `mpi-fed scaling`, and `cost_model/` implements `mpi-fed model`.
"""

from ..log.reader import Log, read_log
from .command import analyze, report
from .dataset import load

__all__ = ["Log", "analyze", "load", "read_log", "report"]
