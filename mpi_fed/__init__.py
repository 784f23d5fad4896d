"""MPI benchmark suite for compressed federated least-squares regression.

`import mpi_fed` loads no other package: each name in `__all__` is imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .version import __version__

if TYPE_CHECKING:
    from . import algorithms, compressors, problems, routes
    from .algorithms import Algorithm
    from .analysis.dataset import load
    from .certification.certify import certify
    from .compressors import Compressor
    from .errors import InputError, RunError, WorldError
    from .problems import Problem
    from .routes import Route
    from .runner.run import run
    from .study.families import register
    from .study.load import Study, load_study
    from .theory.command import predict

__all__ = [
    "Algorithm",
    "Compressor",
    "InputError",
    "Problem",
    "Route",
    "RunError",
    "Study",
    "WorldError",
    "__version__",
    "algorithms",
    "certify",
    "compressors",
    "load",
    "load_study",
    "predict",
    "problems",
    "register",
    "routes",
    "run",
]

_MODULES = {
    "Algorithm": "algorithms",
    "Compressor": "compressors",
    "InputError": "errors",
    "Problem": "problems",
    "Route": "routes",
    "RunError": "errors",
    "Study": "study.load",
    "WorldError": "errors",
    "certify": "certification.certify",
    "load": "analysis.dataset",
    "load_study": "study.load",
    "predict": "theory.command",
    "register": "study.families",
    "run": "runner.run",
}
"""The module of each name."""
_PACKAGES = ("algorithms", "compressors", "problems", "routes")
"""The packages of the families. Each has a registry of the same name, as in `compressors.compressors`."""


def __getattr__(name: str) -> Any:
    if name in _PACKAGES:
        return importlib.import_module(f".{name}", __name__)
    if name in _MODULES:
        return getattr(importlib.import_module(f".{_MODULES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
