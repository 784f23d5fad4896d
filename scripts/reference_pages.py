"""Write the reference pages that are made from the code.

    python scripts/reference_pages.py docs

`cli.md` comes from the command line's parser; `study-keys.md` from the fields of the components and the Parameters
sections of their docstrings; `api/compressors.md`, and the page of each other family, lists every registered class,
whose docstring the documentation site renders. A test compares the files with the output of this script.
"""

from __future__ import annotations

import argparse
import inspect
import json
import re
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from docstring_text import escaped
from griffe import Docstring, DocstringSectionKind, Parser
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from mpi_fed.cli.main import COMMANDS
from mpi_fed.cli.options import command_parsers
from mpi_fed.component import Component, Registry
from mpi_fed.study.configuration import LogOptions, StudyOptions
from mpi_fed.study.families import BASES, REGISTRIES
from mpi_fed.study.load import KINDS
from mpi_fed.study.validation import allowed
from mpi_fed.text import join

NOTICE = "<!-- Made by `python scripts/reference_pages.py docs`. Edit the docstrings, then run it again. -->"
WIDTH = 78
"""Columns of a usage line."""
LINE = 100
"""Columns of a line of prose."""
TITLES = {
    "problem": "Problems",
    "algorithm": "Algorithms",
    "compressor": "Compressors",
    "route": "Routes",
}
"""The heading of each family's page."""


def main(folder: Path) -> None:
    """Write every page below `folder`."""
    for name, text in pages().items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")


def pages() -> dict[str, str]:
    """Return the text of each page, by its path below the documentation's folder."""
    api = {f"api/{family}s.md": api_page(family) for family in REGISTRIES}
    return {"cli.md": cli_page(), "study-keys.md": keys_page(), **api}


def joined(blocks: Iterator[str]) -> str:
    """Return blocks of Markdown as one page."""
    return "\n\n".join([NOTICE, *(block for block in blocks if block)]) + "\n"


def cli_page() -> str:
    """Return the reference of the command line."""
    return joined(_cli_blocks())


def _cli_blocks() -> Iterator[str]:
    yield "# Command line"
    yield wrapped(
        "Every command prints this with `--help`. Exit status: 0 done; 2 the input is wrong, and one line says where "
        "and how to fix it; 3 the MPI world differs from the requested one; 85 the run saved a checkpoint on a "
        "signal and continues when it is started again; anything else is a failure."
    )
    for name, parser in command_parsers(COMMANDS).items():
        yield f"## mpi-fed {name}"
        yield parser.description or ""
        yield f"```text\n{_usage(parser)}\n```"
        yield "\n\n".join(_option(action) for action in parser._actions if action.dest != "help")


def _usage(parser: argparse.ArgumentParser) -> str:
    """Return the usage, with the same line breaks in every terminal."""
    formatter = argparse.HelpFormatter(parser.prog, width=WIDTH)
    formatter.add_usage(None, [action for action in parser._actions if action.dest != "help"], [], prefix="")
    return formatter.format_help().strip()


def _option(action: argparse.Action) -> str:
    """Return one argument as an entry of a definition list."""
    metavar = action.metavar if isinstance(action.metavar, str) else ""
    value = f" {metavar}{' ...' if action.nargs == '+' else ''}" if metavar else ""
    names = [f"`{option}{value}`" for option in action.option_strings] or [f"`{metavar}`"]
    return f"{', '.join(names)}\n{wrapped(action.help or '', ':   ', '    ')}"


def keys_page() -> str:
    """Return the reference of the study file's keys."""
    return joined(_keys_blocks())


def _keys_blocks() -> Iterator[str]:
    yield "# Study keys"
    yield wrapped(
        "Every table and key of a study file, with the values that it takes and its default. "
        "[Write a study file](study-file.md) shows how they work together. A path is relative to the study file. "
        "A list in place of a single value makes a [grid](study-file.md#grids), except in `[log]`."
    )
    yield from _key_blocks("## `[study]`", StudyOptions)
    for base, registry in BASES.items():
        family = registry.family
        heading = f"[[{family}]]" if family == "compressor" else f"[{family}]"
        yield f"## `{heading}`"
        yield wrapped(f"{summary(base)} The [Python API](api/{family}s.md) has formulas, conditions and sources.")
        yield _kind(registry)
        yield from _key_entries(base)
        if family == "compressor":
            yield wrapped(
                "A `[[downlink]]` table has the same kinds and keys, and "
                "[compresses the messages of the root](study-file.md#compress-both-ways)."
            )
        shared = _shared_bases(registry)
        for other, kinds in shared.items():
            yield from _key_blocks(f"### Keys of {join((f'`{kind}`' for kind in kinds), 'and')}", other, [base])
        for kind, component in registry.items():
            yield from _key_blocks(f"### `{kind}`", component, [base, *shared])
    yield from _key_blocks("## `[log]`", LogOptions)


