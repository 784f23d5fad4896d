"""`mpi-fed analyze`: logs in; a table, pictures and a report out."""

from __future__ import annotations

import json as json_format
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from ..errors import InputError
from ..files import atomic_files
from ..log.reader import Log, load_all
from .decision import decide
from .document import Analysis
from .heterogeneity import answer
from .prediction import Forecast, forecast
from .summary import summarise


def analyze(
    paths: Iterable[str | Path],
    json: bool = False,
    target: float | None = None,
    out: str | Path | None = None,
) -> int:
    """Print the table, or with `json` the JSON object, of all logs found; return the exit status.

    Files go to `out`, else to the folder that holds all logs: report.html, analysis.json, table.txt and the
    pictures. With `json` and no `out` nothing is written. A path that is no sound log is named on standard
    error and the others are analysed; where none is left the status is 2. Raises InputError for a target that
    is no positive number and for a folder that cannot be written.
    """
    if target is not None and not (math.isfinite(target) and target > 0):
        raise InputError(f"--target {target}: must be a positive number, a mean excess risk")
    logs = load_all(paths)
    if not logs:
        return InputError.exit_status
    forecasts = [forecast(log) for log in logs]
    analysis = analysis_of(logs, forecasts, target)
    text = json_format.dumps(asdict(analysis), indent=2, allow_nan=False)
    if json:
        print(text)
    else:
        from .summary_table import print_table

        print_table(analysis)
    if out is not None or not json:
        folder = Path(out) if out is not None else _common_folder(logs)
        report_file = _write(folder, logs, forecasts, analysis, text)
        if not json:
            print(f"report: {report_file}")
    return 0


def analysis_of(logs: Sequence[Log], forecasts: Sequence[Forecast], target: float | None = None) -> Analysis:
    """The whole document, decisions and all."""
    analysis = summarise(logs, forecasts, target)
    decisions = decide(logs, analysis)
    return replace(analysis, decisions=decisions, heterogeneity=answer(decisions))


def report(folder: str | Path) -> int:
    """Print the table of a finished run's logs and write the report beside them; return the exit status."""
    return analyze([folder])


def _common_folder(logs: list[Log]) -> Path:
    return Path(os.path.commonpath([log.path.parent.absolute() for log in logs]))


def _write(folder: Path, logs: list[Log], forecasts: list[Forecast], analysis: Analysis, text: str) -> Path:
    """Write every file of the report; return the path of its page."""
    from .figures import draw
    from .page import write_report
    from .series import pictures
    from .summary_table import print_table

    try:
        with atomic_files(folder) as fresh:
            (fresh / "analysis.json").write_text(text + "\n", encoding="utf-8")
            with open(fresh / "table.txt", "w", encoding="utf-8") as file:
                print_table(analysis, file)
            shown = pictures(logs, forecasts)
            drawn = draw(shown, fresh) if shown.panels else []
            write_report(fresh, logs, analysis, shown, drawn)
        return folder / "report.html"
    except OSError as error:
        raise InputError(f"{folder}: cannot write the report ({error.strerror or error}); give --out DIR") from None
