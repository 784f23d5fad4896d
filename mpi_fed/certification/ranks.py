"""Start of the two ranks of a certification, and reading of their certificates."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .document import Certificate


@dataclass(frozen=True)
class Request:
    """Work of the ranks, which `python -m mpi_fed.certification` gets as JSON."""

    draws: int
    """Number of messages drawn for each fixed vector up to 64 dimensions."""
    dimension: int | None = None
    """The only dimension, or None for the default dimensions."""
    only: str | None = None
    """Text that the labels of the certified compressors must contain."""
    compressor: dict[str, Any] | None = None
    """Table of the only compressor, or None for all registered compressors."""
    plugins: Sequence[str] = ()
    """Plugin files to load."""

    def to_json(self) -> str:
        """Return the request as one argument of a command line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Request:
        """Return the request that `to_json` wrote."""
        return cls(**json.loads(text))


def certificates(request: Request) -> tuple[int, list[Certificate]]:
    """Return the exit status of the ranks and, if it is 0, the certificates.

    Raises WorldError if the ranks cannot be started.
    """
    from ..launch.launcher import run_programs

    with tempfile.TemporaryDirectory(prefix="mpi-fed-certify-") as folder:
        result = Path(folder) / "result.json"
        program = [sys.executable, "-P", "-m", "mpi_fed.certification", str(result), request.to_json()]
        status = run_programs(2, [program])[0]
        if status != 0:
            return status, []
        return 0, [Certificate.from_json(fields) for fields in json.loads(result.read_text())]
