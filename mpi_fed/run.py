"""A rank's part in a run: every configuration of every study, repetition by repetition, logged by the root."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import provenance
from .configuration import Configuration
from .errors import InputError
from .log import Block, Log, final_status, is_finished, locate, open_log, origin
from .log_layout import COMPLETE, DIVERGED, Layout, log_rounds
from .plan import make_plan
from .problems.population import Population
from .progress import Progress
from .round import SNAPSHOTS
from .simulation import Simulation
from .world import World, start

CALL_SECONDS = 0.2
"""About how long a call of the compiled loop lasts: between two of them progress is shown and rows are flushed."""

FLUSH_SECONDS = 2.0


def run(
    studies: Sequence[str],
    out: str,
    overrides: Sequence[str],
    only: str | None,
    variant: str | None = None,
    *,
    analyze: bool = True,
) -> int:
    """Run the studies on this MPI world. Every rank calls it; rank 0 alone writes and talks. The exit status."""
    world = start()
    plan = make_plan(studies, out, overrides, only, world.size, variant)
    facts = provenance.collect(world)
    rounds = sum(c.rounds * len(c.seeds) for study in plan.studies for c in study.configurations)
    with Progress(rounds, enabled=world.is_root) as progress:
        for study in plan.studies:
            for configuration in study.configurations:
                own = {**facts, "position": configuration.position}
                _run_configuration(world, plan.out / study.name, configuration, own, progress)
    if world.is_root and analyze:
        from .analysis import report

        return max(report(plan.out / study.name) for study in plan.studies)
    return 0


def _run_configuration(
    world: World, folder: Path, configuration: Configuration, facts: dict[str, Any], progress: Progress
) -> None:
    """Do the repetitions that the log lacks."""
    label = f"{configuration.study}: {configuration.label}"
    path = locate(folder, configuration) if world.is_root else folder
    finished = world.comm.bcast(is_finished(path, configuration) if world.is_root else None)
    if finished:
        progress.skip(configuration.rounds * len(configuration.seeds))
        progress.done(label, "complete already")
        return
    progress.start(label)
    population = configuration.problem.prepare(configuration.clients)
    _check_that_all_have_it(world, population)
    points = log_rounds(configuration.rounds, configuration.log.points_per_decade)
    simulation = Simulation(configuration, population, world.comm, points)
    simulation.compile()
    recorder = Recorder(_open(path, simulation, facts), simulation, progress) if world.is_root else None
    missing = world.comm.bcast(recorder.missing() if recorder else None)
    progress.skip(configuration.rounds * (len(configuration.seeds) - len(missing)))
    progress.begin()
    with contextlib.closing(recorder) if recorder else contextlib.nullcontext():
        for position, seed in missing:
            _repetition(world, simulation, recorder, position, seed)
    if recorder:
        progress.done(label, recorder.message())


def _check_that_all_have_it(world: World, population: Population) -> None:
    """Every rank reads data and makes the problem by itself; on another node a file may be another."""
    mine = np.append(population.optimum, population.trace)
    roots = world.comm.bcast(mine)
    if mine.shape != roots.shape or not np.allclose(mine, roots, rtol=1e-6, atol=1e-6 * np.abs(roots).max()):
        raise InputError(
            "the problem differs from the root's; the same data and versions of packages must be on all nodes"
        )


def _open(path: Path, simulation: Simulation, facts: dict[str, Any]) -> Log:
    configuration, population, wire = simulation.configuration, simulation.population, simulation.wire
    layout = Layout.of(configuration, population.dimension, len(wire.histogram), wire.grain)
    own = {
        "omega": simulation.omega,
        "step_scale": simulation.steps.scale,
        "step_exponent": simulation.steps.exponent,
        "R2": population.trace,
        "optimum": population.optimum,
    }
    return open_log(path, configuration, layout, {**facts, **origin(configuration), **own})


def _repetition(
    world: World, simulation: Simulation, recorder: Recorder | None, position: int, seed: int
) -> None:
    """One repetition, in calls of the compiled loop whose ends the root chooses."""
    simulation.start(seed)
    if recorder:
        recorder.begin(position)
    while (stop := world.comm.bcast(recorder.next_stop() if recorder else None)) is not None:
        simulation.advance(stop)
        _check_overflow(world, simulation, recorder)
        if recorder:
            recorder.record()
    phases = world.comm.gather(simulation.phase_seconds())
    if recorder:
        recorder.end(np.array(phases))


def _check_overflow(world: World, simulation: Simulation, recorder: Recorder | None) -> None:
    """float16 has a range that a sound run may leave; float32's is left by diverging alone, which the log says."""
    if simulation.configuration.compressor.value_bits != 16:
        return
    for client, round in world.comm.allgather(tuple(simulation.state.overflow.tolist())):
        if client >= 0:
            if recorder:
                recorder.close()
            raise InputError(
                f"{simulation.configuration.label}: in round {round} client {client} had to send a number beyond "
                f"float16's 65504; give this compressor value_bits = 32"
            )


