"""A configuration: one problem, algorithm, route and compressor (of the uplink, maybe of the downlink), all checked."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from ..algorithms import Algorithm
from ..compressors import Compressor
from ..problems import Problem
from ..routes import Route
from . import labels, validation
from .families import REGISTRIES, REGISTRY_OF_TABLE
from .toml_tables import LISTED, Table, check_tables

Seed = Annotated[int, Field(ge=0, lt=2**31)]


class StudyOptions(BaseModel):
    """Name, length, repetitions and clients of a study.

    Parameters
    ----------
    name : str
        Name of the study, whose logs go to `runs/NAME/`. It has at most 100 letters, digits, `.`, `_` and `-`. It does
        not contain `..`, and does not begin with `.` or `-`.
    rounds : int
        Number of rounds K.
    repetitions : int or list of int, default 1
        Number of repetitions R, with the seeds 0 to R - 1; or a list of distinct seeds, each at least 0 and below 2^31.
        The seed determines the samples, the compression and a random start. All compressors of a study see the same
        samples.
    clients : int, optional
        Number of clients N, at least the number of ranks; a rank may host several clients. Without the key each rank
        hosts one, and their number depends on the machine and on `--jobs`. `mpi-fed predict`, which has no ranks, then
        takes 1.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: str
    rounds: int = Field(ge=1, le=10**15)
    repetitions: Annotated[int, Field(ge=1, le=10**6)] | Annotated[list[Seed], Field(min_length=1)] = 1
    clients: int | None = Field(None, ge=1, le=10**9)

    @field_validator("name")
    @classmethod
    def _plain(cls, name: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}", name) or ".." in name:
            raise ValueError(
                "must be 1 to 100 letters, digits, '.', '_' or '-', without '..', and must not begin with '.' or '-'"
            )
        return name

    @field_validator("repetitions")
    @classmethod
    def _distinct(cls, repetitions: int | list[int]) -> int | list[int]:
        if isinstance(repetitions, list) and len(set(repetitions)) < len(repetitions):
            raise ValueError("must not contain the same seed twice")
        return repetitions

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of the repetitions: the listed seeds, or 0 .. repetitions - 1."""
        return tuple(range(self.repetitions) if isinstance(self.repetitions, int) else self.repetitions)


class LogOptions(BaseModel):
    """Log points, and the iterates that a log stores.

    Parameters
    ----------
    points_per_decade : int, default 100
        Log points for each factor of 10 in rounds. Risk, iterates, bytes and time are logged at these points, at
        round 0 and at the last round.
    iterates : {"auto", "all", "last", "none"}, default "auto"
        Iterates that a log stores: those of all log points, the last one or none. "auto" stores all if they take at
        most 100 MB in a log, otherwise the last.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    points_per_decade: int = Field(100, ge=1, le=10_000)
    iterates: Literal["auto", "all", "last", "none"] = "auto"


@dataclass(frozen=True, eq=False)
class Configuration:
    """One configuration of a study, as its log stores it: every parameter has a value, and no `auto` is left.

    Attributes
    ----------
    study : str
        Name of the study.
    rounds : int
        Number of rounds K.
    seeds : tuple of int
        One seed for each repetition.
    clients : int
        Number of clients N.
    problem, algorithm, compressor, route : Component
        The four components. `compressor` is the compressor of the uplink.
    log : LogOptions
        Log points and stored iterates.
    label : str
        Short text that distinguishes this configuration from the others of its study.
    position : int
        Index in the study's whole grid, even if only a part of its configurations is selected.
    downlink : Compressor or None
        Compressor of the step's direction, which the root sends to the clients; None if the iterate w is sent.
    """

    study: str
    rounds: int
    seeds: tuple[int, ...]
    clients: int
    problem: Problem
    algorithm: Algorithm
    compressor: Compressor
    route: Route
    log: LogOptions
    label: str
    position: int = 0
    downlink: Compressor | None = None

    @cached_property
    def tables(self) -> dict[str, Table]:
        """Resolved tables of the study file, as JSON values; `configuration_from_tables` is the inverse."""
        study = {
            "name": self.study,
            "rounds": self.rounds,
            "repetitions": self.seeds,
            "clients": self.clients,
        }
        parts = {name: part.table() for name in REGISTRY_OF_TABLE if (part := getattr(self, name)) is not None}
        text = json.dumps({"study": study, **parts, "log": self.log.model_dump()}, allow_nan=False)
        tables: dict[str, Table] = json.loads(text)
        return tables

    @cached_property
    def id(self) -> str:
        """12 hexadecimal digits of the SHA-256 of all parameters, except the name and the repetitions of the study."""
        study = {"rounds": self.rounds, "clients": self.clients}
        text = json.dumps({**self.tables, "study": study}, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def file_name(self) -> str:
        """Name of the log file, made of the label and the first 6 digits of the id."""
        return labels.file_name(self.label, self.id)


def configuration_from_tables(tables: dict[str, Any]) -> Configuration:
    """Return the configuration that a log describes by its tables (`Configuration.tables`). Reads no data.

    Raises InputError if a table or a key is wrong.
    """
    listed = {name: [tables[name]] for name in LISTED if name in tables}
    check_tables({**tables, "compressor": [{}], **listed}, "configuration")
    study = validation.model(StudyOptions, tables.get("study", {}), "configuration: [study]")
    parts = {
        name: validation.component(registry, tables.get(name, {}), f"configuration: [{name}]")
        for name, registry in REGISTRY_OF_TABLE.items()
        if name in REGISTRIES or name in tables
    }
    return Configuration(
        study=study.name,
        rounds=study.rounds,
        seeds=study.seeds,
        clients=study.clients or 1,
        log=validation.model(LogOptions, tables.get("log", {}), "configuration: [log]"),
        label=labels.describe_messages(parts["compressor"], parts.get("downlink")),
        **parts,
    )
