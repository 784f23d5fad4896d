"""Draw docs/quickstart.png: the measured risk of each compressor of the quickstart, and dashed its exact prediction.

    python -m analysis.quickstart_picture runs/quickstart docs/quickstart.png

An example of a picture from logs and predictions: copy it and change it. The logs are those of
`mpi-fed run studies/quickstart.toml`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from numpy.typing import NDArray

from mpi_fed import load_study, predict
from mpi_fed.analysis.figures import COLOURS
from mpi_fed.log.reader import Log, load_all

STUDY = Path(__file__).parents[1] / "studies" / "quickstart.toml"
FIRST = 1000
"""The first round that is drawn: before it the distance from the start decides most of the risk."""
CLOSEST = 1.45
"""The least ratio between the heights of two labels, as a factor on the logarithmic axis."""


def bytes_saved(log: Log) -> float:
    """Return how many times fewer bytes went to the root than vectors of float32 would have had."""
    sent = float(log.uplink_transported_bytes[:, -1].mean())
    return 4 * int(log.dimension or 0) * log.clients * log.rounds / sent


def heights(values: list[float]) -> NDArray[np.float64]:
    """Return heights for labels at these values, moved apart to ratios of CLOSEST or more around their mean."""
    order = np.argsort(values)
    logs = np.log(values)[order]
    step = np.log(CLOSEST)
    groups = [[height] for height in logs]
    i = 1
    while i < len(groups):  # merge neighbours that would overlap, and spread each group around its mean
        before, here = groups[i - 1], groups[i]
        gap = (np.mean(here) - (len(here) - 1) * step / 2) - (np.mean(before) + (len(before) - 1) * step / 2)
        if gap < step:
            groups[i - 1 : i + 1] = [before + here]
            i = max(1, i - 1)
        else:
            i += 1
    placed = [np.mean(group) + (j - (len(group) - 1) / 2) * step for group in groups for j in range(len(group))]
    result = np.empty(len(values))
    result[order] = np.exp(placed)
    return result


def draw(folder: Path, file: Path) -> None:
    """Draw the logs of a folder beside the predictions of the quickstart."""
    predictions = {prediction["label"]: prediction for prediction in predict(load_study(STUDY))}
    logs = load_all([folder])
    means = [log.excess_risk_averaged.mean(axis=0) for log in logs]
    plt.rcParams.update({"font.size": 11, "axes.spines.top": False, "axes.spines.right": False})
    figure, axes = plt.subplots(figsize=(8, 4.6), layout="constrained")
    at = heights([float(mean[-1]) for mean in means])
    for log, mean, colour, height in zip(logs, means, COLOURS, at, strict=False):
        shown, prediction = log.round >= FIRST, predictions[log.label]
        low, high = np.quantile(log.excess_risk_averaged, (0.1, 0.9), axis=0)
        axes.fill_between(log.round[shown], low[shown], high[shown], color=colour, alpha=0.13, linewidth=0)
        axes.plot(log.round[shown], mean[shown], color=colour, linewidth=2)
        rounds = np.array(prediction["log_rounds"])
        risks = np.array(prediction["excess_risk_averaged"])
        axes.plot(rounds[rounds >= FIRST], risks[rounds >= FIRST], color="0.15", linewidth=1, dashes=(5, 3), zorder=3)
        _label(axes, log, float(mean[-1]), float(height), colour)
    axes.set(xscale="log", yscale="log", xlim=(FIRST, logs[0].rounds * 1.02), xlabel="rounds")
    axes.set_title("excess risk of the averaged iterate", loc="left", fontsize=11)
    axes.grid(color="0.92", linewidth=0.6)
    axes.set_axisbelow(True)
    solid = axes.plot([], [], color="0.5", linewidth=2)[0]
    dashed = axes.plot([], [], color="0.15", linewidth=1, dashes=(5, 3))[0]
    band = axes.fill_between([], [], color="0.5", alpha=0.25, linewidth=0)
    names = ["measured, mean of 5 repetitions", "10 to 90% of the repetitions", "predicted by theory, exact"]
    axes.legend([solid, band, dashed], names, loc="upper right", frameon=False)
    figure.savefig(file, dpi=130, pil_kwargs={"optimize": True})


def _label(axes: Axes, log: Log, risk: float, height: float, colour: str) -> None:
    """Write the compressor's name and the bytes that it saves beside the end of its curve."""
    saved = bytes_saved(log)
    name = log.label.split()[0]
    axes.annotate(
        name if saved < 1.01 else f"{name}, bytes / {saved:.2g}",
        (log.rounds, risk),
        xytext=(log.rounds * 1.25, height),
        color=tuple(0.75 * part for part in to_rgb(colour)),
        va="center",
        annotation_clip=False,
        arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.9, "shrinkA": 2, "shrinkB": 1},
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path, help="the folder of the quickstart's logs")
    parser.add_argument("file", type=Path, help="the picture")
    options = parser.parse_args()
    draw(options.folder, options.file)


if __name__ == "__main__":
    main()
