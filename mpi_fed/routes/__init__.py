"""The routes, one file each. Importing this package registers them. A new route needs one line here."""

from . import (
    allgather,
    allgatherv,
    allreduce,
    auto,
    gather,
    gatherv,
    reduce,
    reduce_levels,
    tree,
    tree_reduce,
)
from .base import Route, routes

__all__ = ["Route", "routes"]
