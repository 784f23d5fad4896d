"""Real data from OpenML, fetched once and kept."""

from __future__ import annotations

import os
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from .. import kept
from .base import problems
from .csv_table import Target
from .data import Data


@problems.register
class OpenML(Data):
    """The set `data_id` of openml.org (the number in its page's address); y is its `target` column, by default its own.

    Fetched by scikit-learn at the first use, before any rank starts, and kept as .npz in the cache folder. Columns
    of words count as the numbers of their categories, as OpenML orders them.
    """

    kind = "openml"

    data_id: int = Field(ge=1)
    target: str | None = None

    def location(self) -> tuple[str, Target]:
        # in hex, because the column's name may hold any character
        file = kept.folder("openml") / f"{self.data_id}-{(self.target or '').encode().hex() or 'default'}.npz"
        if not file.exists():
            _keep(file, *self._fetch())
        return str(file), None

    def _fetch(self) -> tuple[Any, Any]:
        from sklearn.datasets import fetch_openml

        place = f"data_id = {self.data_id}"
        try:
            with warnings.catch_warnings(action="ignore"):  # of each try; the last one's error is told
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
        except (KeyError, ValueError) as error:
            raise ValueError(f"{place} cannot be taken from OpenML: {str(error).strip(chr(39))}") from None
        features, targets = fetched.data, fetched.target
        if targets is None or np.ndim(targets) != 1:
            raise ValueError(f"{place} has no target column of its own; name one column as target")
        features = features.toarray() if hasattr(features, "toarray") else features
        return _numbers(features, place, "a feature"), _numbers(targets, place, "the target")


def _numbers(values: Any, place: str, what: str) -> np.ndarray:
    try:
        return np.asarray(values, dtype=np.float64)
    except ValueError:
        raise ValueError(f'{place}: {what} is text; save the set with numbers alone and give kind = "file"') from None


def _keep(file: Path, features: np.ndarray, targets: np.ndarray) -> None:
    """Write the file whole or not at all: ranks and other runs may look for it."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        part, name = tempfile.mkstemp(dir=file.parent, suffix=".part")
        try:
            with os.fdopen(part, "wb") as opened:
                np.savez(opened, features=features, targets=targets)
            os.replace(name, file)
        except OSError:
            os.unlink(name)
            raise
    except OSError as error:
        reason = error.strerror or error
        raise ValueError(f"{file.parent} cannot be written ({reason}); set MPI_FED_CACHE_DIR") from None
