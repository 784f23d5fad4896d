"""Damaged study files, logs and checkpoints, in worker processes that are watched for crashes and hangs."""

from __future__ import annotations

import contextlib
import io
import json
import multiprocessing
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from mpi_fed.errors import InputError

SPAWN = multiprocessing.get_context("spawn")
ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 20
"""Seconds that one file may take."""
START_UP = 20
"""Seconds that a worker may take besides."""
MEMORY = 8 * 2**30
"""Bytes that a worker may take."""
BATCH = 1000
"""Mutations of a worker, after which another takes over."""

STUDY = """
[study]
name = "fuzz"
rounds = 200
repetitions = 2
clients = 2
[problem]
kind = "gaussian"
dimension = 6
[algorithm]
kind = "control-variates"
[[compressor]]
kind = "quantization"
levels = 1
[log]
points_per_decade = 10
"""
WORDS = [
    *("0", "-1", "1", "2", "1e308", "1e309", "-0.0", "nan", "inf", "99999999999999999999", "0.5", "true", "false"),
    *('""', '"none"', '"x"', '"../../x"', '"/etc/passwd"', '"\\u0000"', '"\\n"', '"é"', "[]", "[1, 2]", "[[1]]", "{}"),
    *('["a", 1]', "{a = 1}", "1979-05-27", "[1e400]", '"full"', '"normal"', '"gatherv"', '"sketch"', "1_000_000_000"),
]
KEYS = ("path", "omega", "levels", "h", "p", "kind", "initial", "shift", "x", "dimension", "clients", "batch_size")
ATTRIBUTES = (1, -1.5, "", "x", "{}", "[]", "null", np.nan, np.zeros(3), b"\xff", '{"study": 3}')

Case = tuple[str, str, str]
"""Kind of file, how it went, what was said."""


def mutations(count: int, seed: int) -> bool:
    """Try `count` mutations; print the table; whether each was taken or refused in a sentence."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder)
        tally: Counter[tuple[str, str]] = Counter()
        examples: dict[tuple[str, str], str] = {}
        for first in range(0, count, BATCH):
            for kind, outcome, words in in_a_worker(folder, seed, range(first, min(first + BATCH, count))):
                tally[kind, outcome] += 1
                examples.setdefault((kind, outcome), words)
    outcomes = ("taken", "refused", "traceback", "no sentence", "crash", "hang", "file outside")
    print(f"{'mutated':<12}" + "".join(f"{outcome:>14}" for outcome in outcomes))
    for kind in KINDS:
        print(f"{kind:<12}" + "".join(f"{tally[kind, outcome]:>14,}" for outcome in outcomes))
    wrong = {key: words for key, words in examples.items() if key[1] not in ("taken", "refused")}
    for (kind, outcome), words in wrong.items():
        print(f"\n{kind}, {outcome}: {words}")
    return not wrong


def prepare(folder: Path) -> None:
    """A log, and a checkpoint of its second repetition."""
    (folder / "study.toml").write_text(STUDY)
    run = [sys.executable, "-P", "-m", "mpi_fed", "run", "study.toml", "--ranks=1", "--out=sound", "--no-analyze"]
    subprocess.run(run, cwd=folder, check=True, capture_output=True)
    # MPI starts in workers alone: what it puts into the environment would mislead it in a child of this process.
    worker = SPAWN.Process(target=save_checkpoint, args=(folder,))
    worker.start()
    worker.join()
    assert worker.exitcode == 0


def save_checkpoint(folder: Path) -> None:
    from mpi_fed.runner import checkpoint

    world = world_of_one()
    simulation = simulation_of(world, folder)
    simulation.start(1)
    simulation.advance(77)
    checkpoint.save(world, log_in(folder, "sound"), simulation)


def world_of_one() -> Any:
    from mpi_fed.launch.world import start

    return start()


def simulation_of(world: Any, folder: Path) -> Any:
    from mpi_fed.log.log_points import log_rounds
    from mpi_fed.runner.simulation import Simulation

    configuration = configuration_of(folder)
    population = configuration.problem.prepare(configuration.clients)
    simulation = Simulation(configuration, population, world.comm, log_rounds(configuration.rounds, 10))
    simulation.compile()
    return simulation


def configuration_of(folder: Path) -> Any:
    from mpi_fed.study.load import load_study

    (configuration,) = load_study(folder / "study.toml").configurations
    return configuration


def in_a_worker(folder: Path, seed: int, numbers: range) -> list[Case]:
    """The cases of a batch; one that ends or stops its worker is counted, and another worker does the rest."""
    cases: list[Case] = []
    while len(cases) < len(numbers):
        ours, theirs = multiprocessing.Pipe(duplex=False)
        worker = SPAWN.Process(target=work, args=(theirs, folder, seed, numbers[len(cases) :]), daemon=True)
        worker.start()
        theirs.close()
        with contextlib.suppress(EOFError):
            while len(cases) < len(numbers):
                if not ours.poll(PATIENCE + START_UP):
                    break
                cases.append(ours.recv())
        worker.join(1)
        if worker.is_alive():
            worker.kill()
            worker.join()
        if len(cases) < len(numbers) and worker.exitcode:
            number = numbers[len(cases)]
            outcome = "hang" if worker.exitcode == -signal.SIGKILL else "crash"
            cases.append((kind_of(number), outcome, f"number {number}, exit code {worker.exitcode}"))
    return cases


def work(pipe: Any, folder: Path, seed: int, numbers: range) -> None:
    """Try each, and report it."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    for number in numbers:
        with tempfile.TemporaryDirectory(dir=folder) as name:
            pipe.send(tried(Path(name), folder, random.Random(f"{seed} {number}"), number))


