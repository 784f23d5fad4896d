"""`mpi-fed bench`: the time of a round of the compiled loop, phase by phase, and of its bare collectives.

`command.py` is called by `mpi-fed`. `document.py` defines the JSON documents field by field. `cases.py` chooses the
cases, `measure.py` runs on the ranks, `result.py` computes results from samples, `floor.py` times a program in C,
`machine.py` describes the machine, `table.py` prints. `load.py` reads a saved document, `compare.py` compares two
documents, and `compare_table.py` prints the comparison. Only `measure.py` and `machine.py` need MPI.
"""

VALID, INVALID = "VALID", "INVALID"
CONVENTION = (
    "percentiles are nearest ranks: the smallest sample that so many per cent of all samples do not exceed; a round is "
    "gradient + encode on the slowest rank, then uplink + decode + update + downlink on the slowest, including the "
    "packing and unpacking of a compressed downlink; communication is uplink + downlink at the root"
)
"""The definitions of a bench's results, in the table and in the JSON document."""
