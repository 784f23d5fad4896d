"""The compiled round, with MPI inside: compilation, random numbers, wire, ledger and the operations of components."""
