"""The digest of sources in a prediction's key covers all modules whose code can affect a prediction."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from importlib.util import resolve_name
from pathlib import Path

import mpi_fed
from mpi_fed.theory import cache

PACKAGE = Path(mpi_fed.__file__).parent


def imported_packages(source: Path) -> Iterator[str]:
    """Yield the top-level names of mpi_fed that a source file imports, at any place in the file."""
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
    assert {"compressors", "problems"} <= set(imported_packages(PACKAGE / "theory" / "run_model.py"))
    assert {"files", "theory"} <= set(imported_packages(PACKAGE / "theory" / "__init__.py"))


def test_the_digest_covers_the_imports_of_theory() -> None:
    assert "theory" in cache.SOURCES
    for folder in cache.SOURCES:
        assert (PACKAGE / folder).is_dir()
        packages = {name for source in (PACKAGE / folder).rglob("*.py") for name in imported_packages(source)}
        assert packages <= {*cache.SOURCES, *cache.WITHOUT_INFLUENCE}, f"an import of {folder} is not covered"
