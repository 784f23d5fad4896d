"""The compiled round with its MPI calls: compilation, random numbers, wire, ledger and the components' operations."""
