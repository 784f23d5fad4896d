"""Escape docstrings for Markdown, so that `<`, `*` and `_` in formulas are not taken for tags or emphasis."""

from __future__ import annotations

import re
from typing import Any

import griffe

CODE = re.compile(r"```[\s\S]*?```|`[^`\n]*`|^>>> [^\n]*$|(?<=\n\n)(?: {4}[^\n]*(?:\n|$))+", re.MULTILINE)
"""Text that Markdown shows as it is: fences, code spans, examples, and indented lines after an empty one."""
MARKUP = re.compile(r"(?<!^)(?<!\n)\*(?!\*)(?<!\*\*)|(?<![A-Za-z0-9])_(?=\w)|<(?=[A-Za-z/!])", re.MULTILINE)


def escaped(text: str) -> str:
    """Return the text of a docstring with `<`, `*` and `_` escaped outside code."""
    parts, end = [], 0
    for code in CODE.finditer(text):
        parts += [MARKUP.sub(_escape, text[end : code.start()]), code[0]]
        end = code.end()
    return "".join([*parts, MARKUP.sub(_escape, text[end:])])


def _escape(match: re.Match[str]) -> str:
    return "&lt;" if match[0] == "<" else f"\\{match[0]}"


class EscapeDocstrings(griffe.Extension):
    """Escape every docstring that mkdocstrings renders."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Escape the docstring of one object."""
        if obj.docstring is not None:
            obj.docstring.value = escaped(obj.docstring.value)
