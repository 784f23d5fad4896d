"""The routes, one file each. Importing this package registers them."""

from . import auto, gather, gatherv
from .base import Route, routes

__all__ = ["Route", "auto", "gather", "gatherv", "routes"]
