"""Problems: what files are read to, what is refused and how, preprocessing, splits, w*, excess risk."""

from __future__ import annotations

import gzip
import subprocess
import sys

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays as drawn

from mpi_fed.problems import data, problems, splits
from mpi_fed.problems.gaussian import dct, haar
from mpi_fed.problems.population import Covariance, EmpiricalClient, GaussianClient, Population
from mpi_fed.problems.readers import read

FORMATS = [
    ".npz",
    ".npz.gz",
    ".csv",
    ".csv.gz",
    ".CSV",
    ".svm",
    ".svm.gz",
    ".libsvm",
    ".libsvm.gz",
    ".h5",
]


def write(path, features, targets):
    """The rows in the format that the path's name calls for; numbers as text keep every bit."""
    name = path.name.lower()
    inner = path.with_name(name.removesuffix(".gz"))
    rows = [[*map(repr, map(float, x)), repr(float(y))] for x, y in zip(features, targets, strict=True)]
    if ".npz" in name:
        np.savez(inner, features=features, targets=targets)
    elif ".h5" in name:
        with h5py.File(inner, "w") as file:
            file["features"], file["targets"] = features, targets
    elif ".csv" in name:
        inner.write_text("\n".join(",".join(row) for row in rows))
    else:
        inner.write_text(
            "\n".join(" ".join([r[-1], *(f"{j + 1}:{v}" for j, v in enumerate(r[:-1]))]) for r in rows)
        )
    content = inner.read_bytes()
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return str(path)


def sample(rows=40, columns=3, seed=1):
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((rows, columns))
    return features, features @ np.arange(1.0, columns + 1) + rng.standard_normal(rows)


def file(path, **options):
    return problems["file"](path=str(path), **options)


def risk(population, w):
    """F(w) from the rows themselves."""
    return np.mean([np.mean((c.features @ w - c.targets) ** 2) / 2 for c in population.clients])


def gradient(population, w):
    return np.mean(
        [c.features.T @ (c.features @ w - c.targets) / len(c.targets) for c in population.clients], axis=0
    )


# Formats


@pytest.mark.parametrize("suffix", FORMATS)
def test_each_format_holds_every_bit(tmp_path, suffix):
    features, targets = sample()
    read_features, read_targets = read(write(tmp_path / f"data{suffix}", features, targets))
    np.testing.assert_array_equal(read_features, features)
    np.testing.assert_array_equal(read_targets, targets)


@pytest.mark.parametrize("suffix", [".npz", ".h5"])
def test_arrays_named_x_and_y_of_other_types(tmp_path, suffix):
    features, targets = (
        np.arange(12, dtype=np.int16).reshape(4, 3),
        np.array([[0], [1], [1], [0]], dtype=bool),
    )
    path = tmp_path / f"data{suffix}"
    if suffix == ".npz":
        np.savez(path, X=features, y=targets, other=np.array(["text"]))
    else:
        with h5py.File(path, "w") as held:
            held["X"], held["y"] = features, targets
            held.create_group("other")
    read_features, read_targets = read(str(path))
    np.testing.assert_array_equal(read_features, features)
    np.testing.assert_array_equal(read_targets, [0, 1, 1, 0])


finite = st.floats(-1e149, 1e149)
tables = st.tuples(st.integers(2, 6), st.integers(2, 5)).flatmap(
    lambda shape: drawn(np.float64, shape, elements=finite)
)
shared_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@given(
    table=tables,
    separator=st.sampled_from(",;\t"),
    header=st.booleans(),
    blank=st.sampled_from(["", "\n", "  \n", "# about the data, and more\n"]),
    end=st.sampled_from(["\n", "\r\n"]),
)
@shared_folder
def test_csv_round_trip(tmp_path, table, separator, header, blank, end):
    names = [[f'"column {j}"' for j in range(table.shape[1])]] if header else []
    lines = [separator.join(row) for row in [*names, *([repr(v) for v in row] for row in table.tolist())]]
    path = tmp_path / "data.csv"
    path.write_bytes((blank + end.join([lines[0], blank.strip("\n"), *lines[1:]])).encode("utf-8-sig"))
    features, targets = read(str(path))
    np.testing.assert_array_equal(features, table[:, :-1])
    np.testing.assert_array_equal(targets, table[:, -1])


