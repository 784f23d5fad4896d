"""Test that the documentation fits the program: keys of study files, links, files that pages name."""

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from mpi_fed.analysis.scorecard import FIGURES
from mpi_fed.study.configuration import LogOptions, StudyOptions
from mpi_fed.study.families import REGISTRIES
from mpi_fed.study.toml_tables import TABLES

ROOT = Path(__file__).parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
KINDS = {
    (family, kind): model
    for family, registry in REGISTRIES.items()
    for kind, model in registry.items()
    if model.__module__.startswith("mpi_fed.")  # not a plugin's
}


def described() -> dict[tuple[str, str | None], set[str]]:
    """Return the keys in docs/study-keys.md by table and kind; the kind is None for keys of all kinds."""
    found: dict[tuple[str, str | None], set[str]] = {}
    table, places = "", list[tuple[str, str | None]]()
    for line in (ROOT / "docs" / "study-keys.md").read_text().splitlines():
        if line.startswith("## "):
            table = line.strip("# []`")
            places = [(table, None)]
        elif line.startswith("### "):
            places = [(table, kind) for kind in re.findall("`(.+?)`", line)]
        for place in places:
            found.setdefault(place, set()).update(re.findall(r"^`(\w+)`: ", line))
    return found


DESCRIBED = described()


@pytest.mark.parametrize(("family", "kind"), KINDS)
def test_every_key_of_a_component_is_described(family: str, kind: str) -> None:
    assert DESCRIBED[family, None] | DESCRIBED[family, kind] == {"kind", *KINDS[family, kind].model_fields}


@pytest.mark.parametrize(("table", "model"), [("study", StudyOptions), ("log", LogOptions)])
def test_every_key_of_a_table_is_described(table: str, model: type[BaseModel]) -> None:
    assert DESCRIBED[table, None] == set(model.model_fields)


def test_every_described_table_and_kind_exists() -> None:
    tables: set[tuple[str, str | None]] = {(table, None) for table in ("study", "log", *REGISTRIES)}
    assert set(DESCRIBED) == tables | set(KINDS)


def test_the_study_page_links_the_keys_of_every_table() -> None:
    text = (ROOT / "docs" / "study-file.md").read_text()
    linked = set(re.findall(r"\[`\[+(\w+)\]+`\]\(study-keys\.md#\w+\)", text))
    assert linked == set(TABLES)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file(page: Path) -> None:
    links = re.findall(r"\]\(([^)]+)\)", page.read_text())
    inside = [link.partition("#")[0] for link in links if "://" not in link]
    assert [link for link in inside if link and not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", sorted((ROOT / "docs" / "decisions").glob("0*.md")), ids=lambda page: page.stem)
def test_every_decision_has_its_four_parts_and_is_listed(page: Path) -> None:
    assert re.findall(r"^## (.+)$", page.read_text(), re.MULTILINE) == [
        "Context",
        "Decision",
        "Consequences",
        "Rejected",
    ]
    assert f"({page.name})" in (page.parent / "index.md").read_text()


NAMES = re.compile(r"`((?:mpi_fed|tests|scripts|studies|analysis|docs)/[\w./-]*)`")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    names = NAMES.findall(page.read_text())
    assert [name for name in names if not any((base / name).exists() for base in (ROOT, ROOT / "mpi_fed"))] == []


def test_the_page_on_choosing_names_the_figures_of_the_scorecard() -> None:
    page = (ROOT / "docs" / "choose-a-compressor.md").read_text()
    assert re.findall(r"^\| ([a-z ]+) \|.* is better\. \|$", page, re.MULTILINE) == [
        figure.heading for figure in FIGURES
    ]


def test_the_readme_has_the_two_commands_in_one_line_each() -> None:
    setup = "python3 -m venv .venv && .venv/bin/pip install -q uv && .venv/bin/uv run "
    lines = [line.strip() for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("    python3")]
    run = "mpi-fed run studies/quickstart.toml studies/digits.toml --ranks 4"
    assert lines == [setup + run, setup + "pytest"]


def test_every_file_of_the_design_is_there() -> None:
    names = re.findall(r"`([a-z_/]+(?:\.py|/))`", (ROOT / "docs" / "design.md").read_text())
    assert len(names) > 30
    assert [name for name in names if not any((base / name).exists() for base in (ROOT, ROOT / "mpi_fed"))] == []
