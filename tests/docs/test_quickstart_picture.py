"""Test analysis/quickstart_picture.py: the labels do not overlap, and the picture is drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.synthetic_log import tables, write_log

from analysis.quickstart_picture import CLOSEST, draw, spread
from mpi_fed import load


@pytest.mark.parametrize("values", [[1.0], [1.0, 100.0, 1e4], [3.0, 1.0, 1.01], [2e-5, 1.4e-4, 1.5e-4, 2.8e-4, 3.2e-4]])
def test_labels_keep_their_order_and_a_distance(values: list[float]) -> None:
    heights = spread(values)
    assert np.argsort(heights).tolist() == np.argsort(values).tolist()
    assert (np.diff(np.log(np.sort(heights))) > 0.999 * np.log(CLOSEST)).all()


def test_labels_that_do_not_overlap_stay_where_they_are() -> None:
    assert spread([1.0, 100.0]) == pytest.approx([1.0, 100.0])


def test_a_folder_of_logs_is_drawn(tmp_path: Path) -> None:
    for kind, keys in {"none": {}, "rand-h": {"h": 3}}.items():
        study = tables(study={"rounds": 10_000}, compressor={"kind": kind, **keys})
        write_log(tmp_path / f"{kind}.h5", study, label=kind)
    draw(load(tmp_path), tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes()[:4] == b"\x89PNG"
