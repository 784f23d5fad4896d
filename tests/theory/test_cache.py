"""The digest of sources in a prediction's key covers all that theory imports, but what is known to decide nothing."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from importlib.util import resolve_name
from pathlib import Path

import mpi_fed
from mpi_fed.theory import cache

PACKAGE = Path(mpi_fed.__file__).parent


def imported_rooms(source: Path) -> Iterator[str]:
    """The top-level names of mpi_fed that a source file imports, anywhere in it."""
    package = ".".join(["mpi_fed", *source.relative_to(PACKAGE).parent.parts])
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.ImportFrom):
            module = resolve_name("." * node.level + (node.module or ""), package)
            names = [f"{module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        yield from (name.split(".")[1] for name in names if name.startswith("mpi_fed."))


def test_imports_are_found() -> None:
    assert {"compressors", "problems"} <= set(imported_rooms(PACKAGE / "theory" / "run_model.py"))
    assert {"files", "theory"} <= set(imported_rooms(PACKAGE / "theory" / "__init__.py"))


def test_the_digest_covers_what_theory_imports() -> None:
    assert "theory" in cache.SOURCES
    for room in cache.SOURCES:
        assert (PACKAGE / room).is_dir()
        rooms = {name for source in (PACKAGE / room).rglob("*.py") for name in imported_rooms(source)}
        assert rooms <= {*cache.SOURCES, *cache.WITHOUT_INFLUENCE}, f"of what {room} imports"
