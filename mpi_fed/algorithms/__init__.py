"""The algorithms, one file each. Importing this package registers them."""

from . import sgd
from .base import Algorithm, Steps, algorithms

__all__ = ["Algorithm", "Steps", "algorithms", "sgd"]
