"""What MPI there is, which launcher belongs to it, what is wrong and how to fix it."""
