"""Describe the machine of a bench, as far as its times depend on it."""

from __future__ import annotations

import json
import os
from typing import Any

from ..engine.compilation import COMPILED
from ..launch.world import World
from ..runner import provenance

CABLES = "VIRTUAL_CLUSTER_CABLES"
"""Where `scripts/virtual_cluster` says how fast the hosts' cables are."""


def describe(world: World) -> dict[str, Any]:
    """CPU, cores, hosts, MPI and versions; every rank takes part, and the root alone gets more than nothing."""
    facts = provenance.collect(world)
    if not facts:
        return {}
    cables = os.environ.get(CABLES)
    return {
        "cpu": json.loads(facts["cpu"]),
        "cores": os.cpu_count(),
        "hosts": json.loads(facts["host_names"]),
        "rank_cores": json.loads(facts["rank_cores"]),
        "mpi_library": facts["mpi_library"],
        "mpi_thread_level": facts["mpi_thread_level"],
        "python_version": facts["python_version"],
        "package_version": facts["package_version"],
        "git_commit": facts["git_commit"],
        "dependency_versions": json.loads(facts["dependency_versions"]),
        "compiled": COMPILED,
        **({"cables": json.loads(cables)} if cables else {}),
    }
