"""Repeat the paper's experiments: python -m analysis.paper [--paper-size] [--out DIR] [--page FILE].

The program runs every study of studies/paper in its variant `small`, which takes minutes on two cores. With
--paper-size it runs all but four studies in full size, which takes hours. It analyses the logs and writes the page FILE
(docs/reproduction.md). For each figure, the page has the final excess risk with its standard error, the predicted
expectation, and the value in the paper's picture. Runs that DIR already contains are not repeated. DIR/report.html
shows all figures together; each study's folder has its own report. The paper is Philippenko and Dieuleveut, arXiv
2308.01358; its values were read from its pictures, to about 0.02.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from pathlib import Path

from mpi_fed.analysis.document import read_analysis
from mpi_fed.errors import InputError
from mpi_fed.study.load import load_study

from .ellipses import ellipses
from .figures import FIGURES, STUDIES, Figure, name
from .page import answer, head, scores, section, traces

ROOT = Path(__file__).resolve().parents[2]
ALWAYS_SMALL = ("real-single", "real-clustered", "clt", "ellipses")
"""Studies that run only in their small variant: the paper has no curves for them, and the last two take hours."""


def main() -> None:
    """Run the studies and write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--paper-size", action="store_true", help="run the full studies, not their variant `small`")
    parser.add_argument("--out", type=Path, default=Path("runs/paper"), metavar="DIR", help="folder of the logs")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "reproduction.md", metavar="FILE")
    options = parser.parse_args()
    whole = {figure.study for figure in FIGURES if options.paper_size} - {*ALWAYS_SMALL}
    sizes = [(figure, None if figure.study in whole else "small") for figure in FIGURES]
    lines: list[str] = []
    analyses = []
    for figure, variant in sizes:
        folder = run(figure, variant, options.out)
        analyses.append(read_analysis(folder / "analysis.json"))
        lines += section(figure, analyses[-1], options.paper_size)
        if figure.study == "ellipses":
            lines += ellipses(folder, options.page.with_name("ellipses.png"))
    figures = [figure for figure, _ in sizes]
    opening = [*answer(figures, analyses, options.paper_size), *head(options.paper_size)]
    text = "\n".join([*opening, *lines, *scores(analyses), *traces()])
    options.page.write_text(text + "\n")
    print(f"page: {options.page}")
    folders = [str(options.out / name(*size)) for size in sizes]
    command = [sys.executable, "-m", "mpi_fed", "analyze", *folders, f"--out={options.out}"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    print(f"report of all figures: {options.out / 'report.html'}")


def run(figure: Figure, variant: str | None, out: Path) -> Path:
    """Run the missing parts of the study, analyse it, and return the folder of its logs."""
    options = [f"--variant={variant}"] if variant else []
    path = STUDIES / f"{figure.study}.toml"
    clients = load_study(path, variant=variant).configurations[0].clients
    options += ["--ranks=1", "--jobs=2"] if clients == 1 else ["--ranks=2"]
    command = [sys.executable, "-m", "mpi_fed", "run", str(path), f"--out={out}", *options]
    print(shlex.join(["mpi-fed", *command[3:]]), flush=True)
    subprocess.run(command, check=True)
    return out / name(figure, variant)


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(f"reproduce: {error}")
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)