@given(table=tables, first=st.sampled_from([0, 1]))
@settings(shared_folder, max_examples=30)
def test_svm_round_trip(tmp_path, table, first):
    """Indices from 0 or 1, zeros left out: but for the first and last column, which tell what was meant."""
    table[0, [1, -1]] = 1.0
    entries = [[f"{j + first}:{v!r}" for j, v in enumerate(row) if v] for row in table[:, 1:].tolist()]
    rows = [" ".join([repr(y), *x, "# note"]) for y, x in zip(table[:, 0].tolist(), entries, strict=True)]
    path = tmp_path / "data.svm"
    path.write_text("\n".join(["# sparse rows", *rows, ""]))
    features, targets = read(str(path))
    np.testing.assert_array_equal(features, table[:, 1:])
    np.testing.assert_array_equal(targets, table[:, 0])


@pytest.mark.parametrize(("target", "column"), [(None, 2), ("b", 1), (0, 0), (-2, 1), (2, 2)])
def test_target_column(tmp_path, target, column):
    path = tmp_path / "data.csv"
    path.write_text("a,b,c\n1,2,3\n4,5,6\n")
    table = np.array([[1.0, 2, 3], [4, 5, 6]])
    features, targets = read(str(path), target)
    np.testing.assert_array_equal(features, np.delete(table, column, axis=1))
    np.testing.assert_array_equal(targets, table[:, column])


# What is refused

WRONG_TEXTS = {
    "empty": (".csv", "", "holds 0 rows of data; at least 2"),
    "header alone": (".csv", "a,b,c\n", "holds 0 rows of data; at least 2"),
    "one row": (".csv", "1,2,3\n", "holds 1 row of data; at least 2"),
    "no feature": (".csv", "1\n2\n", "holds 0 features beside the target; 1 to 10000"),
    "ragged": (".csv", "a,b\n1,2\n\n3,4,5\n", "line 4: 3 columns where the first row has 2"),
    "text": (".csv", "1,2\n3,four\n", "line 2, column 2: found 'four', needed is a number"),
    "missing": (".csv", "# c\n1,2\n3,4\n,5\n", "line 4, column 1: found nothing, needed is a number"),
    "underscore": (".csv", "1,2\n1_0,2\n", "line 2, column 1: found '1_0'"),
    "mixed first row": (".csv", "1,NA\n3,4\n", r"first row mixes numbers with text \('NA' in column 2\)"),
    "unnamed": (".csv", ",a,b\n0,1,2\n1,3,4\n", "column 1 has no name in the header"),
    "header too short": (".csv", "a,b\n1,2,3\n4,5,6\n", "the header names 2 columns, the rows hold 3"),
    "nan": (".csv", "a,b\n1,2\nnan,4\n", r"found nan in features \(row 2, column 1, counted from 1\)"),
    "infinite": (".csv", "1,2\n3,-inf\n", r"found -inf in targets \(row 2, counted from 1\)"),
    "huge": (".csv", "1,2\n1e200,4\n", r"found 1e\+200 in features .* above 1e\+150"),
    "constant": (".csv", "1,2\n1,4\n", "each feature column is constant; at least one must vary"),
    "not svm": (".svm", "1 1:2\nseven\n", "line 2: found 'seven', needed is \"target index:value"),
    "no colon": (".svm", "1 1:2\n2 3\n", "line 2: found '2 3'"),
    "descending": (".svm", "1 1:2\n\n2 3:1 2:1\n", "line 3: .* ascending indices"),
    "svm nan": (".svm", "1 1:2\n2 1:nan\n", r"found nan in features \(row 2, column 1"),
    "svm wide": (".svm", "1 1:2\n2 2000000000:1\n", "holds 2000000000 features .* 1 to 10000"),
    "svm wider": (".svm", "1 1:2\n2 2000000000000:1\n", "line 2: found '2 2000000000000:1'"),
    "svm empty": (".svm", "", "holds 0 rows of data"),
    "not npz": (".npz", "1,2\n3,4\n", "is not an .npz file of numbers; write it with numpy.savez"),
    "not h5": (".h5", "1,2\n3,4\n", "is not a readable HDF5 file"),
    "not gzip": (".csv.gz", "1,2\n3,4\n", "is not a whole gzip file; compress it again"),
    "unknown": (".parquet", "", "must end in .npz, .csv, .svm or .libsvm, each also with .gz, or in .h5"),
    "h5 packed": (".h5.gz", "", "must end in"),
}


