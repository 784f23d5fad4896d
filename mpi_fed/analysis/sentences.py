"""Sentences for the document of an analysis: decisions, the answer about heterogeneity, remarks."""

from __future__ import annotations

from .cells import number, plus_minus
from .document import Analysis, Decision, HeterogeneityAnswer, PenaltyComparison, ProblemRatio, Ranked, Ratio
from .heterogeneity import BETTER, UNDECIDED, WORSE
from .validity import MISMATCH_LEVEL


def decisions(analysis: Analysis) -> list[str]:
    """Return the recommendations, one paragraph for each decision."""
    return [line for decision in analysis.decisions for line in ["", *_paragraph(decision)]]


def _paragraph(decision: Decision) -> list[str]:
    doubts = f": {'; '.join(decision.doubts)}" if decision.doubts else ""
    lines = [
        _head(decision),
        *(f"  {reason}" for reason in decision.reasons),
        f"  comparison {decision.verdict}{doubts}",
    ]
    if decision.target_not_reached:
        lines.append(f"  target not reached: {'; '.join(decision.target_not_reached)}")
    if decision.invalid:
        lines.append(f"  left out as INVALID: {'; '.join(decision.invalid)}")
    for groups, unit in ((decision.equal_omega, "omega"), (decision.equal_bits, "bits a message")):
        for group in groups:
            ranking = " < ".join(map(_ranked, group.ranking))
            lines.append(f"  final risk at about {group.value:.3g} {unit}: {ranking}")
    return [*lines, *map(_comparison, decision.heterogeneity)]


def _head(decision: Decision) -> str:
    best, where = decision.recommended, f" for {decision.problem}" if decision.problem else ""
    if best is None:
        return f"NO RECOMMENDATION{where}: no configuration reaches the target"
    if decision.doubts:
        return f"NO RECOMMENDATION{where}, because the comparison is INVALID; its cheapest compressor: {best}"
    return f"RECOMMENDED{where}: {best}"


def _ranked(member: Ranked) -> str:
    if member.ratio == 1:
        return member.name
    error = "" if member.error is None else f" ±{member.error:.2g}"
    return f"{member.name} ({member.ratio:.3g}{error} times)"


def _comparison(compared: PenaltyComparison) -> str:
    penalty = plus_minus(compared.penalty, compared.error)
    reference = plus_minus(compared.reference_penalty, compared.reference_error)
    ratio = f"ratio {_interval(compared.ratio)}: {compared.verdict}"
    return f"  shifted over alike: {compared.name} {penalty}, {compared.reference} {reference}, {ratio}"


def answer(summary: HeterogeneityAnswer | None) -> list[str]:
    """Return the lines on whether projections tolerate heterogeneity better than quantization."""
    if summary is None:
        return []
    count = summary.comparisons
    lines = [
        "",
        f"DO PROJECTIONS TOLERATE HETEROGENEITY BETTER THAN QUANTIZATION AT EQUAL OMEGA? {summary.answer.upper()}",
        (
            f"  {count} comparison{'s' * (count != 1)} of penalties (shifted over alike): ratio of a projection's to "
            f"quantization's, better below 1, worse above 1, undecided if its interval contains 1; "
            f"confidence of all intervals together: {100 * summary.confidence:.0f}%"
        ),
    ]
    if summary.left_out:
        lines.append(
            f"  {summary.left_out} penalties left out: the risk, or that of the reference, is INVALID or mostly bias"
        )
    for tally in summary.compressors:
        counts = ((BETTER, tally.better), (UNDECIDED, tally.undecided), (WORSE, tally.worse))
        verdicts = ", ".join(f"{verdict} in {count}" for verdict, count in counts)
        least, greatest = _interval(tally.least_ratio), _interval(tally.greatest_ratio)
        span = f"ratio {least}" if least == greatest else f"ratios from {least} to {greatest}"
        lines.append(f"  {tally.name}: {verdicts}; {span}")
    return lines


def _interval(ratio: Ratio | ProblemRatio) -> str:
    """Return an estimate and its interval, with three digits."""
    return f"{ratio.estimate:.3g} ({ratio.low:.3g} to {ratio.high:.3g})"


def remarks(analysis: Analysis) -> list[str]:
    """Return the target, and the reasons and notes of single configurations."""
    target = analysis.target_excess_risk
    lines = [] if target is None else [f"target: mean averaged excess risk of at most {number(target, 4)}"]
    if any(entry.p_value is not None for entry in analysis.configurations):
        lines.append(f"z = (mean - theory) / standard error; p below {MISMATCH_LEVEL:g} of exact theory is INVALID")
    for entry in analysis.configurations:
        lines += [f"INVALID {entry.label}: {reason}" for reason in entry.reasons]
    notes: dict[str, list[str]] = {}
    for entry in analysis.configurations:
        for note in entry.notes:
            notes.setdefault(note, []).append(entry.label)
    return lines + [f"{'; '.join(labels)}: {note}" for note, labels in notes.items()]
