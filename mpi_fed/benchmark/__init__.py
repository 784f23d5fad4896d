"""What `mpi-fed bench` does: a round of the real loop, timed phase by phase, beside its bare collectives.

`command.py` is what `mpi-fed` calls. `document.py` has the JSON documents field by field. `cases.py` chooses what is
timed, `measure.py` is the ranks' part, `result.py` turns samples into figures, `floor.py` times C, `machine.py`
describes the machine, `table.py` prints. `load.py` reads a saved document, `compare.py` compares two of them, and
`compare_table.py` prints that. All but `measure.py` and `machine.py` need no MPI.
"""

VALID, INVALID = "VALID", "INVALID"
CONVENTION = (
    "percentiles are nearest ranks: the smallest sample that so many per cent of all samples do not exceed; a round is "
    "gradient + encode on the slowest rank, then uplink + decode + update + downlink on the slowest, with what packs "
    "and unpacks a compressed downlink; communication is uplink + downlink at the root"
)
