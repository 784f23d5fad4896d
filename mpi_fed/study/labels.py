"""Labels: short texts by which a reader distinguishes the configurations of a study."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..component import Component

if TYPE_CHECKING:
    from pydantic import BaseModel

LONGEST = 80
"""Largest number of characters of a label in a file name."""


def varying_keys(models: Sequence[BaseModel]) -> frozenset[str]:
    """Return the keys whose value differs between models of the same kind, and `kind` if there are several kinds."""
    kinds: dict[str, list[dict[str, Any]]] = {}
    for model in models:
        kinds.setdefault(getattr(model, "kind", ""), []).append(model.model_dump())
    keys = {key for tables in kinds.values() for key in tables[0] if any(t[key] != tables[0][key] for t in tables)}
    return frozenset(keys | ({"kind"} if len(kinds) > 1 else set()))


def describe(component: Component, also: frozenset[str] = frozenset()) -> str:
    """Return `quantization levels=1`: the kind, and the parameters that differ from their defaults or are in `also`."""
    fields = type(component).model_fields
    keys = [key for key, field in fields.items() if key in also or getattr(component, key) != field.get_default()]
    return " ".join([component.kind, *assignments("", component, keys)])


def describe_messages(
    compressor: Component,
    downlink: Component | None,
    also: frozenset[str] = frozenset(),
    also_down: frozenset[str] = frozenset(),
) -> str:
    """Return `quantization levels=1 downlink=rand-h h=3`: the compressor of the uplink and, if any, of the downlink."""
    up = describe(compressor, also)
    return up if downlink is None else f"{up} downlink={describe(downlink, also_down)}"


def assignments(family: str, model: BaseModel, keys: Sequence[str] | frozenset[str]) -> list[str]:
    """Return `key=value` for each of the keys that has a value; the kind is written `family=kind`."""
    kind = [f"{family}={getattr(model, 'kind', '')}"] if "kind" in keys else []
    values = ((key, getattr(model, key)) for key in type(model).model_fields if key in keys)
    return kind + [f"{key}={_short(value)}" for key, value in values if value is not None]


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, tuple | list):
        return ",".join(map(_short, value[:4])) + (",..." if len(value) > 4 else "")
    return str(value).rsplit("/", 1)[-1]


def distinct_labels(labels: dict[str, str]) -> dict[str, str]:
    """Return labels by configuration id. The first digits of the id are appended to a label that occurs twice."""
    counts = Counter(labels.values())
    return {id: label if counts[label] == 1 else f"{label} ({id[:6]})" for id, label in labels.items()}


def file_name(label: str, id: str) -> str:
    """Return `quantization-levels-1-3fa4c1.h5`, made of characters that every file system and shell accepts."""
    safe = re.sub(r"[^A-Za-z0-9.]+", "-", label)[:LONGEST].strip("-.")
    return f"{safe}-{id[:6]}.h5"
