"""Digests of logs. Run as a program it prints the two files that test_recorded.py compares with.

python -P record.py digests [RANKS]
python -P record.py expected
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import h5py

HERE = Path(__file__).resolve().parent
STUDIES = sorted(path.stem for path in HERE.glob("*.toml"))
KEPT = sorted(path.stem for path in HERE.glob("logs/*/*.toml"))
PATIENCE = 1800
BITS = (
    "iterate",
    "iterate_averaged",
    "last_iterate",
    "last_iterate_averaged",
    "uplink_information_bits",
    "uplink_payload_bytes",
    "uplink_transported_bytes",
    "downlink_transported_bytes",
    "client_uplink_payload_bytes",
    "message_count",
)
"""Datasets of which every bit is recorded, if a log has them."""


def mpi_fed(folder: Path, *arguments: object, compiled: bool = True, status: int = 0) -> tuple[str, str]:
    """Run `mpi-fed ARGUMENTS` in this folder, check its exit status, and return its standard output and error."""
    ended = subprocess.run(
        [sys.executable, "-P", "-m", "mpi_fed", *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "NUMBA_DISABLE_JIT": "0" if compiled else "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert ended.returncode == status, f"exit status {ended.returncode}, not {status}\n{ended.stdout}\n{ended.stderr}"
    return ended.stdout, ended.stderr


def run(folder: Path, study: str, ranks: int = 2, compiled: bool = True) -> dict[str, Any]:
    """Run a study of this folder, and return its logs by label."""
    mpi_fed(folder, "run", HERE / f"{study}.toml", f"--ranks={ranks}", "--no-analyze", "--out=runs", compiled=compiled)
    logs = map(log, sorted(folder.glob(f"runs/{study}/*.h5")))
    return {entry["label"]: entry for entry in logs}


def log(path: Path) -> dict[str, Any]:
    """Return the recorded facts of a log, and its layout."""
    with h5py.File(path, "r") as file:
        names = ("label", "configuration_id", "status")
        return {
            **{name: file.attrs[name].decode() for name in names},
            "lengths": {name: len(item) for name, item in datasets(file).items() if item.is_scale},
            "digests": {name: digest(file[name]) for name in BITS if name in file},
            "layout": layout(file),
        }


def digest(dataset: h5py.Dataset) -> str:
    return hashlib.sha256(dataset[:].tobytes()).hexdigest()


def datasets(file: h5py.File) -> dict[str, h5py.Dataset]:
    return {name: item for name, item in sorted(file.items()) if isinstance(item, h5py.Dataset)}


def layout(file: h5py.File) -> dict[str, Any]:
    """Return the types of the root attributes, the type, axes and unit of each dataset, and the names in each group."""
    groups = {name: item for name, item in file.items() if isinstance(item, h5py.Group)}
    return {
        "attributes": {name: kind(file.attrs[name]) for name in sorted(file.attrs)},
        "datasets": {name: described(dataset) for name, dataset in datasets(file).items()},
        "groups": {name: sorted(group) for name, group in groups.items()},
    }


def kind(value: Any) -> str:
    return "text" if isinstance(value, bytes) else str(value.dtype)


def described(dataset: h5py.Dataset) -> str:
    name = dataset.name.removeprefix("/")
    axes = [axis[0].name.removeprefix("/") if len(axis) else name for axis in dataset.dims]
    dtype = "text" if dataset.dtype == object else str(dataset.dtype)
    unit = dataset.attrs.get("units", b"").decode()
    return f"{dtype} ({', '.join(axes)}) {unit}".strip()


def all_digests(ranks: int) -> dict[str, Any]:
    """Return the content of digests.json: the digests of the studies of this folder, and the layout of all logs."""
    digests: dict[str, Any] = {"layout": None, "logs": {}}
    with tempfile.TemporaryDirectory() as folder:
        for study in STUDIES:
            digests["logs"][study] = run(Path(folder), study, ranks)
            for entry in digests["logs"][study].values():
                digests["layout"] = digests["layout"] or entry["layout"]
                assert entry.pop("layout") == digests["layout"]
    return digests


def analyzed(folder: Path, study: str) -> Any:
    """Return the JSON of `mpi-fed analyze` for a copy of a study's kept logs."""
    return json.loads(mpi_fed(folder, "analyze", f"logs/{study}", "--json")[0])


def copy(folder: Path) -> Path:
    """Copy the kept logs to this folder, and return the copy's path."""
    return Path(shutil.copytree(HERE / "logs", folder / "logs"))


def go_on(folder: Path, study: str, compiled: bool = True) -> str:
    """Continue a study on a copy of its logs, and return the messages."""
    options = ("--ranks=2", "--no-analyze", "--out=logs")
    return mpi_fed(folder, "run", f"logs/{study}/{study}.toml", *options, compiled=compiled)[1]


def all_expected() -> dict[str, Any]:
    """Return the content of logs/expected.json: the analysis of the kept logs, and the end of the interrupted one."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        logs = copy(folder)
        expected: dict[str, Any] = {"analyze": {study: analyzed(folder, study) for study in KEPT}}
        go_on(folder, "interrupted")
        (ended,) = logs.glob("interrupted/*.h5")
        expected["interrupted"] = log(ended)
    return expected


def main(what: str, ranks: str = "2") -> None:
    print(json.dumps(all_digests(int(ranks)) if what == "digests" else all_expected(), indent=1))


if __name__ == "__main__":
    main(*sys.argv[1:])
