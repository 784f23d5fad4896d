"""Real data from a file of the user's."""

from __future__ import annotations

from .base import problems
from .csv_table import Target
from .data import Data


@problems.register
class File(Data):
    """`path` to .npz or .h5 (arrays features (n, d) and targets (n,), or X and y), .csv, or .svm/.libsvm.

    All but .h5 may be packed, with .gz behind. In a .csv file, with a header or without, the target is the
    last column, or the one whose name or index (from 0, negative from the end) is `target`.
    """

    kind = "file"

    path: str
    target: str | int | None = None

    def location(self) -> tuple[str, Target]:
        return self.path, self.target
