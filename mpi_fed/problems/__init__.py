"""The least-squares problems, one file each. Importing this package registers them: a new one is a line here."""

from . import (
    arrays,
    digits,
    file,
    gaussian,
    openml,
)
from .base import Problem, problems

__all__ = ["Problem", "problems"]
