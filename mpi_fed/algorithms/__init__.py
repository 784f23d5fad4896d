"""The algorithms, one file each. Importing this package registers them. A new algorithm needs one line here."""

from . import (
    control_variates,
    delayed_sgd,
    error_feedback,
    sgd,
)
from .base import Algorithm, Steps, algorithms

__all__ = ["Algorithm", "Steps", "algorithms"]
