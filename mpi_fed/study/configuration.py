"""One configuration of a study: a problem, an algorithm, compressors up and down and a route, checked and resolved."""

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
    """The table [study]."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: str
    rounds: int = Field(ge=1, le=10**15)
    repetitions: Annotated[int, Field(ge=1, le=10**6)] | Annotated[list[Seed], Field(min_length=1)] = 1
    clients: int | None = Field(None, ge=1, le=10**9)

    @field_validator("name")
    @classmethod
    def _plain(cls, name: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}", name) or ".." in name:
            raise ValueError("must be of letters, digits, '.', '_' and '-', without '..', not starting with '.' or '-'")
        return name

    @field_validator("repetitions")
    @classmethod
    def _distinct(cls, repetitions: int | list[int]) -> int | list[int]:
        if isinstance(repetitions, list) and len(set(repetitions)) < len(repetitions):
            raise ValueError("must not hold the same seed twice")
        return repetitions

    @property
    def seeds(self) -> tuple[int, ...]:
        """The repetitions' seeds: those listed, or 0 .. repetitions - 1."""
        return tuple(range(self.repetitions) if isinstance(self.repetitions, int) else self.repetitions)


class LogOptions(BaseModel):
    """The table [log]."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    points_per_decade: int = Field(100, ge=1, le=10_000)
    iterates: Literal["auto", "all", "last", "none"] = "auto"


@dataclass(frozen=True, eq=False)
class Configuration:
    """A configuration, as one log holds it: every parameter is set, no `auto` is left."""

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
    """A short text that tells the configuration apart from the others of its study."""
    position: int = 0
    """Its place in the study's grid, whichever of them are run."""
    downlink: Compressor | None = None
    """The compressor of the step's direction on its way to the clients; None where w itself goes out."""

    @cached_property
    def tables(self) -> dict[str, Table]:
        """The resolved tables, ready for JSON; `configuration_from_tables` turns them back."""
        study = {
            "name": self.study,
            "rounds": self.rounds,
            "repetitions": self.seeds,
            "clients": self.clients,
        }
        parts = {name: part.table() for name in REGISTRY_OF_TABLE if (part := getattr(self, name)) is not None}
        return json.loads(json.dumps({"study": study, **parts, "log": self.log.model_dump()}, allow_nan=False))

    @cached_property
    def id(self) -> str:
        """12 hexadecimal digits that depend on what is run, not on the study's name or repetitions."""
        study = {"rounds": self.rounds, "clients": self.clients}
        text = json.dumps({**self.tables, "study": study}, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def file_name(self) -> str:
        """The log's file name, made of the label and the start of the id."""
        return labels.file_name(self.label, self.id)


def configuration_from_tables(tables: dict[str, Any]) -> Configuration:
    """The configuration of `Configuration.tables`, as a log holds them. Reads no data; raises InputError."""
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
