"""Load the plugin files given with --plugin, which define compressors, problems, algorithms or routes.

Loading a file runs its code. Only files that the user names on the command line are loaded, never files that a study
mentions.
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
"""The plugin files loaded so far, by module name."""


def load(files: Iterable[str | os.PathLike[str]]) -> None:
    """Load plugin files, and register their components.

    The name of a module depends only on the stem and the content of its file, so it is the same on every rank.

    Parameters
    ----------
    files : iterable of paths
        The plugin files.

    Raises
    ------
    InputError
        If a file cannot be read or its code fails.
    """
    sources: dict[str, bytes] = {}
    for file in files:
        path = Path(os.path.abspath(file))
        source = _read(path, file)
        digest = hashlib.sha256(source).hexdigest()[:12]
        name = f"mpi_fed_plugin_{re.sub('[^0-9A-Za-z]', '_', path.stem)}_{digest}"
        if name not in loaded:
            sources[name] = source
            loaded[name] = path  # before any file is executed: the digest of compiled code covers all plugins
    for name, source in sources.items():
        _execute(name, loaded[name], source)


def sources() -> list[Path]:
    """Return the plugin files and the imported modules in their folders and subfolders, on which their code depends."""
    files = set(loaded.values())
    folders = {path.parent for path in files}
    for name, module in list(sys.modules.items()):
        path = Path(getattr(module, "__file__", None) or "")
        if folders & set(path.parents) and "site-packages" not in path.parts and not name.startswith("mpi_fed"):
            files.add(path)
    return sorted(path for path in files if path.is_file())


def place_in(message: str) -> tuple[str, int] | None:
    """Return the innermost line of a plugin that a message of the compiler mentions.

    The result is ("FILE: line N", position in the message), or None if the message mentions no line of a plugin.
    """
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
    """Make a module from the source, without a bytecode cache, which could be out of date."""
    module = ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module
    try:
        exec(compile(source, path, "exec", dont_inherit=True), module.__dict__)
    except (Exception, SystemExit) as error:
        del sys.modules[name], loaded[name]
        raise InputError(f"--plugin {path}: {_line(error, path)}{type(error).__name__}: {error}") from error


def _line(error: BaseException, path: Path) -> str:
    """Return the plugin's innermost line that failed, as `line 7: `, or an empty text."""
    lines = []
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            lines.append(trace.tb_lineno)
        trace = trace.tb_next
    return f"line {lines[-1]}: " if lines else ""
