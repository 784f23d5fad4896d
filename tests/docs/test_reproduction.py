"""The page of the paper's experiments: its text and tables, at the small and at the paper's size."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from analysis.paper import page
from analysis.paper.figures import FIGURES, ORDER, STUDIES, Figure, reading
from analysis.paper.page import draws
from mpi_fed.analysis.document import Analysis, Entry, Mean
from mpi_fed.study.load import load_study

FIGURE = next(figure for figure in FIGURES if figure.study == "single-p4-rotated")
PAGE = Path(__file__).parents[2] / "docs" / "reproduction.md"


@pytest.fixture(autouse=True)
def no_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out other draws, as theory at the paper's size is slow; a test of its own covers them for two studies."""
    monkeypatch.setattr(page, "draws", lambda figure: iter(()))


def entry(
    mean: float | None,
    error: float | None,
    expected: float | None,
    kind: str = "none",
    p_value: float | None = None,
) -> Entry:
    """Return an entry of analysis.json with the fields that the page uses."""
    fields = SimpleNamespace(
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
        p_value=p_value,
        valid=True,
    )
    return cast(Entry, fields)


def analysis(entries: list[Entry]) -> Analysis:
    return cast(Analysis, SimpleNamespace(configurations=entries))


def rows(entries: list[Entry], paper_size: bool) -> list[dict[str, str]]:
    lines = list(page.section(FIGURE, analysis(entries), paper_size))
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]
    return [dict(zip(table[0], row, strict=True)) for row in table[1:]]


def test_at_the_papers_size_measurements_are_compared_with_the_paper() -> None:
    (row,) = rows([entry(10**-5.30, 0.05 * 10**-5.30, 10**-5.29)], paper_size=True)
    assert row["measured"] == "-5.30 +-0.02"
    assert (row["expected"], row["paper"], row["measured - paper"], row["remark"]) == ("-5.29", "-5.35", "+0.05", "")


@pytest.mark.parametrize(
    ("measured", "error", "expected", "remark"),
    [
        (-5.10, 0.025, -5.12, "above the paper, 10 standard errors; as theory expects"),
        (-5.60, 0.025, -5.40, "below the paper, 10 standard errors; theory agrees with neither"),
        (-5.10, 0.10, -5.12, ""),  # 2.5 standard errors
        (-5.31, 0.004, -5.31, ""),  # 10 standard errors, but less than the margin
        (-5.10, 0.0, None, "above the paper"),
    ],
)
def test_a_difference_from_the_paper_has_a_remark(
    measured: float, error: float, expected: float | None, remark: str
) -> None:
    mean = 10**measured
    (row,) = rows([entry(mean, error * mean * 2.302585, expected and 10**expected)], paper_size=True)
    assert row["remark"] == remark


def test_the_page_begins_with_the_result() -> None:
    kinds = zip(ORDER, (-5.35, -4.10, -2.19, -2.03, -1.99, -1.60), strict=True)
    entries = [entry(10**risk, 0.01 * 10**risk, 10**-4.10, kind, p_value=0.5) for kind, risk in kinds]
    text = " ".join(page.answer([FIGURE], [analysis(entries)], paper_size=True))
    assert "4 of the 6 final risks that can be compared with the paper's pictures agree" in text
    assert "Of the other 2, 1 agree with theory" in text
    assert (
        "no measured risk differs significantly from the exact expectation by theory (6 tests, smallest p 0.5" in text
    )
    entries[0] = entry(10**-5.35, 10**-7, 10**-4.1, p_value=1e-4)
    text = " ".join(page.answer([FIGURE], [analysis(entries)], paper_size=False))
    assert "In these runs, 1 measured risk differs significantly" in text
    assert "the paper's pictures" not in text


def test_the_committed_page_has_the_text_of_the_program() -> None:
    """The numbers are those of a run that takes hours; the sentences without numbers are compared here."""
    committed = PAGE.read_text()
    texts = ["\n".join(page.head(paper_size=True)), *("\n".join(page.paragraph(f.remark)) for f in FIGURES if f.remark)]
    assert [text for text in texts if text not in committed] == []
    assert [figure.title for figure in FIGURES if f"\n## {figure.title}\n" not in committed] == []


def test_a_diverged_run_has_no_difference() -> None:
    (row,) = rows([entry(None, None, None)], paper_size=True)
    assert (row["measured"], row["measured - paper"], row["remark"]) == ("diverged", "-", "")


def test_the_small_page_has_theory_at_the_papers_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "paper_sized", lambda figure: {("sgd", "none"): "-5.29"})
    (row,) = rows([entry(10**-3.86, 0.05 * 10**-3.86, 10**-3.83)], paper_size=False)
    assert (row["expected at the paper's size"], row["paper"]) == ("-5.29", "-5.35")
    assert "measured - paper" not in row


@pytest.mark.parametrize("figure", [figure for figure in FIGURES if figure.readings], ids=lambda figure: figure.study)
def test_every_configuration_of_the_papers_figures_has_its_reading(figure: Figure) -> None:
    missing = {
        (configuration.algorithm.kind, configuration.compressor.kind)
        for configuration in load_study(STUDIES / f"{figure.study}.toml").configurations
        if reading(figure, configuration.algorithm.kind, configuration.compressor.kind) is None
    }
    assert missing <= {("control-variates", "none")}
    assert all(len(values) == len(ORDER) for values in figure.readings.values())
    assert figure.remark, "the page explains differences from the paper"


@pytest.mark.parametrize("paper_size", [True, False])
def test_the_head_defines_the_columns(paper_size: bool) -> None:
    text = " ".join(page.head(paper_size))
    for column in page.WHOLE[5:-1] if paper_size else page.SMALL[5:]:
        assert f"*{column}*" in text
    assert ("scale models" in text) is not paper_size


@pytest.mark.slow
def test_the_scatter_over_other_draws_of_the_problem_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "DRAWS", 3)
    figures = {figure.study: figure for figure in FIGURES}
    text = " ".join(draws(figures["optimum-shift-full"]))
    assert "over 3 draws are: none -4." in text
    assert "the draw above -4.43, the paper -4.55" in text
    assert list(draws(figures["single-p4-diagonal"])) == []
