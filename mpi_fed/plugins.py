"""A user's own compressors, problems, algorithms or routes, loaded from the files named by --plugin.

Loading runs the file's code: only files that the person at the command line names are loaded, none because a
study mentions it.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from .errors import InputError

loaded: dict[str, Path] = {}
"""The plugin files loaded so far, by the name of their module."""


def load(files: Iterable[str | os.PathLike[str]]) -> None:
    """Load plugin files. A module's name depends on stem and content alone, so it is the same on every rank.

    Raises InputError where a file cannot be read or its code fails.
    """
    sources: dict[str, bytes] = {}
    for file in files:
        path = Path(os.path.abspath(file))
        source = _read(path, file)
        digest = hashlib.sha256(source).hexdigest()[:12]
        name = f"mpi_fed_plugin_{re.sub('[^0-9A-Za-z]', '_', path.stem)}_{digest}"
        if name not in loaded:
            sources[name] = source
            loaded[name] = path  # before any is executed: the code compiled first may depend on which there are
    for name, source in sources.items():
        _execute(name, loaded[name], source)


def sources() -> list[Path]:
    """The plugin files, and the modules beside or below them that have been imported: what their code depends on."""
    files = set(loaded.values())
    folders = {path.parent for path in files}
    for name, module in list(sys.modules.items()):
        path = Path(getattr(module, "__file__", None) or "")
        if folders & set(path.parents) and "site-packages" not in path.parts and not name.startswith("mpi_fed"):
            files.add(path)
    return sorted(path for path in files if path.is_file())


def place_in(message: str) -> tuple[str, int] | None:
    """(`FILE: line N`, position in the message) of the plugins' innermost line that a message of the compiler names."""
    plugin_files, places = set(sources()), []
    for match in re.finditer(r'File "(.+?)", line (\d+)|at (\S+) \((\d+)\)', message):
        path = Path(os.path.abspath(match[1] or match[3]))
        if path in plugin_files:
            places.append((f"{path}: line {match[2] or match[4]}", match.start()))
    return places[0] if places else None


def _read(path: Path, file: str | os.PathLike[str]) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"--plugin {file}: cannot read the file ({error.strerror or error})") from None


def _execute(name: str, path: Path, source: bytes) -> None:
    """Make a module of the source, without a bytecode cache, which could be stale."""
    module = ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module
    try:
        exec(compile(source, path, "exec", dont_inherit=True), module.__dict__)
    except (Exception, SystemExit) as error:
        del sys.modules[name], loaded[name]
        raise InputError(f"--plugin {path}: {_line(error, path)}{type(error).__name__}: {error}") from error


def _line(error: BaseException, path: Path) -> str:
    """`line 7: ` for the plugin's innermost line that failed."""
    lines = []
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            lines.append(trace.tb_lineno)
        trace = trace.tb_next
    return f"line {lines[-1]}: " if lines else ""
