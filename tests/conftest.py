"""Set-up of all tests: tests under MPI start their own worlds (see mpi_tests.py), and hypothesis has no deadlines."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, cast

import hypothesis
import pytest
from support import crowd, mpi_tests

if TYPE_CHECKING:
    from mpi_fed.launch.world import World

hypothesis.settings.register_profile("here", deadline=None)
hypothesis.settings.register_profile("ranks", deadline=None, derandomize=True, database=None)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Register the plugin of a rank if this process was started as a rank, else the plugin that starts the ranks."""
    os.environ.update({**crowd.settings(), **os.environ})
    under_mpi = config.getoption("--with-mpi")
    hypothesis.settings.load_profile("ranks" if under_mpi else "here")
    plugin = mpi_tests.Rank(config) if under_mpi else mpi_tests.Launcher(config)
    config.pluginmanager.register(plugin, "mpi-fed-tests")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that takes `mpi_python` once for each MPI."""
    plugin = metafunc.config.pluginmanager.get_plugin("mpi-fed-tests")
    if "mpi_python" in metafunc.fixturenames and isinstance(plugin, mpi_tests.Launcher):
        metafunc.parametrize("mpi_python", plugin.pythons.values(), ids=plugin.pythons, indirect=True)


@pytest.fixture
def mpi_python(request: pytest.FixtureRequest) -> str:
    """Python of an environment with one of the two MPIs."""
    python: str | None = request.param
    if python is None:
        mpi_tests.missing()
    return python


@pytest.fixture
def mpi_pythons(request: pytest.FixtureRequest) -> list[str]:
    """Pythons of the environments with either MPI."""
    plugin = cast(mpi_tests.Launcher, request.config.pluginmanager.get_plugin("mpi-fed-tests"))
    pythons = [python for python in plugin.pythons.values() if python is not None]
    if len(pythons) < len(plugin.pythons):
        mpi_tests.missing()
    return pythons


@pytest.fixture(autouse=True)
def world_name(request: pytest.FixtureRequest) -> str | None:
    """Name of the world of a test under MPI, None in other tests. The size of the world is checked first."""
    name: str | None = getattr(request, "param", None)
    if name is None:
        return None
    from mpi_fed.launch.world import start

    assert start().size == int(name.rsplit("-", 1)[1]), "this is not the world that the test asked for"
    return name


@pytest.fixture
def world(world_name: str | None) -> World:
    """MPI world of the size that the test's mark asks for."""
    if world_name is None:
        pytest.fail("this test uses an MPI world; mark it @pytest.mark.mpi(ranks=...)")
    from mpi_fed.launch.world import start

    return start()


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Environment of a command at a prompt: without the variables that launchers set."""
    for name in list(os.environ):
        if name.startswith(("OMPI_", "PMI", "SLURM_", "MPI_FED_", "MPI_LOCAL")):
            monkeypatch.delenv(name)
    for name, value in crowd.settings().items():
        monkeypatch.setenv(name, value)