def kind_of(number: int) -> str:
    return list(KINDS)[number % len(KINDS)]


def tried(place: Path, folder: Path, randomly: random.Random, number: int) -> Case:
    kind = kind_of(number)
    mutate, use = KINDS[kind]
    os.chdir(place)
    shutil.copy(folder / "study.toml", place)
    shutil.copytree(folder / "sound", place / "runs")
    mutate(place, randomly)
    signal.signal(signal.SIGALRM, expired)
    signal.alarm(PATIENCE)
    outside = WATCH.begin(place)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            use(place)
        outcome, words = "taken", ""
    except InputError as error:
        words = str(error)
        outcome = "refused" if words.strip() and len(words) < 3000 else "no sentence"
    except TimeoutError:
        outcome, words = "hang", f"number {number}: {traceback.format_exc()[-600:]}"
    except BaseException:
        outcome, words = "traceback", f"number {number}: {traceback.format_exc()[-1500:]}"
    finally:
        signal.alarm(0)
        WATCH.end()
    if outside:
        outcome, words = "file outside", f"number {number}: {outside[0]}"
    return kind, outcome, words


def expired(signum: int, frame: Any) -> None:
    raise TimeoutError


class Watch:
    """Files that Python code opens to write, or makes, outside a folder; caches and temporary files aside."""

    def __init__(self) -> None:
        self.allowed = ("/dev/", "/proc/", str(Path.home() / ".cache"), tempfile.gettempdir())
        self.folder: Path | None = None
        self.paths: list[str] = []
        sys.addaudithook(self.see)

    def begin(self, folder: Path) -> list[str]:
        self.folder, self.paths = folder, []
        return self.paths

    def end(self) -> None:
        self.folder = None

    def see(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.folder is None:
            return
        if event == "open":
            path, _, flags = arguments
            if isinstance(path, str) and isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                self.note(path)
        elif event in ("os.mkdir", "os.rename", "os.remove", "os.rmdir") and isinstance(arguments[0], str):
            self.note(arguments[0])

    def note(self, path: str) -> None:
        whole = os.path.abspath(path)
        inside = whole.startswith(f"{self.folder}/")
        beside = whole.startswith(f"{self.folder.parent if self.folder else ''}/")
        if not inside and (beside or not whole.startswith(self.allowed)):
            self.paths.append(whole)


WATCH = Watch()


def mutate_study(place: Path, randomly: random.Random) -> None:
    """Another study of the project, some of whose lines, keys, values or bytes are others."""
    sources = [place / "study.toml", *sorted((ROOT / "studies").glob("**/*.toml"))]
    lines = randomly.choice(sources).read_text().splitlines()
    for _ in range(randomly.randint(1, 4)):
        at = randomly.randrange(len(lines))
        match randomly.randrange(7):
            case 0:
                del lines[at]
            case 1:
                lines.insert(at, randomly.choice(lines))
            case 2 | 3 if "=" in lines[at]:
                lines[at] = f"{lines[at].split('=')[0]}= {randomly.choice(WORDS)}"
            case 4 if "=" in lines[at]:
                lines[at] = f"{randomly.choice(KEYS)} = {randomly.choice(WORDS)}"
            case 5:
                line = list(lines[at])
                for _ in range(3):
                    line.insert(randomly.randint(0, len(line)), randomly.choice("\0\t\"'[]=λ😀"))
                lines[at] = "".join(line)
            case _:
                lines[at] = lines[at][: randomly.randint(0, len(lines[at]))]
        if not lines:
            lines = [""]
    data = "\n".join(lines).encode()
    if randomly.random() < 0.1:
        data = damaged(data, randomly)
    (place / "study.toml").write_bytes(data)


def use_study(place: Path) -> None:
    from mpi_fed.study.plan import make_plan
    from mpi_fed.study.run_options import RunOptions

    make_plan(RunOptions(("study.toml",), ranks=1)).lines()


def log_in(place: Path, out: str = "runs") -> Path:
    (path,) = (place / out / "fuzz").glob("*.h5")
    return path


def damaged(data: bytes, randomly: random.Random) -> bytes:
    """Bytes turned over, cut off, blanked, moved or put in."""
    changed = bytearray(data)
    for _ in range(randomly.choice([1, 1, 3, 30])):
        at, length = randomly.randrange(len(changed) + 1), randomly.choice([1, 4, 8, 64, 1000])
        match randomly.randrange(5):
            case 0:
                changed[at : at + length] = bytes(len(changed[at : at + length]))
            case 1:
                changed[at : at + length] = randomly.randbytes(len(changed[at : at + length]))
            case 2:
                del changed[at:]
            case 3:
                other = randomly.randrange(len(changed) + 1)
                changed[at : at + length] = changed[other : other + length]
            case _:
                for bit in range(at, min(at + 1, len(changed))):
                    changed[bit] ^= 1 << randomly.randrange(8)
        if not changed:
            break
    return bytes(changed)


def mutate_log(place: Path, randomly: random.Random) -> None:
    """Bytes, or what HDF5 holds: datasets of other shapes and types, attributes that are missing or others."""
    path = log_in(place)
    if randomly.random() < 0.5:
        path.write_bytes(damaged(path.read_bytes(), randomly))
        return
    with h5py.File(path, "r+") as file:
        for _ in range(randomly.randint(1, 3)):
            name = randomly.choice(list(file))
            attribute = randomly.choice(list(file.attrs))
            match randomly.randrange(5):
                case 0:
                    del file[name]
                case 1:
                    del file[name]
                    shape = randomly.choice([(), (0,), (3,), (2, 2), (2, 1000), (1, 2, 3)])
                    file[name] = np.zeros(shape, randomly.choice(["f8", "i4", "S3", "c16", "u1"]))
                case 2:
                    del file.attrs[attribute]
                case 3:
                    file.attrs[attribute] = randomly.choice(ATTRIBUTES)
                case _:
                    item = file[name]
                    if isinstance(item, h5py.Dataset) and item.dtype.kind in "fi" and item.ndim:
                        value = randomly.choice([0, -1, 5] if item.dtype.kind == "i" else [np.nan, np.inf, -1.0, 1e300])
                        item[randomly.randrange(len(item)) if len(item) else ...] = value


def use_log(place: Path) -> None:
    """Analyse it, and go on with it as a run does."""
    from mpi_fed.analysis import analyze
    from mpi_fed.log import writer
    from mpi_fed.log.schema import Status

    configuration = configuration_of(place)
    path = log_in(place)
    analyze([str(path)], json=True)
    if not writer.is_finished(writer.log_path(path.parent, configuration), configuration):
        writer.LogWriter(path).close(Status.INTERRUPTED)


def mutate_checkpoint(place: Path, randomly: random.Random) -> None:
    """Bytes, or what the archive holds: arrays of other shapes and types, another meta."""
    path = log_in(place).with_suffix(".checkpoint")
    if randomly.random() < 0.4:
        path.write_bytes(damaged(path.read_bytes(), randomly))
        return
    with np.load(path, allow_pickle=False) as file:
        arrays = dict(file)
    meta = json.loads(arrays["meta"].tobytes())
    for _ in range(randomly.randint(1, 2)):
        name = randomly.choice(list(arrays))
        values: list[Any] = [0, -1, 10**30, 1.5, "x", None, [], {}, float("nan"), {"study": {}}]
        match randomly.randrange(4):
            case 0:
                del arrays[name]
            case 1:
                shape = randomly.choice([(), (0,), (3,), (6, 2)])
                arrays[name] = np.zeros(shape, randomly.choice(["f8", "i8", "S3", "u1"]))
            case 2:
                meta[randomly.choice(list(meta))] = randomly.choice(values)
            case _:
                table = meta["configuration"]
                if isinstance(table, dict) and table:
                    table[randomly.choice(list(table))] = randomly.choice(values)
        if not arrays:
            break
    if "meta" in arrays and randomly.random() < 0.8:
        arrays["meta"] = np.frombuffer(json.dumps(meta).encode(), np.uint8)
    with open(path, "wb") as file:
        np.savez(file, **arrays)


def use_checkpoint(place: Path) -> None:
    """Take it up."""
    from mpi_fed.runner import checkpoint

    loaded = checkpoint.load(log_in(place), configuration_of(place))
    if loaded is not None:
        global _simulation
        world = world_of_one()
        _simulation = _simulation or simulation_of(world, place)
        checkpoint.restore(world, loaded, _simulation)


_simulation: Any = None

KINDS: dict[str, tuple[Callable[[Path, random.Random], None], Callable[[Path], None]]] = {
    "study": (mutate_study, use_study),
    "log": (mutate_log, use_log),
    "checkpoint": (mutate_checkpoint, use_checkpoint),
}
