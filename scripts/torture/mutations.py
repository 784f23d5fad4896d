"""Use damaged study files, logs and checkpoints, in worker processes that are watched for crashes and hangs."""

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
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from mpi_fed.errors import InputError

if TYPE_CHECKING:
    from mpi_fed.launch.world import World
    from mpi_fed.runner.simulation import Simulation
    from mpi_fed.study.configuration import Configuration

SPAWN = multiprocessing.get_context("spawn")
ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 20
"""Largest number of seconds for one file."""
START_UP = 20
"""Largest number of seconds for the start of a worker."""
MEMORY = 8 * 2**30
"""Largest number of bytes of a worker's memory."""
BATCH = 1000
"""Number of mutations after which a new worker starts."""

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
"""Kind of file, outcome, and message."""


def mutations(count: int, seed: int) -> bool:
    """Try `count` mutations and print the table; return whether each was accepted or refused in one sentence."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder)
        tally: Counter[tuple[str, str]] = Counter()
        examples: dict[tuple[str, str], str] = {}
        for first in range(0, count, BATCH):
            for kind, outcome, words in in_a_worker(folder, seed, range(first, min(first + BATCH, count))):
                tally[kind, outcome] += 1
                examples.setdefault((kind, outcome), words)
    outcomes = ("accepted", "refused", "traceback", "no sentence", "crash", "hang", "file outside")
    print(f"{'mutated':<12}" + "".join(f"{outcome:>14}" for outcome in outcomes))
    for kind in KINDS:
        print(f"{kind:<12}" + "".join(f"{tally[kind, outcome]:>14,}" for outcome in outcomes))
    wrong = {key: words for key, words in examples.items() if key[1] not in ("accepted", "refused")}
    for (kind, outcome), words in wrong.items():
        print(f"\n{kind}, {outcome}: {words}")
    return not wrong


def prepare(folder: Path) -> None:
    """Make an undamaged log, and a checkpoint of its second repetition."""
    (folder / "study.toml").write_text(STUDY)
    run = [sys.executable, "-P", "-m", "mpi_fed", "run", "study.toml", "--ranks=1", "--out=undamaged", "--no-analyze"]
    subprocess.run(run, cwd=folder, check=True, capture_output=True)
    # MPI starts only in workers: it sets environment variables that would mislead an MPI in a child of this process.
    worker = SPAWN.Process(target=save_checkpoint, args=(folder,))
    worker.start()
    worker.join()
    assert worker.exitcode == 0


def save_checkpoint(folder: Path) -> None:
    """Run some rounds of the second repetition and save them."""
    from mpi_fed.runner import checkpoint

    world = world_of_one()
    simulation = simulation_of(world, folder)
    simulation.start(1)
    simulation.advance(77)
    checkpoint.save(world, log_in(folder, "undamaged"), simulation)


def world_of_one() -> World:
    """Start MPI in this process."""
    from mpi_fed.launch.world import start

    return start()


def simulation_of(world: World, folder: Path) -> Simulation:
    """Return the compiled simulation of the study in a folder."""
    from mpi_fed.log.log_points import log_rounds
    from mpi_fed.runner.simulation import Simulation

    configuration = configuration_of(folder)
    population = configuration.problem.prepare(configuration.clients)
    simulation = Simulation(configuration, population, world.comm, log_rounds(configuration.rounds, 10))
    simulation.compile()
    return simulation


def configuration_of(folder: Path) -> Configuration:
    """Return the only configuration of the study in a folder."""
    from mpi_fed.study.load import load_study

    (configuration,) = load_study(folder / "study.toml").configurations
    return configuration


def in_a_worker(folder: Path, seed: int, numbers: range) -> list[Case]:
    """Return the cases of a batch. If a case crashes or hangs its worker, a new worker does the rest."""
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


def work(pipe: Connection, folder: Path, seed: int, numbers: range) -> None:
    """Try each mutation of these numbers and send its case through the pipe."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    for number in numbers:
        with tempfile.TemporaryDirectory(dir=folder) as name:
            pipe.send(tried(Path(name), folder, random.Random(f"{seed} {number}"), number))


def kind_of(number: int) -> str:
    """Return the kind of file of a mutation: the kinds alternate."""
    return list(KINDS)[number % len(KINDS)]


