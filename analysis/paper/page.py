"""Write the page of the paper's experiments, part by part, as lines of Markdown."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Sequence

import numpy as np

from mpi_fed.analysis import read_log
from mpi_fed.analysis.document import Analysis, Entry
from mpi_fed.analysis.limit_law import compare_with_limit_law, draw_limit_law
from mpi_fed.study.configuration import Configuration
from mpi_fed.study.load import configuration_from_tables, load_study
from mpi_fed.theory import predict, prediction_seconds

from .figures import SGD, STUDIES, Figure, reading

READING, MARGIN, FAR = 0.02, 0.05, 3
"""Accuracy of readings from the paper's pictures; a difference from the paper counts beyond MARGIN and FAR errors."""
AS_EXPECTED = "as theory expects"
"""The remark on a measurement that differs from the paper and agrees with the prediction."""
SMALL = ("configuration", "measured", "expected", "ratio", "z", "expected at the paper's size", "paper")
WHOLE = ("configuration", "measured", "expected", "ratio", "z", "paper", "measured - paper", "remark")
"""The columns at the small and at the paper's size."""
DRAWS, DRAW_SECONDS, VISIBLE = 12, 1.0, 0.01
"""Number of other draws of a problem, the longest time to predict one draw, and the smallest scatter reported."""
THEORY_SECONDS = 200.0
"""Longest time for an expectation at the paper's size, on the page that `small` studies make."""


def answer(figures: Sequence[Figure], analyses: Sequence[Analysis], paper_size: bool) -> Iterator[str]:
    """Yield the title and the result in a few sentences."""
    yield "# Reproduction of the paper's experiments"
    yield ""
    entries = [entry for analysis in analyses for entry in analysis.configurations]
    p_values = [entry.p_value for entry in entries if entry.prediction_kind == "exact" and entry.p_value is not None]
    texts = list(agreement(figures, analyses)) if paper_size else []
    if p_values:
        level = 0.05 / len(p_values)
        differing = sum(p < level for p in p_values)
        outcome = "no measured risk differs"
        if differing:
            outcome = f"{differing} measured risk{'s differ' if differing > 1 else ' differs'}"
        texts.append(
            f"In these runs, {outcome} significantly from the exact expectation by theory ({len(p_values)} tests, "
            f"smallest p {min(p_values):.2g}, threshold 0.05/{len(p_values)})."
        )
    yield from paragraph(" ".join(texts))


def agreement(figures: Sequence[Figure], analyses: Sequence[Analysis]) -> Iterator[str]:
    """Yield sentences on the agreement of the measurements with the paper's pictures."""
    remarks = [
        against(entry, read)[-1]
        for figure, analysis in zip(figures, analyses, strict=True)
        for entry in at_the_end(analysis)
        if (read := reading(figure, entry.algorithm["kind"], entry.compressor["kind"])) is not None
        and entry.excess_risk_averaged.mean
    ]
    differing = [text for text in remarks if text]
    expected = sum(text.endswith(AS_EXPECTED) for text in differing)
    yield (
        f"{len(remarks) - len(differing)} of the {len(remarks)} final risks that can be compared with the paper's "
        f"pictures agree with them to within {FAR} standard errors or {MARGIN} in log10."
    )
    if differing:
        theory = "theory for this project's random draw of the problem"
        others = f"The other {len(differing)} agree with {theory}."
        if expected < len(differing):
            others = f"Of the other {len(differing)}, {expected} agree with {theory}."
        yield others


def at_the_end(analysis: Analysis) -> list[Entry]:
    """Return the entries with the largest number of rounds, with which the paper's readings are compared."""
    last = max(entry.rounds for entry in analysis.configurations)
    return [entry for entry in analysis.configurations if entry.rounds == last]


