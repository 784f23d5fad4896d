"""The report in a browser: on a screen, on a phone, in print and without scripts."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support import command
from support.study_text import write_study
from support.synthetic_log import tables, write_log

from mpi_fed.analysis import analyze

if TYPE_CHECKING:
    from playwright.sync_api import Browser, FloatRect, Locator, Page

pytestmark = pytest.mark.timeout(300)

Opened = Callable[..., "Page"]
HOSTILE = "<b>x</b></script><script>document.title = 'taken'</script>"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Report on six configurations: two problems, three compressors."""
    folder = tmp_path_factory.mktemp("report")
    write_study(
        *(folder / "seen.toml", "none", "quantization", 'kind = "rand-h"\nh = 4'),
        name="seen",
        rounds=20000,
        repetitions=3,
        clients=2,
        problem={"dimension": 20, "shift": ["none", "optimum"], "seed": 1},
        algorithm='kind = "sgd"\nstep_size = 0.02\naveraging = "tail"',
    )
    command.run("run", "seen.toml", "--ranks", 2, "--no-analyze", folder=folder)
    assert analyze([folder / "runs" / "seen"], out=folder / "out") == 0
    return folder / "out" / "report.html"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        if os.environ.get("CI"):
            pytest.fail("no Chromium on the path")
        pytest.skip("no Chromium on the path")
    api = pytest.importorskip("playwright.sync_api")
    with api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture
