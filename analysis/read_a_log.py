"""Read logs, fit the rate at which the excess risk falls, and draw it.

    python -m analysis.read_a_log runs/quickstart                      the last decade of rounds
    python -m analysis.read_a_log runs/quickstart --first 1000         rounds 1,000 to the last one
    python -m analysis.read_a_log runs/quickstart/a.h5 --out rate.png  one log

Copy and change it for your own analysis. docs/log-format.md lists all that a log contains.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from mpi_fed.analysis.document import Slope
from mpi_fed.analysis.rates import fit_slope
from mpi_fed.log.reader import Log, read_logs, usable


def rate(log: Log, first_round: int | None = None) -> Slope | None:
    """Return the slope of log risk against log rounds with its 95% interval, or None with too little data."""
    # Each row of excess_risk_averaged is a repetition and each column a log point; log.round has the columns' rounds.
    # Repetitions that did not reach the last round are left out, because their later columns are NaN.
    risks = log.excess_risk_averaged[usable(log)]
    # The points of one curve are not independent, so a regression's own error would be far too small. fit_slope fits
    # each repetition separately; repetitions are independent, so the scatter of their slopes gives the interval.
    return fit_slope(log.round, risks, first_round=first_round)


def describe(slope: Slope | None) -> str:
    """Return the slope as text: -1.02 (-1.05 to -0.99) over rounds 1,000 to 10,000."""
    if slope is None:
        return "no rate: fewer than three log points in the window, or a risk that is 0"
    interval = "" if slope.low is None or slope.high is None else f" ({slope.low:.2f} to {slope.high:.2f})"
    return f"{slope.estimate:.2f}{interval} over rounds {slope.first_round:,} to {slope.last_round:,}"


def draw(logs: list[Log], slopes: list[Slope | None], file: Path) -> None:
    """Draw the mean risk of each log and, dashed, the fitted line over its window."""
    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    for log, slope in zip(logs, slopes, strict=True):
        mean = log.excess_risk_averaged[usable(log)].mean(axis=0)
        label = log.label if slope is None else f"{log.label}: slope {slope.estimate:.2f}"
        axes.plot(log.round[1:], mean[1:], label=label)  # a logarithmic axis cannot show round 0
        if slope is not None:
            # The line is log risk = slope * log k + c, with c such that it goes through the window's mean point.
            window = log.round >= slope.first_round
            x, y = np.log(log.round[window]), np.log(mean[window])
            line = np.exp(slope.estimate * x + np.mean(y - slope.estimate * x))
            axes.plot(log.round[window], line, color="black", linestyle="--", linewidth=1)
    axes.set(xscale="log", yscale="log", xlabel="rounds $k$", ylabel="excess risk of the averaged iterate")
    axes.legend()
    figure.savefig(file, dpi=150)


def main() -> None:
    """Print the rate of each log and draw the picture."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("paths", nargs="+", metavar="PATH", help="logs (.h5), or folders of them")
    parser.add_argument("--first", type=int, metavar="K", help="the first round of the fit (default: the last / 10)")
    parser.add_argument("--out", type=Path, default=Path("rates.png"), metavar="FILE", help="file of the picture")
    options = parser.parse_args()
    # read_logs reports damaged files on standard error and leaves them out.
    logs = [log for log in read_logs(options.paths) if usable(log).any()]
    if not logs:
        raise SystemExit("no log has a complete repetition; give logs (.h5) of finished runs, or folders of them")
    slopes = [rate(log, options.first) for log in logs]
    for log, slope in zip(logs, slopes, strict=True):
        print(f"{log.label}: {describe(slope)}")
    draw(logs, slopes, options.out)
    print(f"picture: {options.out}")


if __name__ == "__main__":
    main()
