"""`mpi-fed predict`: the predictions for a study, without running it."""

from __future__ import annotations

import json as json_text
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..problems.population import Population
from ..study.configuration import Configuration
from ..study.load import Study, load_study
from ..study.plan import check_problems
from . import Prediction
from . import predict as predict_configuration

__all__ = ["Prediction", "predict", "predict_studies", "predictions"]


def predict(study: Study | str | os.PathLike[str] | Mapping[str, Any]) -> list[dict[str, Any]]:
    """Predict the risk of every configuration of a study, without running the study.

    Parameters
    ----------
    study : Study, path or mapping
        A study, or an argument that `load_study` accepts.

    Returns
    -------
    list of dict
        One dictionary for each configuration, in the order of the study, as `mpi-fed predict --json` prints it: the
        fields of `mpi_fed.theory.Prediction`. `limit_trace` is Tr(C_ania H^-1): the expected excess risk of the
        averaged iterate tends to limit_trace / (2 K) as the rounds K grow and the step size vanishes.
        `excess_risk_averaged` and `excess_risk_last` are lists of the expected excess risks after `log_rounds` rounds.
        `prediction_kind` is `"exact"` or `"approximate"`. Risks and traces have the unit of y^2. A field without a
        prediction is None, and `note` gives the reason if there are no risks.

    Raises
    ------
    InputError
        If the study or its data are wrong.

    See Also
    --------
    mpi_fed.theory.predict : The prediction for one configuration, with the formulas.

    References
    ----------
    C. Philippenko and A. Dieuleveut, "Compressed and distributed least-squares regression: convergence rates with
    applications to Federated Learning", arXiv 2308.01358, 2023.

    Examples
    --------
    >>> import mpi_fed
    >>> study = {
    ...     "study": {"name": "one", "rounds": 1000},
    ...     "problem": {"kind": "gaussian", "dimension": 10},
    ...     "compressor": [{"kind": "none"}],
    ... }
    >>> prediction = mpi_fed.predict(study)[0]
    >>> round(prediction["limit_trace"], 6), prediction["prediction_kind"]
    (10.0, 'exact')
    """
    study = study if isinstance(study, Study) else load_study(study)
    check_problems([study])
    return _objects(study)


def predict_studies(studies: Sequence[Study], json: bool) -> int:
    """Print the predictions for studies, as one table a study or as one JSON list, and return the exit status.

    Raises InputError if a problem cannot be prepared.
    """
    check_problems(studies)
    if json:
        listed = [prediction for study in studies for prediction in _objects(study)]
        print(json_text.dumps(listed, indent=2, allow_nan=False))
        return 0
    for study in studies:
        _print_table(study)
    return 0


def _objects(study: Study) -> list[dict[str, Any]]:
    return [prediction.to_json() for prediction in predictions(study.configurations)]


def predictions(configurations: Sequence[Configuration]) -> Iterator[Prediction]:
    """Yield the predictions in order. The problem of consecutive configurations is prepared once if it is the same."""
    shared: str | None = None
    population: Population | None = None
    for configuration in configurations:
        name = json_text.dumps([configuration.tables["problem"], configuration.clients])
        if name != shared:
            shared, population = name, configuration.problem.prepare(configuration.clients)
        yield predict_configuration(configuration, population)


def _print_table(study: Study) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, markup=False)
    table = Table(title=f"{study.name}: theory", title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("configuration", overflow="fold", min_width=16)
    for name in ("omega", "limit\ntrace", "plateau\ntrace", "averaged\nrisk", "bits"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("prediction", no_wrap=True)
    notes: dict[str, list[str]] = {}
    with Console(file=sys.stderr).status("predicting") as status:
        for number, prediction in enumerate(predictions(study.configurations), start=1):
            status.update(f"predicting: {number} of {len(study.configurations)} done")
            table.add_row(*_row(prediction))
            for note in _notes(prediction):
                notes.setdefault(note, []).append(prediction.label)
    console.print(table)
    rounds = sorted({f"{configuration.rounds:,}" for configuration in study.configurations})
    console.print(
        f"averaged risk: expected excess risk of the averaged iterate after {', '.join(rounds)} rounds. For many "
        "rounds it tends to (limit trace) / (2 rounds) as the step size vanishes, and to (plateau trace) / (2 rounds) "
        "at this step size. bits: expected length of a message. --json prints all fields."
    )
    for note, labels in notes.items():
        console.print(f"{', '.join(labels) if len(labels) < 4 else f'{len(labels)} configurations'}: {note}")


def _row(p: Prediction) -> list[str]:
    averaged = p.excess_risk_averaged[-1] if p.excess_risk_averaged else None
    numbers = (p.omega, p.limit_trace, p.plateau_trace, averaged, p.payload_bits)
    return [p.label, *map(_number, numbers), p.prediction_kind or "-"]


def _notes(p: Prediction) -> Iterator[str]:
    if p.note:
        yield p.note
    if p.stable is False:
        yield "the step size is too large: the second moments grow without bound, and runs diverge"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
