"""Plugins that let plain `pytest` run tests under MPI, marked `@pytest.mark.mpi(ranks=2)` or `ranks=[1, 2, 3, 4]`.

Each such test runs once for each number of ranks and each MPI: the MPI of this environment, and that of a second
environment (`Launcher.pythons`). All tests of one MPI and one number of ranks run in one world under its launcher, as
`mpiexec -n N python -m pytest --with-mpi`. The ranks write their reports to files; a test passes if it passes on every
rank. A test that fails, hangs or crashes ends its world, and the tests after it get a new one. `slow=[1, 4]` marks the
tests with these numbers of ranks as `slow`.
"""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, Literal, NoReturn, Self

import pytest
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

from mpi_fed.errors import WorldError
from mpi_fed.launch import launcher
from mpi_fed.launch.environment import die_with_parent

PHASES = ("setup", "call", "teardown")
FOLDER = "MPI_FED_TEST_FOLDER"
WORLD = "MPI_FED_TEST_WORLD"
"""Environment variable with the name of the world that a rank belongs to, such as "mpich-2"."""
STALL = 120.0
"""Seconds after which a world in which no test begins or ends is killed."""
BLOCKED = 5.0
"""Seconds that a rank on which a test failed waits for the others, which may be blocked forever."""
TAIL = 60
SECOND = "second-mpi"
"""Name of the second MPI if it is not installed."""
FAMILIES = ("openmpi", "mpich", SECOND)
MISSING = "there is no second MPI: set MPI_FED_SECOND_PYTHON, or create .venv-mpich with the mpich extra"
MUST_HAVE_BOTH = os.environ.get("CI") == "true"

Reports = dict[str, dict[int, dict[str, pytest.TestReport]]]
"""Reports by test, rank and phase."""


def missing() -> NoReturn:
    """Skip a test that needs the second MPI, or let it fail in CI."""
    if MUST_HAVE_BOTH:
        pytest.fail(MISSING, pytrace=False)
    pytest.skip(MISSING)


def ranks_of(test: Any) -> list[int]:
    """Return the numbers of ranks that a test's mark asks for, 2 by default; empty for tests without the mark."""
    mark = test.get_closest_marker("mpi")
    if mark is None:
        return []
    ranks = mark.kwargs.get("ranks", mark.kwargs.get("min_size", 2))
    return [ranks] if isinstance(ranks, int) else list(ranks)


def share_of(test: str) -> str:
    """Return the name of the share that one worker runs: the tests of a world, or the other tests of a file.

    The tests of a file share compiled kernels.
    """
    world = re.search(rf"\[({'|'.join(FAMILIES)})-\d(?=[-\]])", test)
    return world[0] if world else test.partition("::")[0]


