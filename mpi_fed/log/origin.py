"""The origin of a log's results: digests of the files and plugins that the configuration names."""

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
"""Attributes that identify the origin, and for each of them the words for a log with another value."""


def origin_of(configuration: Configuration) -> dict[str, Any]:
    """Return the attributes that identify the data, a start that is read from a file, and the code of plugins."""
    attributes = dict(configuration.problem.facts())
    parts = (configuration.problem, configuration.algorithm, configuration.compressor, configuration.route)
    modules = {type(part).__module__ for part in (*parts, configuration.downlink)}
    if plugin_modules := sorted(modules & plugins.loaded.keys()):
        attributes[schema.PLUGIN_MODULES.name] = " ".join(
            plugin_modules
        )  # a plugin module's name contains a digest of its source
    start = getattr(configuration.algorithm, "initial", None)
    if isinstance(start, str) and os.path.isfile(start):
        attributes[schema.INITIAL_DIGEST.name] = hashlib.sha256(Path(start).read_bytes()).hexdigest()
    return attributes


def check_origin(path: Path, log: h5py.File, attributes: Mapping[str, Any]) -> None:
    """Raise InputError if the log's repetitions used other data, another start or other code of a plugin."""
    for attribute, difference in ORIGIN.items():
        name = attribute.name
        if name in log.attrs and decoded(log.attrs[name]) != attributes.get(name):
            advice = "move it away or give another --out"
            raise InputError(f"{path}: its repetitions were run with {difference}; {advice}")
