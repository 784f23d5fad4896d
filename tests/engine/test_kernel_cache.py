"""Compiled kernels on disk are always up to date and undamaged, and belong to the right types."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import llvmlite.binding
import numpy as np
import pytest
from support import cache_program, command
from support.study_text import write_study

import mpi_fed
from mpi_fed.engine import compilation

pytestmark = pytest.mark.slow

PROGRAM = cache_program.__file__
TYPES = ["float64", "int64", "float32", "int32", "complex128", "int16"]


def start(*arguments: object, cache: Path, source: Path | None = None) -> subprocess.Popen[str]:
    variables = {**os.environ, "MPI_FED_CACHE_DIR": str(cache)}
    if source:
        variables["PYTHONPATH"] = str(source)
    words = [sys.executable, PROGRAM, *map(str, arguments)]
    pipe = subprocess.PIPE
    return subprocess.Popen(words, env=variables, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def next_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def output(process: subprocess.Popen[str]) -> str:
    printed, errors = process.communicate(timeout=command.PATIENCE)
    assert process.returncode == 0, errors
    return printed


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Folder with a copy of the package."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(mpi_fed.__file__).parent, tmp_path / "source" / "mpi_fed", ignore=ignored)
    return tmp_path / "source"


def edit(source: Path, file: str, old: str, new: str) -> None:
    path = source / "mpi_fed" / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def pack(tmp_path: Path, source: Path) -> tuple[str, str]:
    """Return the digest in the cache's name, and the bytes packed by wire_floats.py, which uses random_streams.py."""
    digest, payload = output(start("pack", cache=tmp_path / "cache", source=source)).split()
    return digest, payload


def test_no_kernel_is_stale_after_an_edit_of_another_file(tmp_path: Path, source: Path) -> None:
    """The file wire_floats.py does not change, so numba's own check does not notice the edit."""
    before = pack(tmp_path, source)
    edit(source, "engine/random_streams.py", "x1, 42)", "x1, 41)")
    after = pack(tmp_path, source)
    assert after[0] != before[0]
    assert after[1] != before[1]
    edit(source, "engine/random_streams.py", "x1, 41)", "x1, 42)")
    assert pack(tmp_path, source) == before


def test_without_the_digest_a_kernel_is_stale(tmp_path: Path, source: Path) -> None:
    """If all caches have the same name, the edit is not noticed. So the test above can fail."""
    edit(source, "engine/compilation.py", "return parts.hexdigest()[:16]", 'return "frozen"')
    before = pack(tmp_path, source)
    edit(source, "engine/random_streams.py", "x1, 42)", "x1, 41)")
    assert pack(tmp_path, source) == before


PLUGIN = """
from mpi_fed.engine.compilation import compiling, kernel

@kernel
def number():
    return {}

with compiling():
    print(number())
"""


def test_no_kernel_of_a_plugin_is_stale(tmp_path: Path) -> None:
    """The file keeps its size and modification time, which numba checks."""
    plugin = tmp_path / "plugin.py"
    load = "import sys; from mpi_fed import plugins; plugins.load(sys.argv[1:])"
    variables = {**os.environ, "MPI_FED_CACHE_DIR": str(tmp_path / "cache")}
    for number in (1, 2, 1):
        plugin.write_text(PLUGIN.format(number))
        os.utime(plugin, (10**9, 10**9))
        words = [sys.executable, "-c", load, str(plugin)]
        ended = subprocess.run(words, env=variables, capture_output=True, text=True, check=False)
        assert ended.stdout == f"{number}\n", ended.stderr
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_the_digest_covers_modules_that_a_plugin_imports_from_its_folder(tmp_path: Path) -> None:
    (tmp_path / "plugin.py").write_text("import helper_of_plugin\n")
    code = """
import sys
from mpi_fed import plugins
from mpi_fed.engine import compilation
plugins.load(sys.argv[1:])
print(compilation.digest())
"""
    digests = []
    for text in ("one = 1", "one = 2", "one = 1"):
        (tmp_path / "helper_of_plugin.py").write_text(text)
        words = [sys.executable, "-c", code, str(tmp_path / "plugin.py")]
        variables = {**os.environ, "PYTHONPATH": str(tmp_path)}
        ended = subprocess.run(words, env=variables, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stderr
        digests.append(ended.stdout)
    assert digests[0] == digests[2] != digests[1]


def test_the_digest_depends_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    before = compilation.digest()
    monkeypatch.setattr(llvmlite.binding, "get_host_cpu_name", lambda: "another")
    assert compilation.digest() != before


RIGHT = {name: f"{name} 36.0\n" for name in TYPES}


@pytest.mark.parametrize("attempt", range(2))
def test_processes_may_fill_one_cache_at_the_same_time(tmp_path: Path, attempt: int) -> None:
    """Six processes compile kernels for six types, each in another order, with pauses after they read the index."""
    together = [start("wide", *TYPES[i:], *TYPES[:i], cache=tmp_path) for i in range(len(TYPES))]
    for i, process in enumerate(together):
        assert output(process) == "".join(RIGHT[name] for name in [*TYPES[i:], *TYPES[:i]])
    assert output(start("fill", *TYPES, cache=tmp_path)) == "".join(RIGHT.values())


def test_a_process_waits_only_while_another_compiles_the_same_kernel(tmp_path: Path) -> None:
    """While one process compiles for float64, a second one waits for it, and a third one compiles for int64.

    After the compilation no process waits.
    """
    first = start("named", "float64", "--held", cache=tmp_path)
    assert [next_line(first) for _ in range(2)] == ["begun\n", "in\n"]
    assert output(start("named", "int64", cache=tmp_path)) == "begun\ncompiled\n"
    second = start("named", "float64", cache=tmp_path)
    assert next_line(second) == "begun\n"
    time.sleep(1)  # long enough to compile the kernel if there were no lock
    for process, expected in ((first, "compiled\n"), (second, "loaded\n")):
        printed, errors = process.communicate("\n", timeout=command.PATIENCE)
        assert (process.returncode, printed) == (0, expected), errors
    idle = start("named", "float64", "--held", cache=tmp_path)
    assert [next_line(idle) for _ in range(2)] == ["begun\n", "in\n"]
    assert output(start("named", "float64", cache=tmp_path)) == "begun\nloaded\n"
    assert idle.communicate("\n", timeout=command.PATIENCE)[0] == "loaded\n"


def test_a_copy_of_the_sources_is_compiled_separately(tmp_path: Path, source: Path) -> None:
    """A copy has the same digest, and so the same folder, in which numba keeps separate code for each copy."""
    cache = tmp_path / "cache"
    for copy in (None, source):
        output(start("named", "float64", cache=cache, source=copy))
    assert len(list(cache.iterdir())) == 1
    assert len(list(cache.glob("*/*.lock"))) == 2


def test_a_failed_compilation_does_not_count_as_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilation, "FOLDER", tmp_path)

    def fail() -> None:
        with compilation.compiling("a test"):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    (file,) = tmp_path.iterdir()
    assert file.stat().st_size == 0
    with compilation.compiling("a test"):
        pass
    assert file.stat().st_size > 0


