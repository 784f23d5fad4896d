"""Problems of kind "arrays": covariances, optima and noise from a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.data_files import digest_of, one_sentence

from mpi_fed.problems.arrays import Arrays
from mpi_fed.problems.population import GaussianClient

COVARIANCES = np.stack([np.diag([1.0, 2.0]), np.array([[2.0, 0.5], [0.5, 1.0]])])
CONTENTS: dict[str, Any] = {
    "covariances": COVARIANCES,
    "optima": np.array([[1.0, 2.0], [3.0, 4.0]]),
    "noise_variance": 0.5,
}


def saved(path: Path, **changes: Any) -> Arrays:
    """Return a problem on a file with CONTENTS and these changes, without arrays that are None."""
    np.savez(path, **{name: value for name, value in (CONTENTS | changes).items() if value is not None})
    return Arrays(path=str(path))


def test_arrays_define_the_clients(tmp_path: Path) -> None:
    problem = saved(tmp_path / "data.npz")
    assert problem.dimension_of() == 2
    clients = problem.prepare(2).clients
    for client, h, w in zip(clients, COVARIANCES, CONTENTS["optima"], strict=True):
        assert isinstance(client, GaussianClient)
        np.testing.assert_allclose(client.covariance.dense, h, atol=1e-15)
        np.testing.assert_array_equal(client.optimum, w)
        assert client.noise_variance == 0.5
    assert digest_of(saved(tmp_path / "each.npz", noise_variance=np.full(2, 0.5))) == digest_of(problem)
    assert digest_of(saved(tmp_path / "other.npz", noise_variance=np.array([0.5, 1]))) != digest_of(problem)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optima": None}, "lacks the array 'optima'"),
        ({"covariances": np.ones((2, 2, 3))}, r"covariances has shape \(2, 2, 3\); it must be \(N, d, d\)"),
        ({"covariances": np.eye(2)}, r"covariances has shape \(2, 2\)"),
        ({"optima": np.ones((2, 3))}, r"optima has shape \(2, 3\); it must be \(2, 2\)"),
        ({"noise_variance": np.ones(3)}, r"noise_variance has shape \(3,\); it must be \(\) or \(2,\)"),
        ({"noise_variance": -1.0}, "noise_variance holds -1; give numbers >= 0"),
        ({"noise_variance": np.nan}, "found nan in noise_variance; remove"),
        ({"covariances": COVARIANCES + np.eye(2, k=1)}, "a covariance is not symmetric; give symmetric matrices"),
        (
            {"covariances": COVARIANCES * np.array([1, np.inf])[:, None, None]},
            r"found inf in covariances \(matrix 2, row 1, column 1",
        ),
        ({"covariances": COVARIANCES - 1.5 * np.eye(2)}, "covariance 2 has the negative eigenvalue -0.7"),
        ({"covariances": np.ones((2, 2, 2))}, "the mean of the covariances is singular"),
        ({"optima": np.array([["a", "b"]] * 2)}, "optima is of type"),
    ],
)
def test_wrong_arrays_are_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        saved(tmp_path / "data.npz", **changes).dimension_of()
    assert "data.npz" in one_sentence(error)


def test_arrays_fix_the_number_of_clients(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds 2 clients, but the study has clients = 3; give clients = 2"):
        saved(tmp_path / "data.npz").check(3)
