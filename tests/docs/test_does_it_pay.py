"""The page of analysis/does_it_pay, from saved results that are made up."""

import json
import re
from pathlib import Path

import pytest
from support.made_up_machine import both_ways, made_up

from analysis.does_it_pay import page
from analysis.does_it_pay.answers import span
from analysis.does_it_pay.measure import BENCHES, SIZES, Bench, measure
from analysis.does_it_pay.results import read

SMALL = (1_000, 10_000, 100_000)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Saved results of a memory whose rounds are exact, and what else `save` adds; few curves, for time."""
    monkeypatch.setattr("analysis.does_it_pay.answers.GRID", (*SMALL, 1_000_000))

    def save(name, told, rate=None) -> None:
        if rate:
            told["machine"]["cables"] = [{"up": rate, "down": rate, "burst": 0}] * 2
        (tmp_path / f"{name}.json").write_text(json.dumps(told))

    save("memory", made_up(SMALL))
    return tmp_path, save


def test_the_page_has_every_part_and_its_pictures(folder) -> None:
    path, save = folder
    save("1gbit", made_up(SMALL, 1e9), 10**9)
    save("100mbit", made_up(SMALL, 1e8), 10**8)
    save("300mbit", made_up((30_000,), 3e8), 3 * 10**8)
    page.write(path / "does-it-pay.md", read(BENCHES, path))
    text = (path / "does-it-pay.md").read_text()
    heads = re.findall("^## (.*)", text, re.MULTILINE)
    assert heads[:3] == ["In short", "A round", "To a risk"]
    assert {"Break-even", "From a laptop to a million homes", "How far to trust it"} <= set(heads)
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", text)
    assert len(pictures) == 4
    for name in pictures:
        assert (path / name).read_bytes()[:4] == b"\x89PNG"
        assert (path / name).stat().st_size < 200_000
    assert "cables of 100 Mbit/s, 300 Mbit/s, 1 Gbit/s" in text
    (checked,) = [line for line in text.splitlines() if line.startswith("| 300 Mbit/s, 2 hosts: no such rate")]
    assert "| 6 | 0.0% | 0.0% |" in checked
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({line.count("|") for line in table.splitlines()}) == 1, table
    assert [line for line in text.splitlines() if len(line) > 120 and not line.startswith("|")] == []


def test_compression_both_ways_has_a_name_and_rows_of_its_own(folder) -> None:
    path, save = folder
    save("1gbit", made_up(SMALL, 1e9), 10**9)
    save("memory-both-ways", both_ways(made_up(SMALL)))
    save("1gbit-both-ways", both_ways(made_up(SMALL, 1e9)), 10**9)
    page.write(path / "page.md", read(BENCHES, path))
    text = (path / "page.md").read_text()
    assert '"both ways": the step\'s direction comes back' in " ".join(text.split())
    assert "rand-h* both ways at d = " in " ".join(text.split()), "the most that is gained, in words"
    assert re.search(r"^\| rand-h\* both ways \|", text, re.MULTILINE)
    assert "common mask" not in text


def test_without_links_the_page_says_so(folder) -> None:
    path, _ = folder
    page.write(path / "page.md", read(BENCHES, path))
    assert "**No link could be shaped there**" in (path / "page.md").read_text()


def test_what_is_saved_is_not_measured_again_and_what_is_not_must_be(
    folder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path, _ = folder
    memory = (BENCHES[0],)
    measure(memory, path, Path("nowhere"), 1)  # it would run a bench for minutes
    with pytest.raises(SystemExit, match="nothing is saved in"):
        read(BENCHES, tmp_path / "elsewhere")
    monkeypatch.setattr("analysis.does_it_pay.measure._command", lambda *arguments: ["false"])
    with pytest.raises(SystemExit, match="ended with status 1"):
        measure((Bench("other", ("none",), SIZES),), path, Path("nowhere"), 1)


def test_where_a_cluster_is_refused_the_rest_goes_on_without(
    folder, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    path, _ = folder
    monkeypatch.setattr("analysis.does_it_pay.measure._command", lambda *arguments: ["sh", "-c", "exit 2"])
    measure(tuple(bench for bench in BENCHES if bench.rate)[:2], path, Path("nowhere"), 1)
    assert capfd.readouterr().out.count("no link can be shaped here") == 1


@pytest.mark.parametrize(
    ("values", "said"),
    [([2, 2, 2], "everywhere"), ([1, 1, 1], "nowhere"), ([1, 2, 2], "from 2,000"), ([2, 2, 1], "up to 2,000"),
     ([1, 2, 1], "2,000 to 2,000"), ([], "-")],
    ids=str,
)  # fmt: skip
def test_sizes_at_which_it_pays_in_words(values, said) -> None:
    assert span(list(zip((1_000, 2_000, 3_000), values, strict=False))) == said
