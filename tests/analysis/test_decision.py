"""What analysis recommends: from synthetic logs in which the right answer is known."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from support.synthetic_log import points, power_law, tables, write_log

from mpi_fed.analysis import cells, load, sentences
from mpi_fed.analysis.decision import decide
from mpi_fed.analysis.document import Decision, PenaltyComparison, Ratio
from mpi_fed.analysis.heterogeneity import Shifted, answer, comparisons, ratio_interval
from mpi_fed.analysis.limit_law import compare_with_limit_law, draw_limit_law
from mpi_fed.analysis.prediction import Forecast
from mpi_fed.analysis.scorecard import Figure, _cells, scorecards
from mpi_fed.analysis.summary import summarise
from mpi_fed.problems.gaussian import Gaussian

ROUNDS = points(1000)
SEEDS = 10


def scattered(scale, spread, seed):
    """(SEEDS, P) risks that fall as scale / k, each repetition with a factor of its own of about this spread."""
    factors = np.exp(spread * np.random.default_rng(seed).standard_normal(SEEDS))
    return factors[:, None] * power_law(ROUNDS, scale)


def decided(tmp_path: Path, compressors, target=None, forecast=None):
    """The decisions on logs of compressors, kind -> (risks, payload, omega)."""
    logs = []
    for number, (kind, (risks, payload, omega)) in enumerate(compressors.items()):
        made = tables(compressor={"kind": kind}, study={"repetitions": list(range(SEEDS))})
        path = tmp_path / f"{number}.h5"
        write_log(path, made, risks, label=kind, payload=payload, omega=omega)
        logs.append(load(path))
    forecasts = [forecast or Forecast()] * len(logs)
    return decide(logs, summarise(logs, forecasts, target))


def test_the_cheapest_to_the_target_is_recommended_and_clear(tmp_path: Path) -> None:
    (found,) = decided(
        tmp_path,
        {"none": (scattered(1.0, 0.05, 1), 40, 0.0), "quantization": (scattered(1.5, 0.05, 2), 8, 3.0)},
    )
    assert found.recommended == "quantization"
    assert found.share_of_resamples == 1
    assert any("clear" in reason and "not clear" not in reason for reason in found.reasons)
    assert any("the next, none, takes 3." in reason for reason in found.reasons)
    assert "lowest final risk: none" in found.reasons
    assert (found.verdict, found.doubts) == ("VALID", [])


def test_a_choice_within_the_noise_is_called_unclear(tmp_path: Path) -> None:
    """One law for both: in repeated experiments the share is spread over 0 to 1 (the seeds here are fixed)."""
    (found,) = decided(
        tmp_path,
        {"bernoulli": (scattered(1.0, 0.8, 3), 8, 3.0), "rand-h": (scattered(1.0, 0.8, 4), 8, 3.0)},
    )
    assert 0.3 < found.share_of_resamples < 0.95
    assert any("not clear" in reason for reason in found.reasons)


def test_what_is_alike_in_all_repetitions_has_no_winner(tmp_path: Path) -> None:
    same = scattered(1.0, 0.3, 5)
    (found,) = decided(tmp_path, {"bernoulli": (same, 8, 3.0), "rand-h": (same, 8, 3.0)})
    assert found.share_of_resamples == 0


def test_a_target_that_none_reaches_gives_no_recommendation(tmp_path: Path) -> None:
    curves = {"none": (scattered(1.0, 0.1, 1), 40, 0.0), "quantization": (scattered(2.0, 0.1, 2), 8, 3.0)}
    (found,) = decided(tmp_path, curves, target=1e-9)
    assert found.recommended is None
    assert found.target_not_reached == ["none", "quantization"]


def test_a_target_that_the_start_meets(tmp_path: Path) -> None:
    curves = {"none": (scattered(1.0, 0.1, 1), 40, 0.0), "quantization": (scattered(2.0, 0.1, 2), 8, 3.0)}
    (found,) = decided(tmp_path, curves, target=100.0)
    assert found.share_of_resamples == 0


def test_what_is_invalid_is_left_out(tmp_path: Path) -> None:
    curves = {"none": (scattered(1.0, 0.1, 1), 40, 0.0), "quantization": (scattered(2.0, 0.1, 2), 8, 3.0)}
    (found,) = decided(tmp_path, curves, forecast=Forecast(stable=False))
    assert found.recommended is None
    assert found.invalid == ["none", "quantization"]
    assert (found.verdict, found.doubts) == ("INVALID", ["0 of 2 configurations VALID, and a choice needs two"])


def test_penalties_of_risks_that_are_mostly_bias_are_not_compared(tmp_path: Path) -> None:
    """The reference is still on its way from the start; its twin is not."""
    noise = 0.01 * np.random.default_rng(1).standard_normal((SEEDS, 10))
    logs = []
    for shift, distance in (("none", 0.5), ("covariate", 0.0)):
        for kind in ("quantization", "rand-h"):
            changed = {"problem": {"shift": shift}, "study": {"repetitions": list(range(SEEDS))}}
            made = tables(compressor={"kind": kind}, **changed)
            path = tmp_path / f"{shift}-{kind}.h5"
            write_log(path, made, averages=1 + distance + noise, label=kind, omega=3.0)
            logs.append(load(path))
    population = Gaussian(dimension=10, rotation="dct").prepare(2)
    decisions = decide(logs, summarise(logs, [Forecast(population=population)] * 4))
    assert decisions[1].heterogeneity == []
    assert decisions[1].heterogeneity_left_out == ["quantization", "rand-h"]


def decided_on(tmp_path: Path, averages, seeds):
    """The decision on two compressors of given final averages (R, d), with H known."""
    logs = []
    for kind in ("none", "rand-h"):
        made = tables(compressor={"kind": kind}, study={"repetitions": seeds})
        write_log(tmp_path / f"{kind}.h5", made, averages=averages, label=kind, omega=3.0)
        logs.append(load(tmp_path / f"{kind}.h5"))
    population = Gaussian(dimension=averages.shape[1], rotation="dct").prepare(2)
    (found,) = decide(logs, summarise(logs, [Forecast(population=population)] * 2))
    return found


def test_too_few_repetitions_make_a_comparison_invalid(tmp_path: Path) -> None:
    found = decided_on(tmp_path, 1 + 0.01 * np.random.default_rng(1).standard_normal((2, 10)), [0, 1])
    assert (found.verdict, found.doubts) == ("INVALID", ["too few repetitions: 2, of at least 3"])


def test_a_risk_that_is_mostly_bias_is_not_in_the_regime(tmp_path: Path) -> None:
    noise = 0.01 * np.random.default_rng(1).standard_normal((SEEDS, 10))
    seeds = list(range(SEEDS))
    (doubt,) = decided_on(tmp_path / "far", 1.5 + noise, seeds).doubts  # w* is 1
    assert doubt.startswith("not in the regime of large K")
    assert doubt.endswith("of none; rand-h")
    assert decided_on(tmp_path / "near", 1 + noise, seeds).verdict == "VALID"


def test_equal_omega_and_equal_bits_are_ranked(tmp_path: Path) -> None:
    curves = {
        "none": (scattered(1.0, 0.1, 1), 40, 0.0),
        "bernoulli": (scattered(4.0, 0.1, 2), 8, 3.0),
        "rand-h": (scattered(2.0, 0.1, 3), 8, 3.2),
        "sketch": (scattered(8.0, 0.1, 4), 8, 9.0),
    }
    (found,) = decided(tmp_path, curves)
    (omega,) = found.equal_omega
    assert [member.name for member in omega.ranking] == ["rand-h", "bernoulli"]
    assert omega.ranking[1].ratio == pytest.approx(2, rel=0.15)
    assert omega.ranking[1].error == pytest.approx(2 * 0.1 * np.sqrt(2 / SEEDS), rel=0.6)
    (bits,) = found.equal_bits  # BITS of the synthetic logs, whatever the compressor
    assert [member.name for member in bits.ranking] == ["none", "rand-h", "bernoulli", "sketch"]


def shifted(folder, made):
    """Logs without and with a shift: kind -> (risks of the reference, risks under the shift), each (R, P)."""
    logs = []
    for number, (kind, pair) in enumerate(made.items()):
        for shift, risks in zip(("none", "covariate"), pair, strict=True):
            changed = {"study": {"repetitions": list(range(len(risks)))}, "problem": {"shift": shift}}
            path = folder / f"{shift}{number}.h5"
            write_log(path, tables(compressor={"kind": kind}, **changed), risks, label=kind, omega=3.0)
            logs.append(load(path))
    return sorted(logs, key=lambda log: log.configuration["problem"]["shift"] != "none")


def test_projections_against_quantization_under_heterogeneity(tmp_path: Path) -> None:
    """Both are twice, and four times, as bad under the shift: paired repetitions see it through the noise."""
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
    verdicts = {one.name: (round(one.penalty, 9), one.verdict) for one in other.heterogeneity}
    assert verdicts == {"sketch": (4.0, "worse"), "rand-h": (2.0, "undecided")}
    found = answer(decisions)
    assert (found.answer, found.comparisons) == ("no", 2)
    assert found.compressors[0].least_ratio.estimate == pytest.approx(2)
    told = "\n".join(sentences.answer(found))
    assert "THAN QUANTIZATION AT EQUAL OMEGA? NO" in told
    assert "sketch: better in 0, undecided in 0, worse in 1; ratio 2 (2 to 2)" in told


def test_a_penalty_that_happens_to_be_one_is_no_reference(tmp_path: Path) -> None:
    risks = scattered(1.0, 0.5, 1)
    logs = shifted(tmp_path, {"quantization": (risks, risks), "rand-h": (risks, risks)})
    summary = summarise(logs, [Forecast()] * len(logs))
    texts = [cells.penalty(entry) for entry in summary.configurations]
    assert texts == ["reference", "reference", "1", "1"]
    assert [one.name for one in decide(logs, summary)[1].heterogeneity] == ["rand-h"]
    cards = [card.rows[0].cells[-1].text for card in scorecards(logs, summary.configurations, [])]
    assert cards == ["reference: clients alike", "1"]


def test_penalties_over_an_invalid_reference_are_not_compared(tmp_path: Path) -> None:
    risks = {kind: scattered(1.0, 0.5, number) for number, kind in enumerate(("quantization", "rand-h"))}
    logs = shifted(tmp_path, {kind: (one, 2 * one) for kind, one in risks.items()})
    forecasts = [Forecast(stable=log.configuration["problem"]["shift"] != "none") for log in logs]
    decisions = decide(logs, summarise(logs, forecasts))
    assert decisions[1].heterogeneity == []
    assert decisions[1].heterogeneity_left_out == ["quantization", "rand-h"]
    found = answer(decisions)
    assert (found.answer, found.comparisons, found.left_out) == ("undecided", 0, 2)
    assert "2 penalties left out" in "\n".join(sentences.answer(found))


def test_many_comparisons_widen_their_intervals_together(tmp_path: Path) -> None:
    """What alone is told apart is not, once it is one of many."""
    risks = scattered(1.0, 0.4, 1)
    other = risks * np.exp(0.25 + 0.3 * np.random.default_rng(5).standard_normal((SEEDS, 1)))
    logs = shifted(tmp_path, {"quantization": (risks, risks), "rand-h": (risks, other)})
    members = [Shifted(log.label, 3.0, log, reference) for log, reference in zip(logs[2:], logs[:2], strict=True)]
    (alone,) = comparisons([members])[0]
    together = [one for group in comparisons([members] * 40) for one in group]
    assert alone.verdict == "worse"
    assert [one.verdict for one in together] == ["undecided"] * 40
    assert together[0].ratio.confidence == pytest.approx(1 - 0.05 / 40)


@pytest.mark.parametrize("paired", [True, False])
def test_the_interval_of_a_ratio_of_penalties_holds_what_it_says(paired) -> None:
    """Chi squares of 5 degrees of freedom share half of their noise, or none; 95% +- 0.5% of 2,000 intervals."""
    generator = np.random.default_rng(0)
    held = 0
    for _ in range(2000):
        shared = generator.chisquare(5, 20)
        risks = [generator.chisquare(5, 20) + paired * shared for _ in range(4)]
        seeds = [range(20)] * 4 if paired else [range(20 * i, 20 * i + 20) for i in range(4)]
        logs = [final(risk, seed) for risk, seed in zip(risks, seeds, strict=True)]
        _, low, high = ratio_interval(logs[:2], logs[2:])
        held += low <= 1 <= high
    assert 0.93 < held / 2000 < 0.975


def final(risks, seeds):
    """As much of a log as the final risks need."""
    return SimpleNamespace(
        excess_risk_averaged=np.array(risks)[:, None],
        repetition=np.array(seeds),
        complete=np.ones(len(risks), bool),
        diverged=np.zeros(len(risks), bool),
    )


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
def test_the_answer_weighs_all_comparisons(verdicts, word) -> None:
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
    assert answer([decision_with(compared)]).answer == word


def decision_with(compared):
    """A decision that says something of heterogeneity alone."""
    empty = {field.name: [] for field in fields(Decision)}
    return Decision(**empty | {"problem": "p", "heterogeneity": compared})


def test_without_a_comparison_there_is_no_answer() -> None:
    assert answer([decision_with([])]) is None


def test_a_risk_that_grows_is_invalid(tmp_path: Path) -> None:
    write_log(tmp_path / "a.h5", tables(), power_law(ROUNDS, 1.0, 2.0))
    (entry,) = summarise([load(tmp_path / "a.h5")], [Forecast()]).configurations
    assert entry.verdict == "INVALID"
    assert "the step is too large" in entry.reasons[-1]


def test_the_limit_law_is_told_from_another() -> None:
    """The seeds are fixed; for others the first assertion fails in 1 of 1,000."""
    weights = [3.0, 1.0, 0.5]
    assert draw_limit_law(weights).mean() == pytest.approx(4.5, rel=0.02)
    assert compare_with_limit_law(draw_limit_law(weights, 1000, seed=1), weights)[1] > 1e-3
    assert compare_with_limit_law(1.2 * draw_limit_law(weights, 1000, seed=1), weights)[1] < 1e-3


def test_every_projection_meets_the_quantization_of_nearest_omega(tmp_path: Path) -> None:
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
            pair.append(load(path))
        members.append(Shifted(name, omega, pair[1], pair[0]))
    found = {one.name: (one.reference, one.verdict) for one in comparisons([members])[0]}
    assert found == {"few": ("coarse", "better"), "many": ("fine", "worse")}


def test_the_best_of_a_column_is_valid_and_what_is_within_two_errors_of_it_is_too() -> None:
    figure = Figure("x", "y", lambda entry: entry.x, lambda entry: str(entry.x), lambda entry: entry.error)
    columns = [(0, 0.0, "VALID"), (10, 6.0, "VALID"), (20, 1.0, "VALID"), (0, 0.0, "INVALID"), (None, None, "VALID")]
    entries = [SimpleNamespace(x=x, error=error, valid=verdict == "VALID") for x, error, verdict in columns]
    assert [cell.best for cell in _cells(figure, entries)] == [True, True, False, False, False]
    assert [cell.share for cell in _cells(figure, entries)] == [1.0, 0.0, 0.0, None, None]
