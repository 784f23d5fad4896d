"""Run every configuration of every study on this rank, one repetition after another. The root writes the logs."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI

from ..engine.checksums import sender_name
from ..engine.random_streams import THE_ROOT
from ..errors import InputError, RunError
from ..launch import stop_signals
from ..launch.launcher import CHECKPOINTED
from ..launch.world import World, await_reader
from ..log import lock, schema
from ..log.layout import Layout
from ..log.log_points import log_rounds
from ..log.origin import origin_of
from ..log.writer import LogWriter, is_finished, log_path, open_writer
from ..problems.population import Population
from ..study.configuration import Configuration
from ..study.plan import Plan
from ..study.run_options import CHECKPOINT_SECONDS
from ..terminal.console import say
from ..terminal.progress import Progress
from . import checkpoint, provenance
from .recorder import Recorder
from .simulation import Simulation


class Interrupted(Exception):
    """Raised on all ranks after a signal has come to any rank and the repetition has been saved."""


def run(plan: Plan, world: World, checkpoint_seconds: float = CHECKPOINT_SECONDS, show_progress: bool = True) -> int:
    """Run the plan's studies and return the exit status. Every rank calls it; only rank 0 writes and prints.

    A repetition in progress is saved every `checkpoint_seconds`, and when a signal comes (`stop_signals`).
    """
    facts = provenance.collect(world)
    if roster := provenance.roster(world):
        say(roster)
    rounds = sum(c.rounds * len(c.seeds) for study in plan.studies for c in study.configurations)
    try:
        with Progress(rounds, enabled=world.is_root and show_progress) as progress:
            for study in plan.studies:
                for configuration in study.configurations:
                    attributes = {**facts, schema.POSITION.name: configuration.position}
                    folder = plan.out / study.name
                    _run_configuration(world, folder, configuration, attributes, progress, checkpoint_seconds)
    except Interrupted:
        await_reader()
        world.comm.Barrier()  # a launcher kills the other ranks when one exits with a failure
        return CHECKPOINTED if world.is_root else 0
    stop_signals.restore_defaults()
    return 0


def _run_configuration(
    world: World,
    folder: Path,
    configuration: Configuration,
    facts: dict[str, Any],
    progress: Progress,
    checkpoint_seconds: float,
) -> None:
    """Run the repetitions that the log lacks, beginning with an interrupted one."""
    label = f"{configuration.study}: {configuration.label}"
    path = log_path(folder, configuration) if world.is_root else folder
    finished = world.comm.bcast(is_finished(path, configuration) if world.is_root else None)
    if finished:
        progress.skip(configuration.rounds * len(configuration.seeds))
        progress.done(label, "complete already")
        return
    progress.start(label)
    with lock.held(path, f"process {os.getpid()} on {world.host}") if world.is_root else contextlib.nullcontext():
        saved = checkpoint.load(path, configuration) if world.is_root else None
        population = configuration.problem.prepare(configuration.clients)
        _check_same_problem(world, population)
        points = log_rounds(configuration.rounds, configuration.log.points_per_decade)
        simulation = Simulation(configuration, population, world.comm, points)
        simulation.compile()
        recorder = None
        if world.is_root:
            log = _open(path, simulation, facts)
            recorder = Recorder(log, simulation, progress, saved, checkpoint_seconds)
        with contextlib.closing(recorder) if recorder else contextlib.nullcontext():
            _repetitions(world, simulation, recorder, progress)
            simulation.close()
        if recorder:
            progress.done(label, recorder.message())


def _repetitions(world: World, simulation: Simulation, recorder: Recorder | None, progress: Progress) -> None:
    missing, resumed = world.comm.bcast((recorder.missing(), recorder.resumed()) if recorder else None)
    configuration = simulation.configuration
    progress.skip(configuration.rounds * (len(configuration.seeds) - len(missing)) + resumed)
    progress.begin()
    for position, seed in missing:
        if resumed:
            checkpoint.restore(world, recorder.checkpoint if recorder else None, simulation)
        else:
            simulation.start(seed)
        _repetition(world, simulation, recorder, position, resumed)
        resumed = 0


def _check_same_problem(world: World, population: Population) -> None:
    """Raise InputError if a rank's problem differs from the root's problem. Each rank reads the data itself."""
    mine = np.append(population.optimum, population.trace)
    roots = world.comm.bcast(mine)
    if mine.shape != roots.shape or not np.allclose(mine, roots, rtol=1e-6, atol=1e-6 * np.abs(roots).max()):
        raise InputError(
            "a rank's problem differs from the root's problem; put the same data and package versions on all nodes"
        )


def _open(path: Path, simulation: Simulation, facts: dict[str, Any]) -> LogWriter:
    configuration, population, wire = simulation.configuration, simulation.population, simulation.wire
    layout = Layout.of(configuration, population.dimension, len(wire.histogram), wire.grain)
    theory = {
        schema.OMEGA.name: simulation.omega,
        schema.STEP_SCALE.name: simulation.steps.scale,
        schema.STEP_EXPONENT.name: simulation.steps.exponent,
        schema.R2.name: population.trace,
    }
    attributes = {**facts, **origin_of(configuration), **theory}
    return open_writer(path, configuration, layout, population.optimum, attributes)


def _repetition(world: World, simulation: Simulation, recorder: Recorder | None, position: int, resumed: int) -> None:
    """Run one repetition in calls of the compiled loop; the root chooses the last round of each call.

    Raises Interrupted if a signal has come.
    """
    if recorder:
        recorder.begin(position, resumed)
    while True:
        stop, due, asked = _agree(world, recorder)
        if stop is None:
            break
        if asked or due:
            _save(world, simulation, recorder)
        if asked:
            if recorder:
                recorder.interrupt()
            raise Interrupted
        simulation.advance(stop)
        _check_overflow(world, simulation, recorder)
        _check_messages(world, simulation)
        if recorder:
            recorder.record()
    phases = world.comm.gather(simulation.phase_seconds())
    if recorder:
        recorder.end(np.array(phases))


def _agree(world: World, recorder: Recorder | None) -> tuple[int | None, bool, bool]:
    """Return, on all ranks, (last round of the next call, whether to save first, whether a signal came to any rank)."""
    stop = recorder.next_stop() if recorder else None
    due = recorder.checkpoint_is_due() if recorder else False
    words = np.array([-1 if stop is None else stop, due, stop_signals.stop_requested()], np.int64)
    world.comm.Allreduce(words.copy(), words, MPI.MAX)
    return (None if words[0] < 0 else int(words[0])), bool(words[1]), bool(words[2])


def _save(world: World, simulation: Simulation, recorder: Recorder | None) -> None:
    """Flush the log and then write a checkpoint, which needs the log's earlier log points."""
    if simulation.done == 0:
        return
    if recorder:
        recorder.flush(to_disk=True)
    checkpoint.save(world, recorder.log.path if recorder else Path(), simulation)
    if recorder:
        recorder.saved()


