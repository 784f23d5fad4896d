"""The paper's experiments, run and written up: python -m analysis.paper [--paper-size] [--out DIR] [--page FILE]

Runs every study of studies/paper (the variant `small`, minutes on two cores; with --paper-size all but four of them as
they are, which takes hours), analyses the logs, and writes the page FILE (docs/reproduction.md):
figure by figure the final excess risk with its standard error, the expectation by theory, and what the paper's picture
shows. What is in DIR already is not run again. DIR/report.html shows all figures together; each study's folder has its
own. The paper is Philippenko and Dieuleveut, arXiv 2308.01358; its curves were read off its pictures, to about 0.02.
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
from .page import head, scores, section, traces

ROOT = Path(__file__).resolve().parents[2]
ALWAYS_SMALL = ("real-single", "real-clustered", "clt", "ellipses")
"""The paper has no curves to compare with these, and the last two would take hours."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--paper-size", action="store_true", help="the studies as they are, not their variant `small`")
    parser.add_argument("--out", type=Path, default=Path("runs/paper"), metavar="DIR")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "reproduction.md", metavar="FILE")
    options = parser.parse_args()
    whole = {figure.study for figure in FIGURES if options.paper_size} - {*ALWAYS_SMALL}
    sizes = [(figure, None if figure.study in whole else "small") for figure in FIGURES]
    lines = list(head(options.paper_size))
    for figure, variant in sizes:
        folder = run(figure, variant, options.out)
        lines += section(figure, read_analysis(folder / "analysis.json"), options.paper_size)
        if figure.study == "ellipses":
            lines += ellipses(folder, options.page.with_name("ellipses.png"))
    lines += scores([options.out / name(*size) for size in sizes])
    lines += traces()
    options.page.write_text("\n".join(lines) + "\n")
    print(f"page: {options.page}")
    folders = [str(options.out / name(*size)) for size in sizes]
    command = [sys.executable, "-m", "mpi_fed", "analyze", *folders, f"--out={options.out}"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    print(f"report of all figures: {options.out / 'report.html'}")


def run(figure: Figure, variant: str | None, out: Path) -> Path:
    """Run the study, or what is missing of it, and analyse it; the folder of its logs."""
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