def head(paper_size: bool) -> Iterator[str]:
    """Yield the source of the page and the meaning of its columns."""
    command = f"python -m analysis.paper{' --paper-size' if paper_size else ''}"
    yield from paragraph(
        f"`{command}` wrote this page from the logs of its runs; `studies/paper/` has the studies with their sizes. "
        'The paper is Philippenko and Dieuleveut, "Compressed and distributed least-squares regression: convergence '
        'rates with applications to Federated Learning" (arXiv 2308.01358).'
    )
    yield from paragraph(
        "All risks are log10 of the final excess risk F(w_bar_K) - F(w*) of the averaged iterate. *measured*: the mean "
        "over repetitions, with its standard error converted to the logarithm. *expected*: its expectation by theory "
        "at the same K (~: approximate). *ratio*: measured over expected. *z*: their difference in standard errors. "
        f"*paper*: the value read from the paper's pictures, to about {READING}."
    )
    if paper_size:
        yield from paragraph(
            "These runs have the paper's dimension, clients, rounds and repetitions; only the runs on real data, on "
            "the distribution of the averaged iterate and in two dimensions are smaller. *measured - paper*: the "
            f"difference of the logarithms. If it exceeds both {FAR} standard errors and {MARGIN}, which allows for "
            "the accuracy of the readings, the *remark* says so, and whether theory agrees with the measurement; the "
            "text below the table names the differences between the two experiments. The paper's curves are also "
            "means of five repetitions, and scatter as much."
        )
    else:
        yield from paragraph(
            "These are scale models, with 20 dimensions and fewer rounds. So compare the paper's values with *expected "
            "at the paper's size*, not with *measured*: it is the expectation by theory for the full study, where "
            f"computing it takes less than about {THEORY_SECONDS:.0f} s."
        )


def paragraph(text: str) -> Iterator[str]:
    """Yield the lines of a paragraph, and an empty one."""
    yield from textwrap.wrap(text, 120, break_long_words=False, break_on_hyphens=False)
    yield ""


def section(figure: Figure, analysis: Analysis, paper_size: bool) -> Iterator[str]:
    """Yield the section of a figure: its table, and the remarks below it."""
    entries = analysis.configurations
    yield f"## {figure.title}"
    yield ""
    repetitions = {entry.repetitions for entry in entries}
    rounds = " and ".join(f"{k:,}" for k in sorted({entry.rounds for entry in entries}))
    first = entries[0]
    dimension = first.problem.get("dimension")
    size = f"d = {dimension}, " if dimension else ""
    yield (
        f"`studies/paper/{figure.study}.toml`: {size}N = {first.clients}, K = {rounds}, "
        f"{', '.join(map(str, sorted(repetitions)))} repetitions."
    )
    yield ""
    expected = {} if paper_size else paper_sized(figure)
    columns = WHOLE if paper_size and figure.readings else SMALL if figure.readings else WHOLE[:5]
    yield f"| {' | '.join(columns)} |"
    yield f"|{'---|' * len(columns)}"
    last = max(entry.rounds for entry in entries)
    for entry in entries:
        key = entry.algorithm["kind"], entry.compressor["kind"]
        at_end = entry.rounds == last
        read = reading(figure, *key) if at_end else None
        sized = expected.get(key, "-") if at_end else "-"
        cells = facts(entry) + (against(entry, read) if paper_size else [sized, number(read)])
        yield f"| {' | '.join(cells[: len(columns)])} |"
    yield ""
    if figure.remark:
        yield from paragraph(figure.remark)
    if figure.readings:
        yield from draws(figure)
    invalid = [f"{entry.label}: {'; '.join(entry.reasons)}" for entry in entries if not entry.valid]
    if invalid:
        yield from paragraph(f"INVALID: {'. '.join(invalid)}.")
    if figure.study == "clt":
        yield from laws(entries)


def facts(entry: Entry) -> list[str]:
    """Return the cells of a configuration: label, measured risk, expected risk, the ratio of these risks, and z."""
    mean, error = entry.excess_risk_averaged.mean, log_error(entry)
    measured = "diverged" if mean is None else logarithm(mean)
    if error is not None:
        measured += f" +-{error:.2f}"
    expected = entry.predicted_excess_risk_averaged
    about = "~" if entry.prediction_kind == "approximate" else ""
    return [
        entry.label,
        measured,
        "-" if expected is None else about + logarithm(expected),
        "-" if entry.variance_ratio is None else f"{entry.variance_ratio:.2f}",
        "-" if entry.z is None else f"{entry.z:.1f}",
    ]


