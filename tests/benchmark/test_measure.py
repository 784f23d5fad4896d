"""The measurements of a round on the ranks of a world."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.trajectories import configurations

from mpi_fed.benchmark.cases import cases
from mpi_fed.compressors import compressors
from mpi_fed.launch.world import World
from mpi_fed.routes import routes

BARE: list[tuple[str, dict[str, Any], str]] = [
    *((route, {}, 'kind = "none"') for route in routes if route not in ("auto", "reduce-levels")),
    ("reduce-levels", {}, 'kind = "quantization"'),
    *(("gather", {"downlink_bits": bits}, 'kind = "none"') for bits in (32, 16)),
    *((route, {}, 'kind = "bernoulli"\np = 0.3\nindices = "explicit"') for route in ("gatherv", "allgatherv")),
    *((route, {"downlink": {"kind": "quantization", "levels": 3}}, 'kind = "none"') for route in ("gather", "tree")),
    ("gather", {"downlink": {"kind": "bernoulli", "p": 0.7, "indices": "explicit"}}, 'kind = "none"'),
]


@pytest.mark.mpi(ranks=3)
@pytest.mark.parametrize(("kind", "options", "compressor"), BARE, ids=lambda value: str(value).split("\n")[0])
def test_bare_collectives_move_the_bytes_of_the_last_round(
    world: World, tmp_path: Path, kind: str, options: dict[str, Any], compressor: str
) -> None:
    """The collectives repeat the bytes of the uplink, and of the downlink: w, the compressed direction, or nothing."""
    from mpi4py import MPI

    from mpi_fed.benchmark.measure import bare_round
    from mpi_fed.engine.compilation import compiling
    from mpi_fed.engine.mpi_calls import comm_of
    from mpi_fed.engine.operations.downlink import CompressedBroadcast, NoDownlink
    from mpi_fed.runner.simulation import Simulation
    from mpi_fed.study.validation import component

    (configuration,) = configurations(tmp_path, "gaussian", (compressor,), rounds=1)
    if table := options.get("downlink"):
        downlink = component(compressors, table, "here").resolve(configuration.problem.dimension_of())
        configuration = replace(configuration, downlink=downlink)
    options = {key: value for key, value in options.items() if key != "downlink"}
    configuration = replace(configuration, route=routes[kind](**options).resolve(configuration.compressor))
    simulation = Simulation(configuration, configuration.problem.prepare(configuration.clients), world.comm, [0, 1])
    simulation.compile()
    simulation.start(0)
    simulation.advance(1)
    route, wire, schedule, w = simulation.kernels.route, simulation.wire, simulation.schedule, simulation.state.w
    with compiling():
        bare_round(route, comm_of(MPI.COMM_SELF), wire, schedule, w, w.copy(), 0, 0, np.zeros(2))
    arrived, before = wire.receive.copy(), w.copy()
    is_everywhere, is_compressed = (isinstance(route.downlink, kind) for kind in (NoDownlink, CompressedBroadcast))
    bits = None if is_everywhere or is_compressed else options.get("downlink_bits", 64)
    sent_back = w if bits in (None, 64) else route.downlink.buffer
    if is_compressed:
        sent_back = route.downlink.payload
    original = sent_back.copy()
    for array in (wire.receive, wire.all_sizes, *([] if world.is_root else [w, sent_back])):
        array.fill(0)
    assert bare_round(route, simulation.comm, wire, schedule, w, w.copy(), 0, 1, np.zeros(2)) == 0
    assert wire.receive.tobytes() == arrived.tobytes()
    assert not (world.is_root or is_everywhere) or wire.receive.any()
    if is_compressed:
        assert len(set(world.comm.allgather(sent_back.tobytes()))) == 1
        assert sent_back.tobytes() == original.tobytes()
        assert sent_back.any()
    else:
        assert world.is_root or w.any() == (bits == 64), "w itself is sent only as float64"
    if bits:
        assert sent_back.nbytes == bits // 8 * len(w)
        assert sent_back.any()
        assert len(set(world.comm.allgather(sent_back.tobytes()))) == 1
    assert not world.is_root or w.tobytes() == before.tobytes()


@pytest.mark.mpi(ranks=2)
@pytest.mark.parametrize("route", ["reduce", "tree-reduce"])
def test_sums_that_differ_by_a_rounding_may_become_adjacent_floats(world: World, route: str) -> None:
    """The downlink rounds to float16 at random; the seed is fixed, and a sum of two numbers has no order."""
    from mpi_fed.benchmark.measure import measure

    (configuration,) = cases(2, [100], ["none value_bits=32"], [route], [16]).configurations
    measured = measure(configuration, 1_000, world)
    assert (measured is not None) == world.is_root
    assert measured is None or measured.reasons == []
