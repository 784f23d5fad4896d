"""scripts/torture with few kills and few damaged files."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "torture"


def torture(folder: Path, *options: str) -> str:
    """Run the script, check that it passes and leaves no files, and return its output."""
    words = [sys.executable, str(SCRIPT), *options]
    ended = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=900, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.splitlines()[-1] == "PASSED"
    assert list(folder.iterdir()) == []
    return ended.stdout


@pytest.mark.slow
def test_killed_runs_end_like_uninterrupted_runs(alone: None, tmp_path: Path) -> None:
    """10 times kill -9 at random moments, each followed by a start. The log can be read after each kill."""
    output = torture(tmp_path, "--kills=10", "--rounds=500000", "--mutations=0")
    names, numbers = (re.split("  +", line.strip()) for line in output.splitlines()[:2])
    counts = dict(zip(names, numbers, strict=True))
    assert counts["kills"] == "10"
    assert int(counts["resumed"]) > 0
    assert counts["unreadable logs"] == counts["other results"] == "0"


@pytest.mark.slow
def test_damaged_files_are_accepted_or_refused(alone: None, tmp_path: Path) -> None:
    """500 study files, logs and checkpoints. The logs, and so their mutations, differ between runs of this test."""
    output = torture(tmp_path, "--kills=0", "--mutations=500")
    for kind in ("study", "log", "checkpoint"):
        row = re.search(rf"^{kind} (.*)$", output, re.MULTILINE)
        assert row is not None
        accepted, refused, *wrong = map(int, row[1].split())
        assert accepted + refused >= 166
        assert refused > accepted / 4
        assert not any(wrong)
