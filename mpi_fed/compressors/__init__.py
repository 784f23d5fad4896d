"""The compressors, one file each. Importing this package registers them. A new compressor needs one line here."""

from . import (
    bernoulli,
    none,
    partial_participation,
    quantization,
    rand_h,
    sketch,
    top_k,
)
from .base import Compressor, compressors

__all__ = ["Compressor", "compressors"]
