"""What `mpi-fed bench` does: a round of the real loop, timed phase by phase, beside its bare collectives.

`cases.py` says of what, `measure.py` is the ranks' part, `result.py` turns samples into figures, `machine.py` says where
they come from, `table.py` shows them. All but `measure.py` and `machine.py` need no MPI.
"""
