"""Record a configuration at the root: choose when the compiled loop returns, write the log, show progress and save."""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

from ..engine.round import HELD, NEXT_POINT
from ..log.schema import RepetitionStatus, Status
from ..log.writer import Block, LogWriter
from ..study.run_options import CHECKPOINT_SECONDS
from ..terminal.progress import Progress
from . import checkpoint
from .checkpoint import Checkpoint
from .simulation import Simulation

CALL_SECONDS = 0.2
"""Approximate seconds of one call of the compiled loop. Between two calls, progress is shown and rows are flushed."""

FLUSH_SECONDS = 2.0
"""Seconds between two flushes of the log."""
SHARE = 0.01
"""Largest fraction of a run's time that writing checkpoints may take, for checkpoints of any size."""


class Recorder:
    """The root's record of one configuration.

    `saved` is the existing checkpoint, if any. The checkpoint is used only if its repetition is not done yet.
    """

    def __init__(
        self,
        log: LogWriter,
        simulation: Simulation,
        progress: Progress,
        saved: Checkpoint | None = None,
        checkpoint_seconds: float = CHECKPOINT_SECONDS,
    ) -> None:
        self.log, self.simulation, self.progress = log, simulation, progress
        self.rounds = simulation.configuration.rounds
        self.rate = 0.0
        self.interval, self.cost = checkpoint_seconds, 0.0
        self.called = self.flushed = self.save_began = self.save_ended = time.perf_counter()
        self.position = self.done = 0
        self.status = Status.RUNNING
        self.checkpoint = saved if saved and self._continues(saved) else None
        if self.checkpoint is None:
            checkpoint.discard(log.path)

    def _continues(self, saved: Checkpoint) -> bool:
        """Return whether the checkpoint's repetition is missing and the log has all its earlier log points."""
        positions = [position for position, seed in self.log.missing([saved.seed])]
        points = np.searchsorted(self.simulation.rounds[:-1], saved.done + 1)
        return bool(positions) and self.log.has_points(positions[0], int(points))

    def missing(self) -> list[tuple[int, int]]:
        """Return (position, seed) of the repetitions to do, the checkpoint's repetition first."""
        missing = self.log.missing(self.simulation.configuration.seeds)
        first = self.checkpoint.seed if self.checkpoint else None
        return sorted(missing, key=lambda repetition: repetition[1] != first)

    def resumed(self) -> int:
        """Return the number of rounds that the first repetition has already done."""
        return self.checkpoint.done if self.checkpoint else 0

    def begin(self, position: int, resumed: int) -> None:
        """Begin a repetition, or continue it after `resumed` rounds. Log point 0 holds the start."""
        self.position, self.done = position, resumed
        self.diverged = False
        self.save_ended = time.perf_counter()
        if not resumed:
            self._write(self._start())

    def _start(self) -> Block:
        w = self.simulation.state.w[None, :].copy()
        risk = self.simulation.population.excess_risk(w)
        clients = np.zeros((1, self.simulation.snapshots.client_payload.shape[1]), np.int64)
        return Block(
            first=0,
            excess_risk=risk,
            excess_risk_averaged=risk,
            iterate=w,
            iterate_averaged=w,
            totals=np.zeros((1, 4), np.int64),
            client_payload=clients,
            seconds=np.zeros(1),
        )

    def next_stop(self) -> int | None:
        """Return the round up to which the loop runs next, or None if the repetition has ended."""
        if self.done == self.rounds or self.diverged:
            return None
        points, cursor = self.simulation.rounds[:-1], int(self.simulation.snapshots.cursor[NEXT_POINT])
        stop = self.done + max(1, int(self.rate * CALL_SECONDS))  # the first call does one round, to learn the rate
        room = len(self.simulation.snapshots.seconds)
        if cursor + room <= len(points):
            stop = min(stop, int(points[cursor + room - 1]))
        self.called = time.perf_counter()
        return min(stop, self.rounds)

    def end(self, phases: NDArray[np.float64]) -> None:
        """End the repetition; `phases` (ranks, 7) are the mean seconds of each phase in a round on each rank."""
        wire = self.simulation.wire
        statistics = np.stack([phases.min(axis=0), phases.mean(axis=0), phases.max(axis=0)], axis=1)
        status = RepetitionStatus.DIVERGED if self.diverged else RepetitionStatus.COMPLETE
        self.log.finish(self.position, status, wire.histogram, wire.client_payload, statistics)
        checkpoint.discard(self.log.path)

    def record(self) -> None:
        """Compute the risks of the log points that the loop passed, and write them."""
        now = time.perf_counter()
        passed = self.simulation.done - self.done
        self.rate = passed / max(now - self.called, 1e-9)
        self.done = self.simulation.done
        snapshots = self.simulation.snapshots
        count = int(snapshots.cursor[HELD])
        if count:
            risk = self.simulation.population.excess_risk(snapshots.iterate[:count])
            averaged = self.simulation.population.excess_risk(snapshots.average[:count])
            self.diverged = not np.isfinite(risk).all()
            first = int(snapshots.cursor[NEXT_POINT]) - count
            self._write(
                Block(
                    first=first,
                    excess_risk=risk,
                    excess_risk_averaged=averaged,
                    iterate=snapshots.iterate[:count],
                    iterate_averaged=snapshots.average[:count],
                    totals=snapshots.totals[:count],
                    client_payload=snapshots.client_payload[:count],
                    seconds=snapshots.seconds[:count],
                )
            )
        self.progress.advance(self.rounds - self.done + passed if self.diverged else passed)

    def _write(self, block: Block) -> None:
        self.log.write(self.position, block)
        if time.perf_counter() - self.flushed > FLUSH_SECONDS:
            self.flush()

    def flush(self, to_disk: bool = False) -> None:
        """Hand the written rows to the operating system or, with `to_disk`, to the disk."""
        self.save_began = time.perf_counter()
        self.log.flush(to_disk)
        self.flushed = time.perf_counter()

    def checkpoint_is_due(self) -> bool:
        """Return whether the time since the last checkpoint is long enough for another one."""
        return time.perf_counter() - self.save_ended > max(self.interval, self.cost / SHARE)

    def saved(self) -> None:
        """Note the end of a checkpoint, and the time that the flush and the checkpoint took."""
        self.save_ended = time.perf_counter()
        self.cost = self.save_ended - self.save_began

    def interrupt(self) -> None:
        """End an interrupted run, which can be continued."""
        self.close()
        seed = self.log.seeds[self.position]
        place = f"in round {self.done:,} of seed {seed}"
        self.progress.done(self.progress.label, f"interrupted {place}")

    def close(self) -> None:
        """Close the log with its final status, unless a write has failed."""
        if self.status == Status.RUNNING and not self.log.failed:
            self.status = self.log.final_status()
            self.log.close(self.status)

    def message(self) -> str:
        """Return the final status of the configuration, for the progress display."""
        return self.status
