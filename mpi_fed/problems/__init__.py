"""The least-squares problems, one file each. Importing this package registers them."""

from . import arrays, digits, file, gaussian, openml
from .base import Problem, problems

__all__ = ["Problem", "arrays", "digits", "file", "gaussian", "openml", "problems"]
