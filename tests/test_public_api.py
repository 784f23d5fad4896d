"""The names that `import mpi_fed` offers, and the modules that the import loads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import mpi_fed
from mpi_fed import plugins
from mpi_fed.study.families import BASES, register

HEAVY = ("h5py", "mpi4py", "numba", "numpy", "pydantic", "scipy")
PLUGIN = """
from mpi_fed import Compressor, register

@register
class Half(Compressor):
    kind = "half"
"""


@pytest.mark.parametrize("name", mpi_fed.__all__)
def test_each_name_is_there(name: str) -> None:
    assert getattr(mpi_fed, name) is not None
    assert name in dir(mpi_fed)


def test_other_names_are_refused() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        mpi_fed.nothing  # noqa: B018


def test_the_import_loads_nothing_heavy() -> None:
    code = f"import sys, mpi_fed; sys.exit(', '.join(set({HEAVY}) & set(sys.modules)))"
    assert (
        subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False).stderr.strip()
        == ""
    )


def test_a_name_means_the_same_before_and_after_its_module_is_imported() -> None:
    code = "import mpi_fed; first = mpi_fed.compressors; import mpi_fed.compressors as package; assert first is package"
    subprocess.run([sys.executable, "-P", "-c", code], check=True)


def test_a_plugin_registers_in_the_family_of_its_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "loaded", {})
    compressors = BASES[mpi_fed.Compressor]
    (tmp_path / "half.py").write_text(PLUGIN)
    try:
        plugins.load([tmp_path / "half.py"])
        assert compressors["half"].__name__ == "Half"
    finally:
        compressors.pop("half", None)


def test_a_class_without_a_family_is_refused() -> None:
    class Other:
        kind = "other"

    with pytest.raises(TypeError, match="Other belongs to no family of components; derive it from Problem, Algorithm"):
        register(Other)  # type: ignore[type-var]
