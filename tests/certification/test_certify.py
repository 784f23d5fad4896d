"""Certification passes correct compressors and fails wrong ones: first the command, then only its statistics."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mpi_fed.certification import statistics
from mpi_fed.certification.cases import cases
from mpi_fed.certification.channel import Batch
from mpi_fed.certification.document import Certificate, DimensionReport
from mpi_fed.certification.draws import Draws
from mpi_fed.certification.expected_moments import ExpectedMoments
from mpi_fed.certification.scores import LIMIT, Findings, score
from mpi_fed.compressors import Compressor, compressors
from mpi_fed.compressors.base import Array
from mpi_fed.compressors.bernoulli import Bernoulli

Verdicts = dict[str, list[dict[str, Any]]]
WRONG = Path(__file__).parents[1] / "support" / "wrong_compressors.py"


def certify(*arguments: str, status: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mpi_fed", "certify", *arguments]
    run = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert run.returncode == status, run.stderr + run.stdout
    assert "Traceback" not in run.stderr, run.stderr
    return run


@pytest.fixture(scope="module")
def verdicts() -> Verdicts:
    """Return the certificates of `certify --json` by kind, wrong compressors included.

    The probability that any correct compressor fails is 5e-8 (617,000 comparisons).
    """
    run = certify("--json", "--dimension", "64", "--draws", "4000", "--plugin", str(WRONG), status=1)
    by_kind: Verdicts = {}
    for certificate in json.loads(run.stdout):
        by_kind.setdefault(certificate["kind"], []).append(certificate)
    return by_kind


FIELDS = [
    "kind", "label", "parameters", "dimension", "omega", "variance_ratio", "bias_z_max", "variance_z_max",
    "covariance_z_max", "length_z_max", "independence_z_max", "payload_bytes_measured", "payload_bits_theory",
    "round_trip_exact", "dimensions", "comparisons", "z_limit", "error_rate", "verdict", "reasons",
]  # fmt: skip
FIELDS_OF_A_DIMENSION = [
    "dimension", "draws", "omega", "omega_tight", "variance_ratio", "bias_z_max", "variance_z_max",
    "covariance_z_max", "length_z_max", "independence_z_max", "payload_bytes_measured", "payload_bits_theory",
    "round_trip_exact",
]  # fmt: skip
BUILT_IN = ["bernoulli", "none", "partial-participation", "quantization", "rand-h", "sketch", "top-k"]


@pytest.mark.parametrize("kind", [*BUILT_IN, "natural"])
def test_correct_compressors_pass(verdicts: Verdicts, kind: str) -> None:
    for certificate in verdicts[kind]:
        assert certificate["verdict"] == "PASS", (certificate["label"], certificate["reasons"])
        assert certificate["reasons"] == []
        assert certificate["round_trip_exact"] is True
        assert certificate["bias_z_max"] is None if kind == "top-k" else certificate["bias_z_max"] < LIMIT


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("with-replacement", "the mean of <C(x), x>"),
        ("scaled", "the mean of C(x) is not x"),
        ("scaled", "decode does not add weight C(x)"),
        ("wrong-theory", "the variance of <C(x), x> is not its closed form"),
        ("wrong-theory", "a message is not payload_bytes_max = 62 bytes long"),
        ("wrong-probability", "E||C(x)-x||^2 is not its closed form"),
        ("wrong-probability", "the mean information bits are not payload_bits"),
        ("common-dither", "draws of two clients in one round are correlated"),
    ],
)
def test_wrong_compressors_fail(verdicts: Verdicts, kind: str, reason: str) -> None:
    for certificate in verdicts[kind]:
        assert certificate["verdict"] == "FAIL"
        assert any(reason in sentence for sentence in certificate["reasons"]), certificate["reasons"]


def test_fields_of_the_document_and_their_order() -> None:
    assert [field.name for field in fields(Certificate)] == FIELDS
    assert [field.name for field in fields(DimensionReport)] == FIELDS_OF_A_DIMENSION


def test_json_has_the_documented_fields(verdicts: Verdicts) -> None:
    shared = {"value_bits": 32, "omega": 3.0, "indices": "shared"}
    certificate = next(each for each in verdicts["rand-h"] if each["parameters"] == shared)
    assert certificate["payload_bits_theory"] == 512
    assert certificate["payload_bytes_measured"] == 64
    assert 0.9 < certificate["variance_ratio"] < 1.1
    assert certificate["covariance_z_max"] < LIMIT
    assert verdicts["natural"][0]["covariance_z_max"] is None
    assert 0 < certificate["error_rate"] < 1e-6


def test_every_float_format_is_certified(verdicts: Verdicts) -> None:
    for kind in BUILT_IN:
        assert {certificate["parameters"]["value_bits"] for certificate in verdicts[kind]} == {16, 32, 64}


@pytest.mark.slow
def test_table_states_the_error_rate() -> None:
    """At d = 100, the mean of rand-h with replacement and h = 9 is too small by 4 per cent."""
    run = certify("--dimension", "100", "--draws", "4000", "--plugin", str(WRONG), status=1)
    text = " ".join(run.stdout.split())
    assert "one fails with probability" in text
    assert "quantization levels=4" in text
    biased = "d = 100: x of equal coordinates: the mean of <C(x), x> is not ||x||^2"
    assert f"FAIL with-replacement h=9: {biased}" in text
    assert "FAIL scaled: d = 100: omega is 0, but C(x) is not x" in text
    assert not any(f"FAIL {kind}" in text for kind in BUILT_IN)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--draws", "10"], "--draws 10: give at least 100"),
        (["--plugin", "nowhere.py"], "nowhere.py: cannot read the file"),
        (["--only", "top-z"], "--only top-z: no compressor's label contains this; the labels are "),
    ],
)
def test_bad_input_is_refused(arguments: list[str], sentence: str) -> None:
    run = certify(*arguments, status=2)
    assert sentence in run.stderr
    assert len(run.stderr.splitlines()) == 1


def test_a_compressor_without_examples_is_refused(tmp_path: Path) -> None:
    plugin = tmp_path / "own.py"
    plugin.write_text(
        "from mpi_fed.compressors import Compressor, compressors\n"
        "@compressors.register\n"
        "class Own(Compressor):\n"
        "    kind = 'own'\n"
        "    h: int\n"
    )
    run = certify("--plugin", str(plugin), status=2)
    assert 'compressor "own", in the `examples` of its class: {} lacks the key h' in run.stderr


def test_default_cases_cover_every_compressor_and_dimension() -> None:
    every = cases(None)
    assert {case.compressor.kind for case in every} == set(compressors)
    for kind in compressors:
        reached = {d for case in every if case.compressor.kind == kind for d in case.dimensions}
        assert reached == {1, 5, 64, 1_000_000}


# Only the statistics, with draws by NumPy. A score exceeds z = 8 with probability at most 6 exp(-z^2/2) = 8e-14.


def test_score_of_rare_events_stays_low() -> None:
    """With 2,000 draws of probability 0.002, so 4 events in expectation, the usual z sometimes exceeds 8.

    There are 20,000 means; the probability that one of them has a score above 8 is at most 2e-9.
    """
    p, n = 0.002, 2000
    shares = np.random.default_rng(0).binomial(n, p, 20_000) / n
    scores = score(np.abs(shares - p), shares * (1 - shares), np.where(shares > 0, 1.0, p), n)
    observed = shares > 0
    assert scores[observed].max() < LIMIT
    exact = score(np.abs(shares - p), p * (1 - p), 1.0, n)
    assert exact.max() < LIMIT


def test_score_is_nearly_the_number_of_standard_errors() -> None:
    n, sigma = 100_000, 2.0
    for z in (1.0, 4.0, 8.0):
        assert 0.8 * z < score(z * sigma / np.sqrt(n), sigma**2, 8 * sigma, n) <= z


def test_scores_without_variance_and_of_nan() -> None:
    assert score(0.0, 0.0, 0.0, 100) == 0
    assert score(1e-9, 0.0, 0.0, 100) > LIMIT
    findings = Findings()
    findings.compare("bias", "a score is NaN", [0.0, float("nan")])
    assert findings.reasons


def masks(x: Array, p: float, n: int, seed: int) -> Batch:
    """Return n messages of Bernoulli sparsification by NumPy, as n/2 rounds of two clients."""
    decoded = np.where(np.random.default_rng(seed).random((n, len(x))) < p, x / p, 0.0)
    size = np.count_nonzero(decoded, axis=1) * 4
    nothing = np.zeros(n, np.int64)
    return Batch(
        first=0,
        participants=nothing[:2],
        sizes=size.astype(np.int32),
        lengths=nothing,
        bits=8 * size,
        present=np.ones(n, bool),
        decoded=decoded,
    )


def reasons(compressor: Compressor, x: Array, p: float, n: int) -> list[str]:
    """Return the reasons why a compressor fails, from n draws with probability p."""
    draws, findings = Draws(x), Findings()
    for part in range(n // 100_000):
        draws.add(masks(x, p, 100_000, part))
    statistics.compare_draws(compressor, x, draws, findings)
    return findings.reasons


class OneEntryOff(Bernoulli):
    """A compressor whose covariance is wrong by one per cent in one entry."""

    def covariance(self, x: Array) -> Array:
        covariance = super().covariance(x)
        covariance[1, 1] *= 1.01
        return covariance


@pytest.mark.parametrize("x", [np.array([1.0, 0.8, -0.5, 0.6]), np.array([2.0, 1e-3, -7.0, 0.1])])
def test_correct_draws_pass(x: Array) -> None:
    """A false alarm has probability 5e-12 (60 comparisons)."""
    assert reasons(Bernoulli(p=0.5), x, 0.5, 1_000_000) == []


@pytest.mark.parametrize(
    ("compressor", "p", "expected"),
    [
        (OneEntryOff(p=0.5), 0.5, "covariance of C(x) is not its closed form in entry at 1, 1"),
        (Bernoulli(p=0.505), 0.5, "E||C(x)-x||^2 is not its closed form"),
        (Bernoulli(p=0.495), 0.5, "E||C(x)-x||^2 is not its closed form"),
    ],
)
def test_an_error_of_one_per_cent_is_detected(compressor: Compressor, p: float, expected: str) -> None:
    """With a million draws the smallest expected score is 15 standard errors: a test fails with probability < 1e-10."""
    x = np.array([1.0, 0.8, -0.5, 0.6])
    assert any(expected in reason for reason in reasons(compressor, x, p, 1_000_000))


@pytest.mark.parametrize(
    ("kind", "parameters"),
    [("rand-h", {"h": 3}), ("sketch", {"h": 3}), ("bernoulli", {"p": 0.3}), ("quantization", {"levels": 3})],
)
@pytest.mark.parametrize("d", [12, 100])
def test_variance_along_x_agrees_with_the_covariance(kind: str, parameters: dict[str, Any], d: int) -> None:
    compressor = compressors[kind](**parameters).resolve(d)
    x = np.random.default_rng(d).standard_normal(d)
    starts = np.array([0, 5, 9])
    sigma = compressor.covariance(x)
    blocks = [np.where((np.arange(d) >= a) & (np.arange(d) < b), x, 0.0) for a, b in ((0, 5), (5, 9), (9, d))]
    moments = ExpectedMoments(compressor, x)
    along = moments.variance_along(starts)
    assert along is not None
    assert moments.variances is not None
    np.testing.assert_allclose(along, [b @ sigma @ b for b in blocks], rtol=1e-9)
    np.testing.assert_allclose(moments.variances, np.diag(sigma), rtol=1e-9)


@pytest.mark.parametrize("parameters", [{"levels": 1}, {"levels": 4}, {"levels": 3, "bucket": 16}])
def test_quantization_attains_its_tight_omega(parameters: dict[str, Any]) -> None:
    """With equal coordinates E||C(x) - x||^2 = (sqrt(d)/s - 1) ||x||^2 exactly."""
    compressor = compressors["quantization"](**parameters).resolve(64)
    x = np.ones(64)
    tight = compressor.omega_tight(64)
    if tight is not None:
        np.testing.assert_allclose(compressor.variances(x).sum(), tight * 64, rtol=1e-12)
