"""Problem `openml`."""

from __future__ import annotations

import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from .. import files
from .base import problems
from .csv_table import Target
from .data import Data
from .population import Array

PATIENCE = 30.0
"""Seconds without an answer after which a connection is given up."""


@problems.register
class OpenML(Data):
    """A data set of openml.org, downloaded once and kept in the cache folder.

    Parameters
    ----------
    data_id : int
        Number of the data set on openml.org, as in the address of its page.
    target : str, default: the default target of the data set
        Name of the column that is y, by default the one that OpenML states.

    Notes
    -----
    The other parameters are those of `Data`. The data are downloaded with scikit-learn at the first use, before
    `mpi-fed run` starts any rank, and stored as .npz in the cache folder. Without a network, or if the server does not
    answer for 30 seconds, the run ends with an error.

    Ranks on other nodes need the same cache folder. If you start ranks by your own `mpirun`, download the data first
    with `mpi-fed run STUDY --dry-run`.

    Words are replaced by numbers: in a feature by the order that OpenML gives to the categories, in y by alphabetical
    order.
    """

    kind = "openml"

    data_id: int = Field(ge=1)
    target: str | None = None

    def location(self) -> tuple[str, Target]:
        # in hex, since the column's name may contain any character
        file = files.cache_folder("openml") / f"{self.data_id}-{(self.target or '').encode().hex() or 'default'}.npz"
        if not file.exists():
            _store(file, *self._fetch())
        return str(file), None

    def _fetch(self) -> tuple[Any, Any]:
        from sklearn.datasets import fetch_openml

        place = f"data_id = {self.data_id}"
        try:
            with (
                _patience(),
                warnings.catch_warnings(action="ignore"),
            ):  # each attempt gives warnings; the error of the last attempt is reported below
                fetched = fetch_openml(
                    data_id=self.data_id,
                    target_column=self.target or "default-target",
                    as_frame=False,
                    parser="liac-arff",
                    cache=False,
                    n_retries=1,
                )
        except OSError as error:  # also raised without a network and for an unknown data_id
            raise ValueError(
                f"{place} cannot be fetched from OpenML ({getattr(error, 'reason', None) or error}); without a "
                f'network, save the data set elsewhere as .npz, .csv or .svm and give kind = "file"'
            ) from None
        except Exception as error:  # noqa: BLE001 (the parser may raise anything)
            reason = f"{type(error).__name__}: {str(error).strip(chr(39))}"
            raise ValueError(f"{place} cannot be read from OpenML ({reason}); check data_id and target") from None
        features, targets = fetched.data, fetched.target
        if targets is None or np.ndim(targets) != 1:
            raise ValueError(f"{place} has no default target column; give the name of one column as target")
        features = features.toarray() if hasattr(features, "toarray") else features
        return _numbers(features, place), _numbers(_coded(np.asarray(targets)), place)


@contextmanager
def _patience() -> Iterator[None]:
    """Limit the time without an answer to PATIENCE, for connections that are made in the `with` block."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(PATIENCE)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _coded(targets: NDArray[Any]) -> NDArray[Any]:
    """Return the targets as numbers if all are numbers, and else the alphabetical positions of the words."""
    try:
        return targets.astype(np.float64)
    except ValueError:
        return np.unique(targets.astype(str), return_inverse=True)[1]


def _numbers(values: Any, place: str) -> Array:
    fix = 'save the data set with numbers only and give kind = "file"'
    try:
        numbers = np.asarray(values, dtype=np.float64)
    except ValueError:
        raise ValueError(f"{place} has a column of text; {fix}") from None
    if not np.isfinite(numbers).all():
        raise ValueError(f"{place} has missing values; {fix}")
    return numbers


def _store(file: Path, features: Array, targets: Array) -> None:
    """Write the file atomically, since ranks and other runs may read it."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with files.atomic_write(file) as part, open(part, "wb") as opened:
            np.savez(opened, features=features, targets=targets)
    except OSError as error:
        reason = error.strerror or error
        raise ValueError(
            f"{file.parent} cannot be written ({reason}); set MPI_FED_CACHE_DIR to another folder"
        ) from None