def log_error(entry: Entry) -> float | None:
    """Return the standard error of log10 of the mean risk."""
    mean, error = entry.excess_risk_averaged.mean, entry.excess_risk_averaged.standard_error
    return error / mean / math.log(10) if mean and error is not None else None


def against(entry: Entry, read: float | None) -> list[str]:
    """Return the cells of the paper's reading, the difference from this reading, and a remark on a large difference."""
    mean = entry.excess_risk_averaged.mean
    if read is None or not mean:
        return [number(read), "-", ""]
    difference, error = math.log10(mean) - read, log_error(entry) or 0.0
    return [number(read), f"{difference:+.2f}", remark(entry, difference, error)]


def remark(entry: Entry, difference: float, error: float) -> str:
    """Return a remark on a large difference from the paper and on the prediction; else an empty text."""
    if abs(difference) <= max(MARGIN, FAR * error):
        return ""
    errors = f", {abs(difference) / error:.0f} standard errors" if error else ""
    text = f"{'above' if difference > 0 else 'below'} the paper{errors}"
    mean, expected = entry.excess_risk_averaged.mean, entry.predicted_excess_risk_averaged
    if not expected or not mean:
        return text
    away = abs(math.log10(mean / expected))
    return f"{text}; {AS_EXPECTED if away <= max(MARGIN, FAR * error) else 'theory agrees with neither'}"


def number(value: float | None) -> str:
    """Return a number with two decimals, or a dash for None."""
    return "-" if value is None else f"{value:.2f}"


def logarithm(value: float) -> str:
    """Return log10 of a number with two decimals, or 0 for 0."""
    return f"{math.log10(value):.2f}" if value > 0 else "0"


def paper_sized(figure: Figure) -> dict[tuple[str, str], str]:
    """Return the expectations for the full study at its largest K: (algorithm, compressor) -> text."""
    if not figure.readings:
        return {}
    study = load_study(STUDIES / f"{figure.study}.toml")
    last = max(configuration.rounds for configuration in study.configurations)
    texts = {}
    for configuration in study.configurations:
        if configuration.rounds < last or prediction_seconds(configuration) > THEORY_SECONDS:
            continue
        prediction = predict(configuration, log_rounds=[last])
        value = prediction.excess_risk_averaged and prediction.excess_risk_averaged[-1]
        about = "~" if prediction.prediction_kind == "approximate" else ""
        if value:
            texts[configuration.algorithm.kind, configuration.compressor.kind] = about + logarithm(value)
    return texts


def draws(figure: Figure) -> Iterator[str]:
    """Yield the expectations for other draws of rotation and optima, because the paper has a different draw."""
    study = load_study(STUDIES / f"{figure.study}.toml")
    last = max(configuration.rounds for configuration in study.configurations)
    texts = []
    for configuration in study.configurations:
        key = configuration.algorithm.kind, configuration.compressor.kind
        if configuration.rounds < last or key[0] != SGD or prediction_seconds(configuration) > DRAW_SECONDS:
            continue
        values = [expectation(redrawn(configuration, seed)) for seed in range(DRAWS)]
        known = np.log10([value for value in values if value])
        if len(known) == DRAWS and (spread := float(np.std(known, ddof=1))) >= VISIBLE:
            texts.append(
                f"{key[1]} {known.mean():.2f} with a standard deviation of {spread:.2f} (the draw above "
                f"{known[0]:.2f}, the paper {number(reading(figure, *key))})"
            )
    if texts:
        yield from paragraph(
            f"The paper's rotation and optima are other random draws than this project's. At the paper's size, the "
            f"expectations by theory over {DRAWS} draws are: {'; '.join(texts)}."
        )


def redrawn(configuration: Configuration, seed: int) -> Configuration:
    """Return the configuration with another draw of the problem."""
    tables = configuration.tables
    return configuration_from_tables({**tables, "problem": {**tables["problem"], "seed": seed}})


def expectation(configuration: Configuration) -> float | None:
    """Return the expected final risk of the averaged iterate, or None without a prediction."""
    risks = predict(configuration, log_rounds=[configuration.rounds]).excess_risk_averaged
    return risks[-1] if risks else None


