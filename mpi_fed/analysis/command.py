"""`mpi-fed analyze`: make a table, pictures and a report from logs."""

from __future__ import annotations

import json as json_format
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from ..errors import InputError
from ..files import atomic_files
from ..log.reader import Log, read_logs
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
    """Analyse logs: print the table or the JSON object, and write the report.

    Parameters
    ----------
    paths : iterable of str or Path
        Logs, and folders that are searched recursively for `*.h5`.
    json : bool, default False
        Print the JSON object instead of the table. Without `out` no file is written then.
    target : float, optional
        Mean averaged excess risk to reach. The default is 1.1 times the worst final mean.
    out : str or Path, optional
        Folder for report.html, analysis.json, table.txt and the pictures. The default is the common folder of the logs.

    Returns
    -------
    int
        Exit status: 0, or 2 if no log can be read. A file that cannot be read as a log is reported on standard error,
        and the other logs are analysed.

    Raises
    ------
    InputError
        If the target is not a positive number, or if the folder cannot be written.
    """
    if target is not None and not (math.isfinite(target) and target > 0):
        raise InputError(f"--target {target}: must be a positive number; give the mean excess risk to reach")
    logs = read_logs(paths)
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
    """Return the whole document, with decisions and the answer about heterogeneity.

    Parameters
    ----------
    logs : sequence of Log
        The logs, as `read_logs` returns them.
    forecasts : sequence of Forecast
        The prediction for each log; `Forecast()` stands for no prediction.
    target : float, optional
        Mean averaged excess risk to reach. The default is 1.1 times the worst final mean.

    Returns
    -------
    Analysis
        The document.
    """
    analysis = summarise(logs, forecasts, target)
    decisions = decide(logs, analysis)
    return replace(analysis, decisions=decisions, heterogeneity=answer(decisions))


def report(folder: str | Path) -> int:
    """Print the table of a finished run's logs, and write the report next to the logs.

    Parameters
    ----------
    folder : str or Path
        Folder of the logs.

    Returns
    -------
    int
        Exit status, the same as that of `analyze`.
    """
    return analyze([folder])


def _common_folder(logs: list[Log]) -> Path:
    return Path(os.path.commonpath([log.path.parent.absolute() for log in logs]))


def _write(folder: Path, logs: list[Log], forecasts: list[Forecast], analysis: Analysis, text: str) -> Path:
    """Write all files of the report; return the path of report.html."""
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
        raise InputError(
            f"{folder}: cannot write the report ({error.strerror or error}); give another folder with --out DIR"
        ) from None
