"""Make checked models from tables. Every error in a table raises InputError with one sentence."""

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

BOUNDS = {"gt": "above {:,}", "ge": "at least {:,}", "lt": "below {:,}", "le": "at most {:,}"}
SIZES = {"min_length": "at least {} characters", "max_length": "at most {} characters"}
NAMES = {int: "an integer", float: "a number", bool: "true or false", str: "text"}
PLURALS = {int: "integers", float: "numbers", bool: "values true or false", str: "texts"}


def component(registry: Registry[C], table: Table, place: str) -> C:
    """Return the component that a table describes. Raises InputError, with the place in front."""
    parameters = {key: value for key, value in table.items() if key != "kind"}
    return model(kind_of(registry, table, place), parameters, place)


def kind_of(registry: Registry[C], table: Mapping[str, Any], place: str) -> type[C]:
    """Return the class that the `kind` of a table names. Raises InputError, with the place in front."""
    if "kind" not in table:
        raise InputError(f"{place} lacks the key kind; give {_kinds(registry)}")
    kind = table["kind"]
    if not isinstance(kind, str) or kind not in registry:
        hint = nearest(kind, registry) if isinstance(kind, str) else f"; known: {_kinds(registry)}"
        reason = f"which is not a known {registry.family} (your own needs --plugin)"
        raise InputError(f"{place} kind is {show(kind)}, {reason}{hint}")
    return registry[kind]


def model(kind: type[M], table: Table, place: str) -> M:
    """Return the model that the keys of a table describe. Raises InputError, with the place in front."""
    keys = [*(["kind"] if issubclass(kind, Component) else []), *kind.model_fields]
    for key in table:
        if key not in kind.model_fields:
            raise InputError(f"{place} has no key {show(key)}{nearest(key, keys)}")
    try:
        # As JSON, since pydantic's strict mode accepts a list as a tuple only there.
        return kind.model_validate_json(json.dumps(table))
    except ValidationError as error:
        raise InputError(f"{place} {_sentence(kind, table, error)}") from None


def _sentence(kind: type[BaseModel], table: Table, error: ValidationError) -> str:
    """Return the sentence for the first error that pydantic found."""
    finding = error.errors(include_url=False)[0]
    reason = finding.get("ctx", {}).get("error")
    if not finding["loc"]:
        return str(reason)
    key = str(finding["loc"][0])
    field = kind.model_fields[key]
    if finding["type"] == "missing":
        return f"lacks the key {key}; give {allowed(field.annotation, field.metadata)}"
    needed = reason or f"must be {allowed(field.annotation, field.metadata)}"
    return f"{key} is {show(table[key])}, but {needed}"


def allowed(annotation: Any, metadata: Iterable[Any] = ()) -> str:
    """Return the allowed values of a field in words: `an integer, at least 1`, `"all" or "tail"`."""
    return join(_options(annotation, list(metadata)), "or")


def literals(annotation: Any) -> list[Any]:
    """Return the fixed values in an annotation."""
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
    """Return the annotation without its bounds."""
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def _limits(metadata: list[Any], words: dict[str, str]) -> list[str]:
    """Return the bounds in the metadata, as a list of at most one text."""
    texts = []
    for item in metadata:
        for part in item.metadata if isinstance(item, FieldInfo) else [item]:
            texts += [text.format(getattr(part, name)) for name, text in words.items() if hasattr(part, name)]
    return [" and ".join(texts)] if texts else []


def _kinds(registry: Registry[C]) -> str:
    return join(map(show, registry), "or")
