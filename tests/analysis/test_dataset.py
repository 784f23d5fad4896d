"""The function `mpi_fed.load`, which loads logs as xarray datasets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray

import mpi_fed
from mpi_fed.log import schema
from mpi_fed.log.reader import read_log
from mpi_fed.theory import predict

LOGS = Path(__file__).parents[1] / "recorded" / "logs"
FINISHED = sorted((LOGS / "finished").rglob("*.h5"))


@pytest.mark.parametrize("path", FINISHED, ids=lambda path: path.stem)
def test_a_log_is_loaded_as_xarray_opens_it_with_the_prediction(path: Path) -> None:
    data = mpi_fed.load(path)
    with xarray.open_dataset(path, engine="h5netcdf") as opened:
        xarray.testing.assert_equal(data.drop_vars("predicted_excess_risk_averaged"), opened.drop_encoding().load())
        assert {name: variable.attrs.get("units") for name, variable in data.items() if name in opened} == {
            str(name): variable.attrs.get("units") for name, variable in opened.items()
        }
    configuration = mpi_fed.study.load.configuration_from_tables(read_log(path).configuration)
    expected = predict(configuration, log_rounds=data["round"].values.tolist())
    predicted = data.predicted_excess_risk_averaged
    assert predicted.attrs["prediction_kind"] == (expected.prediction_kind or "none")
    if expected.excess_risk_averaged is not None:
        assert np.array_equal(predicted, np.array(expected.excess_risk_averaged, dtype=float))


def test_a_folder_has_a_dimension_for_configurations() -> None:
    data = mpi_fed.load(LOGS)
    logs = [read_log(path) for path in sorted(LOGS.rglob("*.h5"))]
    assert data.sizes["configuration"] == len(logs) > 1
    assert data.excess_risk_averaged.dims == ("configuration", "repetition", "round")
    assert data.predicted_excess_risk_averaged.dims == ("configuration", "round")
    assert set(data["status"].values) == {"complete", "diverged", "interrupted"}
    for log in logs:
        label = f"{log.configuration['study']['name']}: {log.label}"
        selected = data.sel(configuration=label, round=log.round, repetition=log.repetition)
        assert np.array_equal(selected.excess_risk, log.excess_risk, equal_nan=True)
        assert selected.compressor == log.configuration["compressor"]["kind"]


def test_theory_can_be_left_out() -> None:
    assert "predicted_excess_risk_averaged" not in mpi_fed.load(FINISHED[0], theory=False)


def test_every_dataset_of_the_schema_is_loaded() -> None:
    names = {dataset.name for dataset in schema.DATASETS}
    loaded = {str(name) for path in LOGS.rglob("*.h5") for name in mpi_fed.load(path, theory=False)}
    assert loaded <= names
    assert {"iterate", "last_iterate", "message_count", "phase_seconds"} <= loaded


@pytest.mark.parametrize(
    ("name", "message"),
    [("empty", "holds no log"), ("missing.h5", "no such file"), ("text.h5", "damaged or is not an HDF5 file")],
)
def test_a_path_without_logs_is_refused(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.h5").write_text("no log")
    with pytest.raises(mpi_fed.InputError, match=message):
        mpi_fed.load(tmp_path / name)
