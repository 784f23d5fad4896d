"""Draw the measured risk of each compressor of a study, and its predicted risk as a dashed line.

    python -m analysis.quickstart_picture runs/quickstart docs/quickstart.png

This is an example of a picture from logs and predictions, for one problem and one algorithm. Copy and change it.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from numpy.typing import NDArray
from xarray import Dataset

from mpi_fed import load

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe and Ito's colours, safe for the colour-blind."""
FIRST = 1000
"""The first round that is drawn: before it the distance from the start decides most of the risk."""
CLOSEST = 1.5
"""The least ratio between the heights of two labels, on a logarithmic axis."""
DASHES = (5, 3)


def spread(values: Sequence[float]) -> NDArray[np.float64]:
    """Return the heights of labels for n positive values: as near to the values as ratios of CLOSEST allow."""
    order = np.argsort(values)
    step = np.log(CLOSEST)
    groups = [[height] for height in np.log(np.asarray(values)[order])]
    i = 1
    while i < len(groups):  # join groups that would overlap; each is spread around its mean
        below, here = groups[i - 1], groups[i]
        if np.mean(here) - np.mean(below) < (len(below) + len(here)) * step / 2:
            groups[i - 1 : i + 1] = [below + here]
            i = max(1, i - 1)
        else:
            i += 1
    heights = [np.mean(group) + (j - (len(group) - 1) / 2) * step for group in groups for j in range(len(group))]
    result = np.empty(len(values))
    result[order] = np.exp(heights)
    return result


def bytes_saved(log: Dataset) -> float:
    """Return the bytes of float32 vectors divided by the mean bytes that the ranks handed to MPI."""
    vectors = int(log.clients) * int(log.rounds)
    return float(4 * log.sizes["coordinate"] * vectors / log.uplink_transported_bytes.isel(round=-1).mean())


def draw(logs: Dataset, file: Path) -> None:
    """Draw every configuration of `logs`, a dataset that `mpi_fed.load` returned."""
    measured = logs.excess_risk_averaged.mean("repetition")
    shown = logs.sel(round=slice(FIRST, None))
    plt.rcParams.update({"font.size": 11, "axes.spines.top": False, "axes.spines.right": False})
    figure, axes = plt.subplots(figsize=(8, 4.6), layout="constrained")
    heights = spread(measured.isel(round=-1).values.tolist())
    for name, colour, height in zip(logs.configuration.values, COLOURS, heights, strict=False):
        log = shown.sel(configuration=name)
        risks = log.excess_risk_averaged
        low, high = (risks.quantile(level, "repetition") for level in (0.1, 0.9))
        axes.fill_between(log["round"], low, high, color=colour, alpha=0.13, linewidth=0)
        axes.plot(log["round"], risks.mean("repetition"), color=colour, linewidth=2)
        predicted = log.predicted_excess_risk_averaged
        axes.plot(log["round"], predicted, color="0.15", linewidth=1, dashes=DASHES, zorder=3)
        _label(axes, log, float(height), colour)
    axes.set(xscale="log", yscale="log", xlim=(FIRST, 1.02 * float(logs["round"][-1])), xlabel="rounds")
    axes.set_title("excess risk of the averaged iterate", loc="left", fontsize=11)
    axes.grid(color="0.92", linewidth=0.6)
    axes.set_axisbelow(True)
    _legend(axes, logs.sizes["repetition"])
    figure.savefig(file, dpi=200, pil_kwargs={"optimize": True})
    plt.close(figure)


def _label(axes: Axes, log: Dataset, height: float, colour: str) -> None:
    """Write the compressor's name and the factor of bytes that it saves next to the end of its curve."""
    kind, saved, last = str(log.compressor.values), bytes_saved(log), float(log["round"][-1])
    axes.annotate(
        kind if kind == "none" else f"{kind}, bytes / {saved:.2g}",
        (last, float(log.excess_risk_averaged.isel(round=-1).mean())),
        xytext=(1.25 * last, height),
        color=tuple(0.75 * part for part in to_rgb(colour)),
        va="center",
        annotation_clip=False,
        arrowprops={
            "arrowstyle": "-",
            "color": colour,
            "linewidth": 0.9,
            "shrinkA": 2,
            "shrinkB": 1,
            "relpos": (0, 0.5),
        },
    )


def _legend(axes: Axes, repetitions: int) -> None:
    entries = {
        f"measured, mean of {repetitions} repetitions": axes.plot([], [], color="0.5", linewidth=2)[0],
        "10 to 90% of the repetitions": axes.fill_between([], [], color="0.5", alpha=0.25, linewidth=0),
        "predicted by theory": axes.plot([], [], color="0.15", linewidth=1, dashes=DASHES)[0],
    }
    axes.legend(list(entries.values()), list(entries), loc="upper right", frameon=False)


def main() -> None:
    """Draw the picture that the command line asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path, help="a folder of logs")
    parser.add_argument("file", type=Path, help="the picture")
    options = parser.parse_args()
    draw(load(options.folder), options.file)


if __name__ == "__main__":
    main()
