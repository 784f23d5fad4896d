"""Certification: comparison of each compressor with its definition, on messages that one rank sends to another.

Rank 1 acts for the clients: it encodes messages into a byte buffer, and compiled code sends the buffer by MPI to rank
0, the root. The root decodes from only these bytes and the shared random numbers, and compares the results with the
definition. `cases.py` lists the cases. `examine.py` turns a case into a certificate (`document.py`): `exact.py` checks
the properties that must hold with certainty, and `statistics.py` compares draws with their expected moments.
"""
