"""`mpi-fed scaling`: speed-up and efficiency of a configuration on different numbers of ranks, computed from logs."""
