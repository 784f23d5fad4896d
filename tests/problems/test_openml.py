"""Data from OpenML: over HTTP from a server on this machine that answers like OpenML, and without a network."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import _openml
from support import command
from support.study_text import write_study

from mpi_fed.problems import openml
from mpi_fed.problems.openml import OpenML

COLUMNS = [("size", "REAL"), ("colour", "{red,blue}"), ("price", "REAL"), ("name", "{p,q,r}")]
ROWS = [(0.5, "red", 1.5, "p"), (1.5, "blue", 2.0, "q"), (4.0, "red", -1.0, "r"), (2.0, "blue", 0.5, "p")]
ARFF = "\n".join(
    [
        "@RELATION x",
        *(f"@ATTRIBUTE {name} {kind}" for name, kind in COLUMNS),
        "@DATA",
        *(",".join(map(str, row)) for row in ROWS),
    ]
).encode()


def answers(address: str) -> dict[str, bytes]:
    """Return the answers of the server, by path."""

    def feature(index: int, name: str, kind: str) -> dict[str, str]:
        no = dict.fromkeys(("is_ignore", "is_row_identifier"), "false")
        target = str(name == "price").lower()
        kind = "numeric" if kind == "REAL" else "nominal"
        missing = {"number_of_missing_values": "0"}
        return {"index": str(index), "name": name, "data_type": kind, "is_target": target, **missing, **no}

    description = {
        "id": "7",
        "name": "x",
        "version": "1",
        "format": "ARFF",
        "file_id": "1",
        "status": "active",
        "description": "none",
        "default_target_attribute": "price",
        "url": f"{address}/x.arff",
        "md5_checksum": hashlib.md5(ARFF).hexdigest(),
    }
    features = [feature(i, *column) for i, column in enumerate(COLUMNS)]
    described = {
        "/data/7": {"data_set_description": description},
        "/features/7": {"data_features": {"feature": features}},
        "/qualities/7": {"data_qualities": {"quality": [{"name": "NumberOfInstances", "value": str(len(ROWS))}]}},
    }
    return {"/x.arff": ARFF} | {path: json.dumps(answer).encode() for path, answer in described.items()}


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[str]]:
    """Yield the paths requested from the server."""
    paths: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            body = answers(f"http://127.0.0.1:{server.server_port}").get(self.path)
            self.send_response(200 if body is not None else 412)
            self.end_headers()
            with contextlib.suppress(BrokenPipeError):
                self.wfile.write(body or b"")

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    for name, path in (("_DATA_INFO", "data"), ("_DATA_FEATURES", "features"), ("_DATA_QUALITIES", "qualities")):
        monkeypatch.setattr(_openml, name, f"{address}/{path}/{{}}")
    monkeypatch.setenv("MPI_FED_CACHE_DIR", str(tmp_path / "cache"))
    yield paths
    server.shutdown()
    server.server_close()


def test_a_data_set_is_fetched_once_and_cached(requests: list[str]) -> None:
    problem = OpenML(data_id=7)
    rows = problem.dataset
    order = np.argsort(rows.targets)
    np.testing.assert_array_equal(rows.targets[order], [-1.0, 0.5, 1.5, 2.0])
    np.testing.assert_array_equal(rows.features[order], [[4.0, 0, 2], [2.0, 1, 0], [0.5, 0, 0], [1.5, 1, 1]])
    once = len(requests)
    assert "/x.arff" in requests
    assert OpenML(data_id=7, preprocessing="standardize").dimension_of() == 3
    assert len(requests) == once


@pytest.mark.usefixtures("requests")
def test_another_column_may_be_the_target() -> None:
    targets = OpenML(data_id=7, target="size").dataset.targets
    np.testing.assert_array_equal(np.sort(targets), [0.5, 1.5, 2.0, 4.0])


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ({"data_id": 8}, "data_id = 8 cannot be .* from OpenML"),
        ({"data_id": 7, "target": "weight"}, "data_id = 7 cannot be read from OpenML .*weight"),
    ],
)
@pytest.mark.usefixtures("requests")
def test_missing_data_sets_and_columns_are_reported(table: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=sentence):
        OpenML(**table).location()
    assert not list((tmp_path / "cache").rglob("*.npz"))


@pytest.mark.usefixtures("requests")
def test_words_of_the_target_are_numbered_alphabetically() -> None:
    rows = OpenML(data_id=7, target="colour").dataset
    order = np.argsort(rows.features[:, 0])
    np.testing.assert_array_equal(rows.targets[order], [1.0, 0.0, 0.0, 1.0])  # sizes 0.5, 1.5, 2, 4


@pytest.mark.slow
def test_without_a_network_one_sentence_says_how_to_fix_it(tmp_path: Path) -> None:
    """All connections to other machines go to a local port without a server."""
    write_study(tmp_path / "study.toml", clients=2, problem={"kind": "openml", "data_id": 7})
    ended = command.run(
        *("run", "study.toml", "--ranks", 1),
        folder=tmp_path,
        status=2,
        https_proxy="http://127.0.0.1:9",
        no_proxy="",
        MPI_FED_CACHE_DIR=str(tmp_path / "cache"),
    )
    (line,) = ended.stderr.splitlines()
    assert line.startswith("mpi-fed: study.toml: [problem] data_id = 7 cannot be fetched from OpenML (")
    assert line.endswith('save the data set elsewhere as .npz, .csv or .svm and give kind = "file"')
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_a_server_that_never_answers_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The server accepts the connection and sends nothing."""
    monkeypatch.setattr(openml, "PATIENCE", 0.2)
    monkeypatch.setenv("MPI_FED_CACHE_DIR", str(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setattr(_openml, "_DATA_INFO", f"{address}/data/{{}}")
        with pytest.raises(ValueError, match=r"data_id = 7 cannot be fetched .*\(timed out\); without a network"):
            OpenML(data_id=7).location()
    assert socket.getdefaulttimeout() is None
