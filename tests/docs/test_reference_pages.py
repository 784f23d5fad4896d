"""The pages of the reference that a script makes from the code, and the site that holds them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from mpi_fed.study.families import REGISTRIES

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
MADE = ["cli.md", "study-keys.md", *(f"api/{family}s.md" for family in REGISTRIES)]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the pages as the script writes them now."""
    folder = tmp_path_factory.mktemp("docs")
    subprocess.run([sys.executable, ROOT / "scripts" / "reference_pages.py", folder], check=True)
    return folder


@pytest.mark.parametrize("name", MADE)
def test_a_page_is_up_to_date(made: Path, name: str) -> None:
    assert (DOCS / name).read_text() == (made / name).read_text(), "run: python scripts/reference_pages.py docs"


def test_the_script_writes_only_these_pages(made: Path) -> None:
    assert {str(path.relative_to(made)) for path in made.rglob("*.md")} == set(MADE)


def test_every_key_has_a_meaning() -> None:
    text = (DOCS / "study-keys.md").read_text()
    keys = re.findall(r"^`(\w+)`: .+; .+\n:   (.+)$", text, re.MULTILINE)
    assert len(keys) == len(re.findall(r"^`\w+`: ", text, re.MULTILINE)) > 40
    assert [key for key, meaning in keys if len(meaning) < 5] == []


def test_every_option_has_a_sentence() -> None:
    text = (DOCS / "cli.md").read_text()
    options = re.findall(r"^`(--[a-z-]+)[^`]*`\n:   (.+)$", text, re.MULTILINE)
    assert len(options) > 60
    assert [option for option, sentence in options if len(sentence) < 5] == []
