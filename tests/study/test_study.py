"""Study files: defaults, grids, overrides, names and ids. No text, whatever it contains, gives a traceback."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mpi_fed import plugins
from mpi_fed.compressors import compressors
from mpi_fed.errors import InputError
from mpi_fed.study.load import Configuration, Study, configuration_from_tables, load_study
from mpi_fed.study.plan import check_problems

STUDIES = Path(__file__).parents[2] / "studies"
SMALL = """
[study]
name = "small"
rounds = 100

[problem]
kind = "gaussian"
dimension = 20

[[compressor]]
kind = "none"
"""


class Load(Protocol):
    """The function that the fixture `study` gives."""

    def __call__(self, text: str, *overrides: str, clients: int = 1) -> Study: ...


@pytest.fixture
def study(tmp_path: Path) -> Load:
    """Return a function that loads a study from text."""

    def load(text: str, *overrides: str, clients: int = 1) -> Study:
        path = tmp_path / "study.toml"
        path.write_text(text)
        return load_study(path, overrides, default_clients=clients)

    return load


def algorithm_of(configuration: Configuration) -> dict[str, Any]:
    return configuration.tables["algorithm"]


def compressor_of(configuration: Configuration) -> dict[str, Any]:
    return configuration.tables["compressor"]


def problem_of(configuration: Configuration) -> dict[str, Any]:
    return configuration.tables["problem"]


def test_defaults(study: Load) -> None:
    (configuration,) = study(SMALL, clients=3).configurations
    tables = configuration.tables
    assert tables["study"] == {"name": "small", "rounds": 100, "repetitions": [0], "clients": 3}
    assert tables["log"] == {"points_per_decade": 100, "iterates": "auto"}
    assert tables["algorithm"]["kind"] == "sgd"
    assert tables["algorithm"]["step_size"] == "constant"
    assert tables["problem"]["rotation"] == "dct"
    assert tables["compressor"] == {"kind": "none", "value_bits": 32}


@pytest.mark.parametrize(("compressor", "route"), [("none", "gather"), ("bernoulli", "gatherv")])
def test_route_auto_depends_on_the_length_of_payloads(study: Load, compressor: str, route: str) -> None:
    text = SMALL.replace('"none"', f'"{compressor}"') + ("p = 0.5" if compressor == "bernoulli" else "")
    assert study(text).configurations[0].route.kind == route


def test_omega_is_resolved_for_the_dimension(study: Load) -> None:
    text = SMALL.replace('"none"', '"rand-h"\nomega = 4.5')
    assert compressor_of(study(text).configurations[0])["h"] == 3  # floor(20 / 5.5)


def test_seeds(study: Load) -> None:
    assert study(SMALL, "study.repetitions=3").configurations[0].seeds == (0, 1, 2)
    assert study(SMALL, "study.repetitions=[7, 2]").configurations[0].seeds == (7, 2)


def test_a_grid_has_the_order_of_the_file_and_its_last_key_varies_fastest(study: Load) -> None:
    text = """
    [study]
    name = "grid"
    rounds = [10, 20]
    [[compressor]]
    kind = "bernoulli"
    p = [0.5, 0.25]
    [[compressor]]
    kind = "none"
    [problem]
    kind = "gaussian"
    noise_variance = [2, 1]
    dimension = [4, 3]
    """
    grid = [
        (c.rounds, compressor_of(c).get("p"), problem_of(c)["noise_variance"], problem_of(c)["dimension"])
        for c in study(text).configurations
    ]
    expected = [(k, p, s, d) for k in (10, 20) for p in (0.5, 0.25, None) for s in (2.0, 1.0) for d in (4, 3)]
    assert grid == expected


def test_kind_may_be_an_axis_of_a_grid(study: Load) -> None:
    kinds = [c.route.kind for c in study(SMALL, 'route.kind=["gatherv", "gather"]').configurations]
    assert kinds == ["gatherv", "gather"]


def test_a_key_that_takes_a_list_makes_no_grid(study: Load) -> None:
    text = SMALL.replace("dimension = 20", 'dimension = 2\nshift = "covariate"\ndecays = [1, 2]')
    (configuration,) = study(text, "algorithm.initial=[1, 2.5]").configurations
    assert problem_of(configuration)["decays"] == [1.0, 2.0]
    assert algorithm_of(configuration)["initial"] == [1.0, 2.5]


def test_paths_are_relative_to_the_study_file(study: Load, tmp_path: Path) -> None:
    np.save(tmp_path / "start.npy", np.ones(study(SMALL).configurations[0].problem.dimension_of()))
    (configuration,) = study(SMALL, "algorithm.initial=start.npy").configurations
    assert configuration.tables["algorithm"]["initial"] == str(tmp_path / "start.npy")
    assert study(SMALL, "algorithm.initial=normal").configurations[0].algorithm.initial == "normal"


@pytest.mark.parametrize(
    ("content", "reason"), [(b"", "not a readable"), (b"PK\x03\x04 torn", "not a readable"), (None, "several")]
)
def test_a_start_that_is_not_a_vector_is_refused_in_one_sentence(
    study: Load, tmp_path: Path, content: bytes | None, reason: str
) -> None:
    path = tmp_path / "start.npy"
    if content is None:
        with path.open("wb") as file:
            np.savez(file, one=np.zeros(2), two=np.zeros(2))
    else:
        path.write_bytes(content)
    with pytest.raises(InputError, match=rf"\[algorithm\] initial = .*{reason}"):
        study(SMALL, "algorithm.initial=start.npy")


VARIANTS = """
[[compressor]]
kind = "none"
[[compressor]]
kind = "quantization"
[variant.wide.compressor]
value_bits = 64
[variant.other.study]
rounds = [7, 8]
[[variant.other.compressor]]
kind = "sketch"
h = 2
[variant.wrong.stduy]
rounds = 1
"""


def test_a_variant_sets_keys_or_replaces_the_compressors(study: Load, tmp_path: Path) -> None:
    study(SMALL.partition("[[compressor]]")[0] + VARIANTS)  # the tables of variants do not belong to the study itself
    path = next(tmp_path.glob("*.toml"))
    wide, other = (load_study(path, variant=name) for name in ("wide", "other"))
    assert [c.compressor.value_bits for c in wide.configurations] == [64, 64]
    assert [(c.rounds, c.compressor.kind) for c in other.configurations] == [(7, "sketch"), (8, "sketch")]
    assert other.name == load_study(path).name + "-other"
    with pytest.raises(InputError, match='has no such variant; did you mean "wide"'):
        load_study(path, variant="wid")
    with pytest.raises(
        InputError, match=r'variant.wrong. "stduy" is not a table of a study file; did you mean "study"'
    ):
        load_study(path, variant="wrong")


@pytest.mark.parametrize("path", sorted((STUDIES / "paper").glob("*.toml")), ids=lambda path: path.stem)
def test_the_studies_of_the_paper_load_in_both_sizes(path: Path) -> None:
    whole = load_study(path)
    assert whole.name == path.stem
    if not path.stem.startswith("trace"):
        small = load_study(path, variant="small")
        assert {c.compressor.kind for c in small.configurations} == {c.compressor.kind for c in whole.configurations}
        assert max(c.rounds for c in small.configurations) < max(c.rounds for c in whole.configurations)


def test_overrides(study: Load) -> None:
    overrides = ["compressor.value_bits=64", "problem.rotation=haar", "problem.dimension = 5"]
    (configuration,) = study(SMALL, *overrides).configurations
    assert configuration.compressor.value_bits == 64
    assert problem_of(configuration)["rotation"] == "haar"
    assert problem_of(configuration)["dimension"] == 5


def test_an_override_of_compressor_sets_the_key_in_every_compressor(study: Load) -> None:
    text = SMALL.replace('"none"', '"bernoulli"') + '[[compressor]]\nkind = "partial-participation"\np = 0.9\n'
    assert [compressor_of(c)["p"] for c in study(text, "compressor.p=0.5").configurations] == [0.5, 0.5]


def test_labels_and_file_names_distinguish_configurations(study: Load) -> None:
    text = SMALL.replace('"none"', '"bernoulli"\np = [0.5, 0.25]').replace("= 100", "= [100, 1_000]")
    configurations = study(text).configurations
    assert [c.label for c in configurations] == [
        "bernoulli p=0.5 rounds=100",
        "bernoulli p=0.25 rounds=100",
        "bernoulli p=0.5 rounds=1000",
        "bernoulli p=0.25 rounds=1000",
    ]
    assert configurations[0].file_name == f"bernoulli-p-0.5-rounds-100-{configurations[0].id[:6]}.h5"
    assert len({c.file_name for c in configurations}) == 4


def test_values_with_the_same_text_still_get_distinct_labels(study: Load) -> None:
    labels = [c.label for c in study(SMALL, "problem.noise_variance=[1.0, 1.00000000001]").configurations]
    assert len(set(labels)) == 2


def test_a_configuration_is_restored_from_its_tables() -> None:
    for name in ("quickstart", "digits"):
        for configuration in load_study(STUDIES / f"{name}.toml").configurations:
            restored = configuration_from_tables(json.loads(json.dumps(configuration.tables)))
            assert restored.tables == configuration.tables
            assert restored.id == configuration.id


def test_the_id_does_not_depend_on_name_and_repetitions_of_the_study(study: Load) -> None:
    def id_of(*overrides: str, clients: int = 4) -> str:
        return study(SMALL, *overrides, clients=clients).configurations[0].id

    assert id_of() == id_of("study.name=other") == id_of("study.repetitions=9") == id_of("study.clients=4", clients=1)
    assert id_of() == id_of("problem.noise_variance=1") == id_of("route.kind=gather")
    others = ["study.rounds=101", "problem.seed=1", "algorithm.omega=tight", "route.kind=gatherv"]
    assert len({id_of(), id_of(clients=5), *(id_of(text) for text in others)}) == 6


def test_the_id_is_the_same_in_every_process(study: Load, tmp_path: Path) -> None:
    expected = study(SMALL).configurations[0].id
    code = "import sys; from mpi_fed.study.load import *; print(load_study(sys.argv[1]).configurations[0].id)"
    for seed in ("1", "2"):
        command = [sys.executable, "-c", code, str(tmp_path / "study.toml")]
        env = {"PYTHONHASHSEED": seed, "PATH": "", "HOME": str(tmp_path)}
        result = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
        assert result.stdout.strip() == expected


@pytest.mark.parametrize(("name", "count"), [("quickstart", 6), ("digits", 4)])
def test_the_compressors_of_a_shipped_study_have_similar_omegas(name: str, count: int) -> None:
    study = load_study(STUDIES / f"{name}.toml")
    assert study.name == name
    assert len(study.configurations) == count
    omegas = [c.compressor.omega_bound(c.problem.dimension_of()) for c in study.configurations[1:]]
    assert max(omegas) < 1.3 * min(omegas)


def test_a_command_that_runs_no_rounds_loads_neither_mpi_nor_the_compiler() -> None:
    code = f"""if True:
        import sys
        from mpi_fed.cli.main import main
        main(["run", {str(STUDIES / "digits.toml")!r}, "--dry-run"])
        sys.exit(" ".join({{"mpi4py", "numba", "matplotlib", "sklearn"}} & sys.modules.keys()))
    """
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.stderr.strip() == ""


PLUGIN = """
from mpi_fed.compressors import compressors
from mpi_fed.compressors.none import NoCompression

