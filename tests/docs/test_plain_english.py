"""Words and forms that the project avoids in everything that a person reads."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

INSTEAD = {
    r"told|tells?|telling": "report, say, state",
    r"mend(s|ed|ing)?": "fix",
    r"nobody|no one": "name the subject",
    r"held against|hold against|holds against": "compared with",
    r"slip of the pen": "mistake",
    r"is none( of)?": "is not one of",
    r"is no fault": "is not an error",
    r"the same of": "repeat the noun",
    r"alone to know": "only ... knows",
    r"surroundings": "environment",
    r"bears?|bore": "tolerates, carries",
    r"befalls?": "happens to",
    r"whence|thereof|therein|hereby|wherein": "from where, of it, in it, ...",
    r"by turns": "alternately",
    r"none but": "only",
}
"""Each regular expression, of whole words, and what to write in its place."""
BANNED = re.compile(rf"(?<![\w-])({'|'.join(f'(?:{word})' for word in INSTEAD)})(?![\w-])", re.IGNORECASE)
FIRST_WORDS = ("What", "Whether", "Where", "How", "Of", "Which", "Why", "Who", "When")
"""A docstring begins with a verb in the imperative, with the noun that the thing is, or with a formula."""
PROSE = {".py", ".md", ".toml", ".j2", ".sbatch", ".html", ".js", ".c", ".yml", ".yaml", ".cff"}


def files() -> list[Path]:
    """Return the tracked files that hold prose, but for this one."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    paths = [ROOT / line for line in listed.splitlines()]
    return [path for path in paths if path.suffix in PROSE and path != Path(__file__) and path.exists()]


def words(path: Path) -> str:
    """Return the text of a file; in Python, names_of_several_words are words, too, and None is a value."""
    text = path.read_text(encoding="utf-8")
    return text.replace("is None", "").replace("_", " ") if path.suffix == ".py" else text


def test_no_banned_word() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {match[0]!r}"
        for path in files()
        for number, line in enumerate(words(path).splitlines(), 1)
        for match in BANNED.finditer(line)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("text", ["he told us", "Nobody knows", "z is none of ours", "mended"])
def test_banned_words_are_found(text: str) -> None:
    assert BANNED.search(text)


@pytest.mark.parametrize("text", ["recommended", "a bearing", "amendment", "none", "tell-tale"])
def test_parts_of_words_are_not(text: str) -> None:
    assert not BANNED.search(text)


def docstrings(path: Path) -> list[tuple[int, str]]:
    """Return line and text of every docstring of a file, those of constants included."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [
        (statement.lineno, statement.value.value.strip())
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.If)
        for statement in node.body
        if isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    ]


def test_docstrings_begin_with_a_verb_or_a_noun() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {text.splitlines()[0]!r}"
        for path in files()
        if path.suffix == ".py"
        for line, text in docstrings(path)
        if text.split()[0].rstrip(",:") in FIRST_WORDS
    ]
    assert not found, "\n".join(found)
