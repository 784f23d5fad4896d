"""A cost model of a round, fitted to results of `mpi-fed bench`, which predicts times on machines not at hand.

    results -> points -> fitted costs (collectives, codecs) -> a machine -> seconds of a round, to a risk, break-even

`points.py` reads the results. `recipe.py` extends a compressor to any dimension. `collectives.py` and `costs.py` define
the terms of the costs, and `fit.py` fits their factors. `machine.py` describes machines, `rounds.py` computes rounds to
a risk by theory, `answer.py` combines them, `held_out.py` measures the model's error, and `table.py` prints. Nothing
here needs MPI.
"""
