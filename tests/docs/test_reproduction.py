"""The page of the paper's experiments: what stands in its tables, at the small and at the paper's size."""

from types import SimpleNamespace

import pytest

from analysis.paper import page
from analysis.paper.figures import FIGURES, ORDER, STUDIES, reading
from analysis.paper.page import draws
from mpi_fed.analysis.document import Analysis, Mean
from mpi_fed.study.load import load_study

FIGURE = next(figure for figure in FIGURES if figure.study == "single-p4-rotated")


@pytest.fixture(autouse=True)
def no_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Theory at the paper's size takes a while: of one study it is tested by itself."""
    monkeypatch.setattr(page, "draws", lambda figure: iter(()))


def entry(mean, error, expected, kind="none"):
    """As much of an entry of analysis.json as the page reads."""
    return SimpleNamespace(
        label=kind,
        compressor={"kind": kind},
        algorithm={"kind": "sgd"},
        problem={"dimension": 100},
        clients=1,
        rounds=10**7,
        repetitions=5,
        excess_risk_averaged=Mean(mean, error),
        predicted_excess_risk_averaged=expected,
        prediction_kind="exact",
        variance_ratio=mean / expected if mean and expected else None,
        z=(mean - expected) / error if mean and error and expected else None,
        valid=True,
    )


def rows(entries, paper_size):
    lines = list(page.section(FIGURE, Analysis(None, entries), paper_size))
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]
    return [dict(zip(table[0], row, strict=True)) for row in table[1:]]


def test_at_the_papers_size_measured_stands_beside_the_paper() -> None:
    (row,) = rows([entry(10**-5.30, 0.05 * 10**-5.30, 10**-5.29)], paper_size=True)
    assert row["measured"] == "-5.30 +-0.02"
    assert (row["expected"], row["paper"], row["measured - paper"], row["remark"]) == ("-5.29", "-5.35", "+0.05", "")


@pytest.mark.parametrize(
    ("measured", "error", "expected", "remark"),
    [
        (-5.10, 0.025, -5.12, "above the paper, 10 standard errors; as theory expects"),
        (-5.60, 0.025, -5.40, "below the paper, 10 standard errors; and theory expects neither"),
        (-5.10, 0.10, -5.12, ""),  # 2.5 standard errors
        (-5.31, 0.004, -5.31, ""),  # 10 standard errors, but less than the margin
        (-5.10, 0.0, None, "above the paper"),
    ],
)
def test_what_differs_from_the_paper_is_remarked(measured, error, expected, remark) -> None:
    mean = 10**measured
    given = entry(mean, error * mean * 2.302585, expected and 10**expected)
    (row,) = rows([given], paper_size=True)
    assert row["remark"] == remark


def test_a_diverged_run_has_no_difference() -> None:
    (row,) = rows([entry(None, None, None)], paper_size=True)
    assert (row["measured"], row["measured - paper"], row["remark"]) == ("diverged", "-", "")


def test_the_small_page_has_theory_at_the_papers_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "paper_sized", lambda figure: {("sgd", "none"): "-5.29"})
    (row,) = rows([entry(10**-3.86, 0.05 * 10**-3.86, 10**-3.83)], paper_size=False)
    assert (row["expected at the paper's size"], row["paper"]) == ("-5.29", "-5.35")
    assert "measured - paper" not in row


@pytest.mark.parametrize("figure", [figure for figure in FIGURES if figure.readings], ids=lambda figure: figure.study)
def test_every_configuration_of_the_papers_figures_has_its_reading(figure) -> None:
    missing = {
        (configuration.algorithm.kind, configuration.compressor.kind)
        for configuration in load_study(STUDIES / f"{figure.study}.toml").configurations
        if reading(figure, configuration.algorithm.kind, configuration.compressor.kind) is None
    }
    assert missing <= {("control-variates", "none")}
    assert all(len(values) == len(ORDER) for values in figure.readings.values())
    assert figure.remark, "where this project differs, the page says why"


@pytest.mark.parametrize("paper_size", [True, False])
def test_the_head_tells_what_the_columns_are(paper_size) -> None:
    text = " ".join(page.head(paper_size))
    for column in page.WHOLE[5:-1] if paper_size else page.SMALL[5:]:
        assert f"*{column}*" in text
    assert ("scale models" in text) is not paper_size


@pytest.mark.slow
def test_other_draws_of_the_problem_are_told_where_they_scatter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "DRAWS", 3)
    figures = {figure.study: figure for figure in FIGURES}
    (text,) = [" ".join(draws(figures["optimum-shift-full"]))]
    assert "over 3 draws: none -4." in text
    assert "the draw above -4.43, the paper -4.55" in text
    assert list(draws(figures["single-p4-diagonal"])) == []
