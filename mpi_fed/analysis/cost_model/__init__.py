"""A cost model of a round, fitted to results of `mpi-fed bench`, that predicts times on other machines.

    results -> points -> fitted costs (collectives, codecs) -> a machine -> seconds of a round and to a risk, break-even

`points.py` reads the results. `recipe.py` extends a compressor to any dimension. `collectives.py` and `costs.py` define
the terms of the costs, and `fit.py` fits their factors. `machine.py` describes machines, `rounds.py` predicts the
rounds to a risk, `answer.py` combines costs and rounds, `held_out.py` measures the model's error, and `table.py`
prints. No module of this folder needs MPI.
"""
