"""Predictions for whole configurations: their fields, exact and approximate predictions, the cache, the command."""

from __future__ import annotations

import functools
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.study_text import loaded_study
from support.theory_simulation import simulate

import mpi_fed
from mpi_fed.study.load import Study
from mpi_fed.theory import Prediction, cache, command, finite_rounds, predict, trajectory
from mpi_fed.theory.recursions import propagate

MakeStudy = Callable[..., Study]

FIELDS = [
    "label", "compressor", "downlink", "algorithm", "problem", "clients", "dimension", "omega", "step_size",
    "step_exponent", "rounds", "payload_bits", "payload_bytes_max", "downlink_payload_bits",
    "downlink_payload_bytes_max", "limit_trace", "limit_trace_error", "limit_trace_ideal_memory", "limit_weights",
    "plateau_trace", "stable", "log_rounds", "excess_risk_averaged", "excess_risk_last", "prediction_kind",
    "relative_error", "note",
]  # fmt: skip


@pytest.fixture(autouse=True)
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("MPI_FED_CACHE_DIR", raising=False)
    return tmp_path / "cache" / "mpi_fed" / "theory"


@pytest.fixture
def study(tmp_path: Path) -> MakeStudy:
    """Return a function that loads a study of 200 rounds with the given keys of its tables."""
    return functools.partial(loaded_study, tmp_path, rounds=200)


def predicted(study: Study) -> Prediction:
    """Return the prediction for the first configuration of a study."""
    return next(command.predictions(study.configurations))


def test_json_has_the_fields_of_the_interface(study: MakeStudy, capsys: pytest.CaptureFixture[str]) -> None:
    loaded = study('kind = ["none", "quantization"]')
    assert command.predict_studies([loaded, loaded], json=True) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [p["compressor"]["kind"] for p in listed] == ["none", "quantization"] * 2
    assert all(list(p) == FIELDS for p in listed)
    first = listed[0]
    assert (first["limit_trace"], first["prediction_kind"], first["omega"]) == (pytest.approx(4), "exact", 0)
    assert first["payload_bits"] == 128
    assert first["log_rounds"][:4] == [0, 1, 2, 3]
    assert first["log_rounds"][-1] == 200
    assert len(first["log_rounds"]) == len(first["excess_risk_averaged"]) == len(first["excess_risk_last"])
    w0 = study("none").configurations[0].problem.prepare(1).excess_risk(np.zeros(4))
    assert first["excess_risk_averaged"][:2] == [pytest.approx(w0), pytest.approx(w0)]  # rounds 0 and 1: w_0


def test_the_library_returns_the_objects_that_the_command_prints(
    study: MakeStudy, capsys: pytest.CaptureFixture[str]
) -> None:
    loaded = study('kind = ["none", "quantization"]')
    listed = mpi_fed.predict(loaded)
    assert [prediction["compressor"]["kind"] for prediction in listed] == ["none", "quantization"]
    command.predict_studies([loaded, loaded], json=True)
    assert json.loads(capsys.readouterr().out) == listed * 2


def test_the_command_prints_a_table(study: MakeStudy, capsys: pytest.CaptureFixture[str]) -> None:
    loaded = study('kind = "quantization"\nlevels = [1, 2]', algorithm="step_size = 5.0")
    assert command.predict_studies([loaded], json=False) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "quantization levels=1" in printed
    assert "the step size is too large" in printed


def test_a_step_too_large_gives_null(study: MakeStudy) -> None:
    prediction = predicted(study("none", rounds=100_000, algorithm="step_size = 5.0"))
    assert prediction.stable is False
    assert prediction.plateau_trace is None
    assert prediction.excess_risk_averaged is not None
    assert prediction.excess_risk_averaged[-1] is None
    json.dumps(prediction.to_json(), allow_nan=False)


@pytest.mark.parametrize(
    ("compressor", "problem", "kind"),
    [
        ('kind = "rand-h"\nh = 2', "batch_size = 7", "exact"),
        ('kind = "rand-h"\nh = 2', 'batch_size = "full"', "exact"),
        ('kind = "quantization"', 'shift = "both"', "exact"),
        ('kind = "quantization"\nlevels = 3', "batch_size = 1", "exact"),
        ('kind = "quantization"', "batch_size = 2", "approximate"),
        ('kind = "none"\nvalue_bits = 16', "", "approximate"),
        ('kind = "quantization"', 'batch_size = "full"', "approximate"),
    ],
)
def test_predictions_are_exact_or_approximate(study: MakeStudy, compressor: str, problem: str, kind: str) -> None:
    prediction = predicted(study(compressor, problem=problem))
    assert prediction.prediction_kind == kind
    assert (prediction.note is None) is (kind == "exact")
    assert prediction.relative_error is not None
    assert prediction.relative_error < finite_rounds.TOLERANCE


