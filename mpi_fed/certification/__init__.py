"""Certification: comparison of each compressor with its definition, by messages between two ranks.

Rank 1 stands for the clients and encodes into a byte buffer. MPI calls of compiled code send the buffer to rank 0, the
root, which decodes from exactly those bytes and the shared random numbers and compares the result with theory.
`cases.py` lists the cases. `examine.py` turns a case into a certificate (`document.py`): `exact.py` checks the
properties that must hold with certainty, `statistics.py` compares draws with their expected moments.
"""