def _shared_bases(registry: Registry[Any]) -> dict[type[BaseModel], list[str]]:
    """Return the classes between a family's base and its kinds that add keys, each with the kinds that inherit them."""
    shared: dict[type[BaseModel], list[str]] = {}
    for kind, component in registry.items():
        for other in component.__mro__[1:]:
            if issubclass(other, Component) and "kind" not in vars(other) and other not in BASES and _own_keys(other):
                shared.setdefault(other, []).append(kind)
    return shared


def _own_keys(model: type[BaseModel]) -> set[str]:
    """Return the keys of the class that its bases do not have."""
    return set(model.model_fields) - {key for base in model.__mro__[1:] for key in getattr(base, "model_fields", ())}


def _key_blocks(heading: str, model: type[BaseModel], bases: Sequence[type[BaseModel]] = ()) -> Iterator[str]:
    """Yield a heading, a sentence and the keys, without the keys that are the same in one of `bases`."""
    yield heading
    yield wrapped(summary(model))
    yield from _key_entries(model, bases)


def _key_entries(model: type[BaseModel], bases: Sequence[type[BaseModel]] = ()) -> Iterator[str]:
    described = described_keys(model)
    for name, field in model.model_fields.items():
        if not any(issubclass(model, base) and _same(base, name, field) for base in bases):
            yield _key(name, field, described.get(name, ""))


def _same(base: type[BaseModel], name: str, field: FieldInfo) -> bool:
    known = base.model_fields.get(name)
    return known is not None and (known.annotation, known.default) == (field.annotation, field.default)


def _kind(registry: Registry[Any]) -> str:
    """Return the entry of the key `kind` of a family."""
    kinds = join((json.dumps(kind) for kind in registry), "or")
    default = KINDS.get(registry.family, {}).get("kind")
    head = f"`kind`: {kinds}; {f'default `{json.dumps(default)}`' if default else 'required'}"
    return f"{head}\n:   Kind of {registry.family}. The other keys of the table are its parameters."


def _key(name: str, field: FieldInfo, meaning: str) -> str:
    """Return one key as an entry of a definition list."""
    if field.is_required():
        default = "required"
    else:
        default = "no fixed default" if field.default is None else f"default `{json.dumps(field.default)}`"
    head = f"`{name}`: {allowed(field.annotation, field.metadata)}; {default}"
    return f"{head}\n{wrapped(meaning, ':   ', '    ')}"


def wrapped(text: str, first: str = "", others: str = "") -> str:
    """Return a paragraph in lines of up to LINE columns."""
    return textwrap.fill(
        text, LINE, initial_indent=first, subsequent_indent=others, break_long_words=False, break_on_hyphens=False
    )


def summary(model: type[BaseModel]) -> str:
    """Return the first paragraph of a class's docstring."""
    return escaped(" ".join((model.__doc__ or "").strip().split("\n\n")[0].split()))


def described_keys(model: type[BaseModel]) -> dict[str, str]:
    """Return the description of each key in the Parameters sections of a class and its bases."""
    keys: dict[str, str] = {}
    for each in reversed(model.__mro__):
        for section in Docstring(inspect.cleandoc(each.__doc__ or ""), parser=Parser.numpy).parsed:
            if section.kind is DocstringSectionKind.parameters:
                keys.update({item.name: escaped(" ".join(item.description.split())) for item in section.value})
    return keys


def api_page(family: str) -> str:
    """Return the API page of a family: its base class and every registered class."""
    return joined(_api_blocks(family))


def _api_blocks(family: str) -> Iterator[str]:
    yield f"# {TITLES[family]}"
    base = next(base for base, registry in BASES.items() if registry.family == family)
    yield wrapped(
        f"Each class is one `kind` of the study table `[{family}]`; its fields are the keys, whose bounds "
        f"[Study keys](../study-keys.md#{family}) lists."
    )
    yield _directive(base)
    for component in REGISTRIES[family].values():
        yield f"{_directive(component)}\n    options: {{members: false, show_bases: false}}"


def _directive(component: type[BaseModel]) -> str:
    return f"::: {component.__module__}.{component.__qualname__}"


if __name__ == "__main__":
    if len(sys.argv) != 2 or not re.match(r"[^-]", sys.argv[1]):
        sys.exit("give the folder of the documentation: python scripts/reference_pages.py docs")
    main(Path(sys.argv[1]))
