"""Write tables, paragraphs and pictures of a Markdown page."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path


def picture(page: Path, name: str, caption: str) -> tuple[Path, str]:
    """Return the file of a picture, and the line that shows it on the page."""
    file = page.with_name(f"{page.stem}-{name}.png")
    return file, f"![{caption}]({file.name})"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a table, and an empty one."""
    yield f"| {' | '.join(heads)} |"
    yield f"|{'---|' * len(heads)}"
    yield from (f"| {' | '.join(row)} |" for row in rows)
    yield ""


def paragraph(text: str, bullet: bool = False) -> Iterator[str]:
    """Yield the lines of a paragraph and an empty one, or the lines of a bullet."""
    first, others = ("* ", "  ") if bullet else ("", "")
    yield from textwrap.wrap(text, 116, initial_indent=first, subsequent_indent=others, break_on_hyphens=False)
    if not bullet:
        yield ""
