"""Readers of features and targets from .npz, .csv, .svm and .libsvm files, each also .gz, and from .h5 files.

Every error in a file raises ValueError with one sentence: where in the file, what is wrong and how to fix it.
"""

from __future__ import annotations

import io
import os
import zipfile
import zlib
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .csv_table import Target, read_csv
from .datafile import check_columns, check_rows, is_packed, numbers, stream
from .population import Array


def read(path: str, target: Target = None) -> tuple[Array, Array]:
    """Return the features (shape (n, d)) and the targets (shape (n,)) of a file: two or more rows of finite numbers.

    Raises ValueError, with one sentence, if the file cannot be read or holds anything else.
    """
    suffix = os.path.splitext(path.lower().removesuffix(".gz"))[1]
    if suffix not in _READERS or (is_packed(path) and suffix == ".h5"):
        raise ValueError(f"path = {path!r} must end in .npz, .csv, .svm or .libsvm, each also with .gz, or in .h5")
    if suffix == ".csv":
        return _checked(path, *read_csv(path, target))
    if target is not None:
        raise ValueError(f"target = {target!r} is for .csv files; leave it out for path = {path!r}")
    return _checked(path, *_READERS[suffix](path))


def read_npz(path: str) -> dict[str, NDArray[Any]]:
    """Return all arrays of an .npz or .npz.gz file, by name. Nothing is unpickled."""
    with stream(path) as file:
        content = io.BytesIO(file.read()) if is_packed(path) else file
        try:
            with np.load(content, allow_pickle=False) as archive:
                return {name: archive[name] for name in archive.files}
        except (ValueError, TypeError, EOFError, OSError, KeyError, zipfile.BadZipFile, zlib.error):
            fault = f"path = {path!r} is not an .npz file of numbers; write it with numpy.savez"
            raise ValueError(fault) from None


def _checked(path: str, features: NDArray[Any], targets: NDArray[Any]) -> tuple[Array, Array]:
    if targets.ndim == 2 and targets.shape[1] == 1:
        targets = targets[:, 0]
    if features.ndim != 2 or targets.ndim != 1 or len(features) != len(targets):
        raise ValueError(
            f"path = {path!r}: features have shape {features.shape} and targets {targets.shape}; "
            f"they must be (n, d) and (n,)"
        )
    check_rows(path, len(features))
    check_columns(path, features.shape[1])
    return numbers(path, "features", features), numbers(path, "targets", targets)


def _pair(path: str, names: Iterable[str]) -> tuple[str, str]:
    """Return the names of the features and the targets in a file."""
    arrays = sorted(names)
    for pair in (("features", "targets"), ("X", "y")):
        if set(pair) <= set(arrays):
            return pair
    raise ValueError(
        f"path = {path!r} must hold the arrays features and targets (or X and y); "
        f"it holds {', '.join(arrays) or 'none'}"
    )


def _read_npz(path: str) -> tuple[NDArray[Any], NDArray[Any]]:
    arrays = read_npz(path)
    features, targets = _pair(path, arrays)
    return arrays[features], arrays[targets]


def _read_h5(path: str) -> tuple[NDArray[Any], NDArray[Any]]:
    import h5py

    with stream(path) as file:
        try:
            contents = h5py.File(file, "r")
        except (OSError, RuntimeError):
            raise ValueError(f"path = {path!r} is not a readable HDF5 file; write it with h5py") from None
        with contents:
            names = (name for name in contents if isinstance(contents[name], h5py.Dataset))
            features, targets = _pair(path, names)
            return np.asarray(contents[features][()]), np.asarray(contents[targets][()])


def _read_svm(path: str) -> tuple[NDArray[Any], NDArray[Any]]:
    from sklearn.datasets import load_svmlight_file

    with stream(path) as file:
        content = file.read()
    try:
        features, targets = load_svmlight_file(io.BytesIO(content))
    except (ValueError, OverflowError):
        lines = enumerate(content.split(b"\n"), 1)
        number, line = next((number, line) for number, line in lines if not _is_svm_row(line))
        raise ValueError(
            f"path = {path!r}, line {number}: found {line[:40].decode(errors='replace')!r} "
            f'instead of "target index:value index:value ..." with ascending indices'
        ) from None
    check_columns(path, features.shape[1])  # before the features are made dense
    return features.toarray(), targets


def _is_svm_row(line: bytes) -> bool:
    from sklearn.datasets import load_svmlight_file

    try:
        load_svmlight_file(io.BytesIO(line))
    except (ValueError, OverflowError):
        return False
    return True


_READERS: dict[str, Callable[..., tuple[NDArray[Any], NDArray[Any]]]] = {
    ".npz": _read_npz,
    ".csv": read_csv,
    ".svm": _read_svm,
    ".libsvm": _read_svm,
    ".h5": _read_h5,
}
