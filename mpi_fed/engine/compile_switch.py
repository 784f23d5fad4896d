"""The switch for compilation. It has its own file, so that commands without rounds need not load the compiler."""

import os

compile_kernels: bool = os.environ.get("NUMBA_DISABLE_JIT", "0") in ("", "0")
"""True if kernels are compiled. NUMBA_DISABLE_JIT=1 gives plain Python with the same bits.

The module `compilation` reads the switch once, when it is first imported.
"""

# With colorama installed, numba would write a colour code to standard output at exit, behind a JSON document.
os.environ.setdefault("NUMBA_DISABLE_ERROR_MESSAGE_HIGHLIGHTING", "1")
