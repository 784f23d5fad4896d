"""Problems on rows of data: preprocessing, limits of a split, one reading of a file, the digest of the data."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.data_files import digest_of, file_problem, one_sentence, risk, sample, write_rows

from mpi_fed.problems import data
from mpi_fed.problems.csv_table import Target
from mpi_fed.problems.digits import Digits
from mpi_fed.problems.population import Array, EmpiricalClient
from mpi_fed.problems.readers import read


def test_digits_are_those_of_scikit_learn_without_constant_columns() -> None:
    from sklearn.datasets import load_digits

    digits, bunch = Digits(), load_digits()
    dataset = digits.dataset
    assert dataset.features.shape == (1797, 61)
    assert digits.dimension_of() == 61
    assert digits.notes == ("constant columns, dropped: 3 of 64",)
    ours = np.column_stack([dataset.features, dataset.targets])
    theirs = np.column_stack([bunch.data[:, bunch.data.std(axis=0) > 0], bunch.target])
    np.testing.assert_array_equal(ours[np.lexsort(ours.T)], theirs[np.lexsort(theirs.T)])


def test_digits_import_nothing_heavy() -> None:
    program = (
        "import sys; from mpi_fed.problems import problems; problems['digits']().prepare(4).optimum; "
        "print([m for m in ('sklearn', 'h5py', 'mpi4py', 'matplotlib') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"


def test_raw_does_not_change_rows(tmp_path: Path) -> None:
    features, targets = sample()
    dataset = file_problem(write_rows(tmp_path / "data.csv", features, targets)).dataset
    np.testing.assert_array_equal(np.sort(dataset.features, axis=0), np.sort(features, axis=0))
    assert dataset.notes == ()


@pytest.mark.parametrize("scale", [1e-160, 1.0, 1e140])
def test_standardized_columns_have_mean_0_and_variance_1(tmp_path: Path, scale: float) -> None:
    features, targets = sample()
    features[:, 1] = scale * (3 + features[:, 1])
    path = write_rows(tmp_path / "data.csv", features, targets + 7)
    dataset = file_problem(path, preprocessing="standardize").dataset
    np.testing.assert_allclose(dataset.features.mean(axis=0), 0, atol=1e-14)
    np.testing.assert_allclose((dataset.features**2).mean(axis=0), 1, rtol=1e-14)
    assert abs(dataset.targets.mean()) < 1e-14
    assert dataset.targets.std() == pytest.approx(targets.std(), rel=1e-12)


def test_standardizing_has_the_effect_of_an_intercept() -> None:
    population = Digits(preprocessing="standardize").prepare(1)
    raw = Digits().dataset
    with_intercept = np.column_stack([raw.features, np.ones(len(raw.targets))])
    residual = raw.targets - with_intercept @ np.linalg.lstsq(with_intercept, raw.targets, rcond=None)[0]
    assert risk(population, population.optimum) == pytest.approx(np.mean(residual**2) / 2, rel=1e-12)


def test_pca_is_a_rotation_onto_a_diagonal_h() -> None:
    standardized = Digits(preprocessing="standardize").prepare(1)
    rotated = Digits(preprocessing="pca").prepare(1)
    h = rotated.covariance.dense
    np.testing.assert_allclose(h, np.diag(np.diag(h)), atol=1e-13)
    np.testing.assert_allclose(np.diag(h), standardized.covariance.eigenvalues, rtol=1e-12)
    assert risk(rotated, rotated.optimum) == pytest.approx(risk(standardized, standardized.optimum), rel=1e-12)


def test_only_pca_accepts_dependent_columns(tmp_path: Path) -> None:
    features, targets = sample()
    dependent = features[:, 0] - 2 * features[:, 2]
    path = write_rows(
        tmp_path / "data.csv", np.column_stack([features, dependent, np.full(len(features), 3.0)]), targets
    )
    for preprocessing in ("raw", "standardize"):
        with pytest.raises(ValueError, match=r"rank-deficient .*\(4 columns, rank 3\); .* = \"pca\"") as error:
            file_problem(path, preprocessing=preprocessing).check(1)
        assert path in one_sentence(error)
    rotated = file_problem(path, preprocessing="pca")
    assert rotated.dimension_of() == 3
    assert rotated.notes == (
        "constant columns, dropped: 1 of 5",
        "principal axes without data, dropped: 1 of 4",
    )
    assert rotated.prepare(2).covariance.eigenvalues.min() > 0.1


def test_columns_that_are_dependent_after_centring_are_refused(tmp_path: Path) -> None:
    features = np.eye(3)[np.arange(30) % 3]  # one-hot
    path = write_rows(tmp_path / "data.csv", features, np.arange(30.0))
    assert file_problem(path).dimension_of() == 3
    with pytest.raises(ValueError, match=r"\(3 columns, rank 2\)"):
        file_problem(path, preprocessing="standardize").check(1)


def test_columns_in_different_units_are_not_rank_deficient(tmp_path: Path) -> None:
    features, targets = sample()
    population = file_problem(write_rows(tmp_path / "data.csv", features * [1e-9, 1, 1e9], targets)).prepare(3)
    expected = file_problem(write_rows(tmp_path / "plain.csv", features, targets)).prepare(3).optimum
    np.testing.assert_allclose(population.optimum * [1e-9, 1, 1e9], expected, rtol=1e-9)


def test_fewer_rows_than_columns_need_pca(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "data.csv", *sample(rows=4, columns=6))
    with pytest.raises(ValueError, match=r"\(6 columns, rank 4\)"):
        file_problem(path).check(1)
    assert file_problem(path, preprocessing="pca").dimension_of() == 3


def test_rows_are_contiguous_for_every_order_in_the_file(tmp_path: Path) -> None:
    features, targets = sample()
    path = write_rows(tmp_path / "data.npz", np.asfortranarray(features), targets)
    for preprocessing in ("raw", "standardize", "pca"):
        client = file_problem(path, preprocessing=preprocessing).prepare(2).clients[1]
        assert isinstance(client, EmpiricalClient)
        assert client.features.flags.c_contiguous


def test_more_clients_than_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="clients = 1798 is more than the 1797 rows of data; give at most 1797"):
        Digits().check(1798)


def test_epochs_need_a_batch_that_a_client_can_fill() -> None:
    Digits(sampling="epochs", batch_size=449).check(4)
    Digits(sampling="epochs", batch_size="full").check(4)
    Digits(sampling="with-replacement", batch_size=5000).check(4)
    with pytest.raises(ValueError, match='batch_size = 450 is more than the 449 rows of a client; with sampling = "ep'):
        Digits(sampling="epochs", batch_size=450).check(4)


def test_a_file_is_read_once_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = []

    def counted(path: str, target: Target) -> tuple[Array, Array]:
        reads.append(path)
        return read(path, target)

    monkeypatch.setattr(data, "read", counted)
    path = write_rows(tmp_path / "data.csv", *sample())
    for batch_size in (1, 8):
        problem = file_problem(path, batch_size=batch_size)
        problem.dimension_of()
        problem.check(3)
        problem.prepare(3)
        problem.facts()
    assert len(reads) == 1
    write_rows(tmp_path / "data.csv", *sample(rows=50))
    assert len(file_problem(path).dataset.targets) == 50


def test_digest_depends_on_the_data_only(tmp_path: Path) -> None:
    features, targets = sample()
    digest = file_problem(write_rows(tmp_path / "data.csv", features, targets)).facts()["dataset_digest"]
    assert len(digest) == 64
    assert (
        digest_of(file_problem(write_rows(tmp_path / "data.npz", features, targets), preprocessing="pca", seed=5))
        == digest
    )
    features[3, 1] = np.nextafter(features[3, 1], 9)
    assert file_problem(write_rows(tmp_path / "other.npz", features, targets)).facts()["dataset_digest"] != digest