@pytest.mark.parametrize(
    ("algorithm", "problem", "words"),
    [("ridge = 0.1", "dimension = 4", "ridge"), ("", "dimension = 400", "dimension 300")],
)
def test_the_note_gives_the_reason_for_missing_risks(
    study: MakeStudy, algorithm: str, problem: str, words: str
) -> None:
    prediction = predicted(study("quantization", algorithm=algorithm, problem=problem))
    assert prediction.note is not None
    assert words in prediction.note
    assert prediction.prediction_kind is None
    assert prediction.log_rounds is None
    assert prediction.excess_risk_averaged is None


def test_a_problem_too_large_for_the_recursion_has_a_limit(study: MakeStudy) -> None:
    problem = {"dimension": [4, 400], "rotation": "dct"}
    small, large = command.predictions(study("quantization", problem=problem).configurations)
    assert small.limit_trace == pytest.approx(7.7865, rel=1e-4)
    assert large.limit_trace is not None
    assert large.limit_trace > 400


@pytest.mark.parametrize(
    ("averaging", "initial"), [("all", "normal"), ("tail", [1.0, 0.0, -1.0, 2.0]), ("tail", "zeros")]
)
def test_averaging_and_start(study: MakeStudy, averaging: str, initial: str | list[float]) -> None:
    """Four scores against 4,000 simulated repetitions, |z| < 5 each."""
    loaded = study(
        'kind = "bernoulli"\np = 0.5',
        rounds=20,
        clients=2,
        algorithm={"averaging": averaging, "initial": initial},
        problem={"shift": "both", "optimum_spread": 1.0, "batch_size": 2},
    )
    configuration = loaded.configurations[0]
    rounds = [10, 15, 20]
    prediction = predict(configuration, log_rounds=rounds)
    assert prediction.log_rounds == rounds
    population = configuration.problem.prepare(2)
    rng = np.random.default_rng(4)
    vector = configuration.algorithm.start_vector(4)
    start = rng.standard_normal((4000, 4)) if vector is None else np.tile(vector, (4000, 1))
    w = simulate(population, configuration.compressor, 2, np.full(20, prediction.step_size), start, rng)
    first = 10 if averaging == "tail" else 0
    averaged = [w[first:k].mean(axis=0) if k > first else w[k] for k in rounds]
    pairs = [(averaged, prediction.excess_risk_averaged), (w[rounds], prediction.excess_risk_last)]
    for samples, expected in pairs:
        risks = population.excess_risk(np.array(samples))
        z = (risks.mean(axis=1) - np.array(expected)) / (risks.std(axis=1) / np.sqrt(4000) + 1e-15)
        assert np.abs(z).max() < 5


@pytest.mark.parametrize(("batch", "shift"), [(2, "none"), (8, "both"), (None, "both"), (None, "none")])
def test_approximations_are_close(study: MakeStudy, batch: int | None, shift: str) -> None:
    """1-quantization of batches and true gradients: within 5% of 4,000 repetitions, whose error is about 1%."""
    problem = {"shift": shift, "optimum_spread": 1.0, "batch_size": batch or "full"}
    loaded = study("quantization", rounds=60, clients=2, algorithm={"initial": "normal"}, problem=problem)
    prediction = predicted(loaded)
    assert prediction.prediction_kind == "approximate"
    population = loaded.configurations[0].problem.prepare(2)
    rng = np.random.default_rng(5)
    start = rng.standard_normal((4000, 4))
    w = simulate(population, loaded.configurations[0].compressor, batch, np.full(60, prediction.step_size), start, rng)
    assert prediction.log_rounds is not None
    averaged = [population.excess_risk(w[:k].mean(axis=0) if k else w[0]).mean() for k in prediction.log_rounds]
    np.testing.assert_allclose(np.array(prediction.excess_risk_averaged), averaged, rtol=0.05)


