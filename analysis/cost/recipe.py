"""A compressor at any dimension: with the same parameters everywhere, or with omega = sqrt(d), as a bench takes it."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from typing import Any

from ... import fields
from ...benchmark.cases import recipes
from ...compressors import Compressor, compressors
from ...errors import InputError
from ...labels import describe

FLOATS = {64: "float64", 32: "float32", 16: "float16"}
BASELINES = {"float32": (32,), "float16": (16,), "uncompressed": (32, 16)}
"""What a compressor is held against: the fastest that sends floats of so many bits both ways."""


@dataclass(frozen=True)
class Recipe:
    """`parameters` as JSON; or those of the bench's number `fitted`, which depend on the dimension."""

    kind: str
    parameters: str | None
    fitted: int | None = None

    @property
    def name(self) -> str:
        """As a person calls it: float32, "rand-h, omega = sqrt(d)", "quantization levels=127"."""
        if self.kind == "none":
            return FLOATS[self.at(1).value_bits]
        return f"{self.kind}, omega = sqrt(d)" if self.parameters is None else describe(self.at(None))

    @property
    def is_baseline(self) -> bool:
        return self.kind == "none"

    def at(self, dimension: int | None) -> Compressor:
        """The compressor at this dimension, or as it is given. Raises InputError where it cannot be there."""
        return _at(self, dimension)

    def presence(self, dimension: int) -> float:
        """The probability that a client sends at all."""
        model = self.at(dimension)
        return model.payload_bits(dimension) / (model.value_bits * dimension) if model.absences else 1.0

    def message_bytes(self, dimension: int) -> float:
        """Of a message that is sent, the mean."""
        model = self.at(dimension)
        if model.fixed_length or model.absences:
            return float(model.payload_bytes_max(dimension))
        return model.payload_bits(dimension) / 8


@functools.cache
def _at(recipe: Recipe, dimension: int | None) -> Compressor:
    if recipe.parameters is not None:
        table = json.loads(recipe.parameters)
    else:
        assert dimension is not None
        assert recipe.fitted is not None
        table = list(recipes(recipe.kind, dimension))[recipe.fitted]
    place = f"compressor {recipe.kind}:"
    found = fields.component(compressors, {"kind": recipe.kind, **table}, place)
    if dimension is None:
        return found
    try:
        return found.resolve(dimension)
    except ValueError as error:
        raise InputError(f"{place} at dimension {dimension} {error}") from None


def recipe_of(table: dict[str, Any], dimension: int, place: str) -> Recipe:
    """The recipe of a bench's compressor. Raises InputError where it is none that is known."""
    found = fields.component(compressors, table, place)
    kind = found.kind
    if "omega" in type(found).model_fields:
        for number, parameters in enumerate(recipes(kind, dimension)):
            if fields.component(compressors, {"kind": kind, **parameters}, place).resolve(dimension) == found:
                return Recipe(kind, None, number)
    return Recipe(kind, json.dumps({key: value for key, value in table.items() if key != "kind"}, sort_keys=True))
