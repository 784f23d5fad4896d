"""Read study files (TOML) and return their configurations.

A list in place of a scalar makes a grid, in the file's order; the last key varies fastest. Every error in a file raises
InputError, with one sentence that names the file, the table, the key and the allowed values.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain, product
from pathlib import Path
from typing import Any, NamedTuple

from ..component import Component
from ..errors import InputError
from ..text import join, plain
from . import labels, validation
from .configuration import Configuration, LogOptions, StudyOptions, configuration_from_tables
from .downlink_rules import check_downlink
from .families import REGISTRY_OF_TABLE
from .toml_tables import (
    LISTED,
    TABLES,
    Table,
    apply_overrides,
    apply_variant,
    check_grid_size,
    check_tables,
    expand_grid,
    plain_tables,
    read_toml,
)

__all__ = ["Configuration", "LogOptions", "Study", "configuration_from_tables", "load_study"]

KINDS: dict[str, Table] = {"algorithm": {"kind": "sgd"}, "route": {"kind": "auto"}}
"""Default of the key `kind`, for tables that may leave it out."""
MAPPING = Path("<mapping>")
"""Path, in messages, of a study that is given as a mapping."""
PATHS = frozenset({"path", "initial"})
"""Keys whose text is a path relative to the study file, unless it is one of the fixed words of the key."""


@dataclass(frozen=True)
class Study:
    """The configurations of a study.

    Attributes
    ----------
    name : str
        Name of the study; its logs go to a folder of this name.
    path : Path
        The study file, or `<mapping>` if the study was given as a mapping.
    configurations : tuple of Configuration
        All configurations, in the order of the file.

    Examples
    --------
    >>> from mpi_fed import load_study
    >>> study = load_study("studies/digits.toml")
    >>> study.name, len(study.configurations)
    ('digits', 4)
    >>> study.configurations[2].compressor.kind
    'rand-h'
    """

    name: str
    path: Path
    configurations: tuple[Configuration, ...]


class Alternative(NamedTuple):
    """A checked model of a table, and the place of the table for error messages."""

    place: str
    model: Any

    def call(self, method: str, *arguments: Any) -> Any:
        """Call a method of the model. Raises InputError, with the place in front, if the method raises ValueError."""
        with input_errors(self.place):
            return getattr(self.model, method)(*arguments)


def load_study(
    source: str | os.PathLike[str] | Mapping[str, Any],
    overrides: Sequence[str] = (),
    default_clients: int = 1,
    variant: str | None = None,
) -> Study:
    """Load a study from a TOML file, or from a mapping with the same tables: check it and write out its grids.

    Parameters
    ----------
    source : str, os.PathLike or mapping
        The study file, or its tables as a mapping of mappings; `compressor` and `downlink` are lists of mappings. Paths
        in a file are relative to the folder of the file, paths in a mapping to the current folder.
    overrides : sequence of str, optional
        Texts such as `"problem.dimension=50"`, each of which sets one key; `compressor` means every compressor.
    default_clients : int, default 1
        Number of clients if the study does not set `clients`.
    variant : str, optional
        Name of a variant of the study, such as `"small"`.

    Returns
    -------
    Study
        The study, with one configuration for each point of its grid, in the order of the file.

    Raises
    ------
    InputError
        If the file cannot be read, or a table, key or value is wrong. The message names the place, the key and the
        allowed values.

    Notes
    -----
    The data of the problem are not loaded. Only the size of a data set is read, where the dimension depends on it.

    Examples
    --------
    >>> from mpi_fed import load_study
    >>> study = load_study("studies/quickstart.toml", ["problem.dimension=[10, 20]", "study.rounds=1000"])
    >>> len(study.configurations)
    12
    >>> study.configurations[1].label
    'quantization levels=1 dimension=10'

    Without a file:

    >>> study = load_study(
    ...     {
    ...         "study": {"name": "two", "rounds": 1000},
    ...         "problem": {"kind": "gaussian", "dimension": 10},
    ...         "compressor": [{"kind": "none"}, {"kind": "rand-h", "h": [2, 5]}],
    ...     }
    ... )
    >>> [configuration.label for configuration in study.configurations]
    ['none', 'rand-h h=2', 'rand-h h=5']
    """
    if isinstance(source, Mapping):
        path, tables = MAPPING, plain_tables(source)
    else:
        path = Path(source)
        tables = read_toml(path)
    apply_variant(tables, variant, plain(str(path)))
    apply_overrides(tables, overrides)
    options = [f"--variant {variant}"] if variant else []
    file = plain(" ".join([str(path), *options, *(f"--set {text}" for text in overrides)]))
    check_tables(tables, file)
    alternatives = _alternatives(tables, file, Path(os.path.abspath(path.parent)))
    configurations = _distinct(_configurations(alternatives, default_clients))
    return Study(configurations[0].study, path, configurations)


def _alternatives(tables: dict[str, Any], file: str, folder: Path) -> dict[str, list[Alternative]]:
    """Return all models of each table: first the tables of the file, in its order, then the tables that it lacks."""
    if not tables.get("compressor"):
        raise InputError(f'{file}: no compressor is given; add a table [[compressor]], for example with kind = "none"')
    alternatives: dict[str, list[Alternative]] = {}
    for name in [*tables, *(name for name in TABLES if name not in tables)]:
        if name in LISTED:
            places = [(f"{file}: [[{name}]] {i}", table) for i, table in enumerate(tables.get(name, []), start=1)]
            if not places:
                continue
        else:
            places = [(f"{file}: [{name}]", tables.get(name, {}))]
        alternatives[name] = [Alternative(p, m) for p, table in places for m in _models(name, table, p, folder)]
    check_grid_size(map(len, alternatives.values()), f"{file}:")
    return alternatives


def _models(name: str, table: Table, place: str, folder: Path) -> Iterator[Any]:
    """Yield the checked models of one table: several if it contains a grid."""
    if name == "log":
        yield validation.model(LogOptions, table, place)
    elif name == "study":
        for entry in expand_grid(table, {"name", "repetitions"}, place):
            yield validation.model(StudyOptions, entry, place)
    else:
        registry = REGISTRY_OF_TABLE[name]
        table = {**KINDS.get(name, {}), **table}
        kinds = expand_grid({key: value for key, value in table.items() if key == "kind"}, (), place)
        lists = {key for kind in kinds for key in validation.kind_of(registry, kind, place).lists}
        for entry in expand_grid(table, lists, place):
            yield _with_paths(validation.component(registry, entry, place), folder)


def _with_paths(component: Component, folder: Path) -> Component:
    """Return the component with absolute paths; relative paths start in the folder of the study file."""
    paths = {}
    for key, field in type(component).model_fields.items():
        value = getattr(component, key)
        if key in PATHS and isinstance(value, str) and value not in validation.literals(field.annotation):
            paths[key] = os.path.abspath(folder / Path(value).expanduser())
    return component.model_copy(update=paths)


def _configurations(
    alternatives: dict[str, list[Alternative]], default_clients: int
) -> Iterator[tuple[str, Configuration]]:
    """Yield (place of the compressor, configuration) for each point of the grid; the last table varies fastest."""
    vary = {name: labels.varying_keys([entry.model for entry in entries]) for name, entries in alternatives.items()}
    dimensions = {id(problem.model): problem.call("dimension_of") for problem in alternatives["problem"]}
    for combination in product(*alternatives.values()):
        chosen = dict(zip(alternatives, combination, strict=True))
        dimension = dimensions[id(chosen["problem"].model)]
        yield chosen["compressor"].place, _configuration(chosen, dimension, default_clients, vary)


def _configuration(
    chosen: dict[str, Alternative], dimension: int, default_clients: int, vary: dict[str, frozenset[str]]
) -> Configuration:
    """Return the configuration of one alternative of each table. Its label shows the keys that `vary` in the study."""
    study = chosen["study"].model
    clients = study.clients or default_clients
    compressor = chosen["compressor"].call("resolve", dimension, clients)
    chosen["algorithm"].call("check", compressor, dimension)
    route = chosen["route"].call("resolve", compressor)
    chosen["route"].call("check_algorithm", chosen["algorithm"].model)
    downlink = _downlink(chosen.get("downlink"), chosen["algorithm"].model, route, dimension)
    others = [labels.assignments(n, entry.model, vary[n]) for n, entry in chosen.items() if n not in LISTED]
    messages = labels.describe_messages(compressor, downlink, vary["compressor"], vary.get("downlink", frozenset()))
    return Configuration(
        study=study.name,
        rounds=study.rounds,
        seeds=study.seeds,
        clients=clients,
        problem=chosen["problem"].model,
        algorithm=chosen["algorithm"].model,
        compressor=compressor,
        route=route,
        log=chosen["log"].model,
        label=" ".join([messages, *chain(*others)]),
        downlink=downlink,
    )


def _downlink(alternative: Alternative | None, algorithm: Any, route: Any, dimension: int) -> Any:
    """Return the compressor of the downlink, if any, resolved and checked with the algorithm and the route."""
    if alternative is None:
        return None
    downlink = alternative.call("resolve", dimension, 1)  # only the root compresses
    with input_errors(alternative.place):
        check_downlink(downlink, algorithm, route)
    return downlink


def _distinct(placed_configurations: Iterable[tuple[str, Configuration]]) -> tuple[Configuration, ...]:
    """Return the configurations with distinct labels. Raises InputError if a configuration occurs twice."""
    seen: dict[str, tuple[str, Configuration]] = {}
    for place, configuration in placed_configurations:
        if configuration.id in seen:
            file, _, second = place.rpartition(": ")
            both = join(dict.fromkeys([seen[configuration.id][0].rpartition(": ")[2], second]), "and")
            raise InputError(
                f"{file}: the configuration {configuration.label!r} occurs twice, in {both}; remove one of them"
            )
        seen[configuration.id] = place, configuration
    names = labels.distinct_labels({id: configuration.label for id, (_, configuration) in seen.items()})
    configurations = (configuration for _, configuration in seen.values())
    return tuple(replace(c, label=names[c.id], position=n) for n, c in enumerate(configurations))


@contextmanager
def input_errors(place: str) -> Iterator[None]:
    """Raise a component's ValueError, whose message is one sentence, as InputError with the place in front."""
    try:
        yield
    except ValueError as error:
        raise InputError(f"{place} {error}") from None
