"""Certification: each compressor against its definition, through the wire, between two ranks.

Rank 1 is the clients: it encodes into a byte buffer. The buffer travels by MPI calls of compiled code to rank 0, the
root, which decodes from exactly those bytes and the shared stream, and compares the result with theory.
`cases.py` lists what is certified, `examine.py` makes a certificate (`document.py`) of a case: `exact.py` checks what
must hold with certainty, `statistics.py` compares draws with their expected moments.
"""
