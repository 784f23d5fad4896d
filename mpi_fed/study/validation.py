"""Checked models from tables; whatever is wrong with a table is one sentence."""

from __future__ import annotations

import json
import types
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from ..component import Component, Registry
from ..errors import InputError
from ..text import join, nearest, show
from .toml_tables import Table

M = TypeVar("M", bound=BaseModel)
C = TypeVar("C", bound=Component)

BOUNDS = {"gt": "above {}", "ge": "at least {}", "lt": "below {}", "le": "at most {}"}
SIZES = {"min_length": "at least {} long", "max_length": "at most {} long"}
NAMES = {int: "an integer", float: "a number", bool: "true or false", str: "text"}
PLURALS = {int: "integers", float: "numbers", bool: "truths", str: "texts"}


def component(registry: Registry[C], table: Table, place: str) -> C:
    """The component that a table describes. Raises InputError, with the place in front."""
    parameters = {key: value for key, value in table.items() if key != "kind"}
    return model(kind_of(registry, table, place), parameters, place)


def kind_of(registry: Registry[C], table: Mapping[str, Any], place: str) -> type[C]:
    """The class that a table's `kind` names."""
    if "kind" not in table:
        raise InputError(f"{place} lacks the key kind: {_kinds(registry)}")
    kind = table["kind"]
    if not isinstance(kind, str) or kind not in registry:
        hint = nearest(kind, registry) if isinstance(kind, str) else f"; known: {_kinds(registry)}"
        reason = f"which is no {registry.family} known here (one of your own needs --plugin)"
        raise InputError(f"{place} kind is {show(kind)}, {reason}{hint}")
    return registry[kind]


def model(kind: type[M], table: Table, place: str) -> M:
    """The model that a table's keys describe. Raises InputError, with the place in front."""
    keys = [*(["kind"] if issubclass(kind, Component) else []), *kind.model_fields]
    for key in table:
        if key not in kind.model_fields:
            raise InputError(f"{place} has no key {show(key)}{nearest(key, keys)}")
    try:
        # As JSON, because there a list is also a tuple for pydantic's strict mode.
        return kind.model_validate_json(json.dumps(table))
    except ValidationError as error:
        raise InputError(f"{place} {_sentence(kind, table, error)}") from None


def _sentence(kind: type[BaseModel], table: Table, error: ValidationError) -> str:
    """The sentence for pydantic's first finding."""
    finding = error.errors(include_url=False)[0]
    reason = finding.get("ctx", {}).get("error")
    if not finding["loc"]:
        return str(reason)
    key = str(finding["loc"][0])
    field = kind.model_fields[key]
    if finding["type"] == "missing":
        return f"lacks the key {key}: {allowed(field.annotation, field.metadata)}"
    needed = reason or f"must be {allowed(field.annotation, field.metadata)}"
    return f"{key} is {show(table[key])}, but {needed}"


def allowed(annotation: Any, metadata: Iterable[Any] = ()) -> str:
    """The values that a field takes, in words: `an integer, at least 1`, `"all" or "tail"`."""
    return join(_options(annotation, list(metadata)), "or")


def literals(annotation: Any) -> list[Any]:
    """The fixed values that an annotation names."""
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    return [value for part in get_args(annotation) for value in literals(part)]


def _options(annotation: Any, metadata: list[Any]) -> list[str]:
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _options(parts[0], metadata + list(parts[1:]))
    if origin in (Union, types.UnionType):
        return [option for part in parts if part is not type(None) for option in _options(part, metadata)]
    if origin is Literal:
        return [show(value) for value in parts]
    if origin in (list, tuple):
        return [f"a list of {PLURALS[_bare(parts[0])]}"]
    return [", ".join([NAMES.get(annotation, "a value"), *_limits(metadata, SIZES if annotation is str else BOUNDS)])]


def _bare(annotation: Any) -> Any:
    """The annotation without its bounds."""
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def _limits(metadata: list[Any], words: dict[str, str]) -> list[str]:
    """The bounds in the metadata, as one text."""
    texts = []
    for item in metadata:
        for part in item.metadata if isinstance(item, FieldInfo) else [item]:
            texts += [text.format(getattr(part, name)) for name, text in words.items() if hasattr(part, name)]
    return [" and ".join(texts)] if texts else []


def _kinds(registry: Registry[C]) -> str:
    return join(map(show, registry), "or")
