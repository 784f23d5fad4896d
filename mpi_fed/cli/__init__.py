"""The command line `mpi-fed`."""
