"""What all tests share: tests under MPI run by themselves (see mpi_tests.py), and hypothesis waits for compilers."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import hypothesis
import pytest
from support import crowd, mpi_tests

if TYPE_CHECKING:
    from mpi_fed.launch.world import World

hypothesis.settings.register_profile("here", deadline=None)
hypothesis.settings.register_profile("ranks", deadline=None, derandomize=True, database=None)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Be a rank if started as one, else what starts them, beside other workers."""
    os.environ.update({**crowd.settings(), **os.environ})
    under_mpi = config.getoption("--with-mpi")
    hypothesis.settings.load_profile("ranks" if under_mpi else "here")
    plugin = mpi_tests.Rank(config) if under_mpi else mpi_tests.Launcher(config)
    config.pluginmanager.register(plugin, "mpi-fed-tests")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that takes `mpi_python` runs once for each MPI."""
    plugin = metafunc.config.pluginmanager.get_plugin("mpi-fed-tests")
    if "mpi_python" in metafunc.fixturenames and isinstance(plugin, mpi_tests.Launcher):
        metafunc.parametrize("mpi_python", plugin.pythons.values(), ids=plugin.pythons, indirect=True)


@pytest.fixture
def mpi_python(request: pytest.FixtureRequest) -> str:
    """The Python of an environment with one MPI or the other."""
    if request.param is None:
        mpi_tests.missing()
    return request.param


@pytest.fixture
def mpi_pythons(request: pytest.FixtureRequest) -> list[str]:
    """All of them."""
    plugin = request.config.pluginmanager.get_plugin("mpi-fed-tests")
    if None in plugin.pythons.values():
        mpi_tests.missing()
    return list(plugin.pythons.values())


@pytest.fixture(autouse=True)
def world_name(request: pytest.FixtureRequest) -> str | None:
    """In a test under MPI: the name of its world, whose size is looked at before anything else."""
    name = getattr(request, "param", None)
    if name is None:
        return None
    from mpi_fed.launch.world import start

    assert start().size == int(name.rsplit("-", 1)[1]), "this is not the world that the test asked for"
    return name


@pytest.fixture
def world(world_name: str | None) -> World:
    """The MPI world, of the size that the test's mark asks for."""
    if world_name is None:
        pytest.fail("a test that takes part in a world is marked @pytest.mark.mpi(ranks=...)")
    from mpi_fed.launch.world import start

    return start()


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No launcher's variables: what a command at a prompt finds."""
    for name in list(os.environ):
        if name.startswith(("OMPI_", "PMI", "SLURM_", "MPI_FED_", "MPI_LOCAL")):
            monkeypatch.delenv(name)
    for name, value in crowd.settings().items():
        monkeypatch.setenv(name, value)
