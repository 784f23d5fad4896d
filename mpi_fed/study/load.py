"""Study files: TOML in, configurations out.

A list in place of a scalar makes a grid, in the file's order, the last key fastest. Everything wrong with a
file is an InputError, one sentence that names the file, the table, the key and what is allowed.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain, product
from pathlib import Path
from typing import Any, NamedTuple

from ..component import Component
from ..errors import InputError
from ..text import join, plain
from . import labels, validation
from .configuration import FAMILIES, Configuration, LogOptions, StudyOptions, configuration_from_tables
from .downlink_rules import check_downlink
from .toml_tables import LISTED, TABLES, Table, alternatives, check_count, check_shape, override, read, take_variant

__all__ = ["Configuration", "LogOptions", "Study", "configuration_from_tables", "load_study"]

KINDS: dict[str, Table] = {"algorithm": {"kind": "sgd"}, "route": {"kind": "auto"}}
"""The kind of a table that names none."""
PATHS = frozenset({"path", "initial"})
"""Keys whose text, unless it is one of the key's fixed words, is a path relative to the study file."""


@dataclass(frozen=True)
class Study:
    """A study file's configurations, in the file's order."""

    name: str
    path: Path
    configurations: tuple[Configuration, ...]


class Choice(NamedTuple):
    """One thing that a table may be: where it stands, for messages, and the checked model."""

    place: str
    model: Any

    def ask(self, method: str, *arguments: Any) -> Any:
        """What the model's method returns. Its ValueError becomes an InputError with the place in front."""
        with placed(self.place):
            return getattr(self.model, method)(*arguments)


def load_study(
    path: str | os.PathLike[str],
    overrides: Sequence[str] = (),
    default_clients: int = 1,
    variant: str | None = None,
) -> Study:
    """The study of a TOML file, in one of its variants, with keys overridden by texts like `problem.dimension=50`.

    `default_clients` is the number of clients where the study names none. Raises InputError.
    """
    path = Path(path)
    tables = read(path)
    take_variant(tables, variant, plain(str(path)))
    override(tables, overrides)
    given = [f"--variant {variant}"] if variant else []
    file = plain(" ".join([str(path), *given, *(f"--set {text}" for text in overrides)]))
    check_shape(tables, file)
    choices = _choices(tables, file, Path(os.path.abspath(path.parent)))
    configurations = _distinct(_configurations(choices, default_clients))
    return Study(configurations[0].study, path, configurations)


def _choices(tables: dict[str, Any], file: str, folder: Path) -> dict[str, list[Choice]]:
    """What each table may be, the tables in the file's order and those that it leaves out behind."""
    if not tables.get("compressor"):
        raise InputError(
            f'{file}: no compressor is given; add a table [[compressor]] with kind = "none", say'
        )
    choices: dict[str, list[Choice]] = {}
    for name in [*tables, *(name for name in TABLES if name not in tables)]:
        if name in LISTED:
            places = [(f"{file}: [[{name}]] {i}", table) for i, table in enumerate(tables.get(name, []), start=1)]
            if not places:
                continue
        else:
            places = [(f"{file}: [{name}]", tables.get(name, {}))]
        choices[name] = [Choice(p, model) for p, table in places for model in _models(name, table, p, folder)]
    check_count((len(choice) for choice in choices.values()), f"{file}:")
    return choices


def _models(name: str, table: Table, place: str, folder: Path) -> Iterator[Any]:
    """The checked models that one table, perhaps a grid, stands for."""
    if name == "log":
        yield validation.model(LogOptions, table, place)
    elif name == "study":
        for entry in alternatives(table, {"name", "repetitions"}, place):
            yield validation.model(StudyOptions, entry, place)
    else:
        registry = FAMILIES[name]
        table = {**KINDS.get(name, {}), **table}
        kinds = alternatives({key: value for key, value in table.items() if key == "kind"}, (), place)
        lists = {key for kind in kinds for key in validation.kind_of(registry, kind, place).lists}
        for entry in alternatives(table, lists, place):
            yield _with_paths(validation.component(registry, entry, place), folder)