class Launcher:
    """Plugin of the process that the user started."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.reports: dict[str, list[pytest.TestReport]] = {}

    @functools.cached_property
    def pythons(self) -> dict[str, str | None]:
        """MPI -> Python of its environment; {SECOND: None} stands for a second MPI that is missing."""
        try:
            first = _name_of(sys.executable)
        except WorldError as error:
            pytest.exit(f"tests under MPI: {error}", returncode=3)
        second = os.environ.get("MPI_FED_SECOND_PYTHON") or self.config.rootpath / ".venv-mpich/bin/python"
        if not Path(second).exists():
            return {first: sys.executable, SECOND: None}
        return {first: sys.executable, _name_of(str(second)): str(second)}

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        mark = metafunc.definition.get_closest_marker("mpi")
        if mark is not None and (ranks := ranks_of(metafunc.definition)):
            slow = mark.kwargs.get("slow", ())
            worlds = [
                pytest.param(f"{mpi}-{n}", id=f"{mpi}-{n}", marks=[pytest.mark.slow] if n in slow else ())
                for mpi in self.pythons
                for n in ranks
            ]
            metafunc.parametrize("world_name", worlds, indirect=True)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> LoadScopeScheduling:
        scheduler = LoadScopeScheduling(config, log)
        scheduler._split_scope = share_of
        return scheduler

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        sizes = Counter(share_of(item.nodeid) for item in items)
        slow = {share_of(item.nodeid) for item in items if item.get_closest_marker("slow")}
        turns = {share: (*self._turn(share, slow), -sizes[share] if share[0] == "[" else 0) for share in sizes}
        items.sort(key=lambda item: turns[share_of(item.nodeid)])
        for item in items:
            if ranks_of(item):
                item.add_marker(pytest.mark.timeout(0))  # no timeout: the first test runs its whole group

    def _turn(self, share: str, slow: set[str]) -> tuple[int, bool]:
        """Return the order of a share: slow ones come first, so that no worker is left with a slow one at the end.

        One process compiles at a time. So the world that needs most kernels is first, in parallel with files, which
        need few. The worlds of the second MPI, which need the same kernels as those of the first, are last.
        """
        first, *others = self.pythons
        is_world, mpi = share[0] == "[", share[1:].rpartition("-")[0]
        if is_world and mpi in others:
            return 3, is_world
        if share == f"[{first}-3":
            return 0, is_world
        return 1 if share in slow else 2, is_world

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
        if not ranks_of(item):
            return None
        if item.nodeid not in self.reports:
            name = _world_name(item)
            self._run_group(name, [other for other in item.session.items if _world_name(other) == name])
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        for report in self.reports[item.nodeid]:
            item.ihook.pytest_runtest_logreport(report=report)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        item.session._setupstate.teardown_exact(nextitem)  # the test before may have left its module set up
        return True

    def _run_group(self, name: str, items: list[pytest.Item]) -> None:
        mpi, ranks = name.rsplit("-", 1)
        python = self.pythons[mpi]
        if python is None:
            outcome = "failed" if MUST_HAVE_BOTH else "skipped"
            self.reports |= {item.nodeid: [_verdict(item, outcome, MISSING)] for item in items}
        waiting = {item.nodeid: item for item in items if item.nodeid not in self.reports}
        while waiting:
            with World(self.config, name, python or "", int(ranks), list(waiting)) as world:
                for nodeid, reports in world.run(waiting).items():
                    self.reports[nodeid] = reports
                    del waiting[nodeid]


class World:
    """A launch of a group of tests."""

    def __init__(self, config: pytest.Config, name: str, python: str, ranks: int, tests: list[str]) -> None:
        self.config, self.name, self.python, self.ranks, self.tests = config, name, python, ranks, tests

    def __enter__(self) -> Self:
        self.folder = Path(tempfile.mkdtemp(prefix=f"mpi-fed-{self.name}-"))
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, items: dict[str, pytest.Item]) -> dict[str, list[pytest.TestReport]]:
        """Return the reports of every test that began, or of all tests if none began."""
        ending = self._launch()
        reports = self._read()
        begun = [test for test in self.tests if test in reports] or self.tests
        results = {}
        for test in begun:
            complete, merged = self._merge(reports.get(test, {}))
            if not complete and not any(report.failed for report in merged):
                merged = [_verdict(items[test], "failed", f"{self.name}: {ending} in this test\n{self._tail()}")]
            results[test] = merged
        all_passed = not any(report.failed for merged in results.values() for report in merged)
        if len(begun) == len(self.tests) and all_passed and ending != "exit status 0":
            message = f"{self.name}: {ending} after all tests had passed\n{self._tail()}"
            results[begun[-1]] = [_verdict(items[begun[-1]], "failed", message)]
        return results

    def _launch(self) -> str:
        """Run the world, and return a description of its end."""
        (self.folder / "tests").write_text("\n".join(self.tests))
        options = ["--with-mpi", f"--rootdir={self.config.rootpath}", "-p", "no:cacheprovider", "--color=no", "-n0"]
        options += ["-c", str(self.config.inipath)] if self.config.inipath else []
        options += ["-o", f"faulthandler_timeout={STALL * 0.8}", f"@{self.folder / 'tests'}"]
        program = [self.python, "-m", "pytest", *options]
        prepared = launcher.command_for(self.ranks, program, python=self.python)
        with prepared as (command, environment), open(self.folder / "output", "wb") as output:
            if self.ranks <= launcher.cores():  # test MPICH's collectives through shared memory, as users have them
                environment.pop("MPIR_CVAR_DEVICE_COLLECTIVES", None)
            process = subprocess.Popen(
                command,
                env=environment | {FOLDER: str(self.folder), WORLD: self.name},
                cwd=self.config.rootpath,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                process_group=0,
                preexec_fn=functools.partial(die_with_parent, os.getpid()),  # noqa: PLW1509 (no thread runs yet)
            )
            try:
                return self._watch(process)
            finally:
                process.kill()
                process.wait()

    def _watch(self, process: subprocess.Popen[bytes]) -> str:
        size, moved = -1, time.monotonic()
        while process.poll() is None:
            time.sleep(0.05)
            now = sum(path.stat().st_size for path in self.folder.glob("rank*.jsonl"))
            if now != size:
                size, moved = now, time.monotonic()
            if time.monotonic() - moved > STALL:
                return f"no test began or ended for {STALL:.0f} s"
        status = process.returncode
        return f"exit status {status}" if status >= 0 else f"killed by {signal.Signals(-status).name}"

    def _read(self) -> Reports:
        reports: Reports = {}
        for rank in range(self.ranks):
            path = self.folder / f"rank{rank}.jsonl"
            for line in path.read_text().splitlines() if path.exists() else ():
                entry = json.loads(line)
                phases = reports.setdefault(entry["test"], {}).setdefault(rank, {})
                if "report" in entry:
                    report = self.config.hook.pytest_report_from_serializable(config=self.config, data=entry["report"])
                    if isinstance(report.longrepr, list):  # JSON has no tuples
                        report.longrepr = tuple(report.longrepr)
                    phases[report.when] = report
        return reports

    def _merge(self, ranks: dict[int, dict[str, pytest.TestReport]]) -> tuple[bool, list[pytest.TestReport]]:
        """Return whether the test ended on every rank, and the worst report of any rank for each phase."""
        complete = sum("teardown" in phases for phases in ranks.values()) == self.ranks
        merged = []
        for phase in PHASES:
            of_phase = {rank: phases[phase] for rank, phases in sorted(ranks.items()) if phase in phases}
            if of_phase:
                merged.append(_worst(of_phase, self.name))
            if merged and not merged[-1].passed:
                break
        return complete, merged

    def _tail(self) -> str:
        """Return the last lines that the ranks printed, without the stack frames of pytest."""
        lines = (self.folder / "output").read_text(errors="replace").splitlines()
        return "\n".join([line for line in lines if "site-packages/" not in line and "<frozen" not in line][-TAIL:])


class Rank:
    """Plugin of a rank: it writes reports to a file, and never lets a failed test block the other ranks."""

    def __init__(self, config: pytest.Config) -> None:
        from mpi_fed.launch.world import start

        self.config = config
        self.world = start()
        self.comm = self.world.comm.Dup()
        self.name = os.environ.get(WORLD, f"mpirun-{self.world.size}")
        self.failed = False
        self.file = None
        if FOLDER in os.environ:
            folder = Path(os.environ[FOLDER])
            config.option.basetemp = folder / f"tmp{self.world.rank}"
            self.file = open(folder / f"rank{self.world.rank}.jsonl", "w", buffering=1)  # noqa: SIM115

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if ranks_of(metafunc.definition):
            metafunc.parametrize("world_name", [self.name], ids=[self.name], indirect=True)

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = [item for item in items if self.world.size in ranks_of(item)]

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.failed = False
        self._write(nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.failed = self.failed or report.failed
        data = self.config.hook.pytest_report_to_serializable(config=self.config, report=report)
        self._write(report.nodeid, report=data)

    def pytest_runtest_logfinish(self) -> None:
        """Wait for all ranks; after a failure here wait BLOCKED seconds at most, as they may wait for this rank."""
        barrier = self.comm.Ibarrier()
        end = time.monotonic() + BLOCKED
        while not barrier.Test():
            time.sleep(0.001)
            if self.failed and time.monotonic() > end:
                self.comm.Abort(1)

    def _write(self, test: str, **more: Any) -> None:
        if self.file:
            self.file.write(json.dumps({"test": test, **more}) + "\n")


def _name_of(python: str) -> str:
    return launcher.find_launcher(python).family.lower().replace(" ", "")


def _world_name(item: pytest.Item) -> str:
    return str(item.callspec.params.get("world_name", "")) if hasattr(item, "callspec") else ""


def _verdict(item: pytest.Item, outcome: Any, message: str) -> pytest.TestReport:
    path, line, _ = item.location
    reason: Any = (path, line or 0, f"Skipped: {message}") if outcome == "skipped" else message
    keywords: dict[str, Literal[1]] = dict.fromkeys(item.keywords, 1)  # their values cannot be sent between processes
    return pytest.TestReport(item.nodeid, item.location, keywords, outcome, reason, "call")


def _worst(reports: dict[int, pytest.TestReport], name: str) -> pytest.TestReport:
    """Return the report of the first rank that failed, else skipped, else passed, with the failures of the others."""
    by_outcome = sorted(reports, key=lambda rank: ("failed", "skipped", "passed").index(reports[rank].outcome))
    worst = reports[by_outcome[0]]
    failed = [rank for rank in reports if reports[rank].failed]
    worst.duration = max(report.duration for report in reports.values())
    for rank in failed[1:]:
        worst.sections.append((f"{name}: rank {rank} failed too", reports[rank].longreprtext))
    if failed:
        worst.sections.insert(0, (f"{name}: failed on rank", ", ".join(map(str, failed))))
    return worst
