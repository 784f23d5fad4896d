"""The measured risk compared with exact theory: every compressor, on two spectra, run by the command `mpi-fed`.

Each of 12 cells is the mean of 2000 repetitions of `studies/statistics.toml`, and z is its distance from the exact
expectation, in standard errors. For seeds chosen without knowing the results, a correct program fails with these
probabilities:

- |z| >= 4 in some cell: 12 * 6.3e-5 = 0.08%, by the normal approximation. The risk of one repetition is skewed
  (skewness 0.6 to 2.5 here, so at most 0.06 in the mean); to first order this moves probability from one tail to the
  other and does not change the sum.
- mean z^2 outside 0.5 .. 1.8: 13% if the cells were independent (8% below, 4% above), and more in fact, since all
  compressors see the same samples. This assertion finds standard errors of the wrong size.

The seeds are fixed, so the result is always the same on one type of CPU. The standard error is 0.6% of the mean for
most cells, and 2.2% for the worst. A systematic error of 2.5% (worst cell: 9%) is found with probability 1/2, and an
error of twice that size almost always.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import command

STUDY = Path(__file__).parents[2] / "studies" / "statistics.toml"


@pytest.mark.slow
def test_every_compressor_has_the_risk_that_theory_predicts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command.run("run", STUDY, "--ranks=1", f"--out={tmp_path}", "--no-analyze")
    cells = json.loads(command.run("analyze", tmp_path, "--json").stdout)["configurations"]
    with capsys.disabled():
        print("", *table(cells), sep="\n")
    assert len(cells) == 12
    assert all(cell["repetitions"] == 2000 for cell in cells)
    assert all(cell["prediction_kind"] == "exact" for cell in cells)
    z = np.array([cell["z"] for cell in cells])
    assert np.abs(z).max() < 4
    assert 0.5 < np.mean(z**2) < 1.8

    few = ["--ranks=2", "--set=study.repetitions=20", "--only=quantization", "--no-analyze"]
    command.run("run", STUDY, f"--out={tmp_path / 'two'}", *few)
    alone, together = command.logs(tmp_path / "statistics"), command.logs(tmp_path / "two" / "statistics")
    assert len(together) == 2
    for name, log in together.items():  # two ranks compute the repetitions tested above
        np.testing.assert_array_equal(log["excess_risk_averaged"], alone[name]["excess_risk_averaged"][:20])


@pytest.mark.slow
def test_heterogeneous_clients_with_and_without_memories(tmp_path: Path) -> None:
    """41 of 48 cells have a z.

    Quantization has an exact prediction only at batch size 1 without memory. With true gradients and no compression all
    repetitions are equal, so there is no z.

    A correct program fails by some |z| >= 4 with probability 41 * 6.3e-5 = 0.3%. The bound on the mean of z^2 is wide,
    because the cells share samples. Memories lower the limit trace with batches of 8 and with true gradients, and raise
    it at batch size 1.
    """
    study = STUDY.with_name("heterogeneity.toml")
    options = ["--ranks=1", f"--out={tmp_path}", "--no-analyze", "--set=study.repetitions=400"]
    command.run("run", study, *options)
    cells = json.loads(command.run("analyze", tmp_path, "--json").stdout)["configurations"]
    assert len(cells) == 48
    assert all(cell["verdict"] == "VALID" for cell in cells)
    z = np.array([cell["z"] for cell in cells if cell["prediction_kind"] == "exact" and cell["z"] is not None])
    assert len(z) == 41
    assert np.abs(z).max() < 4
    assert 0.3 < np.mean(z**2) < 2.5
    traces = {}
    for cell in cells:
        key = cell["compressor"]["kind"], cell["problem"]["batch_size"], cell["algorithm"]["kind"]
        traces[key] = cell["limit_trace"]
    for kind in {kind for kind, *_ in traces} - {"none", "quantization"}:
        plain, memory = ([traces[kind, b, name] for b in (1, 8, "full")] for name in ("sgd", "control-variates"))
        assert memory[0] > plain[0]
        assert memory[1] < plain[1]
        assert memory[2] == 0 < plain[2]


def table(cells: list[dict[str, Any]]) -> Iterator[str]:
    """Yield a heading, a line for each cell with the measured and the predicted risk, and the mean of z^2."""
    yield f"{'compressor':22}  P  measured    predicted   ratio   +-      z"
    for cell in cells:
        measured, predicted = cell["excess_risk_averaged"], cell["predicted_excess_risk_averaged"]
        ratio, error = measured["mean"] / predicted, measured["standard_error"] / predicted
        name, decay = cell["compressor"]["kind"], cell["problem"]["eigenvalue_decay"]
        numbers = f"{measured['mean']:.4e}  {predicted:.4e}  {ratio:.4f}  {error:.4f}  {cell['z']:+.2f}"
        yield f"{name:22}  {decay:.0f}  {numbers}"
    yield f"mean z^2: {np.mean([cell['z'] ** 2 for cell in cells]):.2f}"