def _with_paths(component: Component, folder: Path) -> Component:
    """The component with its paths made absolute, relative to the study file's folder."""
    paths = {}
    for key, field in type(component).model_fields.items():
        value = getattr(component, key)
        if key in PATHS and isinstance(value, str) and value not in validation.literals(field.annotation):
            paths[key] = os.path.abspath(folder / Path(value).expanduser())
    return component.model_copy(update=paths)


def _configurations(
    choices: dict[str, list[Choice]], default_clients: int
) -> Iterator[tuple[str, Configuration]]:
    """The grid of all choices, the first table slowest; each configuration with its compressor's place."""
    vary = {name: labels.varying([choice.model for choice in options]) for name, options in choices.items()}
    dimensions = {id(option.model): option.ask("dimension_of") for option in choices["problem"]}
    for combination in product(*choices.values()):
        chosen = dict(zip(choices, combination, strict=True))
        dimension = dimensions[id(chosen["problem"].model)]
        yield chosen["compressor"].place, _configuration(chosen, dimension, default_clients, vary)


def _configuration(
    chosen: dict[str, Choice], dimension: int, default_clients: int, vary: dict[str, frozenset[str]]
) -> Configuration:
    """The configuration of one choice from each table. The label shows what `vary` in the study."""
    study = chosen["study"].model
    compressor = chosen["compressor"].ask("resolve", dimension)
    chosen["algorithm"].ask("check", compressor, dimension)
    route = chosen["route"].ask("resolve", compressor)
    chosen["route"].ask("check_algorithm", chosen["algorithm"].model)
    downlink = _downlink(chosen.get("downlink"), chosen["algorithm"].model, route, dimension)
    others = [labels.assignments(n, c.model, vary[n]) for n, c in chosen.items() if n not in LISTED]
    messages = labels.messages(compressor, downlink, vary["compressor"], vary.get("downlink", frozenset()))
    return Configuration(
        study=study.name,
        rounds=study.rounds,
        seeds=study.seeds,
        clients=study.clients or default_clients,
        problem=chosen["problem"].model,
        algorithm=chosen["algorithm"].model,
        compressor=compressor,
        route=route,
        log=chosen["log"].model,
        label=" ".join([messages, *chain(*others)]),
        downlink=downlink,
    )


def _downlink(choice: Choice | None, algorithm: Any, route: Any, dimension: int) -> Any:
    """The compressor of the downlink, if there is one, resolved and checked against the rest."""
    if choice is None:
        return None
    downlink = choice.ask("resolve", dimension)
    with placed(choice.place):
        check_downlink(downlink, algorithm, route)
    return downlink


def _distinct(placed_configurations: Iterable[tuple[str, Configuration]]) -> tuple[Configuration, ...]:
    """The configurations, none of them twice, with labels that tell them apart."""
    seen: dict[str, tuple[str, Configuration]] = {}
    for place, configuration in placed_configurations:
        if configuration.id in seen:
            file, _, second = place.rpartition(": ")
            both = join(dict.fromkeys([seen[configuration.id][0].rpartition(": ")[2], second]), "and")
            raise InputError(
                f"{file}: the configuration {configuration.label!r} occurs twice, by {both}; drop one"
            )
        seen[configuration.id] = place, configuration
    names = labels.distinct({id: configuration.label for id, (_, configuration) in seen.items()})
    configurations = (configuration for _, configuration in seen.values())
    return tuple(replace(c, label=names[c.id], position=n) for n, c in enumerate(configurations))


@contextmanager
def placed(place: str) -> Iterator[None]:
    """Turn a component's ValueError, one sentence, into an InputError with the place in front."""
    try:
        yield
    except ValueError as error:
        raise InputError(f"{place} {error}") from None