def test_without_the_lock_processes_get_wrong_kernels(tmp_path: Path) -> None:
    """A kernel is loaded in place of another kernel. So the tests above can fail."""
    first, second = TYPES[:2]
    for process in [start("collide", first, 0, cache=tmp_path), start("collide", second, 1, cache=tmp_path)]:
        output(process)
    assert output(start("fill", first, cache=tmp_path)) != RIGHT[first]


WIDEN = """
import time
from numba.core.caching import IndexDataCacheFile

load = IndexDataCacheFile._load_index

def slowly(self):
    index = load(self)
    time.sleep(0.02)
    return index

IndexDataCacheFile._load_index = slowly
"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    compressors = ("none", {"kind": "bernoulli", "p": 0.5}, {"kind": "quantization", "levels": 1})
    problem, algorithm = {"dimension": 20}, {"initial": "normal"}
    path = tmp_path / "test.toml"
    return write_study(path, *compressors, rounds=100, clients=2, problem=problem, algorithm=algorithm)


def test_a_run_uses_the_cache_only_under_the_lock(tmp_path: Path, study: Path) -> None:
    """The first run fills the cache, and the second run loads from the cache."""
    first, second = (output(start("audit", study, tmp_path / out, cache=tmp_path / "cache")) for out in "ab")
    saved, loaded = {"_save_data", "_save_index"}, {"_load_data", "_load_index"}
    assert saved < set(first.split()) <= saved | loaded
    assert second == "_load_data _load_index\n"


def test_worlds_may_fill_one_cache_at_the_same_time(tmp_path: Path, study: Path) -> None:
    """Six ranks of three worlds need different kernels, first with an empty cache and then with a full one."""
    plugin = tmp_path / "widen.py"
    plugin.write_text(WIDEN)
    command.run("run", study, "--ranks=2", f"--out={tmp_path / 'calm'}", "--no-analyze")
    reference = command.logs(tmp_path / "calm" / "test")
    assert len(reference) == 3
    for name in ("filled", "loaded"):
        options = ["--ranks=2", "--jobs=3", f"--plugin={plugin}", f"--out={tmp_path / name}", "--no-analyze"]
        command.run("run", study, *options, MPI_FED_CACHE_DIR=str(tmp_path / "cache"))
        for label, log in command.logs(tmp_path / name / "test").items():
            command.assert_same(log, reference[label])


def unwritable_by_name(folder: Path) -> Path:
    (folder / "file").touch()
    return folder / "file" / "cache"


def unwritable_by_mode(folder: Path) -> Path:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    folder.chmod(0o500)
    return folder / "cache"


@pytest.mark.parametrize("make", [unwritable_by_name, unwritable_by_mode])
def test_without_a_cache_folder_a_process_uses_a_temporary_one(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    cache = make(tmp_path)
    assert len(output(start("pack", cache=cache)).split()) == 2
    assert not cache.exists()


def test_without_locks_a_process_uses_a_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(file: object, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setenv("MPI_FED_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(fcntl, "flock", no_locks)
    first, second = compilation.cache_folder(), compilation.cache_folder()
    assert first != second
    assert tmp_path not in first.parents
    assert first.is_dir()


def test_compiled_code_is_loaded_in_later_processes(tmp_path: Path) -> None:
    output(start("pack", cache=tmp_path))
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nb*")}
    assert len(files) > 2
    output(start("pack", cache=tmp_path))
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nb*")} == files
    assert np.all([path.stat().st_size > 0 for path in files])
