"""Helpers that tests share: commands, processes, MPI worlds, synthetic logs, simulations in NumPy."""
