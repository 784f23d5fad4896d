"""How plain `pytest` runs tests under MPI: `@pytest.mark.mpi(ranks=2)` or `ranks=[1, 2, 3, 4]`.

Each such test becomes one for each number of ranks and each MPI: the one of this environment, and the one of a second
environment (`Launcher.second_python`). All tests of one MPI and one number of ranks run in one world under its
launcher, as `mpiexec -n N python -m pytest --with-mpi`; the ranks' reports come back through files, and a test has
passed if it has on every rank. A test that fails, hangs or crashes ends its world; those after it get a new one.
`slow=[1, 4]` gives those of these numbers of ranks the mark `slow`.
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
from typing import Any, NoReturn

import pytest
from xdist.scheduler import LoadScopeScheduling

from mpi_fed.errors import WorldError
from mpi_fed.launch import launcher
from mpi_fed.launch.environment import die_with_parent

PHASES = ("setup", "call", "teardown")
FOLDER = "MPI_FED_TEST_FOLDER"
WORLD = "MPI_FED_TEST_WORLD"
"""The name of the world that a rank of a test is in, such as "mpich-2"."""
STALL = 120.0
"""Seconds without a test's beginning or end after which a world is ended."""
BLOCKED = 5.0
"""Seconds that a rank on which a test failed waits for the others, which may be blocked for ever."""
TAIL = 60
SECOND = "second-mpi"
"""The name of an MPI that is not there."""
FAMILIES = ("openmpi", "mpich", SECOND)
MISSING = "no second MPI: set MPI_FED_SECOND_PYTHON, or make .venv-mpich with the mpich extra"
MUST_HAVE_BOTH = os.environ.get("CI") == "true"

Reports = dict[str, dict[int, dict[str, pytest.TestReport]]]
"""Test -> rank -> phase -> report."""


def missing() -> NoReturn:
    """End a test that needs the second MPI: skipped, but failed in CI."""
    pytest.fail(MISSING, pytrace=False) if MUST_HAVE_BOTH else pytest.skip(MISSING)


def ranks_of(test: Any) -> list[int]:
    """The numbers of ranks that a test's mark asks for: 2 where it only says mpi. Empty for tests without it."""
    mark = test.get_closest_marker("mpi")
    if mark is None:
        return []
    ranks = mark.kwargs.get("ranks", mark.kwargs.get("min_size", 2))
    return [ranks] if isinstance(ranks, int) else list(ranks)


def share_of(test: str) -> str:
    """What one worker runs as a whole: the tests of a world, or the other tests of a file, which share kernels."""
    world = re.search(rf"\[({'|'.join(FAMILIES)})-\d(?=[-\]])", test)
    return world[0] if world else test.partition("::")[0]