def _check_overflow(world: World, simulation: Simulation, recorder: Recorder | None) -> None:
    """Raise InputError if a number left float16's range, which can happen in a run that converges.

    Only a diverging run leaves float32's range; the log then has the status `diverged`.
    """
    configuration = simulation.configuration
    up, down = configuration.compressor, configuration.downlink
    back = "the downlink value_bits" if down else "the route downlink_bits"
    if 16 not in (up.value_bits, down.value_bits if down else configuration.route.downlink_bits):
        return
    slots = world.comm.allgather(tuple(simulation.state.overflow.tolist()))  # SENDER, ROUND of each rank
    overflows = [(round, sender == np.int64(THE_ROOT), sender) for sender, round in slots if sender != -1]
    if not overflows:
        return
    round, is_root, sender = min(overflows)  # later overflows, also the root's in this round, follow from the first
    if recorder:
        recorder.close()
    raise InputError(
        f"{configuration.label}: in round {round} {sender_name(sender)} had to send a number beyond float16's 65504; "
        f"give {back if is_root else 'this compressor value_bits'} = 32"
    )


def _check_messages(world: World, simulation: Simulation) -> None:
    if simulation.configuration.route.self_check:
        for rank, fault in enumerate(world.comm.allgather(simulation.wrong_message())):
            if fault:
                raise RunError(f"{simulation.configuration.label}: {fault}, found by rank {rank}")
