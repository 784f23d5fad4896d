"""The origin of a log's numbers: what the configuration names but does not contain, as digests."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py

from .. import plugins
from ..errors import InputError
from ..study.configuration import Configuration
from . import schema
from .hdf5 import decoded

ORIGIN = {
    schema.DATASET_DIGEST: "other data",
    schema.INITIAL_DIGEST: "another start",
    schema.PLUGIN_MODULES: "another version of a plugin",
}
"""Attributes that identify the origin, and what it means where they differ."""


def origin_of(configuration: Configuration) -> dict[str, Any]:
    """Return the attributes that identify the data, a start from a file, and the code of plugins."""
    attributes = dict(configuration.problem.facts())
    parts = (configuration.problem, configuration.algorithm, configuration.compressor, configuration.route)
    modules = {type(part).__module__ for part in (*parts, configuration.downlink)}
    if plugin_modules := sorted(modules & plugins.loaded.keys()):
        attributes[schema.PLUGIN_MODULES.name] = " ".join(plugin_modules)  # a module's name has a digest of its source
    start = getattr(configuration.algorithm, "initial", None)
    if isinstance(start, str) and os.path.isfile(start):
        attributes[schema.INITIAL_DIGEST.name] = hashlib.sha256(Path(start).read_bytes()).hexdigest()
    return attributes


def check_origin(path: Path, log: h5py.File, attributes: Mapping[str, Any]) -> None:
    """Refuse to mix repetitions of other data, of another start or by other code into a log."""
    for attribute, difference in ORIGIN.items():
        name = attribute.name
        if name in log.attrs and decoded(log.attrs[name]) != attributes.get(name):
            advice = "move it away or give another --out"
            raise InputError(f"{path}: its repetitions are of {difference} than now; {advice}")
