r"""Studies for tests: a test names the keys that matter to it, and the others have small values.

    study_text("none", 'kind = "rand-h"\nh = 3', rounds=50, problem={"shift": "both"}, route="gatherv")

A table is a mapping, lines of TOML, or a kind alone. A Gaussian problem has 4 dimensions by default.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mpi_fed.study.configuration import Configuration
    from mpi_fed.study.load import Study

Table = str | Mapping[str, Any]
STUDY = {"name": "test", "rounds": 10}
GAUSSIAN = {"kind": "gaussian", "dimension": 4}


def study_text(*compressors: Table, downlinks: Sequence[Table] = (), **tables: Any) -> str:
    """Return the TOML of a study: `problem`, `algorithm`, `route` and `log` are tables, other keywords keys of [study].

    The default compressor is "none".
    """
    blocks = [(f"[{name}]", table) for name, table in single_tables(**tables).items()]
    blocks += [("[[compressor]]", as_mapping(table)) for table in compressors or ("none",)]
    blocks += [("[[downlink]]", as_mapping(table)) for table in downlinks]
    return "\n".join("\n".join([head, *map(_line, table.items()), ""]) for head, table in blocks)


def write_study(path: Path | str, *compressors: Table, **tables: Any) -> Path:
    """Write the study to `path`, and return the path."""
    Path(path).write_text(study_text(*compressors, **tables))
    return Path(path)


def loaded_study(folder: Path, *compressors: Table, **tables: Any) -> Study:
    """Return the study, loaded from a file in `folder`."""
    from mpi_fed.study.load import load_study

    return load_study(write_study(folder / "study.toml", *compressors, **tables))


def configuration(compressor: Table = "none", *, downlink: Table | None = None, **tables: Any) -> Configuration:
    """Return one configuration without a file or a grid; the defaults are "sgd" and "gatherv"."""
    from mpi_fed.study.configuration import configuration_from_tables

    made = single_tables(**tables)
    made["algorithm"] = {"kind": "sgd"} | made.get("algorithm", {})
    made["route"] = {"kind": "gatherv"} | made.get("route", {})
    messages = {"compressor": as_mapping(compressor)} | ({"downlink": as_mapping(downlink)} if downlink else {})
    return configuration_from_tables(made | messages)


def single_tables(
    problem: Table = "", algorithm: Table = "", route: Table = "", log: Table = "", **study: Any
) -> dict[str, dict[str, Any]]:
    """Return the tables that a study has once, without empty ones and without keys of [study] that are None."""
    problem = as_mapping(problem)
    if problem.get("kind", "gaussian") == "gaussian":
        problem = GAUSSIAN | problem
    others = {"algorithm": as_mapping(algorithm), "route": as_mapping(route), "log": as_mapping(log)}
    study = {key: value for key, value in (STUDY | study).items() if value is not None}
    return {"study": study, "problem": problem} | {name: table for name, table in others.items() if table}


def as_mapping(table: Table) -> dict[str, Any]:
    """Return the keys of a table."""
    if not isinstance(table, str):
        return dict(table)
    return tomllib.loads(table) if "=" in table or not table else {"kind": table}


def _line(item: tuple[str, Any]) -> str:
    key, value = item
    return f"{key} = {json.dumps(value, default=str)}"
