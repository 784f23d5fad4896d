"""`mpi-fed scaling`: compute speed-up, efficiency and phases from logs of runs on different numbers of ranks."""

from __future__ import annotations

import json as json_format
import os
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from ...errors import InputError
from ...files import atomic_files
from ...log.reader import Log, read_logs
from ...terminal.console import say
from .document import INVALID, Scaling
from .figure import draw
from .groups import alone, groups_of, why_none
from .points import Launch, launch_of, points_of
from .speed_up import scaling_document
from .table import print_tables


def scaling(paths: Iterable[str | Path], json: bool = False, out: str | Path | None = None) -> int:
    """Print tables, or with `json` the JSON object, and return the exit status.

    The status is 1 if iterates that must be equal differ, 2 if no log has usable times, else 0. scaling.json,
    scaling.txt and a picture are written to `out`, by default to the folder that holds all logs; with `json` and no
    `out` nothing is written. A log without usable times is reported on standard error and left out. Raises InputError
    if there are no two logs whose runs differ only in the number of ranks, or if a folder cannot be written.
    """
    launches = list(readable(read_logs(paths)))
    if not launches:
        return InputError.exit_status
    points = points_of(launches)
    groups = groups_of(points)
    if not groups:
        raise why_none(points)
    document = scaling_document(groups, alone(points, groups))
    text = json_format.dumps(asdict(document), indent=2, allow_nan=False)
    print(text) if json else print_tables(document)
    if out is not None or not json:
        folder = Path(out) if out is not None else common_folder(launches)
        write(folder, document, text)
        if not json:
            print(f"tables and picture: {folder / 'scaling.*'}")
    return 1 if document.verdict == INVALID else 0


def readable(logs: Iterable[Log]) -> Iterable[Launch]:
    """Yield the launch of each log; report a log without usable times on standard error and leave it out."""
    for log in logs:
        try:
            yield launch_of(log)
        except InputError as error:
            say(str(error))


def common_folder(launches: Iterable[Launch]) -> Path:
    """Return the innermost folder that holds all logs."""
    return Path(os.path.commonpath([launch.log.path.parent.absolute() for launch in launches]))


def write(folder: Path, document: Scaling, text: str) -> None:
    """Write all files or, on an error, none. Raises InputError if the folder cannot be written."""
    try:
        with atomic_files(folder) as fresh:
            (fresh / "scaling.json").write_text(text + "\n", encoding="utf-8")
            with open(fresh / "scaling.txt", "w", encoding="utf-8") as file:
                print_tables(document, file)
            draw(document, fresh)
    except OSError as error:
        raise InputError(
            f"{folder}: cannot write the files ({error.strerror or error}); give another folder with --out DIR"
        ) from None
