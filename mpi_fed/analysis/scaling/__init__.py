"""`mpi-fed scaling`: speed-up and efficiency of one configuration on several numbers of ranks, computed from logs."""
