"""The least-squares problems, one file each. Importing the package registers them; add new ones here."""

from . import (
    arrays,
    digits,
    file,
    gaussian,
    openml,
)
from .base import Problem, problems

__all__ = ["Problem", "problems"]
