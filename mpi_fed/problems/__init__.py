"""The least-squares problems, one file each. Importing this package registers them; a new one needs one line here."""

from . import (
    arrays,
    digits,
    file,
    gaussian,
    openml,
)
from .base import Problem, problems

__all__ = ["Problem", "problems"]