def test_predictions_are_cached(study: MakeStudy, cache_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = study("quantization")
    first = predicted(loaded)
    (file,) = cache_folder.iterdir()
    calls = []

    def compute(*arguments: Any) -> Prediction:
        calls.append(arguments)
        return first

    monkeypatch.setattr("mpi_fed.theory.compute", compute)
    assert predicted(loaded) == first
    assert not calls
    for other in (
        study("quantization", rounds=201),
        study("quantization", problem={"seed": 1, "rotation": "haar"}),
        study('kind = "quantization"\nlevels = 2'),
    ):
        predicted(other)
    assert len(calls) == 3
    file.write_text("torn {")
    predicted(loaded)
    assert len(calls) == 4
    assert json.loads(file.read_text()) == first.to_json()


def test_the_key_depends_on_the_contents_of_data_files(tmp_path: Path, study: MakeStudy) -> None:
    path = tmp_path / "clients.npz"
    keys = []
    for noise in (1.0, 2.0):
        np.savez(path, covariances=np.eye(3)[None], optima=np.ones((1, 3)), noise_variance=noise)
        configuration = study("none", problem={"kind": "arrays", "path": path}).configurations[0]
        keys.append(cache.key(configuration, configuration.problem.prepare(1), None))
    assert keys[0] != keys[1]


def test_an_unwritable_cache_is_ignored(study: MakeStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert predicted(study("none")).prediction_kind == "exact"


@pytest.mark.parametrize("shift", ["none", "both"])
@pytest.mark.parametrize("algorithm", ["sgd", "control-variates"])
def test_the_weights_of_the_limit_distribution_add_up_to_its_mean(study: MakeStudy, shift: str, algorithm: str) -> None:
    problem = {"rotation": "haar", "shift": shift}
    prediction = predicted(study('kind = "rand-h"\nh = 2', problem=problem, algorithm=algorithm))
    weights = prediction.limit_weights
    assert weights is not None
    assert len(weights) == 4
    assert sum(weights) == pytest.approx(prediction.limit_trace, rel=1e-10)
    assert weights == sorted(weights, reverse=True)


@pytest.mark.parametrize(("dimension", "decay"), [(20, 14), (20, 20), (3, 400)])
def test_stability_is_unknown_for_eigenvalues_too_small_for_float64(
    study: MakeStudy, dimension: int, decay: int
) -> None:
    """The stationary moments cannot be computed here, and a default step size must not be reported as too large."""
    problem = {"dimension": dimension, "eigenvalue_decay": decay, "rotation": "diagonal"}
    prediction = predicted(study("none", problem=problem))
    assert prediction.stable is None
    assert prediction.plateau_trace is None
    assert prediction.prediction_kind == "exact"


def test_theory_imports_no_mpi() -> None:
    code = "import sys, mpi_fed.theory.command; assert not {'mpi4py', 'matplotlib', 'sklearn'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("problem", "algorithm", "seconds", "how"),
    [
        ("batch_size = 4", "", 60.0, "renewed at rounds that grow by a factor of 2"),
        ("batch_size = 4", "", 0.0, "held at w*"),
        ('batch_size = "full"', "", 0.0, "held at the start"),
        ("batch_size = 4", 'kind = "control-variates"', 0.0, "held at the start"),
    ],
)
def test_the_note_says_when_the_shape_of_the_noise_is_computed(
    study: MakeStudy, monkeypatch: pytest.MonkeyPatch, problem: str, algorithm: str, seconds: float, how: str
) -> None:
    monkeypatch.setattr(trajectory, "REFREEZE_SECONDS", seconds)
    prediction = predicted(study("quantization", problem=problem, algorithm=algorithm))
    assert prediction.prediction_kind == "approximate"
    assert prediction.note is not None
    assert prediction.note.startswith("approximate: the gradient")
    assert prediction.note.endswith(f"treated as Gaussian, with the shape of the compressor's noise {how}")


@pytest.mark.parametrize(("batch", "plateau"), [(1, True), (4, False)])
def test_risks_that_take_too_long_are_null_with_a_note(
    study: MakeStudy, monkeypatch: pytest.MonkeyPatch, batch: int, plateau: bool
) -> None:
    """The limit trace is still computed, and so is an exact plateau trace."""
    monkeypatch.setattr(propagate, "TIME_LIMIT", 1e-3)
    monkeypatch.setattr(propagate, "doubling_seconds", lambda *_: np.inf)
    monkeypatch.setattr(propagate, "contour_seconds", lambda *_: np.inf)
    prediction = predicted(study("quantization", problem={"batch_size": batch}))
    assert (prediction.prediction_kind, prediction.excess_risk_averaged, prediction.excess_risk_last) == (
        None,
        None,
        None,
    )
    assert prediction.note is not None
    assert re.match(r"no finite-K prediction: \d+ rounds of a recursion on 20 numbers take too long", prediction.note)
    assert prediction.limit_trace is not None
    assert prediction.limit_trace > 0
    assert (prediction.plateau_trace is not None) == plateau
