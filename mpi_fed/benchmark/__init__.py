"""What `mpi-fed bench` does: a round of the real loop, timed phase by phase, beside its bare collectives.

`cases.py` says of what, `measure.py` is the ranks' part, `result.py` turns samples into figures, `machine.py` says
where they come from, `table.py` shows them. All but `measure.py` and `machine.py` need no MPI.
"""

VALID, INVALID = "VALID", "INVALID"
CONVENTION = (
    "percentiles are nearest ranks: the smallest sample that so many per cent of all samples do not exceed; a round is "
    "gradient + encode on the slowest rank, then uplink + decode + update + downlink on the slowest, with what packs "
    "and unpacks a compressed downlink; communication is uplink + downlink at the root"
)
