"""Recommendations and comparisons of analysis, on synthetic logs with known answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray
from support.synthetic_log import points, power_law, tables, write_log

from mpi_fed.analysis import Log, cells, read_log, sentences
from mpi_fed.analysis.decision import decide
from mpi_fed.analysis.document import Decision, Entry, HeterogeneityAnswer, PenaltyComparison, Ratio
from mpi_fed.analysis.heterogeneity import Shifted, answer, comparisons, ratio_interval
from mpi_fed.analysis.limit_law import compare_with_limit_law, draw_limit_law
from mpi_fed.analysis.prediction import Forecast
from mpi_fed.analysis.scorecard import Figure, _cells, scorecards
from mpi_fed.analysis.summary import summarise
from mpi_fed.problems.gaussian import Gaussian

Floats = NDArray[np.float64]
ROUNDS = points(1000)
SEEDS = 10


def scattered(scale: float, spread: float, seed: int) -> Floats:
    """Return risks scale / k, (SEEDS, P), each repetition times exp(spread * its own normal number)."""
    factors = np.exp(spread * np.random.default_rng(seed).standard_normal(SEEDS))
    risks: Floats = factors[:, None] * power_law(ROUNDS, scale)
    return risks


def decisions_on(
    tmp_path: Path,
    compressors: dict[str, tuple[Floats, int, float]],
    target: float | None = None,
    forecast: Forecast | None = None,
) -> list[Decision]:
    """Return the decisions on logs of compressors, given as kind -> (risks, payload, omega)."""
    logs = []
    for number, (kind, (risks, payload, omega)) in enumerate(compressors.items()):
        made = tables(compressor={"kind": kind}, study={"repetitions": list(range(SEEDS))})
        path = tmp_path / f"{number}.h5"
        write_log(path, made, risks, label=kind, payload=payload, omega=omega)
        logs.append(read_log(path))
    forecasts = [forecast or Forecast()] * len(logs)
    return decide(logs, summarise(logs, forecasts, target))


def test_the_cheapest_to_the_target_is_recommended_and_clear(tmp_path: Path) -> None:
    (decision,) = decisions_on(
        tmp_path,
        {"none": (scattered(1.0, 0.05, 1), 40, 0.0), "quantization": (scattered(1.5, 0.05, 2), 8, 3.0)},
    )
    assert decision.recommended == "quantization"
    assert decision.share_of_resamples == 1
    assert any("clear" in reason and "not clear" not in reason for reason in decision.reasons)
    assert any("the next, none, takes 3." in reason for reason in decision.reasons)
    assert "lowest final risk: none" in decision.reasons
    assert (decision.verdict, decision.doubts) == ("VALID", [])


def test_a_choice_within_the_noise_is_called_unclear(tmp_path: Path) -> None:
    """Both compressors have the same distribution. With other seeds the share varies between 0 and 1."""
    (decision,) = decisions_on(
        tmp_path,
        {"bernoulli": (scattered(1.0, 0.8, 3), 8, 3.0), "rand-h": (scattered(1.0, 0.8, 4), 8, 3.0)},
    )
    assert decision.share_of_resamples is not None
    assert 0.3 < decision.share_of_resamples < 0.95
    assert any("not clear" in reason for reason in decision.reasons)


def test_compressors_with_equal_risks_have_no_winner(tmp_path: Path) -> None:
    same = scattered(1.0, 0.3, 5)
    (decision,) = decisions_on(tmp_path, {"bernoulli": (same, 8, 3.0), "rand-h": (same, 8, 3.0)})
    assert decision.share_of_resamples == 0


def test_without_a_configuration_that_reaches_the_target_there_is_no_recommendation(tmp_path: Path) -> None:
    curves = {"none": (scattered(1.0, 0.1, 1), 40, 0.0), "quantization": (scattered(2.0, 0.1, 2), 8, 3.0)}
    (decision,) = decisions_on(tmp_path, curves, target=1e-9)
    assert decision.recommended is None
    assert decision.target_not_reached == ["none", "quantization"]


def test_a_target_that_the_initial_risk_meets_has_no_winner(tmp_path: Path) -> None:
    curves = {"none": (scattered(1.0, 0.1, 1), 40, 0.0), "quantization": (scattered(2.0, 0.1, 2), 8, 3.0)}
    (decision,) = decisions_on(tmp_path, curves, target=100.0)
    assert decision.share_of_resamples == 0


def test_invalid_configurations_are_left_out(tmp_path: Path) -> None:
    curves = {"none": (scattered(1.0, 0.1, 1), 40, 0.0), "quantization": (scattered(2.0, 0.1, 2), 8, 3.0)}
    (decision,) = decisions_on(tmp_path, curves, forecast=Forecast(stable=False))
    assert decision.recommended is None
    assert decision.invalid == ["none", "quantization"]
    assert (decision.verdict, decision.doubts) == ("INVALID", ["0 of 2 configurations are VALID; a choice needs two"])


def test_penalties_of_risks_that_are_mostly_bias_are_not_compared(tmp_path: Path) -> None:
    """The risk of the reference is mostly bias; the risk of the shifted configuration is not."""
    noise = 0.01 * np.random.default_rng(1).standard_normal((SEEDS, 10))
    logs = []
    for shift, distance in (("none", 0.5), ("covariate", 0.0)):
        for kind in ("quantization", "rand-h"):
            changes: dict[str, dict[str, Any]] = {
                "problem": {"shift": shift},
                "study": {"repetitions": list(range(SEEDS))},
            }
            made = tables(compressor={"kind": kind}, **changes)
            path = tmp_path / f"{shift}-{kind}.h5"
            write_log(path, made, averages=1 + distance + noise, label=kind, omega=3.0)
            logs.append(read_log(path))
    population = Gaussian(dimension=10, rotation="dct").prepare(2)
    decisions = decide(logs, summarise(logs, [Forecast(population=population)] * 4))
    assert decisions[1].heterogeneity == []
    assert decisions[1].heterogeneity_left_out == ["quantization", "rand-h"]


def decision_on(tmp_path: Path, averages: Floats, seeds: list[int]) -> Decision:
    """Return the decision on two compressors with these final averages, (R, d), and with H known."""
    logs = []
    for kind in ("none", "rand-h"):
        made = tables(compressor={"kind": kind}, study={"repetitions": seeds})
        write_log(tmp_path / f"{kind}.h5", made, averages=averages, label=kind, omega=3.0)
        logs.append(read_log(tmp_path / f"{kind}.h5"))
    population = Gaussian(dimension=averages.shape[1], rotation="dct").prepare(2)
    (decision,) = decide(logs, summarise(logs, [Forecast(population=population)] * 2))
    return decision


def test_too_few_repetitions_make_a_comparison_invalid(tmp_path: Path) -> None:
    decision = decision_on(tmp_path, 1 + 0.01 * np.random.default_rng(1).standard_normal((2, 10)), [0, 1])
    assert (decision.verdict, decision.doubts) == ("INVALID", ["too few repetitions: 2; at least 3 are needed"])


def test_a_risk_that_is_mostly_bias_is_not_in_the_regime_of_large_rounds(tmp_path: Path) -> None:
    noise = 0.01 * np.random.default_rng(1).standard_normal((SEEDS, 10))
    seeds = list(range(SEEDS))
    (doubt,) = decision_on(tmp_path / "far", 1.5 + noise, seeds).doubts  # w* is 1
    assert doubt.startswith("not in the regime of large K")
    assert doubt.endswith("of none; rand-h")
    assert decision_on(tmp_path / "near", 1 + noise, seeds).verdict == "VALID"


def test_equal_omega_and_equal_bits_are_ranked(tmp_path: Path) -> None:
    curves = {
        "none": (scattered(1.0, 0.1, 1), 40, 0.0),
        "bernoulli": (scattered(4.0, 0.1, 2), 8, 3.0),
        "rand-h": (scattered(2.0, 0.1, 3), 8, 3.2),
        "sketch": (scattered(8.0, 0.1, 4), 8, 9.0),
    }
    (decision,) = decisions_on(tmp_path, curves)
    (omega,) = decision.equal_omega
    assert [member.name for member in omega.ranking] == ["rand-h", "bernoulli"]
    assert omega.ranking[1].ratio == pytest.approx(2, rel=0.15)
    assert omega.ranking[1].error == pytest.approx(2 * 0.1 * np.sqrt(2 / SEEDS), rel=0.6)
    (bits,) = decision.equal_bits  # all synthetic logs have BITS a message
    assert [member.name for member in bits.ranking] == ["none", "rand-h", "bernoulli", "sketch"]


def shifted(folder: Path, made: dict[str, tuple[Floats, Floats]]) -> list[Log]:
    """Write logs without and with a shift, given as kind -> (risks of the reference, risks with the shift), (R, P)."""
    logs = []
    for number, (kind, pair) in enumerate(made.items()):
        for shift, risks in zip(("none", "covariate"), pair, strict=True):
            changes: dict[str, dict[str, Any]] = {
                "study": {"repetitions": list(range(len(risks)))},
                "problem": {"shift": shift},
            }
            path = folder / f"{shift}{number}.h5"
            write_log(path, tables(compressor={"kind": kind}, **changes), risks, label=kind, omega=3.0)
            logs.append(read_log(path))
    return sorted(logs, key=lambda log: log.configuration["problem"]["shift"] != "none")


def test_projections_are_compared_with_quantization(tmp_path: Path) -> None:
    """The shift multiplies the risks by 2 or 4; paired repetitions find these factors despite the noise."""
    factors = {"quantization": 2, "sketch": 4, "rand-h": 2}
    risks = {kind: scattered(1.0, 0.5, number) for number, kind in enumerate(factors)}
    logs = shifted(tmp_path, {kind: (risks[kind], factor * risks[kind]) for kind, factor in factors.items()})
    summary = summarise(logs, [Forecast()] * len(logs))
    entries = summary.configurations
    assert [entry.heterogeneity_reference for entry in entries] == [True] * 3 + [False] * 3
    assert [entry.heterogeneity_penalty for entry in entries[:3]] == [None] * 3
    assert [entry.heterogeneity_penalty for entry in entries[3:]] == pytest.approx([2, 4, 2])
    assert [entry.heterogeneity_penalty_error for entry in entries[3:]] == pytest.approx([0] * 3, abs=1e-12)
    alike, other = decisions = decide(logs, summary)
    assert alike.heterogeneity == []
    verdicts = {compared.name: (round(compared.penalty, 9), compared.verdict) for compared in other.heterogeneity}
    assert verdicts == {"sketch": (4.0, "worse"), "rand-h": (2.0, "undecided")}
    result = answer_to(decisions)
    assert (result.answer, result.comparisons) == ("no", 2)
    assert result.compressors[0].least_ratio.estimate == pytest.approx(2)
    printed = "\n".join(sentences.answer(result))
    assert "THAN QUANTIZATION AT EQUAL OMEGA? NO" in printed
    assert "sketch: better in 0, undecided in 0, worse in 1; ratio 2 (2 to 2)" in printed


def answer_to(decisions: Sequence[Decision]) -> HeterogeneityAnswer:
    """Return the answer about heterogeneity, which must exist."""
    result = answer(decisions)
    assert result is not None
    return result


def test_a_penalty_of_one_does_not_make_a_reference(tmp_path: Path) -> None:
    risks = scattered(1.0, 0.5, 1)
    logs = shifted(tmp_path, {"quantization": (risks, risks), "rand-h": (risks, risks)})
    summary = summarise(logs, [Forecast()] * len(logs))
    texts = [cells.penalty(entry) for entry in summary.configurations]
    assert texts == ["reference", "reference", "1", "1"]
    assert [compared.name for compared in decide(logs, summary)[1].heterogeneity] == ["rand-h"]
    cards = [card.rows[0].cells[-1].text for card in scorecards(logs, summary.configurations, [])]
    assert cards == ["reference: clients alike", "1"]


def test_penalties_over_an_invalid_reference_are_not_compared(tmp_path: Path) -> None:
    risks = {kind: scattered(1.0, 0.5, number) for number, kind in enumerate(("quantization", "rand-h"))}
    logs = shifted(tmp_path, {kind: (risk, 2 * risk) for kind, risk in risks.items()})
    forecasts = [Forecast(stable=log.configuration["problem"]["shift"] != "none") for log in logs]
    decisions = decide(logs, summarise(logs, forecasts))
    assert decisions[1].heterogeneity == []
    assert decisions[1].heterogeneity_left_out == ["quantization", "rand-h"]
    result = answer_to(decisions)
    assert (result.answer, result.comparisons, result.left_out) == ("undecided", 0, 2)
    assert "2 penalties left out" in "\n".join(sentences.answer(result))


def test_many_comparisons_widen_their_intervals_together(tmp_path: Path) -> None:
    """A difference that is significant alone is not significant as one of 40."""
    risks = scattered(1.0, 0.4, 1)
    other = risks * np.exp(0.25 + 0.3 * np.random.default_rng(5).standard_normal((SEEDS, 1)))
    logs = shifted(tmp_path, {"quantization": (risks, risks), "rand-h": (risks, other)})
    members = [Shifted(log.label, 3.0, log, reference) for log, reference in zip(logs[2:], logs[:2], strict=True)]
    (alone,) = comparisons([members])[0]
    together = [compared for group in comparisons([members] * 40) for compared in group]
    assert alone.verdict == "worse"
    assert [compared.verdict for compared in together] == ["undecided"] * 40
    assert together[0].ratio.confidence == pytest.approx(1 - 0.05 / 40)


@pytest.mark.parametrize("paired", [True, False])
def test_the_interval_of_a_ratio_of_penalties_has_its_confidence(paired: bool) -> None:
    """95% +- 0.5% of 2,000 intervals contain the ratio of chi squares that share half of their noise, or none."""
    generator = np.random.default_rng(0)
    covered = 0
    for _ in range(2000):
        shared = generator.chisquare(5, 20)
        risks = [generator.chisquare(5, 20) + paired * shared for _ in range(4)]
        seeds = [range(20)] * 4 if paired else [range(20 * i, 20 * i + 20) for i in range(4)]
        logs = [final(risk, seed) for risk, seed in zip(risks, seeds, strict=True)]
        _, low, high = ratio_interval(logs[:2], logs[2:])
        covered += low <= 1 <= high
    assert 0.93 < covered / 2000 < 0.975


def final(risks: Floats, seeds: Sequence[int]) -> Log:
    """Return an object with the attributes of a log that final risks need."""
    log = SimpleNamespace(
        excess_risk_averaged=np.array(risks)[:, None],
        repetition=np.array(seeds),
        complete=np.ones(len(risks), bool),
        diverged=np.zeros(len(risks), bool),
    )
    return cast(Log, log)


@pytest.mark.parametrize(
    ("verdicts", "word"),
    [
        (["better", "better"], "yes"),
        (["better", "undecided"], "in part"),
        (["better", "worse", "undecided"], "it depends"),
        (["worse", "undecided"], "no"),
        (["undecided"], "undecided"),
    ],
)
def test_the_answer_depends_on_all_comparisons(verdicts: list[str], word: str) -> None:
    ratio = Ratio(estimate=1.0, low=0.9, high=1.1, confidence=0.95)
    compared = [
        PenaltyComparison(
            name="rand-h",
            penalty=1.0,
            error=0.1,
            reference="quantization",
            reference_penalty=1.0,
            reference_error=0.1,
            ratio=ratio,
            verdict=verdict,
        )
        for verdict in verdicts
    ]
    assert answer_to([decision_with(compared)]).answer == word


def decision_with(compared: list[PenaltyComparison]) -> Decision:
    """Return a decision with comparisons of penalties only."""
    return Decision(
        problem="p",
        recommended=None,
        recommended_file=None,
        share_of_resamples=None,
        reasons=[],
        verdict="VALID",
        doubts=[],
        target_not_reached=[],
        invalid=[],
        equal_omega=[],
        equal_bits=[],
        heterogeneity=compared,
        heterogeneity_left_out=[],
    )


def test_without_a_comparison_there_is_no_answer() -> None:
    assert answer([decision_with([])]) is None


def test_a_risk_that_grows_is_invalid(tmp_path: Path) -> None:
    write_log(tmp_path / "a.h5", tables(), power_law(ROUNDS, 1.0, 2.0))
    (entry,) = summarise([read_log(tmp_path / "a.h5")], [Forecast()]).configurations
    assert entry.verdict == "INVALID"
    assert "the step size is too large" in entry.reasons[-1]


def test_the_limit_law_is_distinguished_from_another() -> None:
    """The seeds are fixed; for other seeds the second assertion fails in 1 of 1,000 cases."""
    weights = [3.0, 1.0, 0.5]
    assert draw_limit_law(weights).mean() == pytest.approx(4.5, rel=0.02)
    assert compare_with_limit_law(draw_limit_law(weights, 1000, seed=1), weights)[1] > 1e-3
    assert compare_with_limit_law(1.2 * draw_limit_law(weights, 1000, seed=1), weights)[1] < 1e-3


def test_every_projection_is_compared_with_the_quantization_of_nearest_omega(tmp_path: Path) -> None:
    members = []
    for number, (name, kind, omega, factor) in enumerate(
        [
            ("coarse", "quantization", 4.0, 3.0),
            ("fine", "quantization", 1.0, 2.0),
            ("few", "rand-h", 5.0, 2.0),
            ("many", "rand-h", 1.2, 2.5),
        ]
    ):
        pair = []
        for part, scale in enumerate((1.0, factor)):
            made = tables(compressor={"kind": kind}, study={"repetitions": list(range(SEEDS))})
            path = tmp_path / f"{number}-{part}.h5"
            write_log(path, made, scale * scattered(1.0, 0.05, 2 * number + part))
            pair.append(read_log(path))
        members.append(Shifted(name, omega, pair[1], pair[0]))
    verdicts = {compared.name: (compared.reference, compared.verdict) for compared in comparisons([members])[0]}
    assert verdicts == {"few": ("coarse", "better"), "many": ("fine", "worse")}


def test_valid_entries_within_two_errors_of_the_best_count_as_best() -> None:
    figure = Figure(
        "x",
        "y",
        lambda entry: entry.predicted_excess_risk_averaged,
        lambda entry: str(entry.predicted_excess_risk_averaged),
        lambda entry: entry.heterogeneity_penalty_error,
    )
    columns = [(0, 0.0, "VALID"), (10, 6.0, "VALID"), (20, 1.0, "VALID"), (0, 0.0, "INVALID"), (None, None, "VALID")]
    entries = [entry_with(x, error, verdict) for x, error, verdict in columns]
    assert [cell.best for cell in _cells(figure, entries)] == [True, True, False, False, False]
    assert [cell.share for cell in _cells(figure, entries)] == [1.0, 0.0, 0.0, None, None]


def entry_with(x: float | None, error: float | None, verdict: str) -> Entry:
    """Return an object with the attributes of an entry that the test's column of the scorecard reads."""
    entry = SimpleNamespace(
        predicted_excess_risk_averaged=x, heterogeneity_penalty_error=error, valid=verdict == "VALID"
    )
    return cast(Entry, entry)
