"""`mpi-fed doctor`: check MPI, its launcher and this machine, and show how to fix what is wrong."""
