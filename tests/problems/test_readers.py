"""Data files: the arrays that each format is read to, and the files that are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays as drawn
from numpy.typing import NDArray
from support.data_files import FORMATS, file_problem, one_sentence, sample, write_rows

from mpi_fed.problems.population import Array
from mpi_fed.problems.readers import read


@pytest.mark.parametrize("suffix", FORMATS)
def test_each_format_keeps_every_bit(tmp_path: Path, suffix: str) -> None:
    features, targets = sample()
    read_features, read_targets = read(write_rows(tmp_path / f"data{suffix}", features, targets))
    np.testing.assert_array_equal(read_features, features)
    np.testing.assert_array_equal(read_targets, targets)


@pytest.mark.parametrize("suffix", [".npz", ".h5"])
def test_arrays_named_x_and_y_of_other_types_are_read(tmp_path: Path, suffix: str) -> None:
    features, targets = (
        np.arange(12, dtype=np.int16).reshape(4, 3),
        np.array([[0], [1], [1], [0]], dtype=bool),
    )
    path = tmp_path / f"data{suffix}"
    if suffix == ".npz":
        np.savez(path, X=features, y=targets, other=np.array(["text"]))
    else:
        with h5py.File(path, "w") as file:
            file["X"], file["y"] = features, targets
            file.create_group("other")
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
def test_csv_round_trip(tmp_path: Path, table: Array, separator: str, header: bool, blank: str, end: str) -> None:
    names = [[f'"column {j}"' for j in range(table.shape[1])]] if header else []
    lines = [separator.join(row) for row in [*names, *([repr(v) for v in row] for row in table.tolist())]]
    path = tmp_path / "data.csv"
    path.write_bytes((blank + end.join([lines[0], blank.strip("\n"), *lines[1:]])).encode("utf-8-sig"))
    features, targets = read(str(path))
    np.testing.assert_array_equal(features, table[:, :-1])
    np.testing.assert_array_equal(targets, table[:, -1])


@given(table=tables, first=st.sampled_from([0, 1]))
@settings(shared_folder, max_examples=30)
def test_svm_round_trip(tmp_path: Path, table: Array, first: int) -> None:
    """Indices begin at 0 or 1. Zeros are not written, except in the first and last columns, which show the range."""
    table[0, [1, -1]] = 1.0
    entries = [[f"{j + first}:{v!r}" for j, v in enumerate(row) if v] for row in table[:, 1:].tolist()]
    rows = [" ".join([repr(y), *x, "# note"]) for y, x in zip(table[:, 0].tolist(), entries, strict=True)]
    path = tmp_path / "data.svm"
    path.write_text("\n".join(["# sparse rows", *rows, ""]))
    features, targets = read(str(path))
    np.testing.assert_array_equal(features, table[:, 1:])
    np.testing.assert_array_equal(targets, table[:, 0])


@pytest.mark.parametrize(("target", "column"), [(None, 2), ("b", 1), (0, 0), (-2, 1), (2, 2)])
def test_target_column(tmp_path: Path, target: str | int | None, column: int) -> None:
    path = tmp_path / "data.csv"
    path.write_text("a,b,c\n1,2,3\n4,5,6\n")
    table = np.array([[1.0, 2, 3], [4, 5, 6]])
    features, targets = read(str(path), target)
    np.testing.assert_array_equal(features, np.delete(table, column, axis=1))
    np.testing.assert_array_equal(targets, table[:, column])


WRONG_TEXTS = {
    "empty": (".csv", "", "holds 0 rows of data; at least 2"),
    "header alone": (".csv", "a,b,c\n", "holds 0 rows of data; at least 2"),
    "one row": (".csv", "1,2,3\n", "holds 1 row of data; at least 2"),
    "no feature": (".csv", "1\n2\n", "holds 0 features besides the target; 1 to 10000"),
    "ragged": (".csv", "a,b\n1,2\n\n3,4,5\n", "line 4: 3 columns, but the first row has 2"),
    "text": (".csv", "1,2\n3,four\n", "line 2, column 2: found 'four' instead of a number"),
    "missing": (".csv", "# c\n1,2\n3,4\n,5\n", "line 4, column 1: found nothing instead of a number"),
    "underscore": (".csv", "1,2\n1_0,2\n", "line 2, column 1: found '1_0'"),
    "mixed first row": (".csv", "1,NA\n3,4\n", r"first row mixes numbers with text \('NA' in column 2\)"),
    "unnamed": (".csv", ",a,b\n0,1,2\n1,3,4\n", "column 1 has no name in the header"),
    "header too short": (".csv", "a,b\n1,2,3\n4,5,6\n", "the header names 2 columns, but the rows have 3"),
    "nan": (".csv", "a,b\n1,2\nnan,4\n", r"found nan in features \(row 2, column 1, counted from 1\)"),
    "infinite": (".csv", "1,2\n3,-inf\n", r"found -inf in targets \(row 2, counted from 1\)"),
    "huge": (".csv", "1,2\n1e200,4\n", r"found 1e\+200 in features .* above 1e\+150"),
    "constant": (".csv", "1,2\n1,4\n", "each feature column is constant; at least one must vary"),
    "not svm": (".svm", "1 1:2\nseven\n", "line 2: found 'seven' instead of \"target index:value"),
    "no colon": (".svm", "1 1:2\n2 3\n", "line 2: found '2 3'"),
    "descending": (".svm", "1 1:2\n\n2 3:1 2:1\n", "line 3: .* ascending indices"),
    "svm nan": (".svm", "1 1:2\n2 1:nan\n", r"found nan in features \(row 2, column 1"),
    "svm wide": (".svm", "1 1:2\n2 2000000000:1\n", "holds 2000000000 features .* 1 to 10000"),
    "svm wider": (".svm", "1 1:2\n2 2000000000000:1\n", "line 2: found '2 2000000000000:1'"),
    "svm empty": (".svm", "", "holds 0 rows of data"),
    "not npz": (".npz", "1,2\n3,4\n", "is not an .npz file of numbers; write it with numpy.savez"),
    "not h5": (".h5", "1,2\n3,4\n", "is not a readable HDF5 file"),
    "not gzip": (".csv.gz", "1,2\n3,4\n", "is not a complete gzip file; compress it again"),
    "unknown": (".parquet", "", "must end in .npz, .csv, .svm or .libsvm, each also with .gz, or in .h5"),
    "h5 packed": (".h5.gz", "", "must end in"),
}


@pytest.mark.parametrize("case", WRONG_TEXTS)
def test_wrong_files_are_refused(tmp_path: Path, case: str) -> None:
    suffix, text, message = WRONG_TEXTS[case]
    path = tmp_path / f"data{suffix}"
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as error:
        file_problem(path).dimension_of()
    assert str(path) in one_sentence(error)


WRONG_ARRAYS: dict[str, tuple[dict[str, NDArray[Any]], str]] = {
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
def test_wrong_arrays_are_refused(tmp_path: Path, suffix: str, case: str) -> None:
    contents, message = WRONG_ARRAYS[case]
    path = tmp_path / f"data{suffix}"
    if suffix == ".npz":
        np.savez(path, **contents)  # type: ignore[arg-type]
    else:
        message = message.replace("type complex128", "type").replace("; real numbers", "")
        with h5py.File(path, "w") as opened:
            for name, array in contents.items():
                opened[name] = array.astype("S1") if array.dtype.kind == "U" else array
    with pytest.raises(ValueError, match=message) as error:
        file_problem(path).dimension_of()
    assert str(path) in one_sentence(error)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", X=np.array([[1, None]], dtype=object), y=np.ones(1))
    with pytest.raises(ValueError, match=r"is not an \.npz file of numbers"):
        file_problem(tmp_path / "data.npz").dimension_of()


def test_wrong_paths_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"nowhere\.csv' does not exist \(the current folder is /.*\); correct the path"
    ):
        file_problem("nowhere.csv").dimension_of()
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(ValueError, match=r"folder.csv' cannot be read: Is a directory"):
        file_problem(tmp_path / "folder.csv").dimension_of()


@pytest.mark.parametrize(
    ("name", "target", "message"),
    [
        ("named.csv", "c", "target = 'c' names 0 columns of .*, which has a, b, b"),
        ("named.csv", "b", "target = 'b' names 2 columns"),
        ("named.csv", 3, "target = 3 is not a column of .*; give -3 to 2"),
        ("bare.csv", "a", "target = 'a': .* has no header; give the column's index, from 0"),
        ("data.npz", 0, "target = 0 is for .csv files; leave it out"),
    ],
)
def test_wrong_targets_are_refused(tmp_path: Path, name: str, target: str | int, message: str) -> None:
    (tmp_path / "named.csv").write_text("a,b,b\n1,2,3\n4,5,6\n")
    (tmp_path / "bare.csv").write_text("1,2,3\n4,5,6\n")
    write_rows(tmp_path / "data.npz", *sample())
    with pytest.raises(ValueError, match=message) as error:
        file_problem(tmp_path / name, target=target).dimension_of()
    one_sentence(error)


def attempt(path: Path) -> Array | str:
    """Return the features, or the message of the error."""
    try:
        return read(str(path))[0]
    except ValueError as error:
        return str(error)


@given(suffix=st.sampled_from(FORMATS), content=st.binary(max_size=200))
@settings(shared_folder, max_examples=300)
def test_random_bytes_are_refused_in_one_sentence(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"noise{suffix}"
    path.write_bytes(content)
    result = attempt(path)
    if isinstance(result, str):
        assert str(path) in result
        assert "\n" not in result
    else:  # some random bytes are a table
        assert result.ndim == 2
        assert len(result) >= 2


@given(suffix=st.sampled_from(FORMATS), share=st.floats(0, 0.99))
@settings(shared_folder, max_examples=100)
def test_truncated_files_are_refused_or_shorter(tmp_path: Path, suffix: str, share: float) -> None:
    path = tmp_path / f"truncated{suffix}"
    features, targets = sample(rows=20)
    write_rows(path, features, targets)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    result = attempt(path)
    if isinstance(result, str):
        assert str(path) in result
    else:  # a truncated text may still be a table
        assert suffix.lower() in (".csv", ".svm", ".libsvm")
        assert len(result) <= len(features)
