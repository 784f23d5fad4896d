"""The log of a configuration: one HDF5 file, written by `mpi-fed run` and read by the analysis."""
