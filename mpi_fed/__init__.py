"""MPI benchmark suite for compressed federated least-squares regression."""

__version__ = "0.1.0"