class Launcher:
    """The plugin of the process that a person started."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.reports: dict[str, list[pytest.TestReport]] = {}

    @functools.cached_property
    def pythons(self) -> dict[str, str | None]:
        """MPI -> the Python that has it; None where the second is missing, whose name then says why."""
        try:
            first = _name_of(sys.executable)
        except WorldError as error:
            pytest.exit(f"tests under MPI: {error}", returncode=3)
        second = os.environ.get("MPI_FED_SECOND_PYTHON") or self.config.rootpath / ".venv-mpich/bin/python"
        if not Path(second).exists():
            return {first: sys.executable, SECOND: None}
        return {first: sys.executable, _name_of(str(second)): str(second)}

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if ranks := ranks_of(metafunc.definition):
            slow = metafunc.definition.get_closest_marker("mpi").kwargs.get("slow", ())
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
                item.add_marker(pytest.mark.timeout(0))  # of pytest-timeout: the first runs its whole group

    def _turn(self, share: str, slow: set[str]) -> tuple[int, bool]:
        """When a worker takes it: slow ones before others, so that none is left with one of them.

        One process compiles at a time. So the world that needs most kernels is first, beside files, which need few, and
        the second MPI's worlds, which need no others than the first's, are last.
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
        item.session._setupstate.teardown_exact(nextitem)  # a test here before may have left its module set up for us
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
    """One launch of a group of tests."""

    def __init__(self, config: pytest.Config, name: str, python: str, ranks: int, tests: list[str]) -> None:
        self.config, self.name, self.python, self.ranks, self.tests = config, name, python, ranks, tests

    def __enter__(self) -> World:
        self.folder = Path(tempfile.mkdtemp(prefix=f"mpi-fed-{self.name}-"))
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, items: dict[str, pytest.Item]) -> dict[str, list[pytest.TestReport]]:
        """The reports of every test that began; of all, where none did."""
        ending = self._launch()
        reports = self._read()
        begun = [test for test in self.tests if test in reports] or self.tests
        results = {}
        for test in begun:
            complete, merged = self._merge(reports.get(test, {}))
            if not complete and not any(report.failed for report in merged):
                merged = [_verdict(items[test], "failed", f"{self.name}: {ending} in this test\n{self._tail()}")]
            results[test] = merged
        all_well = not any(report.failed for merged in results.values() for report in merged)
        if len(begun) == len(self.tests) and all_well and ending != "exit status 0":
            words = f"{self.name}: {ending} after all tests had passed\n{self._tail()}"
            results[begun[-1]] = [_verdict(items[begun[-1]], "failed", words)]
        return results

    def _launch(self) -> str:
        """Run the world; how it ended."""
        (self.folder / "tests").write_text("\n".join(self.tests))
        options = ["--with-mpi", f"--rootdir={self.config.rootpath}", "-p", "no:cacheprovider", "--color=no", "-n0"]
        options += ["-c", str(self.config.inipath)] if self.config.inipath else []
        options += ["-o", f"faulthandler_timeout={STALL * 0.8}", f"@{self.folder / 'tests'}"]
        program = [self.python, "-m", "pytest", *options]
        prepared = launcher.command_for(self.ranks, program, python=self.python)
        with prepared as (command, surroundings), open(self.folder / "output", "wb") as output:
            if self.ranks <= launcher.cores():  # MPICH's collectives through shared memory, which users have
                surroundings.pop("MPIR_CVAR_DEVICE_COLLECTIVES", None)
            process = subprocess.Popen(
                command,
                env=surroundings | {FOLDER: str(self.folder), WORLD: self.name},
                cwd=self.config.rootpath,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                process_group=0,
                preexec_fn=functools.partial(die_with_parent, os.getpid()),
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
                return f"nothing happened for {STALL:.0f} s"
        status = process.returncode
        return f"exit status {status}" if status >= 0 else f"killed by {signal.Signals(-status).name}"

    def _read(self) -> Reports:
        found: Reports = {}
        for rank in range(self.ranks):
            path = self.folder / f"rank{rank}.jsonl"
            for line in path.read_text().splitlines() if path.exists() else ():
                entry = json.loads(line)
                phases = found.setdefault(entry["test"], {}).setdefault(rank, {})
                if "report" in entry:
                    report = self.config.hook.pytest_report_from_serializable(config=self.config, data=entry["report"])
                    if isinstance(report.longrepr, list):  # JSON has no tuples
                        report.longrepr = tuple(report.longrepr)
                    phases[report.when] = report
        return found

    def _merge(self, ranks: dict[int, dict[str, pytest.TestReport]]) -> tuple[bool, list[pytest.TestReport]]:
        """Whether the test ended on every rank, and for each phase the worst report of any rank."""
        complete = sum("teardown" in phases for phases in ranks.values()) == self.ranks
        merged = []
        for phase in PHASES:
            those = {rank: phases[phase] for rank, phases in sorted(ranks.items()) if phase in phases}
            if those:
                merged.append(_worst(those, self.name))
            if merged and not merged[-1].passed:
                break
        return complete, merged

    def _tail(self) -> str:
        """The last lines that the ranks printed, without pytest's own frames."""
        lines = (self.folder / "output").read_text(errors="replace").splitlines()
        return "\n".join([line for line in lines if "site-packages/" not in line and "<frozen" not in line][-TAIL:])


class Rank:
    """The plugin of a rank: it writes down what happens, and never lets a failed test block the others."""

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
        """Wait for all ranks, but not for those that wait for this one in a test that has failed here."""
        everyone = self.comm.Ibarrier()
        end = time.monotonic() + BLOCKED
        while not everyone.Test():
            time.sleep(0.001)
            if self.failed and time.monotonic() > end:
                self.comm.Abort(1)

    def _write(self, test: str, **more: Any) -> None:
        if self.file:
            self.file.write(json.dumps({"test": test, **more}) + "\n")


def _name_of(python: str) -> str:
    return launcher.find_launcher(python).family.lower().replace(" ", "")


def _world_name(item: pytest.Item) -> str | None:
    return item.callspec.params.get("world_name") if hasattr(item, "callspec") else None


def _verdict(item: pytest.Item, outcome: Any, words: str) -> pytest.TestReport:
    path, line, _ = item.location
    reason: Any = (path, line or 0, f"Skipped: {words}") if outcome == "skipped" else words
    keywords = dict.fromkeys(item.keywords, 1)  # their values do not travel between processes
    return pytest.TestReport(item.nodeid, item.location, keywords, outcome, reason, "call")


def _worst(reports: dict[int, pytest.TestReport], name: str) -> pytest.TestReport:
    """The report of the first rank that failed, or else skipped, or else any; with what the others had to say."""
    by_outcome = sorted(reports, key=lambda rank: ("failed", "skipped", "passed").index(reports[rank].outcome))
    worst = reports[by_outcome[0]]
    failed = [rank for rank in reports if reports[rank].failed]
    worst.duration = max(report.duration for report in reports.values())
    for rank in failed[1:]:
        worst.sections.append((f"{name}: rank {rank} failed too", reports[rank].longreprtext))
    if failed:
        worst.sections.insert(0, (f"{name}: failed on rank", ", ".join(map(str, failed))))
    return worst