class Recorder:
    """The root's side of a configuration: when the loop returns, what the log gets, what is shown."""

    def __init__(self, log: Log, simulation: Simulation, progress: Progress) -> None:
        self.log, self.simulation, self.progress = log, simulation, progress
        self.rounds = simulation.configuration.rounds
        self.rate = 0.0
        self.called = self.flushed = time.perf_counter()
        self.position = 0
        self.status = "running"

    def missing(self) -> list[tuple[int, int]]:
        """(position, seed) of the repetitions to do."""
        return self.log.missing(self.simulation.configuration.seeds)

    def begin(self, position: int) -> None:
        """A repetition starts; its log point 0 is the start itself."""
        self.position = position
        self.diverged = False
        self.done = 0
        self._write(self._start())

    def _start(self) -> Block:
        w = self.simulation.state.w[None, :].copy()
        risk = self.simulation.population.excess_risk(w)
        clients = np.zeros((1, self.simulation.snapshots.client_payload.shape[1]), np.int64)
        return Block(0, risk, risk, w, w, np.zeros((1, 4), np.int64), clients, np.zeros(1))

    def next_stop(self) -> int | None:
        """The round up to which the loop runs next, or None when the repetition is over."""
        if self.done == self.rounds or self.diverged:
            return None
        points, cursor = self.simulation.rounds[:-1], int(self.simulation.snapshots.cursor[0])
        stop = self.done + max(64, int(self.rate * CALL_SECONDS))
        if cursor + SNAPSHOTS <= len(points):
            stop = min(stop, int(points[cursor + SNAPSHOTS - 1]))
        self.called = time.perf_counter()
        return min(stop, self.rounds)

    def end(self, phases: NDArray[np.float64]) -> None:
        """The repetition is over; phases, (ranks, 7), are each rank's seconds a round."""
        wire = self.simulation.wire
        statistics = np.stack([phases.min(axis=0), phases.mean(axis=0), phases.max(axis=0)], axis=1)
        status = DIVERGED if self.diverged else COMPLETE
        self.log.finish(self.position, status, wire.histogram, wire.client_payload, statistics)

    def record(self) -> None:
        """Evaluate and write the log points that the loop passed."""
        now = time.perf_counter()
        passed = self.simulation.done - self.done
        self.rate = passed / max(now - self.called, 1e-9)
        self.done = self.simulation.done
        held = self.simulation.snapshots
        count = int(held.cursor[1])
        if count:
            risk = self.simulation.population.excess_risk(held.iterate[:count])
            averaged = self.simulation.population.excess_risk(held.average[:count])
            self.diverged = not np.isfinite(risk).all()
            first = int(held.cursor[0]) - count
            self._write(
                Block(
                    first,
                    risk,
                    averaged,
                    held.iterate[:count],
                    held.average[:count],
                    held.totals[:count],
                    held.client_payload[:count],
                    held.seconds[:count],
                )
            )
        self.progress.advance(self.rounds - self.done + passed if self.diverged else passed)

    def _write(self, block: Block) -> None:
        self.log.write(self.position, block)
        if time.perf_counter() - self.flushed > FLUSH_SECONDS:
            self.log.flush()
            self.flushed = time.perf_counter()

    def close(self) -> None:
        """Close the log with the status it has earned, unless writing it has failed."""
        if self.status == "running" and not self.log.failed:
            self.status = final_status(self.log)
            self.log.close(self.status)

    def message(self) -> str:
        """How the configuration ended, for the progress display."""
        return self.status
