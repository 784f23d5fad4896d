"""`mpi_fed.certify`: the certificate of one compressor, from Python."""

from __future__ import annotations

import pytest

import mpi_fed
from mpi_fed.compressors import compressors
from mpi_fed.compressors.none import NoCompression


def test_a_correct_compressor_passes() -> None:
    certificate = mpi_fed.certify({"kind": "rand-h", "h": 2}, dimension=8, draws=1000)
    assert certificate["verdict"] == "PASS"
    assert certificate["reasons"] == []
    assert (certificate["kind"], certificate["dimension"], certificate["omega"]) == ("rand-h", 8, 3.0)
    assert [report["dimension"] for report in certificate["dimensions"]] == [8]


@pytest.mark.parametrize(
    ("table", "options", "message"),
    [
        ({"kind": "rand-h", "k": 2}, {}, 'compressor: has no key "k"'),
        ({"kind": "rand-h", "h": 9}, {"dimension": 8}, "compressor: h = 9 is more than the dimension 8"),
        ({"kind": "rand-h", "h": 2}, {"draws": 10}, "draws is 10; give at least 100"),
        ({"kind": "none"}, {"plugins": ["missing.py"]}, "missing.py: cannot read the file"),
    ],
)
def test_wrong_input_is_refused(table: dict[str, object], options: dict[str, object], message: str) -> None:
    with pytest.raises(mpi_fed.InputError, match=message):
        mpi_fed.certify(table, **options)  # type: ignore[arg-type]


def test_a_class_that_the_ranks_cannot_load_is_refused() -> None:
    class Own(NoCompression):
        kind = "own"

    compressors["own"] = Own
    try:
        with pytest.raises(
            mpi_fed.InputError, match=r"Own is defined in .*, which the ranks that certify starts cannot"
        ):
            mpi_fed.certify({"kind": "own"})
    finally:
        del compressors["own"]
