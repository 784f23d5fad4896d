"""Problem `file`."""

from __future__ import annotations

from .base import problems
from .csv_table import Target
from .data import Data


@problems.register
class File(Data):
    """Data from your own file.

    Parameters
    ----------
    path : str
        Path of an .npz or .h5 file (arrays `features` (n, d) and `targets` (n,), or `X` and `y`), or of a .csv, .svm or
        .libsvm file. All except .h5 may be compressed, with .gz at the end of the name.
    target : str or int, default: the last column
        Column of the target, for .csv files only: its name or its index from 0; a negative index counts from the end.
        By default it is the last column.

    Notes
    -----
    The other parameters are those of `Data`.
    """

    kind = "file"

    path: str
    target: str | int | None = None

    def location(self) -> tuple[str, Target]:
        return self.path, self.target