def sentence(error):
    """The message, which is to be one sentence on one line."""
    text = str(error.value)
    assert "\n" not in text
    assert len(text) < 500
    return text


@pytest.mark.parametrize("case", WRONG_TEXTS)
def test_files_refused(tmp_path, case):
    suffix, text, message = WRONG_TEXTS[case]
    path = tmp_path / f"data{suffix}"
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as error:
        file(path).dimension_of()
    assert str(path) in sentence(error)


WRONG_ARRAYS = {
    "names": ({"a": np.ones(2), "b": np.ones(2)}, r"features and targets \(or X and y\); it holds a, b"),
    "lengths": ({"X": np.ones((3, 2)), "y": np.ones(4)}, r"features have shape \(3, 2\) and targets \(4,\)"),
    "flat": ({"X": np.ones(3), "y": np.ones(3)}, r"features have shape \(3,\)"),
    "two targets": ({"X": np.ones((3, 2)), "y": np.ones((3, 2))}, r"targets \(3, 2\)"),
    "complex": ({"X": np.ones((3, 2)) * 1j, "y": np.ones(3)}, "features is of type complex128; real numbers"),
    "text": ({"X": np.ones((3, 2)), "y": np.array(["a", "b", "c"])}, "targets is of type"),
    "nan": ({"X": np.array([[1.0, 2], [3, np.nan]]), "y": np.ones(2)}, r"features \(row 2, column 2"),
}


@pytest.mark.parametrize("case", WRONG_ARRAYS)
@pytest.mark.parametrize("suffix", [".npz", ".h5"])
def test_arrays_refused(tmp_path, suffix, case):
    held, message = WRONG_ARRAYS[case]
    path = tmp_path / f"data{suffix}"
    if suffix == ".npz":
        np.savez(path, **held)
    else:
        message = message.replace("type complex128", "type").replace("; real numbers", "")
        with h5py.File(path, "w") as opened:
            for name, array in held.items():
                opened[name] = array.astype("S1") if array.dtype.kind == "U" else array
    with pytest.raises(ValueError, match=message) as error:
        file(path).dimension_of()
    assert str(path) in sentence(error)


def test_nothing_is_unpickled(tmp_path):
    np.savez(tmp_path / "data.npz", X=np.array([[1, None]], dtype=object), y=np.ones(1))
    with pytest.raises(ValueError, match=r"is not an \.npz file of numbers"):
        file(tmp_path / "data.npz").dimension_of()


def test_paths_refused(tmp_path):
    with pytest.raises(ValueError, match=r"nowhere\.csv' does not exist, seen from"):
        file("nowhere.csv").dimension_of()
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(ValueError, match=r"folder.csv' cannot be read: Is a directory"):
        file(tmp_path / "folder.csv").dimension_of()


@pytest.mark.parametrize(
    ("name", "target", "message"),
    [
        ("named.csv", "c", "target = 'c' names 0 columns of .*, which has a, b, b"),
        ("named.csv", "b", "target = 'b' names 2 columns"),
        ("named.csv", 3, "target = 3 is no column of .*; allowed are -3 to 2"),
        ("bare.csv", "a", "target = 'a': .* has no header; give the column's index, from 0"),
        ("data.npz", 0, "target = 0 is for .csv files; leave it out"),
    ],
)
def test_targets_refused(tmp_path, name, target, message):
    (tmp_path / "named.csv").write_text("a,b,b\n1,2,3\n4,5,6\n")
    (tmp_path / "bare.csv").write_text("1,2,3\n4,5,6\n")
    write(tmp_path / "data.npz", *sample())
    with pytest.raises(ValueError, match=message) as error:
        file(tmp_path / name, target=target).dimension_of()
    sentence(error)


