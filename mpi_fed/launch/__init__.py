"""Starting and ending ranks: launchers, the environment of ranks, the MPI world, signals."""
