"""The measured risk against exact theory: every compressor, on two spectra, through the real command.

Each of 12 cells is the mean of 2000 repetitions of `studies/statistics.toml`, and z is its distance from the exact
expectation, in standard errors. How often a sound program fails, with seeds that nobody has looked at:

- |z| >= 4 in some cell: 12 * 6.3e-5 = 0.08%, by the normal approximation. The risk of one repetition is skewed
  (skewness 0.6 to 2.5 here, so at most 0.06 in the mean); to first order that moves weight from one tail to the
  other and leaves the sum.
- mean z^2 outside 0.5 .. 1.8: 13% if the cells were independent (8% below, 4% above), and more as they are, since
  all compressors see the same samples. It guards against standard errors of the wrong size.

The seeds are fixed, so on one kind of CPU the outcome never changes. A standard error is 0.6% of the mean for most
cells, 2.2% for the worst: a systematic error of 2.5% (9%) is found with probability 1/2, twice that practically always.
"""

from __future__ import annotations

import json
from pathlib import Path

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
    for name, log in together.items():  # what two ranks compute is what was tested
        np.testing.assert_array_equal(log["excess_risk_averaged"], alone[name]["excess_risk_averaged"][:20])


@pytest.mark.slow
def test_heterogeneous_clients_with_and_without_memories(tmp_path: Path) -> None:
    """48 cells. Quantization has an exact prediction at batch 1 without memory alone; where true gradients travel
    uncompressed all repetitions are one, and there is no z. Left are 41.

    A sound program fails in 41 * 6.3e-5 = 0.3% by some |z| >= 4; the bound on the mean of z^2 is wide, because cells
    share their samples. Memories help with batches of 8 and with true gradients, and hurt at batch size 1.
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
    places = {}
    for cell in cells:
        place = cell["compressor"]["kind"], cell["problem"]["batch_size"], cell["algorithm"]["kind"]
        places[place] = cell["limit_trace"]
    for kind in {kind for kind, *_ in places} - {"none", "quantization"}:
        plain, memory = ([places[kind, b, name] for b in (1, 8, "full")] for name in ("sgd", "control-variates"))
        assert memory[0] > plain[0]
        assert memory[1] < plain[1]
        assert memory[2] == 0 < plain[2]


def table(cells):
    """Measured over predicted, a line a cell."""
    yield f"{'compressor':22}  P  measured    predicted   ratio   +-      z"
    for cell in cells:
        measured, predicted = cell["excess_risk_averaged"], cell["predicted_excess_risk_averaged"]
        ratio, error = measured["mean"] / predicted, measured["standard_error"] / predicted
        name, decay = cell["compressor"]["kind"], cell["problem"]["eigenvalue_decay"]
        numbers = f"{measured['mean']:.4e}  {predicted:.4e}  {ratio:.4f}  {error:.4f}  {cell['z']:+.2f}"
        yield f"{name:22}  {decay:.0f}  {numbers}"
    yield f"mean z^2: {np.mean([cell['z'] ** 2 for cell in cells]):.2f}"