def attempt(path):
    """The features read, or the sentence that refuses them."""
    try:
        return read(str(path))[0]
    except ValueError as error:
        return str(error)


@given(suffix=st.sampled_from(FORMATS), content=st.binary(max_size=200))
@settings(shared_folder, max_examples=300)
def test_noise_is_refused_in_one_sentence(tmp_path, suffix, content):
    path = tmp_path / f"noise{suffix}"
    path.write_bytes(content)
    result = attempt(path)
    if isinstance(result, str):
        assert str(path) in result
        assert "\n" not in result
    else:  # some noise is a table
        assert result.ndim == 2
        assert len(result) >= 2


@given(suffix=st.sampled_from(FORMATS), share=st.floats(0, 0.99))
@settings(shared_folder, max_examples=100)
def test_torn_files_are_refused_or_shorter(tmp_path, suffix, share):
    path = tmp_path / f"torn{suffix}"
    features, targets = sample(rows=20)
    write(path, features, targets)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    result = attempt(path)
    if isinstance(result, str):
        assert str(path) in result
    else:  # a text that ends early may still be a table
        assert suffix.lower() in (".csv", ".svm", ".libsvm")
        assert len(result) <= len(features)


# Preprocessing


def test_digits_are_scikit_learns_without_its_constant_columns():
    from sklearn.datasets import load_digits

    digits, bunch = problems["digits"](), load_digits()
    held = digits.dataset
    assert held.features.shape == (1797, 61)
    assert digits.dimension_of() == 61
    assert digits.notes == ("constant columns, dropped: 3 of 64",)
    ours = np.column_stack([held.features, held.targets])
    theirs = np.column_stack([bunch.data[:, bunch.data.std(axis=0) > 0], bunch.target])
    np.testing.assert_array_equal(ours[np.lexsort(ours.T)], theirs[np.lexsort(theirs.T)])


