"""Whether this process runs rounds. Those that only read studies, predict or analyse never load the compiler."""

import os

compile_kernels: bool = os.environ.get("NUMBA_DISABLE_JIT", "0") in ("", "0")
"""Read once, when `compilation` is first imported. NUMBA_DISABLE_JIT=1 gives plain Python with the same bits."""