def tried(place: Path, folder: Path, randomly: random.Random, number: int) -> Case:
    """Damage a copy of the files in an empty folder, use them, and return the case."""
    kind = kind_of(number)
    mutate, use = KINDS[kind]
    os.chdir(place)
    shutil.copy(folder / "study.toml", place)
    shutil.copytree(folder / "undamaged", place / "runs")
    mutate(place, randomly)
    signal.signal(signal.SIGALRM, expired)
    signal.alarm(PATIENCE)
    outside = WATCH.begin(place)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            use(place)
        outcome, words = "accepted", ""
    except InputError as error:
        words = str(error)
        outcome = "refused" if words.strip() and len(words) < 3000 else "no sentence"
    except TimeoutError:
        outcome, words = "hang", f"number {number}: {traceback.format_exc()[-600:]}"
    except BaseException:  # noqa: BLE001  # any exception is a result
        outcome, words = "traceback", f"number {number}: {traceback.format_exc()[-1500:]}"
    finally:
        signal.alarm(0)
        WATCH.end()
    if outside:
        outcome, words = "file outside", f"number {number}: {outside[0]}"
    return kind, outcome, words


def expired(signum: int, frame: FrameType | None) -> None:
    """Raise TimeoutError, as the handler of SIGALRM."""
    raise TimeoutError


class Watch:
    """A record of the files that Python code writes or makes outside a folder, except caches and temporary files."""

    def __init__(self) -> None:
        self.allowed = ("/dev/", "/proc/", str(Path.home() / ".cache"), tempfile.gettempdir())
        self.folder: Path | None = None
        self.paths: list[str] = []
        sys.addaudithook(self.see)

    def begin(self, folder: Path) -> list[str]:
        """Watch for files outside this folder, and return the list to which their paths will be appended."""
        self.folder, self.paths = folder, []
        return self.paths

    def end(self) -> None:
        """Stop watching."""
        self.folder = None

    def see(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Receive each audit event of Python."""
        if self.folder is None:
            return
        if event == "open":
            path, _, flags = arguments
            if isinstance(path, str) and isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                self.note(path)
        elif event in ("os.mkdir", "os.rename", "os.remove", "os.rmdir") and isinstance(arguments[0], str):
            self.note(arguments[0])

    def note(self, path: str) -> None:
        """Append a path that is outside the folder."""
        whole = os.path.abspath(path)
        inside = whole.startswith(f"{self.folder}/")
        beside = whole.startswith(f"{self.folder.parent if self.folder else ''}/")
        if not inside and (beside or not whole.startswith(self.allowed)):
            self.paths.append(whole)


WATCH = Watch()


def mutate_study(place: Path, randomly: random.Random) -> None:
    """Replace the study by one of the project's studies with some lines, keys, values or bytes changed."""
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
    """Plan a run of the study."""
    from mpi_fed.study.plan import make_plan
    from mpi_fed.study.run_options import RunOptions

    make_plan(RunOptions(("study.toml",), ranks=1)).lines()


def log_in(place: Path, out: str = "runs") -> Path:
    """Return the path of the only log."""
    (path,) = (place / out / "fuzz").glob("*.h5")
    return path


def damaged(data: bytes, randomly: random.Random) -> bytes:
    """Return the bytes with some of them flipped, cut off, zeroed, copied or replaced at random."""
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
    """Change bytes of the log, or its contents: other shapes and types of datasets, missing or other attributes."""
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
    """Analyse the log, and continue it as a run does."""
    from mpi_fed.analysis import analyze
    from mpi_fed.log import writer
    from mpi_fed.log.schema import Status

    configuration = configuration_of(place)
    path = log_in(place)
    analyze([str(path)], json=True)
    if not writer.is_finished(writer.log_path(path.parent, configuration), configuration):
        writer.LogWriter(path).close(Status.INTERRUPTED)


def mutate_checkpoint(place: Path, randomly: random.Random) -> None:
    """Change bytes of the checkpoint, or its contents: other shapes and types of arrays, another meta."""
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
    """Continue from the checkpoint."""
    from mpi_fed.runner import checkpoint

    loaded = checkpoint.load(log_in(place), configuration_of(place))
    if loaded is not None:
        world = world_of_one()
        if not SIMULATIONS:
            SIMULATIONS.append(simulation_of(world, place))
        checkpoint.restore(world, loaded, SIMULATIONS[0])


SIMULATIONS: list[Simulation] = []
"""The simulation of this worker, kept after the first checkpoint because a simulation takes long to make."""

KINDS: dict[str, tuple[Callable[[Path, random.Random], None], Callable[[Path], None]]] = {
    "study": (mutate_study, use_study),
    "log": (mutate_log, use_log),
    "checkpoint": (mutate_checkpoint, use_checkpoint),
}
