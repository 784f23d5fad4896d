"""The options of a run are parsed again from the command line that they make."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mpi_fed.cli import main, options
from mpi_fed.study.run_options import RunOptions

texts = st.text(max_size=20)
studies = texts.map(lambda name: f"./{name}.toml")
counts = st.integers(1, 10**9 - 1)
seconds = st.floats(0, 10**9 - 1, allow_subnormal=False).map(lambda number: round(number, 9))
every_option = st.builds(
    RunOptions,
    studies=st.lists(studies, min_size=1, max_size=3).map(tuple),
    out=texts,
    overrides=st.lists(texts, max_size=3).map(tuple),
    variant=st.none() | texts,
    only=st.none() | texts,
    plugins=st.lists(texts, max_size=3).map(tuple),
    checkpoint_seconds=seconds,
    analyze=st.booleans(),
    ranks=st.none() | counts,
    jobs=counts,
    dry_run=st.booleans(),
)


@given(every_option)
def test_options_are_the_same_after_a_round_trip_through_the_command_line(run_options: RunOptions) -> None:
    assert RunOptions.of(options.parse(run_options.to_argv(), main.COMMANDS)) == run_options


def test_defaults_are_those_of_the_parser() -> None:
    assert RunOptions.of(options.parse(["run", "study.toml"], main.COMMANDS)) == RunOptions(("study.toml",))


def test_a_long_time_has_no_exponent() -> None:
    assert "--checkpoint-seconds=12345678" in RunOptions(("study.toml",), checkpoint_seconds=12345678.0).to_argv()
