"""Program of one rank of a certification: python -m mpi_fed.certification RESULT REQUEST."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from ..launch.world import guard, start
from ..terminal.width import TERMINAL_WIDTH
from .ranks import Request


def main(result: str, request: str) -> None:
    """Examine every case of a request on two ranks. The root writes the certificates to the file `result`."""
    world, wanted = start(), Request.from_json(request)
    with guard(world):
        from .. import plugins

        plugins.load(wanted.plugins)
        from ..terminal.progress import Progress
        from .cases import case_of, cases
        from .channel import Channel
        from .examine import examine

        work = (
            cases(wanted.dimension, wanted.only)
            if wanted.compressor is None
            else [case_of(wanted.compressor, wanted.dimension, wanted.draws)]
        )
        channel, certificates = Channel(world.comm), []
        shown = world.is_root and TERMINAL_WIDTH in os.environ  # a file would get a line for each compressor
        with Progress(len(work), enabled=shown) as progress:
            for case in work:
                progress.start(case.label)
                certificates.append(examine(case, wanted.draws, channel))
                progress.advance(1)
        if world.is_root:
            documents = [certificate.to_json() for certificate in certificates]
            Path(result).write_text(json.dumps(documents, allow_nan=False))


if __name__ == "__main__":
    main(*sys.argv[1:])
