"""Real data from OpenML, fetched once and kept."""

from __future__ import annotations

import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from .. import files
from .base import problems
from .csv_table import Target
from .data import Data

PATIENCE = 30.0
"""Seconds that a connection may say nothing: a network that swallows what is sent counts as none."""


@problems.register
class OpenML(Data):
    """The set `data_id` of openml.org (the number in its page's address); y is its `target` column, by default its own.

    Fetched by scikit-learn at the first use, before `mpi-fed run` starts any rank, and kept as .npz in the cache
    folder. Words count as numbers: in a feature as OpenML orders its categories, in y in alphabetical order.
    """

    kind = "openml"

    data_id: int = Field(ge=1)
    target: str | None = None

    def location(self) -> tuple[str, Target]:
        # in hex, because the column's name may hold any character
        file = files.cache_folder("openml") / f"{self.data_id}-{(self.target or '').encode().hex() or 'default'}.npz"
        if not file.exists():
            _store(file, *self._fetch())
        return str(file), None

    def _fetch(self) -> tuple[Any, Any]:
        from sklearn.datasets import fetch_openml

        place = f"data_id = {self.data_id}"
        try:
            with _patience(), warnings.catch_warnings(action="ignore"):  # of each try; the last one's error is reported
                fetched = fetch_openml(
                    data_id=self.data_id,
                    target_column=self.target or "default-target",
                    as_frame=False,
                    parser="liac-arff",
                    cache=False,
                    n_retries=1,
                )
        except OSError as error:  # which no network and an unknown number come to, too
            raise ValueError(
                f"{place} cannot be fetched from OpenML ({getattr(error, 'reason', None) or error}); where there is no "
                f'network, save the set elsewhere as .npz, .csv or .svm and give kind = "file"'
            ) from None
        except Exception as error:  # the answer is another's, and so is its parser
            reason = f"{type(error).__name__}: {str(error).strip(chr(39))}"
            raise ValueError(f"{place} cannot be taken from OpenML ({reason})") from None
        features, targets = fetched.data, fetched.target
        if targets is None or np.ndim(targets) != 1:
            raise ValueError(f"{place} has no target column of its own; name one column as target")
        features = features.toarray() if hasattr(features, "toarray") else features
        return _numbers(features, place), _numbers(_coded(np.asarray(targets)), place)


@contextmanager
def _patience() -> Iterator[None]:
    """Connections made within give up after PATIENCE."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(PATIENCE)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _coded(targets: np.ndarray) -> np.ndarray:
    """Words as the numbers of their alphabetical order, unless all of them are numbers."""
    try:
        return targets.astype(np.float64)
    except ValueError:
        return np.unique(targets.astype(str), return_inverse=True)[1]


def _numbers(values: Any, place: str) -> np.ndarray:
    fix = 'save the set with numbers alone and give kind = "file"'
    try:
        numbers = np.asarray(values, dtype=np.float64)
    except ValueError:
        raise ValueError(f"{place} has a column of text; {fix}") from None
    if not np.isfinite(numbers).all():
        raise ValueError(f"{place} has missing values; {fix}")
    return numbers


def _store(file: Path, features: np.ndarray, targets: np.ndarray) -> None:
    """Write the file atomically: ranks and other runs may look for it."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with files.atomic_write(file) as part, open(part, "wb") as opened:
            np.savez(opened, features=features, targets=targets)
    except OSError as error:
        reason = error.strerror or error
        raise ValueError(f"{file.parent} cannot be written ({reason}); set MPI_FED_CACHE_DIR") from None
