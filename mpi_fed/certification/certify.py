"""Certify one compressor from Python."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .. import plugins as plugin_files
from ..errors import InputError, RunError
from .ranks import Request, certificates

DRAWS = 20_000
"""Default number of messages for each fixed vector, up to 64 dimensions."""


def certify(
    compressor: Mapping[str, Any],
    dimension: int | None = None,
    draws: int = DRAWS,
    *,
    plugins: Sequence[str | os.PathLike[str]] = (),
) -> dict[str, Any]:
    """Compare a compressor with its definition, on messages that one rank sends to another; return its certificate.

    The function starts two ranks with the launcher of this environment. One rank encodes, and the other decodes from
    only the payload and the shared seed. The measured expectation, variance, covariance and length are compared with
    the closed forms.

    Parameters
    ----------
    compressor : mapping
        The keys of a `[[compressor]]` table, such as `{"kind": "quantization", "levels": 1}`.
    dimension : int, optional
        The dimension d of the vectors. By default all of 1, 5, 64 and 1,000,000 that the parameters fit.
    draws : int, default 20,000
        Number of messages drawn for each fixed vector up to 64 dimensions. Above, fewer messages are drawn.
    plugins : sequence of paths, optional
        Plugin files that define compressors, in addition to those already loaded.

    Returns
    -------
    dict
        One entry of `mpi-fed certify --json`: `verdict` is `"PASS"` or `"FAIL"`, `reasons` lists the failed checks,
        `variance_ratio` is the largest measured E||C(x) - x||^2 / (omega ||x||^2), `bias_z_max` and the other keys that
        end in `_z_max` are the largest z-scores, and `error_rate` bounds the probability that a correct compressor
        fails.

    Raises
    ------
    InputError
        If the table is wrong, or the class of the compressor is not in a file that the ranks can load.
    WorldError
        If no launcher of this environment's MPI is found.
    RunError
        If a rank fails. The rank has then printed the reason on standard error.

    Examples
    --------
    >>> import mpi_fed
    >>> mpi_fed.certify({"kind": "rand-h", "h": 2}, dimension=8)["verdict"]  # doctest: +SKIP
    'PASS'
    """
    plugin_files.load(plugins)
    from .cases import case_of

    table = dict(compressor)
    case = case_of(table, dimension, draws)
    _check_module(type(case.compressor))
    files = tuple(str(path) for path in plugin_files.loaded.values())
    status, made = certificates(Request(draws, dimension, compressor=table, plugins=files))
    if status != 0:
        raise RunError(f"the ranks that certify {case.label} ended with status {status}; they printed the reason above")
    return made[0].to_json()


def _check_module(kind: type) -> None:
    """Raise InputError if the ranks cannot load the class."""
    name = kind.__module__
    if not name.startswith("mpi_fed.") and name not in plugin_files.loaded:
        raise InputError(
            f"the class {kind.__qualname__} is defined in {name}, which the ranks that certify starts cannot load; "
            f"save it in a file and give plugins=[{str(Path('FILE.py'))!r}]"
        )
