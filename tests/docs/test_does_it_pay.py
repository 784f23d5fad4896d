"""The page of analysis/does_it_pay, written from made-up results."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.made_up_machine import both_ways, made_up

from analysis.does_it_pay import page
from analysis.does_it_pay.answers import span
from analysis.does_it_pay.measure import BENCHES, SIZES, Bench, measure
from analysis.does_it_pay.results import read

SMALL = (1_000, 10_000, 100_000)

Save = Callable[..., None]


@pytest.fixture
def save(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Save:
    """Save results; those of a shared memory are saved already, and curves have few dimensions, for speed."""
    monkeypatch.setattr("analysis.does_it_pay.answers.GRID", (*SMALL, 1_000_000))

    def write(name: str, document: Any, rate: int | None = None) -> None:
        if rate:
            document["machine"]["cables"] = [{"up": rate, "down": rate, "burst": 0}] * 2
        (tmp_path / f"{name}.json").write_text(json.dumps(document))

    write("memory", made_up(SMALL))
    return write


def test_the_page_has_every_part_and_its_pictures(save: Save, tmp_path: Path) -> None:
    save("1gbit", made_up(SMALL, 1e9), 10**9)
    save("100mbit", made_up(SMALL, 1e8), 10**8)
    save("300mbit", made_up((30_000,), 3e8), 3 * 10**8)
    page.write(tmp_path / "does-it-pay.md", read(BENCHES, tmp_path))
    text = (tmp_path / "does-it-pay.md").read_text()
    heads = re.findall("^## (.*)", text, re.MULTILINE)
    assert heads[:3] == ["In short", "A round", "To a risk"]
    assert {"Break-even", "From a laptop to a million homes", "How far to trust it"} <= set(heads)
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", text)
    assert len(pictures) == 4
    for name in pictures:
        assert (tmp_path / name).read_bytes()[:4] == b"\x89PNG"
        assert (tmp_path / name).stat().st_size < 200_000
    assert "cables of 100 Mbit/s, 300 Mbit/s, 1 Gbit/s" in text
    (checked,) = [line for line in text.splitlines() if line.startswith("| 300 Mbit/s, 2 hosts: rate or number")]
    assert "| 6 | 0.0% | 0.0% |" in checked
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({line.count("|") for line in table.splitlines()}) == 1, table
    assert [line for line in text.splitlines() if len(line) > 120 and not line.startswith("|")] == []


def test_compression_both_ways_has_its_own_name_and_rows(save: Save, tmp_path: Path) -> None:
    save("1gbit", made_up(SMALL, 1e9), 10**9)
    save("memory-both-ways", both_ways(made_up(SMALL)))
    save("1gbit-both-ways", both_ways(made_up(SMALL, 1e9)), 10**9)
    page.write(tmp_path / "page.md", read(BENCHES, tmp_path))
    text = (tmp_path / "page.md").read_text()
    assert '"both ways": the step\'s direction comes back' in " ".join(text.split())
    assert "rand-h* both ways at d = " in " ".join(text.split()), "the largest gain, in words"
    assert re.search(r"^\| rand-h\* both ways \|", text, re.MULTILINE)
    assert "common mask" not in text


@pytest.mark.usefixtures("save")
def test_the_page_says_that_links_are_missing(tmp_path: Path) -> None:
    page.write(tmp_path / "page.md", read(BENCHES, tmp_path))
    assert "**No link could be shaped there**" in (tmp_path / "page.md").read_text()


@pytest.mark.usefixtures("save")
def test_saved_results_are_not_measured_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    memory = (BENCHES[0],)
    measure(memory, tmp_path, Path("nowhere"), 1)  # the bench itself would take minutes
    with pytest.raises(SystemExit, match="no results are saved in"):
        read(BENCHES, tmp_path / "elsewhere")
    monkeypatch.setattr("analysis.does_it_pay.measure._command", lambda *arguments: ["false"])
    with pytest.raises(SystemExit, match="ended with status 1"):
        measure((Bench("other", ("none",), SIZES),), tmp_path, Path("nowhere"), 1)


@pytest.mark.usefixtures("save")
def test_if_a_cluster_is_refused_links_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("analysis.does_it_pay.measure._command", lambda *arguments: ["sh", "-c", "exit 2"])
    measure(tuple(bench for bench in BENCHES if bench.rate)[:2], tmp_path, Path("nowhere"), 1)
    assert capfd.readouterr().out.count("no link can be shaped here") == 1


@pytest.mark.parametrize(
    ("values", "text"),
    [([2, 2, 2], "everywhere"), ([1, 1, 1], "nowhere"), ([1, 2, 2], "from 2,000"), ([2, 2, 1], "up to 2,000"),
     ([1, 2, 1], "2,000 to 2,000"), ([], "-")],
    ids=str,
)  # fmt: skip
def test_the_dimensions_where_compression_pays_are_put_into_words(values: list[float], text: str) -> None:
    assert span(list(zip((1_000, 2_000, 3_000), values, strict=False))) == text
