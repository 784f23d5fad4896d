"""scripts/torture, a part of it: runs that are killed, files that are damaged."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "torture"


def torture(folder: Path, *options: str) -> str:
    """What the script prints; it must find all sound, and leave nothing."""
    words = [sys.executable, str(SCRIPT), *options]
    ended = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=900)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.splitlines()[-1] == "PASSED"
    assert list(folder.iterdir()) == []
    return ended.stdout


@pytest.mark.slow
def test_killed_runs_end_as_others(alone: None, tmp_path: Path) -> None:
    """10 kills -9 at random moments, each followed by a start; logs are readable in between, the end is the same."""
    said = torture(tmp_path, "--kills=10", "--rounds=500000", "--mutations=0")
    names, numbers = (re.split("  +", line.strip()) for line in said.splitlines()[:2])
    found = dict(zip(names, numbers, strict=True))
    assert found["kills"] == "10"
    assert int(found["resumed"]) > 0
    assert found["unreadable logs"] == found["other results"] == "0"


@pytest.mark.slow
def test_mutated_files(alone: None, tmp_path: Path) -> None:
    """500 study files, logs and checkpoints. Logs differ from run to run, and so do these mutations of them."""
    said = torture(tmp_path, "--kills=0", "--mutations=500")
    for kind in ("study", "log", "checkpoint"):
        taken, refused, *wrong = map(int, re.search(rf"^{kind} (.*)$", said, re.MULTILINE)[1].split())
        assert taken + refused >= 166
        assert refused > taken / 4
        assert not any(wrong)
