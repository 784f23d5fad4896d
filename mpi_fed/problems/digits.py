"""Scikit-learn's bundled digits."""

from __future__ import annotations

import importlib.util
import os

from .base import problems
from .csv_table import Target
from .data import Data


@problems.register
class Digits(Data):
    """1,797 images of 8 x 8 pixels in 0..16; y is the digit, 0..9. 61 pixels vary; the 3 others are dropped.

    Source: the test set of E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits (UCI, 1998),
    which comes with scikit-learn.
    """

    kind = "digits"

    def location(self) -> tuple[str, Target]:
        # The file itself, because importing sklearn.datasets costs every rank a second or more.
        spec = importlib.util.find_spec("sklearn")
        if spec is None or not spec.submodule_search_locations:
            raise ValueError('kind = "digits" needs scikit-learn, which brings the data; install it')
        return os.path.join(spec.submodule_search_locations[0], "datasets", "data", "digits.csv.gz"), None
