"""Problem `digits`."""

from __future__ import annotations

import importlib.util
import os

from .base import problems
from .csv_table import Target
from .data import Data


@problems.register
class Digits(Data):
    """Handwritten digits that come with scikit-learn: 1,797 images of 8 x 8 pixels.

    Its parameters are those of `Data`.

    Notes
    -----
    The features are the pixels, with values 0..16. 61 of the 64 pixels vary; the other 3 are dropped. The target y is
    the digit, 0..9.

    References
    ----------
    E. Alpaydin and C. Kaynak, "Optical recognition of handwritten digits", UCI (1998), the test set.

    Examples
    --------
    >>> from mpi_fed.problems import problems
    >>> problems["digits"]().dimension_of()
    61
    """

    kind = "digits"

    def location(self) -> tuple[str, Target]:
        # The file is read directly, since importing sklearn.datasets costs every rank a second or more.
        spec = importlib.util.find_spec("sklearn")
        if spec is None or not spec.submodule_search_locations:
            raise ValueError('kind = "digits" needs scikit-learn, which includes the data; install it')
        return os.path.join(spec.submodule_search_locations[0], "datasets", "data", "digits.csv.gz"), None