def laws(entries: Sequence[Entry]) -> Iterator[str]:
    """Yield the comparison of 2K times the excess risk, over repetitions, with its limit distribution."""
    yield from paragraph(
        "In the limit, 2K times the excess risk has the distribution of a sum of weighted chi squares (*limit*, by "
        "theory), with mean Tr(C_ania H^-1). The table has the Kolmogorov-Smirnov distance and its p-value over the "
        "repetitions, and quantiles:"
    )
    yield "| compressor | mean | limit trace | distance | p | 10 % | limit | 50 % | limit | 90 % | limit |"
    yield "|---|---|---|---|---|---|---|---|---|---|---|"
    for entry in entries:
        log = read_log(entry.file)
        scaled = 2 * log.rounds * log.excess_risk_averaged[log.complete, -1]
        prediction = predict(configuration_from_tables(log.configuration), log_rounds=[log.rounds])
        assert prediction.limit_weights is not None
        assert prediction.limit_trace is not None
        distance, p = compare_with_limit_law(scaled, prediction.limit_weights)
        limit = draw_limit_law(prediction.limit_weights)
        pairs = [f"{np.quantile(scaled, q):.1f} | {np.quantile(limit, q):.1f}" for q in (0.1, 0.5, 0.9)]
        numbers = [f"{scaled.mean():.2f}", f"{prediction.limit_trace:.2f}", f"{distance:.3f}", f"{p:.2g}", *pairs]
        yield f"| {entry.label} | {' | '.join(numbers)} |"
    yield ""


def scores(analyses: Sequence[Analysis]) -> Iterator[str]:
    """Yield the summary of all z-scores against exact expectations."""
    entries = [entry for analysis in analyses for entry in analysis.configurations]
    exact = [e.z for e in entries if e.prediction_kind == "exact" and e.z is not None]
    p_values = [e.p_value for e in entries if e.prediction_kind == "exact" and e.p_value is not None]
    invalid = sum(not e.valid for e in entries)
    yield "## All together"
    yield ""
    text = f"{len(entries)} configurations, {invalid} of them INVALID. "
    if exact:
        text += (
            f"{len(exact)} have an exact expectation: mean z {np.mean(exact):.2f}, mean z^2 "
            f"{np.mean(np.square(exact)):.2f}, smallest p {min(p_values):.2g}. With few repetitions of a skewed "
            "quantity, z is not standard normal; [the analysis](analysis.md) describes the test behind p."
        )
    yield from paragraph(text)


def traces() -> Iterator[str]:
    """Yield the figures that need predictions only."""
    for file, key, title in (
        ("trace-omega", "omega", "The trace against omega, three preprocessings"),
        ("trace-dimension", "dimension", "The trace against the dimension"),
    ):
        study = load_study(STUDIES / f"{file}.toml")
        yield f"## {title}"
        yield ""
        yield f"`mpi-fed predict studies/paper/{file}.toml` computes Tr(C_ania H^-1) by theory; nothing is run."
        yield ""
        table: dict[str, dict[str, str]] = {}
        for configuration in study.configurations:
            prediction = predict(configuration, log_rounds=[1])
            problem, compressor = configuration.problem, configuration.compressor
            if key == "omega":
                where, column = f"{problem.model_dump()['preprocessing']}, {compressor.kind}", f"{prediction.omega:.3g}"
            else:
                where, column = compressor.kind, str(prediction.dimension)
            trace = prediction.limit_trace
            table.setdefault(where, {})[column] = "-" if trace is None else f"{trace:.3g}"
        if key == "omega":
            yield "| preprocessing, compressor | omega: trace |"
            yield "|---|---|"
            for where, cells in table.items():
                yield f"| {where} | {', '.join(f'{column}: {trace}' for column, trace in cells.items())} |"
        else:
            columns = list(dict.fromkeys(column for cells in table.values() for column in cells))
            yield f"| compressor | {' | '.join(f'd = {column}' for column in columns)} |"
            yield f"|---|{'---|' * len(columns)}"
            for where, cells in table.items():
                yield f"| {where} | {' | '.join(cells.get(column, '-') for column in columns)} |"
        yield ""
