"""Study files: defaults, grids, overrides, names and ids; and no text whatsoever gives a traceback."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mpi_fed import plugins
from mpi_fed.compressors import compressors
from mpi_fed.errors import InputError
from mpi_fed.study.load import configuration_from_tables, load_study
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


@pytest.fixture
def study(tmp_path: Path):
    """Load a study from text."""

    def load(text, *overrides, clients=1):
        path = tmp_path / "study.toml"
        path.write_text(text)
        return load_study(path, overrides, default_clients=clients)

    return load


def test_defaults(study) -> None:
    (configuration,) = study(SMALL, clients=3).configurations
    tables = configuration.tables
    assert tables["study"] == {"name": "small", "rounds": 100, "repetitions": [0], "clients": 3}
    assert tables["log"] == {"points_per_decade": 100, "iterates": "auto"}
    assert tables["algorithm"]["kind"] == "sgd"
    assert tables["algorithm"]["step_size"] == "constant"
    assert tables["problem"]["rotation"] == "dct"
    assert tables["compressor"] == {"kind": "none", "value_bits": 32}


@pytest.mark.parametrize(("compressor", "route"), [("none", "gather"), ("bernoulli", "gatherv")])
def test_auto_route_is_resolved_by_the_length_of_payloads(study, compressor, route) -> None:
    text = SMALL.replace('"none"', f'"{compressor}"') + ("p = 0.5" if compressor == "bernoulli" else "")
    assert study(text).configurations[0].route.kind == route


def test_compressors_are_resolved_for_the_dimension(study) -> None:
    text = SMALL.replace('"none"', '"rand-h"\nomega = 4.5')
    assert study(text).configurations[0].compressor.h == 3  # floor(20 / 5.5)


def test_seeds(study) -> None:
    assert study(SMALL, "study.repetitions=3").configurations[0].seeds == (0, 1, 2)
    assert study(SMALL, "study.repetitions=[7, 2]").configurations[0].seeds == (7, 2)


def test_grid_has_the_files_order_with_the_last_key_fastest(study) -> None:
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
    found = [
        (c.rounds, getattr(c.compressor, "p", None), c.problem.noise_variance, c.problem.dimension)
        for c in study(text).configurations
    ]
    expected = [(k, p, s, d) for k in (10, 20) for p in (0.5, 0.25, None) for s in (2.0, 1.0) for d in (4, 3)]
    assert found == expected


def test_a_kind_may_be_an_axis(study) -> None:
    kinds = [c.route.kind for c in study(SMALL, 'route.kind=["gatherv", "gather"]').configurations]
    assert kinds == ["gatherv", "gather"]


def test_lists_by_nature_are_no_grid(study) -> None:
    text = SMALL.replace("dimension = 20", 'dimension = 2\nshift = "covariate"\ndecays = [1, 2]')
    (configuration,) = study(text, "algorithm.initial=[1, 2.5]").configurations
    assert tuple(configuration.problem.decays) == (1.0, 2.0)
    assert tuple(configuration.algorithm.initial) == (1.0, 2.5)


def test_paths_are_relative_to_the_study_file(study, tmp_path: Path) -> None:
    np.save(tmp_path / "start.npy", np.ones(study(SMALL).configurations[0].problem.dimension))
    (configuration,) = study(SMALL, "algorithm.initial=start.npy").configurations
    assert configuration.tables["algorithm"]["initial"] == str(tmp_path / "start.npy")
    assert study(SMALL, "algorithm.initial=normal").configurations[0].algorithm.initial == "normal"


@pytest.mark.parametrize(
    ("content", "reason"), [(b"", "no readable"), (b"PK\x03\x04 torn", "no readable"), (None, "several")]
)
def test_a_start_that_is_not_a_vector_is_refused_in_one_sentence(study, tmp_path: Path, content, reason) -> None:
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


def test_a_variant_sets_keys_or_takes_the_compressors_place(study, tmp_path: Path) -> None:
    study(SMALL.split("[[compressor]]")[0] + VARIANTS)  # the variants are no part of the study
    path = next(tmp_path.glob("*.toml"))
    wide, other = (load_study(path, variant=name) for name in ("wide", "other"))
    assert [c.compressor.value_bits for c in wide.configurations] == [64, 64]
    assert [(c.rounds, c.compressor.kind) for c in other.configurations] == [(7, "sketch"), (8, "sketch")]
    assert other.name == load_study(path).name + "-other"
    with pytest.raises(InputError, match='has no such variant; did you mean "wide"'):
        load_study(path, variant="wid")
    with pytest.raises(InputError, match=r'variant.wrong. "stduy" is no table; did you mean "study"'):
        load_study(path, variant="wrong")


@pytest.mark.parametrize("path", sorted((STUDIES / "paper").glob("*.toml")), ids=lambda path: path.stem)
def test_the_papers_studies_load_in_both_sizes(path) -> None:
    whole = load_study(path)
    assert whole.name == path.stem
    if not path.stem.startswith("trace"):
        small = load_study(path, variant="small")
        assert {c.compressor.kind for c in small.configurations} == {c.compressor.kind for c in whole.configurations}
        assert max(c.rounds for c in small.configurations) < max(c.rounds for c in whole.configurations)


def test_overrides(study) -> None:
    overrides = ["compressor.value_bits=64", "problem.rotation=haar", "problem.dimension = 5"]
    (configuration,) = study(SMALL, *overrides).configurations
    assert configuration.compressor.value_bits == 64
    assert configuration.problem.rotation == "haar"
    assert configuration.problem.dimension == 5


def test_an_override_of_compressor_goes_to_every_one(study) -> None:
    text = SMALL.replace('"none"', '"bernoulli"') + '[[compressor]]\nkind = "partial-participation"\np = 0.9\n'
    assert [c.compressor.p for c in study(text, "compressor.p=0.5").configurations] == [0.5, 0.5]


def test_labels_and_file_names_tell_configurations_apart(study) -> None:
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


def test_values_that_print_alike_still_get_labels_of_their_own(study) -> None:
    labels = [c.label for c in study(SMALL, "problem.noise_variance=[1.0, 1.00000000001]").configurations]
    assert len(set(labels)) == 2


def test_a_log_gives_its_configuration_again() -> None:
    for name in ("quickstart", "digits"):
        for configuration in load_study(STUDIES / f"{name}.toml").configurations:
            again = configuration_from_tables(json.loads(json.dumps(configuration.tables)))
            assert again.tables == configuration.tables
            assert again.id == configuration.id


def test_id_depends_on_what_is_run_alone(study) -> None:
    def of(*overrides, clients=4):
        return study(SMALL, *overrides, clients=clients).configurations[0].id

    assert of() == of("study.name=other") == of("study.repetitions=9") == of("study.clients=4", clients=1)
    assert of() == of("problem.noise_variance=1") == of("route.kind=gather")
    others = ["study.rounds=101", "problem.seed=1", "algorithm.omega=tight", "route.kind=gatherv"]
    assert len({of(), of(clients=5), *(of(text) for text in others)}) == 6


def test_id_is_the_same_in_every_process(study, tmp_path: Path) -> None:
    expected = study(SMALL).configurations[0].id
    code = "import sys; from mpi_fed.study.load import *; print(load_study(sys.argv[1]).configurations[0].id)"
    for seed in ("1", "2"):
        command = [sys.executable, "-c", code, str(tmp_path / "study.toml")]
        env = {"PYTHONHASHSEED": seed, "PATH": "", "HOME": str(tmp_path)}
        result = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
        assert result.stdout.strip() == expected


@pytest.mark.parametrize(("name", "count"), [("quickstart", 6), ("digits", 4)])
def test_the_studies_that_come_along(name, count) -> None:
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


def test_a_plugins_kind_is_known_once_it_is_loaded(study, tmp_path: Path) -> None:
    text = SMALL.replace('"none"', '"mine"')
    with pytest.raises(InputError, match="which is no compressor known here"):
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


# Any file at all: an InputError of one line, or a Study.

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


def toml(value):
    """A value as TOML; a date stays bare."""
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str) and value != "1979-05-27":
        return json.dumps(value)
    return str(value)


@st.composite
def mutated(draw):
    """The quickstart study with a few lines replaced, dropped or added."""
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
def test_any_study_gives_configurations_or_one_sentence(text, tmp_path: Path) -> None:
    path = tmp_path / "any.toml"
    path.write_text(text, encoding="utf-8", errors="replace")
    _load_or_refuse(path, [])


@given(key=st.one_of(st.builds("{}.{}".format, words, words), st.text(max_size=12)), value=values)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_override_gives_configurations_or_one_sentence(key, value, tmp_path: Path) -> None:
    path = tmp_path / "any.toml"
    path.write_text(SMALL)
    _load_or_refuse(path, [f"{key}={toml(value)}"])


def _load_or_refuse(path, overrides) -> None:
    try:
        study = load_study(path, overrides)
        check_problems([study])
    except InputError as error:
        study, sentence = None, str(error)
    if study is None:
        assert "any.toml" in sentence or "--set" in sentence
        assert sentence.isprintable()
        return
    for configuration in study.configurations:
        assert configuration_from_tables(configuration.tables).id == configuration.id
    for name in ("id", "label", "file_name"):
        assert len({getattr(c, name) for c in study.configurations}) == len(study.configurations)
