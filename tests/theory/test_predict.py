"""Predictions of whole configurations: the fields, what is exact and what is not, the cache, the command."""

from __future__ import annotations

import functools
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.study_text import loaded_study
from support.theory_simulation import simulate

import mpi_fed
from mpi_fed.theory import cache, command, finite_rounds, predict, trajectory
from mpi_fed.theory.recursions import propagate

FIELDS = [
    "label", "compressor", "downlink", "algorithm", "problem", "clients", "dimension", "omega", "step_size",
    "step_exponent", "rounds", "payload_bits", "payload_bytes_max", "downlink_payload_bits",
    "downlink_payload_bytes_max", "limit_trace", "limit_trace_error", "limit_trace_ideal_memory", "limit_weights",
    "plateau_trace", "stable", "log_rounds", "excess_risk_averaged", "excess_risk_last", "prediction_kind",
    "relative_error", "note",
]  # fmt: skip


@pytest.fixture(autouse=True)
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("MPI_FED_CACHE_DIR", raising=False)
    return tmp_path / "cache" / "mpi_fed" / "theory"


@pytest.fixture
def study(tmp_path: Path):
    """A study of 200 rounds, with some keys of the tables set."""
    return functools.partial(loaded_study, tmp_path, rounds=200)


def predicted(study):
    return next(command.predictions(study.configurations))


def test_json_has_the_fields_of_the_interface(study, capsys: pytest.CaptureFixture[str]) -> None:
    given = study('kind = ["none", "quantization"]')
    assert command.predict_studies([given, given], json=True) == 0
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


def test_the_library_gives_what_the_command_prints(study, capsys: pytest.CaptureFixture[str]) -> None:
    loaded = study('kind = ["none", "quantization"]')
    listed = mpi_fed.predict(loaded)
    assert [prediction["compressor"]["kind"] for prediction in listed] == ["none", "quantization"]
    command.predict_studies([loaded, loaded], json=True)
    assert json.loads(capsys.readouterr().out) == listed * 2


def test_the_table_is_for_people(study, capsys: pytest.CaptureFixture[str]) -> None:
    loaded = study('kind = "quantization"\nlevels = [1, 2]', algorithm="step_size = 5.0")
    assert command.predict_studies([loaded], json=False) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "quantization levels=1" in printed
    assert "this step is too large" in printed


def test_a_step_too_large_gives_null(study) -> None:
    found = predicted(study("none", rounds=100_000, algorithm="step_size = 5.0"))
    assert found.stable is False
    assert found.plateau_trace is None
    assert found.excess_risk_averaged[-1] is None
    json.dumps(found.to_json(), allow_nan=False)


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
def test_which_predictions_are_exact(study, compressor, problem, kind) -> None:
    found = predicted(study(compressor, problem=problem))
    assert found.prediction_kind == kind
    assert (found.note is None) is (kind == "exact")
    assert found.relative_error < finite_rounds.TOLERANCE


@pytest.mark.parametrize(
    ("algorithm", "problem", "words"),
    [("ridge = 0.1", "dimension = 4", "ridge"), ("", "dimension = 400", "dimension 300")],
)
def test_predictions_out_of_reach_say_why(study, algorithm, problem, words) -> None:
    found = predicted(study("quantization", algorithm=algorithm, problem=problem))
    assert words in found.note
    assert found.prediction_kind is found.log_rounds is found.excess_risk_averaged is None


def test_the_limit_is_known_beyond_the_recursion(study) -> None:
    problem = {"dimension": [4, 400], "rotation": "dct"}
    small, large = command.predictions(study("quantization", problem=problem).configurations)
    assert small.limit_trace == pytest.approx(7.7865, rel=1e-4)
    assert large.limit_trace > 400


@pytest.mark.parametrize(
    ("averaging", "initial"), [("all", "normal"), ("tail", [1.0, 0.0, -1.0, 2.0]), ("tail", "zeros")]
)
def test_averaging_and_start(study, averaging, initial) -> None:
    """Four scores against 4,000 simulated repetitions, |z| < 5 each."""
    given = study(
        'kind = "bernoulli"\np = 0.5',
        rounds=20,
        clients=2,
        algorithm={"averaging": averaging, "initial": initial},
        problem={"shift": "both", "optimum_spread": 1.0, "batch_size": 2},
    )
    configuration = given.configurations[0]
    rounds = [10, 15, 20]
    found = predict(configuration, log_rounds=rounds)
    assert found.log_rounds == rounds
    population = configuration.problem.prepare(2)
    rng = np.random.default_rng(4)
    start = configuration.algorithm.start_vector(4)
    start = rng.standard_normal((4000, 4)) if start is None else np.tile(start, (4000, 1))
    w = simulate(population, configuration.compressor, 2, np.full(20, found.step_size), start, rng)
    first = 10 if averaging == "tail" else 0
    averaged = [w[first:k].mean(axis=0) if k > first else w[k] for k in rounds]
    for samples, expected in [(averaged, found.excess_risk_averaged), (w[rounds], found.excess_risk_last)]:
        risks = population.excess_risk(np.array(samples))
        z = (risks.mean(axis=1) - expected) / (risks.std(axis=1) / np.sqrt(4000) + 1e-15)
        assert np.abs(z).max() < 5


