"""Does compression pay on a machine nobody has here? A cost model of a round, fitted to results of `mpi-fed bench`.

    results -> points -> fitted costs (collectives, codecs) -> a machine -> seconds of a round, to a risk, break-even

`points.py` reads the results, `recipe.py` says which compressor one is at any dimension; `fit.py` fits,
`collectives.py` and `costs.py` say what; `machine.py` describes machines; `rounds.py` asks theory for rounds;
`answer.py` puts it together; `held_out.py` measures the model's error; `table.py` shows it all. Nothing here needs MPI.
"""
