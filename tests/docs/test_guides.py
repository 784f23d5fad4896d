"""Test the tutorial and the how-to pages: their studies load, their numbers hold, their Python runs."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mpi_fed import load_study, predict
from mpi_fed.cli.main import COMMANDS
from mpi_fed.cli.options import parse

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
GUIDES = ["first-study", "own-data", "choose-a-compressor", "study-file", "python", "install"]


def text_of(page: str) -> str:
    return (ROOT / page).read_text()


def blocks(page: str, language: str) -> list[str]:
    """Return the code blocks of a page in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text_of(page), re.DOTALL | re.MULTILINE)


def rows(page: str) -> list[list[str]]:
    """Return the cells of every line of a page's tables."""
    lines = [line for line in text_of(page).splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def save_data(folder: Path) -> None:
    """Write data.npz as docs/own-data.md does, and data.csv with the same numbers."""
    code = next(block for block in blocks("docs/own-data.md", "python") if "savez" in block)
    subprocess.run([sys.executable, "-c", code], cwd=folder, check=True)
    data = np.load(folder / "data.npz")
    np.savetxt(folder / "data.csv", np.column_stack([data["features"], data["targets"]]), delimiter=",")


@pytest.mark.parametrize("page", ["README.md", "docs/own-data.md"])
def test_the_study_on_own_data_has_an_exact_prediction(page: str, tmp_path: Path) -> None:
    save_data(tmp_path)
    study = next(block for block in blocks(page, "toml") if "[study]" in block)
    (tmp_path / "mine.toml").write_text(study)
    predictions = predict(tmp_path / "mine.toml")
    assert len(predictions) == study.count("[[compressor]]")
    assert {prediction["prediction_kind"] for prediction in predictions} == {"exact"}


def study_examples() -> list[dict[str, Any]]:
    """Return the studies of docs/study-file.md; each table of an example replaces that of the first example.

    The table [study] of an example only adds its keys.
    """
    first, *others = map(tomllib.loads, blocks("docs/study-file.md", "toml"))
    return [first, *(first | other | {"study": first["study"] | other.get("study", {})} for other in others)]


@pytest.mark.parametrize("study", study_examples())
def test_every_example_of_the_study_page_loads(
    study: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_data(tmp_path)
    monkeypatch.chdir(tmp_path)
    for variant in [None, *study.get("variant", {})]:
        assert load_study(study, variant=variant).configurations


def test_the_study_page_states_the_size_of_its_grid_and_the_label_of_a_downlink() -> None:
    text, examples = text_of("docs/study-file.md"), study_examples()
    grid = next(study for study in examples if isinstance(study["study"]["rounds"], list))
    assert f" = {len(load_study(grid).configurations)} configurations" in text
    both_ways = next(study for study in examples if "downlink" in study)
    assert any(f"`{configuration.label}`" in text for configuration in load_study(both_ways).configurations)


def test_the_tutorial_shows_the_numbers_of_theory() -> None:
    tables = tomllib.loads(blocks("docs/first-study.md", "toml")[0])
    shown = {cells[0]: cells[1:] for cells in rows("docs/first-study.md") if len(cells) == 5 and "+-" not in cells[2]}
    for prediction in predict(tables):
        omega, trace, risk, bits = (float(cell) for cell in shown[prediction["label"]])
        assert omega == float(f"{prediction['omega']:.4g}")
        assert trace == float(f"{prediction['limit_trace']:.4g}")
        assert risk == float(f"{prediction['excess_risk_averaged'][-1]:.4g}")
        assert bits == prediction["payload_bits"]


def test_the_tutorial_shows_what_theory_expects_of_the_quickstart() -> None:
    measured = [cells for cells in rows("docs/first-study.md") if len(cells) == 5 and "+-" in cells[2]]
    shown = {cells[0].replace(" ", "-").lower(): cells[3:] for cells in measured}
    predictions = predict(load_study(ROOT / "studies" / "quickstart.toml"))
    assert len(shown) == len(predictions)
    for prediction in predictions:
        kind = prediction["compressor"]["kind"]
        risk, trace = next(numbers for name, numbers in shown.items() if kind in name)
        assert float(risk) == float(f"{prediction['excess_risk_averaged'][-1]:.2e}")
        assert float(trace) == float(f"{prediction['limit_trace']:.3g}")


@pytest.mark.parametrize("guide", GUIDES)
def test_commands_of_a_guide_are_understood(guide: str) -> None:
    lines = [line for block in blocks(f"docs/{guide}.md", "sh") for line in block.splitlines()]
    commands = [line for line in lines if re.match(r"(\.venv/bin/)?mpi-fed ", line)]
    for command in commands:
        parse(shlex.split(command, comments=True)[1:], COMMANDS)


@pytest.mark.slow
def test_the_python_of_the_page_runs(tmp_path: Path) -> None:
    (tmp_path / "window.py").write_text(blocks("docs/extending.md", "python")[0])
    program = "\n".join(blocks("docs/python.md", "python")).replace("2_000", "200")  # rounds and draws, uncompiled
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1", "MPLBACKEND": "agg"}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "runs" / "notebook").glob("*.h5"))) == 3