@compressors.register
class Mine(NoCompression):
    kind = "mine"
"""


def test_a_kind_is_known_once_its_plugin_is_loaded(study: Load, tmp_path: Path) -> None:
    text = SMALL.replace('"none"', '"mine"')
    with pytest.raises(InputError, match="which is not a known compressor"):
        study(text)
    path = tmp_path / "my plugin.py"
    path.write_text(PLUGIN)
    try:
        plugins.load([path, path])
        (name,) = [name for name, file in plugins.loaded.items() if file == path]
        assert type(study(text).configurations[0].compressor) is sys.modules[name].Mine
    finally:
        compressors.pop("mine", None)
        for name in [name for name, file in plugins.loaded.items() if file == path]:
            del plugins.loaded[name], sys.modules[name]


# Any text gives either an InputError of one line or a Study.

WORDS = """study problem algorithm compressor route log name kind rounds clients dimension repetitions
decays omega p h levels bucket value_bits rotation initial path none sgd rand-h sketch haar gather auto"""
words = st.sampled_from(WORDS.split())
scalars = st.one_of(
    st.integers(-3, 5),
    st.integers(),
    st.floats(),
    st.booleans(),
    st.text(max_size=5),
    words,
    st.just("1979-05-27"),
)
values = st.one_of(scalars, st.lists(scalars, max_size=3), st.lists(st.lists(scalars, max_size=2), max_size=2))


def toml(value: Any) -> str:
    """Return a value as TOML; a date has no quotes."""
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str) and value != "1979-05-27":
        return json.dumps(value)
    return str(value)


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """Return the quickstart study with a few lines replaced, removed or added."""
    lines = [line for line in (STUDIES / "quickstart.toml").read_text().splitlines() if line and line[0] != "#"]
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(lines) - 1))
        key = lines[place].partition("=")[0] if draw(st.booleans()) else draw(words)
        new = draw(
            st.one_of(
                st.builds(lambda value, key=key: f"{key} = {toml(value)}", values),
                st.builds("[{}]".format, words),
                st.builds("[[{}]]".format, words),
                st.text(max_size=10),
                st.just(""),
            )
        )
        lines[place : place + draw(st.integers(0, 1))] = [new]
    return "\n".join(lines)


@given(text=mutated())
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_study_gives_configurations_or_one_sentence(text: str, tmp_path: Path) -> None:
    path = tmp_path / "any.toml"
    path.write_text(text, encoding="utf-8", errors="replace")
    _load_or_refuse(path, [])


@given(key=st.one_of(st.builds("{}.{}".format, words, words), st.text(max_size=12)), value=values)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_override_gives_configurations_or_one_sentence(key: str, value: Any, tmp_path: Path) -> None:
    path = tmp_path / "any.toml"
    path.write_text(SMALL)
    _load_or_refuse(path, [f"{key}={toml(value)}"])


def _load_or_refuse(path: Path, overrides: Sequence[str]) -> None:
    try:
        study = load_study(path, overrides)
        check_problems([study])
    except InputError as error:
        sentence = str(error)
        assert "any.toml" in sentence or "--set" in sentence
        assert sentence.isprintable()
        return
    for configuration in study.configurations:
        assert configuration_from_tables(configuration.tables).id == configuration.id
    for name in ("id", "label", "file_name"):
        assert len({getattr(c, name) for c in study.configurations}) == len(study.configurations)