def test_digits_import_nothing_heavy():
    program = (
        "import sys; from mpi_fed.problems import problems; problems['digits']().prepare(4).optimum; "
        "print([m for m in ('sklearn', 'h5py', 'mpi4py', 'matplotlib') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"


def test_raw_leaves_rows_as_they_are(tmp_path):
    features, targets = sample()
    held = file(write(tmp_path / "data.csv", features, targets)).dataset
    np.testing.assert_array_equal(np.sort(held.features, axis=0), np.sort(features, axis=0))
    assert held.notes == ()


@pytest.mark.parametrize("scale", [1e-160, 1.0, 1e140])
def test_standardize(tmp_path, scale):
    features, targets = sample()
    features[:, 1] = scale * (3 + features[:, 1])
    held = file(write(tmp_path / "data.csv", features, targets + 7), preprocessing="standardize").dataset
    np.testing.assert_allclose(held.features.mean(axis=0), 0, atol=1e-14)
    np.testing.assert_allclose((held.features**2).mean(axis=0), 1, rtol=1e-14)
    assert abs(held.targets.mean()) < 1e-14
    assert held.targets.std() == pytest.approx(targets.std(), rel=1e-12)


def test_standardize_fits_what_an_intercept_fits():
    population = problems["digits"](preprocessing="standardize").prepare(1)
    raw = problems["digits"]().dataset
    with_intercept = np.column_stack([raw.features, np.ones(len(raw.targets))])
    residual = raw.targets - with_intercept @ np.linalg.lstsq(with_intercept, raw.targets, rcond=None)[0]
    assert risk(population, population.optimum) == pytest.approx(np.mean(residual**2) / 2, rel=1e-12)


def test_pca_is_a_rotation_onto_a_diagonal_h():
    standardized = problems["digits"](preprocessing="standardize").prepare(1)
    rotated = problems["digits"](preprocessing="pca").prepare(1)
    h = rotated.covariance.dense
    np.testing.assert_allclose(h, np.diag(np.diag(h)), atol=1e-13)
    np.testing.assert_allclose(np.diag(h), standardized.covariance.eigenvalues, rtol=1e-12)
    assert risk(rotated, rotated.optimum) == pytest.approx(
        risk(standardized, standardized.optimum), rel=1e-12
    )


def test_pca_mends_what_the_others_refuse(tmp_path):
    features, targets = sample()
    dependent = features[:, 0] - 2 * features[:, 2]
    path = write(
        tmp_path / "data.csv", np.column_stack([features, dependent, np.full(len(features), 3.0)]), targets
    )
    for preprocessing in ("raw", "standardize"):
        with pytest.raises(
            ValueError, match=r"rank-deficient .*\(4 columns, rank 3\); .* = \"pca\""
        ) as error:
            file(path, preprocessing=preprocessing).check(1)
        assert path in sentence(error)
    mended = file(path, preprocessing="pca")
    assert mended.dimension_of() == 3
    assert mended.notes == (
        "constant columns, dropped: 1 of 5",
        "principal axes without data, dropped: 1 of 4",
    )
    assert mended.prepare(2).covariance.eigenvalues.min() > 0.1


def test_columns_that_depend_once_centred(tmp_path):
    features = np.eye(3)[np.arange(30) % 3]  # one-hot
    path = write(tmp_path / "data.csv", features, np.arange(30.0))
    assert file(path).dimension_of() == 3
    with pytest.raises(ValueError, match=r"\(3 columns, rank 2\)"):
        file(path, preprocessing="standardize").check(1)


def test_units_are_no_rank_deficiency(tmp_path):
    features, targets = sample()
    population = file(write(tmp_path / "data.csv", features * [1e-9, 1, 1e9], targets)).prepare(3)
    expected = file(write(tmp_path / "plain.csv", features, targets)).prepare(3).optimum
    np.testing.assert_allclose(population.optimum * [1e-9, 1, 1e9], expected, rtol=1e-9)


def test_fewer_rows_than_columns(tmp_path):
    path = write(tmp_path / "data.csv", *sample(rows=4, columns=6))
    with pytest.raises(ValueError, match=r"\(6 columns, rank 4\)"):
        file(path).check(1)
    assert file(path, preprocessing="pca").dimension_of() == 3


# The split, and who gets what


@pytest.mark.parametrize("clients", [1, 2, 7, 1797])
def test_iid_split_is_a_near_equal_partition(clients):
    problem = problems["digits"]()
    population = problem.prepare(clients)
    sizes = [len(c.targets) for c in population.clients]
    assert len(sizes) == clients
    assert max(sizes) - min(sizes) <= 1
    for name in ("features", "targets"):
        parts, whole = [getattr(c, name) for c in population.clients], getattr(problem.dataset, name)
        np.testing.assert_array_equal(np.concatenate(parts), whole)
        assert all(np.shares_memory(part, whole) and part.flags.c_contiguous for part in parts)


def test_rows_lie_in_one_piece_whatever_the_order_in_the_file(tmp_path):
    features, targets = sample()
    path = write(tmp_path / "data.npz", np.asfortranarray(features), targets)
    for preprocessing in ("raw", "standardize", "pca"):
        assert file(path, preprocessing=preprocessing).prepare(2).clients[1].features.flags.c_contiguous


def test_seed_draws_the_split():
    digits = problems["digits"]
    first, again, other = (digits(seed=s).prepare(4).clients[0].targets.copy() for s in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert abs(first.mean() - 4.5) < 0.6  # shuffled: 4.3 standard errors of a mean of 449 digits


@pytest.mark.parametrize("clustering", ["k-means", "gaussian-mixture"])
@pytest.mark.parametrize(("clients", "clusters"), [(5, None), (5, 12), (5, 2), (1, 3)])
def test_clusters_are_dealt_out_whole(clients, clusters, clustering):
    """Twelve heaps far apart, of which no client gets a part, unless clusters are fewer than clients.

    Fewer components of a mixture than heaps may cut one: their ellipses are large.
    """
    generator = np.random.default_rng(1)
    heap = np.repeat(np.arange(12), 20)
    points = 100 * np.stack([heap % 4, heap // 4], axis=1) + generator.standard_normal((240, 2))
    shares = splits.by_cluster(points, clients, clusters or clients, "pca", clustering, seed=0)
    np.testing.assert_array_equal(np.sort(np.concatenate(shares)), np.arange(240))
    assert len(shares) == clients
    if clusters == 12 or (clustering == "k-means" and clusters != 2):
        assert all(len(np.unique(heap[share])) * 20 == len(share) for share in shares)
    if clusters == 12:
        assert {len(share) for share in shares} == {40, 60}


@pytest.mark.parametrize("split", [{"split": "cluster"}, {"split": "dirichlet", "concentration": 0.1}])
def test_a_split_makes_clients_differ_and_keeps_the_rows(split):
    iid, shifted = (problems["digits"](preprocessing="standardize", **keys) for keys in ({}, split))
    spread = [np.std([c.targets.mean() for c in problem.prepare(6).clients]) for problem in (iid, shifted)]
    assert spread[1] > 4 * spread[0]
    rows = np.concatenate([c.features for c in shifted.prepare(6).clients])
    np.testing.assert_array_equal(np.sort(rows.sum(axis=1)), np.sort(shifted.dataset.features.sum(axis=1)))
    assert all(c.features.flags.c_contiguous for c in shifted.prepare(6).clients)


def test_the_risk_is_that_of_the_rows_as_they_are_split():
    """w* and H weigh clients alike, not rows: brute force over the clients' own moments."""
    population = problems["digits"](preprocessing="standardize", split="dirichlet", concentration=0.3).prepare(4)
    assert len({len(c.targets) for c in population.clients}) == 4
    h = np.mean([c.features.T @ c.features / len(c.targets) for c in population.clients], axis=0)
    moment = np.mean([c.features.T @ c.targets / len(c.targets) for c in population.clients], axis=0)
    np.testing.assert_allclose(population.optimum, np.linalg.solve(h, moment), rtol=1e-6)
    risk = np.mean([np.mean(c.targets**2) / 2 for c in population.clients])
    best = np.mean([np.mean((c.features @ population.optimum - c.targets) ** 2) / 2 for c in population.clients])
    np.testing.assert_allclose(population.excess_risk(np.zeros(len(h))), risk - best, rtol=1e-9)


def test_t_sne_is_computed_once(tmp_path, monkeypatch):
    monkeypatch.setenv("MPI_FED_CACHE_DIR", str(tmp_path))
    features = np.random.default_rng(2).standard_normal((60, 4))
    first = splits.by_cluster(features, 3, 3, "t-sne", "gaussian-mixture", seed=0)
    assert len(list((tmp_path / "splits").iterdir())) == 1
    monkeypatch.setattr(splits, "_plane", None)
    for one, other in zip(first, splits.by_cluster(features, 3, 3, "t-sne", "gaussian-mixture", seed=0), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_dirichlet_split_that_leaves_clients_empty():
    with pytest.raises(ValueError, match=r"concentration = 0\.001 left some of 50 clients .* give a larger one"):
        problems["digits"](split="dirichlet", concentration=0.001).check(50)


def test_classes_are_values_or_bins():
    assert len(np.unique(splits._classes(np.arange(8.0).repeat(3)))) == 8
    assert np.bincount(splits._classes(np.random.default_rng(0).standard_normal(1000))).tolist() == [100] * 10


def test_more_clients_than_rows():
    with pytest.raises(
        ValueError, match="clients = 1798 is more than the 1797 rows of data; give at most 1797"
    ):
        problems["digits"]().check(1798)


def test_epochs_need_a_batch_that_a_client_can_fill():
    digits = problems["digits"]
    digits(sampling="epochs", batch_size=449).check(4)
    digits(sampling="epochs", batch_size="full").check(4)
    digits(sampling="with-replacement", batch_size=5000).check(4)
    with pytest.raises(
        ValueError, match='batch_size = 450 is more than the 449 rows of a client; with sampling = "ep'
    ):
        digits(sampling="epochs", batch_size=450).check(4)


def test_a_file_is_read_once_until_it_changes(tmp_path, monkeypatch):
    reads = []
    monkeypatch.setattr(data, "read", lambda *source: reads.append(source) or read(*source))
    path = write(tmp_path / "data.csv", *sample())
    for batch_size in (1, 8):
        problem = file(path, batch_size=batch_size)
        problem.dimension_of(), problem.check(3), problem.prepare(3), problem.facts()["dataset_digest"]
    assert len(reads) == 1
    write(tmp_path / "data.csv", *sample(rows=50))
    assert len(file(path).dataset.targets) == 50


def digest_of(problem):
    return problem.facts()["dataset_digest"]


def test_digest_tells_data_apart_and_nothing_else(tmp_path):
    features, targets = sample()
    digest = file(write(tmp_path / "data.csv", features, targets)).facts()["dataset_digest"]
    assert len(digest) == 64
    assert (
        digest_of(file(write(tmp_path / "data.npz", features, targets), preprocessing="pca", seed=5)) == digest
    )
    features[3, 1] = np.nextafter(features[3, 1], 9)
    assert file(write(tmp_path / "other.npz", features, targets)).facts()["dataset_digest"] != digest


# w* and the excess risk


@pytest.mark.parametrize("preprocessing", ["raw", "standardize", "pca"])
@pytest.mark.parametrize("clients", [1, 7])
def test_optimum_is_stationary_and_excess_risk_is_that_of_the_rows(preprocessing, clients):
    population = problems["digits"](preprocessing=preprocessing).prepare(clients)
    best = population.optimum
    assert np.abs(gradient(population, best)).max() < 1e-10
    points = best + np.random.default_rng(2).standard_normal((5, 4, population.dimension))
    excess = population.excess_risk(points)
    assert excess.shape == (5, 4)
    rows = [risk(population, w) - risk(population, best) for w in points.reshape(20, -1)]
    np.testing.assert_allclose(excess.ravel(), rows, rtol=1e-10)
    assert population.excess_risk(best) == 0


def test_clients_weigh_the_same_whatever_their_rows():
    features, targets = sample(rows=60)
    clients = [EmpiricalClient(features[:10], targets[:10]), EmpiricalClient(features[10:], targets[10:] + 3)]
    population = Population([*clients, clients[0]])  # the first law twice
    assert np.abs(gradient(population, population.optimum)).max() < 1e-13
    expected = (2 * features[:10].T @ features[:10] / 10 + features[10:].T @ features[10:] / 50) / 3
    np.testing.assert_allclose(population.covariance.dense, expected, atol=1e-13)
    assert population.trace == pytest.approx(np.trace(expected))


def test_optimum_of_ill_conditioned_rows():
    """Singular values 1 to 1e-7, so that X^T X has condition 1e14, and an exact fit."""
    rng = np.random.default_rng(3)
    features = haar(200, rng)[:, :8] * np.logspace(0, -7, 8) @ haar(8, rng)
    truth = rng.standard_normal(8)
    population = Population([EmpiricalClient(features, features @ truth)])
    np.testing.assert_allclose(population.optimum, truth, atol=1e-7)
    normal_equations = np.linalg.solve(features.T @ features, features.T @ (features @ truth))
    assert np.abs(normal_equations - truth).max() > 1e-5  # what the factorisation is for
    np.testing.assert_allclose(
        np.sqrt(population.covariance.eigenvalues * 200), np.logspace(0, -7, 8), rtol=1e-6
    )


def test_a_client_with_fewer_rows_than_columns():
    features, targets = sample(rows=2, columns=5)
    client = EmpiricalClient(features, targets)
    np.testing.assert_allclose(client.covariance.dense, features.T @ features / 2, atol=1e-14)


@pytest.mark.parametrize("shift", ["none", "covariate", "optimum", "both"])
@pytest.mark.parametrize("rotation", ["diagonal", "householder", "dct", "haar"])
def test_gaussian_optimum(shift, rotation):
    problem = problems["gaussian"](dimension=6, shift=shift, rotation=rotation, decays=(1.0, 2.0, 0.5))
    population = problem.prepare(4)
    best = population.optimum
    moment = sum(c.covariance.apply(best - c.optimum) for c in population.clients)
    np.testing.assert_allclose(moment, 0, atol=1e-12)
    if shift in ("none", "covariate"):
        np.testing.assert_array_equal(best, np.ones(6))
    expected = sum(c.covariance.dense for c in population.clients) / 4
    np.testing.assert_allclose(population.covariance.dense, expected, atol=1e-14)


def test_a_reflected_h_stays_cheap_at_any_dimension():
    problem = problems["gaussian"](dimension=100_000, rotation="householder", shift="optimum")
    problem.check(3)
    population = problem.prepare(3)
    mean = sum(c.optimum for c in population.clients) / 3
    np.testing.assert_allclose(population.optimum, mean, atol=1e-12)
    assert population.excess_risk(mean + 1) == pytest.approx(
        population.covariance.apply(np.ones(100_000)).sum() / 2
    )


@pytest.mark.parametrize(
    ("options", "rotation"),
    [({"rotation": "haar"}, "haar"), ({"shift": "both", "rotation": "diagonal"}, "haar")],
)
def test_dense_rotations_are_refused_at_large_dimensions(options, rotation):
    with pytest.raises(
        ValueError, match=f"a dense {rotation} rotation at dimension = 10001 .* at most 10000"
    ):
        problems["gaussian"](dimension=10_001, **options).check(1)


@pytest.mark.parametrize("matrix", [dct(7), haar(7, np.random.default_rng(0))])
def test_rotations_are_orthogonal(matrix):
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(7), atol=1e-14)


def test_covariance_of_a_matrix_acts_as_it():
    matrix = np.cov(np.random.default_rng(0).standard_normal((5, 20)))
    covariance = Covariance.of(matrix)
    v = np.arange(10.0).reshape(5, 2)
    np.testing.assert_allclose(covariance.apply(v), matrix @ v, atol=1e-13)
    np.testing.assert_allclose(covariance.unrotate(covariance.rotate(v)), v, atol=1e-13)
    assert covariance.trace == pytest.approx(np.trace(matrix))


# kind = "arrays"

COVARIANCES = np.stack([np.diag([1.0, 2.0]), np.array([[2.0, 0.5], [0.5, 1.0]])])
GIVEN = {"covariances": COVARIANCES, "optima": np.array([[1.0, 2.0], [3.0, 4.0]]), "noise_variance": 0.5}


def saved(path, **changes):
    np.savez(path, **{name: value for name, value in (GIVEN | changes).items() if value is not None})
    return problems["arrays"](path=str(path))


def test_arrays_are_the_clients(tmp_path):
    problem = saved(tmp_path / "given.npz")
    assert problem.dimension_of() == 2
    clients = problem.prepare(2).clients
    for client, h, w in zip(clients, COVARIANCES, GIVEN["optima"], strict=True):
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
        ({"covariances": np.ones((2, 2, 3))}, r"covariances has shape \(2, 2, 3\), needed is \(N, d, d\)"),
        ({"covariances": np.eye(2)}, r"covariances has shape \(2, 2\)"),
        ({"optima": np.ones((2, 3))}, r"optima has shape \(2, 3\), needed is \(2, 2\)"),
        ({"noise_variance": np.ones(3)}, r"noise_variance has shape \(3,\), needed is \(\) or \(2,\)"),
        ({"noise_variance": -1.0}, "noise_variance holds -1; give numbers >= 0"),
        ({"noise_variance": np.nan}, "found nan in noise_variance; remove"),
        ({"covariances": COVARIANCES + np.eye(2, k=1)}, "covariances must be symmetric"),
        (
            {"covariances": COVARIANCES * np.array([1, np.inf])[:, None, None]},
            r"found inf in covariances \(matrix 2, row 1, column 1",
        ),
        ({"covariances": COVARIANCES - 1.5 * np.eye(2)}, "covariance 2 has the negative eigenvalue -0.7"),
        ({"covariances": np.ones((2, 2, 2))}, "the mean of the covariances is singular"),
        ({"optima": np.array([["a", "b"]] * 2)}, "optima is of type"),
    ],
)
def test_arrays_problem_refused(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message) as error:
        saved(tmp_path / "given.npz", **changes).dimension_of()
    assert "given.npz" in sentence(error)


def test_arrays_fix_the_number_of_clients(tmp_path):
    with pytest.raises(ValueError, match="holds 2 clients, the study has clients = 3"):
        saved(tmp_path / "given.npz").check(3)