@pytest.mark.parametrize(("batch", "shift"), [(2, "none"), (8, "both"), (None, "both"), (None, "none")])
def test_approximations_are_close(study, batch, shift) -> None:
    """1-quantization beyond single samples: within 5% of 4,000 simulated repetitions, whose own error is about 1%."""
    problem = {"shift": shift, "optimum_spread": 1.0, "batch_size": batch or "full"}
    given = study("quantization", rounds=60, clients=2, algorithm={"initial": "normal"}, problem=problem)
    found = predicted(given)
    assert found.prediction_kind == "approximate"
    population = given.configurations[0].problem.prepare(2)
    rng = np.random.default_rng(5)
    start = rng.standard_normal((4000, 4))
    w = simulate(population, given.configurations[0].compressor, batch, np.full(60, found.step_size), start, rng)
    averaged = [population.excess_risk(w[:k].mean(axis=0) if k else w[0]).mean() for k in found.log_rounds]
    np.testing.assert_allclose(found.excess_risk_averaged, averaged, rtol=0.05)


def test_predictions_are_cached(study, cache_folder, monkeypatch: pytest.MonkeyPatch) -> None:
    given = study("quantization")
    first = predicted(given)
    (file,) = cache_folder.iterdir()
    calls = []
    monkeypatch.setattr("mpi_fed.theory.compute", lambda *arguments: calls.append(arguments) or first)
    assert predicted(given) == first
    assert not calls
    for other in (
        study("quantization", rounds=201),
        study("quantization", problem={"seed": 1, "rotation": "haar"}),
        study('kind = "quantization"\nlevels = 2'),
    ):
        predicted(other)
    assert len(calls) == 3
    file.write_text("torn {")
    predicted(given)
    assert len(calls) == 4
    assert json.loads(file.read_text()) == first.to_json()


def test_the_key_follows_the_data_behind_a_path(tmp_path: Path, study) -> None:
    path = tmp_path / "clients.npz"
    keys = []
    for noise in (1.0, 2.0):
        np.savez(path, covariances=np.eye(3)[None], optima=np.ones((1, 3)), noise_variance=noise)
        given = study("none", problem={"kind": "arrays", "path": path})
        keys.append(cache.key(given.configurations[0], given.configurations[0].problem.prepare(1), None))
    assert keys[0] != keys[1]


def test_an_unwritable_cache_is_ignored(study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert predicted(study("none")).prediction_kind == "exact"


@pytest.mark.parametrize("shift", ["none", "both"])
@pytest.mark.parametrize("algorithm", ["sgd", "control-variates"])
def test_the_weights_of_the_limit_law_add_up_to_its_mean(study, shift, algorithm) -> None:
    problem = {"rotation": "haar", "shift": shift}
    given = study('kind = "rand-h"\nh = 2', problem=problem, algorithm=algorithm)
    found = predicted(given)
    assert len(found.limit_weights) == 4
    assert sum(found.limit_weights) == pytest.approx(found.limit_trace, rel=1e-10)
    assert found.limit_weights == sorted(found.limit_weights, reverse=True)


@pytest.mark.parametrize(("dimension", "decay"), [(20, 14), (20, 20), (3, 400)])
def test_eigenvalues_beyond_float64_make_no_run_diverge(study, dimension, decay) -> None:
    """Whether their moments settle cannot be told; a default step is never called too large."""
    problem = {"dimension": dimension, "eigenvalue_decay": decay, "rotation": "diagonal"}
    found = predicted(study("none", problem=problem))
    assert found.stable is None
    assert found.plateau_trace is None
    assert found.prediction_kind == "exact"


def test_theory_needs_no_mpi() -> None:
    code = "import sys, mpi_fed.theory.command; assert not {'mpi4py', 'matplotlib', 'sklearn'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("problem", "algorithm", "seconds", "how"),
    [
        ("batch_size = 4", "", 60.0, "renewed at rounds 2 times apart"),
        ("batch_size = 4", "", 0.0, "held at w*"),
        ('batch_size = "full"', "", 0.0, "held at the start"),
        ("batch_size = 4", 'kind = "control-variates"', 0.0, "held at the start"),
    ],
)
def test_an_approximate_prediction_says_how_it_holds_the_noise(
    study, monkeypatch: pytest.MonkeyPatch, problem, algorithm, seconds, how
) -> None:
    monkeypatch.setattr(trajectory, "REFREEZE_SECONDS", seconds)
    found = predicted(study("quantization", problem=problem, algorithm=algorithm))
    assert found.prediction_kind == "approximate"
    assert found.note.startswith("approximate: the gradient")
    assert found.note.endswith(f"taken for Gaussian, with the shape of the compressor's noise {how}")


@pytest.mark.parametrize(("batch", "plateau"), [(1, True), (4, False)])
def test_predictions_that_take_too_long_are_null_and_say_so(
    study, monkeypatch: pytest.MonkeyPatch, batch, plateau
) -> None:
    """Limits are there all the same, and the plateau where it is exact."""
    monkeypatch.setattr(propagate, "TIME_LIMIT", 1e-3)
    monkeypatch.setattr(propagate, "doubling_seconds", lambda *_: np.inf)
    monkeypatch.setattr(propagate, "contour_seconds", lambda *_: np.inf)
    found = predicted(study("quantization", problem={"batch_size": batch}))
    assert (found.prediction_kind, found.excess_risk_averaged, found.excess_risk_last) == (None, None, None)
    assert re.match(r"no finite-K prediction: \d+ rounds of a recursion on 20 numbers take too long", found.note)
    assert found.limit_trace > 0
    assert (found.plateau_trace is not None) == plateau
