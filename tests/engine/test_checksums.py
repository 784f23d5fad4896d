"""Messages with checksums: the iterates stay the same, and an error reports the message that changed in transit."""

from __future__ import annotations

from pathlib import Path

import h5py
import pytest
from support import trajectories
from support.command import run
from support.study_text import write_study
from support.trajectories import configurations

from mpi_fed.engine.checksums import TRAILER
from mpi_fed.launch.world import World
from mpi_fed.runner.simulation import Simulation

CHECKED = (
    'kind = "none"\nvalue_bits = 16',
    'kind = "quantization"\nlevels = 3',
    'kind = "bernoulli"\np = 0.3\nindices = ["shared", "explicit"]',
    'kind = "partial-participation"\np = 0.3',
)
"""Messages of equal length, of lengths that sender and receiver know, of lengths that only the sender knows, and of
only some clients."""


@pytest.mark.mpi(ranks=3)
@pytest.mark.parametrize("compressor", CHECKED, ids=lambda text: text.replace("\n", ", "))
def test_checksums_change_no_iterate(world: World, tmp_path: Path, compressor: str) -> None:
    """The number of payload bytes stays the same, too."""
    for plain in configurations(tmp_path, "gaussian", (compressor,)):
        (checked,) = (
            c
            for c in configurations(tmp_path, "gaussian", (compressor,), route="self_check = true")
            if c.compressor == plain.compressor
        )
        assert checked.route.self_check
        assert checked.id != plain.id
        assert trajectories.trajectory(plain, world.comm) == trajectories.trajectory(checked, world.comm)


@pytest.mark.mpi(ranks=2)
def test_checksums_count_as_transported(world: World, tmp_path: Path) -> None:
    transported = []
    for route in ("gather", 'kind = "gather"\nself_check = true'):
        (configuration,) = configurations(tmp_path, "gaussian", ("none",), rounds=50, route=route)
        population = configuration.problem.prepare(configuration.clients)
        simulation = Simulation(configuration, population, world.comm, [0, 50])
        simulation.compile()
        simulation.start(0)
        simulation.advance(50)
        transported.append(simulation.wire.totals.copy())
    if world.is_root:
        plain, checked = transported
        slots = 2 * 3  # five clients on two ranks
        assert (checked - plain).tolist() == [0, 0, 50 * slots * TRAILER, 0]


PLUGIN = '''
from typing import NamedTuple
import numpy as np
from mpi_fed.engine.operations.downlink import Broadcast
from mpi_fed.engine.operations.overlap import BLOCKING, Blocking
from mpi_fed.engine.mpi_calls import ROOT, gather_bytes
from mpi_fed.routes import routes
from mpi_fed.routes.gather import Gather, bytes_per_rank, decode_slots

class NoisyKernel(NamedTuple):
    downlink: Broadcast
    pending: Blocking

@routes.register
class Noisy(Gather):
    """A route that changes one bit of the message of client 2 in round 50."""

    kind = "noisy"
    Kernel = NoisyKernel

    def kernel(self, place, compressor, dimension):
        return NoisyKernel(self.downlink(dimension), BLOCKING)

    @staticmethod
    def uplink(kernel, round, total):
        wire, size = round.wire, round.wire.fixed_size
        code = gather_bytes(round.comm, wire.send, np.int32(bytes_per_rank(wire)), wire.receive)
        if round.comm.rank != ROOT or code != 0:
            return code
        if round.number == 50:
            wire.receive[2 * size + AT] ^= np.uint8(4)
        decode_slots(round, total)
        return code
'''


@pytest.mark.slow
@pytest.mark.parametrize("at", [0, 10])
def test_a_message_that_changed_in_transit_is_reported(tmp_path: Path, at: int) -> None:
    """Any byte may change; without checksums the run does not notice the change."""
    compressors = ("quantization", {"kind": "rand-h", "h": 5})
    write_study(tmp_path / "test.toml", *compressors, rounds=200, clients=4, problem={"dimension": 20})
    (tmp_path / "noisy.py").write_text(PLUGIN.replace("AT]", f"{at}]"))
    words = ["run", "test.toml", "--ranks=2", "--no-analyze", "--only=quantization", "--plugin=noisy.py"]
    words += ["--set=route.kind='noisy'"]
    ended = run(*words, "--set=route.self_check=true", status=1, folder=tmp_path)
    (line,) = (line for line in ended.stderr.splitlines() if line.startswith("mpi-fed: "))
    assert "in round 50 the message of client 2 is wrong: its bytes are not those that were sent" in line
    assert "Traceback" not in ended.stderr
    (log,) = (tmp_path / "runs" / "test").glob("*.h5")
    with h5py.File(log) as file:
        assert file.attrs["status"] == b"interrupted"
    if at == 0:
        run(*words, folder=tmp_path)