def opened(chromium: Browser, report: Path) -> Iterator[Opened]:
    """Function that opens the report; a message on the console, or a request to the network, fails the test."""
    messages: list[str] = []
    requests: list[str] = []
    contexts = []

    def open_page(width: int = 1280, height: int = 900, **options: Any) -> Page:
        context = chromium.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: messages.append(message.text))
        page.on("pageerror", lambda error: messages.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(report.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert messages == []
    assert set(requests) == {report.as_uri()}


def box_of(locator: Locator) -> FloatRect:
    """Return the bounding box of a visible element."""
    box = locator.bounding_box()
    assert box is not None
    return box


def chart(page: Page) -> dict[str, Any]:
    """Return titles and types of the chart's axes, and names, symbols and styles of its lines."""
    page.wait_for_selector("#chart .main-svg")
    shown: dict[str, Any] = page.evaluate(
        """() => { const chart = document.getElementById("chart"), full = chart._fullLayout; return {
            x: full.xaxis.title.text, y: full.yaxis.title.text, xscale: full.xaxis.type, yscale: full.yaxis.type,
            names: chart.data.filter((t) => t.hoverinfo !== "skip").map((t) => t.name),
            filled: chart.data.filter((t) => t.fill === "tonexty").length,
            shown: chart.data.filter((t) => t.showlegend !== false).map((t) => t.name),
            symbols: chart.data.filter((t) => t.showlegend !== false && t.marker).map((t) => t.marker.symbol),
            dashes: chart.data.filter((t) => t.showlegend !== false && !t.marker).map((t) => t.line.dash),
            last: chart.data.filter((t) => t.name === "none" && t.hoverinfo !== "skip")[0].y.at(-1) }; }"""
    )
    return shown


def test_scorecard_comes_first_and_names_the_best(opened: Opened) -> None:
    page = opened()
    assert page.locator("h2").all_inner_texts()[:4] == ["Scorecard", "What to take", "Curves", "Results"]
    cards = page.locator("table.card")
    assert cards.count() == 2  # one for each problem
    headings = cards.first.locator("th").all_inner_texts()
    assert [heading.split("\n")[0] for heading in headings] == [
        "compressor", "communication saved", "rounds needed", "final error", "robustness"
    ]  # fmt: skip
    assert cards.first.locator("tbody tr").count() == 3
    assert (
        cards.first.locator("td.best").count() == 2
    )  # communication saved, final error; the rounds of all do not differ clearly
    assert "reference: clients alike" in cards.first.inner_text()
    assert "reference" not in cards.last.inner_text()
    assert page.get_by_text("recommended", exact=True).count() == 2


def test_chart_follows_its_controls(opened: Opened) -> None:
    page = opened()
    first = chart(page)
    assert first["x"] == "rounds k"
    assert (first["xscale"], first["yscale"]) == ("log", "log")
    compressors = ["none", "quantization levels=1", "rand-h h=4"]
    assert first["shown"] == [*compressors, "theory, exact"]
    assert first["dashes"] == ["dash"]
    assert len(set(first["symbols"])) == 3
    assert first["names"] == [name + tail for name in compressors for tail in ("", ", theory")]
    assert first["filled"] == 3
    page.check("input[name=x][value=bytes]")
    page.check("input[name=xscale][value=linear]")
    page.check("input[name=yscale][value=linear]")
    page.uncheck("input[name=band]")
    page.uncheck("input[name=theory]")
    second = chart(page)
    assert second["x"] == "uplink, bytes transported"
    assert (second["xscale"], second["yscale"]) == ("linear", "linear")
    assert second["names"] == second["shown"] == compressors
    assert second["filled"] == 0
    page.check("input[name=risk][value=scaled]")
    assert chart(page)["last"] == pytest.approx(2 * 20000 * first["last"])
    page.check("input[name=x][value=seconds]")
    assert chart(page)["x"] == "wall time, seconds"
    page.select_option("select[name=panel]", label="shift = optimum")
    assert chart(page)["last"] != pytest.approx(2 * 20000 * first["last"])


def test_on_a_phone_the_page_scrolls_only_vertically(opened: Opened) -> None:
    page = opened(width=390, height=844, device_scale_factor=3, is_mobile=True, has_touch=True)
    chart(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert box_of(page.locator("#chart"))["width"] <= 390
    assert page.evaluate("parseFloat(getComputedStyle(document.body).fontSize)") >= 14
    for cell in page.locator("table.card td").all():  # all cells of the scorecard are within the edges
        box = box_of(cell)
        assert box["x"] + box["width"] <= 390
    label = page.evaluate("getComputedStyle(document.querySelector('td[data-label]'), '::before').content")
    assert label == '"communication saved"'


def test_print_has_still_pictures_in_place_of_the_chart(opened: Opened) -> None:
    page = opened()
    chart(page)
    page.emulate_media(media="print")
    assert not page.locator("#live").is_visible()
    assert [image.is_visible() for image in page.locator("#still img").all()] == [True] * 4
    assert page.pdf(format="A4")[:5] == b"%PDF-"


def test_print_fits_the_paper_in_a_readable_size(opened: Opened) -> None:
    page = opened(width=688, height=1000)  # A4 without margins, at 96 dots an inch
    page.emulate_media(media="print")
    results = page.locator("table.results, table.card")
    assert results.count() == 4 + 2
    for table in results.all():
        assert box_of(table)["width"] <= 688
    assert page.evaluate("parseFloat(getComputedStyle(document.querySelector('table.results')).fontSize)") >= 10
    for image in page.locator("#still img").all():
        assert box_of(image)["width"] >= 400


def test_without_scripts_pictures_are_shown(opened: Opened) -> None:
    page = opened(java_script_enabled=False)
    assert not page.locator("#live").is_visible()
    assert page.locator("#still img").first.is_visible()


@pytest.mark.slow
def test_names_are_text_not_markup(chromium: Browser, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A log from elsewhere may have markup in its label and in a compressor's parameter."""
    made = tables(compressor={"kind": "plugin", "note": HOSTILE}, problem={"kind": "elsewhere", "title": HOSTILE})
    other = tables(compressor={"kind": "none"}, problem={"kind": "elsewhere", "title": "plain"})
    write_log(tmp_path / "a.h5", made, label=HOSTILE)
    write_log(tmp_path / "b.h5", other, label="none")
    assert analyze([tmp_path]) == 0
    page = chromium.new_page()
    page.goto((tmp_path / "report.html").as_uri())
    page.wait_for_selector("#chart .main-svg")
    assert page.title() == "synthetic: compressed least squares"
    assert f"plugin note={HOSTILE}" in page.locator("table.card").first.inner_text()
    assert page.locator("#chart .legendtext").first.inner_html().count("&lt;") > 0
    assert page.locator("#chart .legendtext b").count() == 0
    assert HOSTILE in page.locator("select[name=panel]").inner_text()
    page.close()
