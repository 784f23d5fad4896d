"""Describe the machine of a bench: the facts that its times depend on."""

from __future__ import annotations

import json
import os
from typing import Any

from ..engine.compilation import COMPILED
from ..launch.world import World
from ..log import schema
from ..runner import provenance

CABLES = "VIRTUAL_CLUSTER_CABLES"
"""Environment variable in which `scripts/virtual_cluster.py` describes the speed of the hosts' links."""


def describe(world: World) -> dict[str, Any]:
    """Return CPU, cores, hosts, MPI and versions at the root, an empty dict elsewhere. Every rank must call it."""
    facts = provenance.collect(world)
    if not facts:
        return {}
    cables = os.environ.get(CABLES)
    return {
        "cpu": json.loads(facts[schema.CPU.name]),
        "cores": os.cpu_count(),
        "hosts": json.loads(facts[schema.HOST_NAMES.name]),
        "rank_cores": json.loads(facts[schema.RANK_CORES.name]),
        "mpi_library": facts[schema.MPI_LIBRARY.name],
        "mpi_thread_level": facts[schema.MPI_THREAD_LEVEL.name],
        "python_version": facts[schema.PYTHON_VERSION.name],
        "package_version": facts[schema.PACKAGE_VERSION.name],
        "git_commit": facts[schema.GIT_COMMIT.name],
        "dependency_versions": json.loads(facts[schema.DEPENDENCY_VERSIONS.name]),
        "compiled": COMPILED,
        **({"cables": json.loads(cables)} if cables else {}),
    }
