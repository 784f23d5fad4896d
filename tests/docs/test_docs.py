"""The documentation says what the program does: every key of a study file, every link."""

import json
import re
from pathlib import Path

import pytest

from mpi_fed.study.configuration import LogOptions, StudyOptions
from mpi_fed.study.families import REGISTRIES, REGISTRY_OF_TABLE
from mpi_fed.study.load import load_study
from mpi_fed.study.validation import allowed
from mpi_fed.theory import predict

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
KINDS = {
    (family, kind): model
    for family, registry in REGISTRIES.items()
    for kind, model in registry.items()
    if model.__module__.startswith("mpi_fed.")  # none of a plugin's
}


def described():
    """(table, kind or None) -> {key: (takes, default)}, as docs/study-file.md has it."""
    found = {}
    places = []
    for line in (ROOT / "docs" / "study-file.md").read_text().splitlines():
        if line.startswith("## "):
            table = line.strip("# []`")
            places = [(table, None)] if "`[" in line else []
        elif line.startswith("### "):
            places = [(table, kind) for kind in re.findall("`(.+?)`", line)]
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        for place in places:
            found.setdefault(place, {})
            if line.startswith("| `"):
                assert len(cells) == 4, line
                found[place][cells[0].strip("` ")] = cells[1], cells[2]
    return found


DESCRIBED = described()


def check(rows, model) -> None:
    assert set(rows) == set(model.model_fields)
    for key, field in model.model_fields.items():
        takes, default = rows[key]
        assert takes == allowed(field.annotation, field.metadata), key
        if field.is_required():
            assert default == "required", key
        elif field.default is None:
            assert default not in ("", "required"), key
        else:
            assert default == json.dumps(field.default), key


@pytest.mark.parametrize(("family", "kind"), KINDS)
def test_every_key_of_a_component_is_described(family, kind) -> None:
    check(DESCRIBED[family, None] | DESCRIBED[family, kind], KINDS[family, kind])


@pytest.mark.parametrize(("table", "model"), [("study", StudyOptions), ("log", LogOptions)])
def test_every_key_of_a_table_is_described(table, model) -> None:
    check(DESCRIBED[table, None], model)


def test_nothing_is_described_that_is_not_there() -> None:
    tables = {"study", "log", *REGISTRY_OF_TABLE}
    assert set(DESCRIBED) == {(table, None) for table in tables} | set(KINDS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page) -> None:
    links = re.findall(r"\]\(([^)]+)\)", page.read_text())
    inside = [link.partition("#")[0] for link in links if "://" not in link]
    assert [link for link in inside if link and not (page.parent / link).exists()] == []


def test_first_page_shows_what_theory_says() -> None:
    lines = (ROOT / "README.md").read_text().splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if "+-" in line]
    shown = {row[0].replace(" ", "-").lower(): row[3:] for row in rows}
    study = load_study(ROOT / "studies" / "quickstart.toml")
    population = study.configurations[0].problem.prepare(study.configurations[0].clients)
    assert len(shown) == len(study.configurations)
    for configuration in study.configurations:
        expected = predict(configuration, population)
        kind = configuration.compressor.kind
        risk, trace = next(numbers for name, numbers in shown.items() if kind in name)
        assert float(risk) == float(f"{expected.excess_risk_averaged[-1]:.2e}")
        assert float(trace) == float(f"{expected.limit_trace:.3g}")


def test_every_file_of_the_design_is_there() -> None:
    names = re.findall(r"`([a-z_/]+(?:\.py|/))`", (ROOT / "docs" / "design.md").read_text())
    assert len(names) > 30
    assert [name for name in names if not any((base / name).exists() for base in (ROOT, ROOT / "mpi_fed"))] == []
