"""The docstrings of public names: each has one, its shapes and keys are right, and its examples run."""

from __future__ import annotations

import ast
import dataclasses
import doctest
import importlib
import inspect
import re
import subprocess
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from griffe import Docstring, DocstringSectionKind, Parser
from pydantic import BaseModel

import mpi_fed
from mpi_fed import analysis, theory
from mpi_fed.cluster.status import Row
from mpi_fed.component import Component
from mpi_fed.engine.mpi_calls import Comm
from mpi_fed.engine.operations.algorithm import Client
from mpi_fed.engine.operations.compressor import Message
from mpi_fed.engine.operations.route import Round
from mpi_fed.engine.random_streams import Stream
from mpi_fed.log.reader import Log
from mpi_fed.study.configuration import LogOptions, StudyOptions
from mpi_fed.study.families import BASES, REGISTRIES

ROOT = Path(__file__).parents[2]
COMPONENTS = [
    component
    for registry in REGISTRIES.values()
    for component in registry.values()
    if component.__module__.startswith("mpi_fed.")
]
CLASSES: list[type] = [*BASES, *COMPONENTS, mpi_fed.Study, Component]
NAMES = {
    **{f"mpi_fed.{name}": getattr(mpi_fed, name) for name in mpi_fed.__all__ if name != "__version__"},
    **{f"mpi_fed.theory.{name}": getattr(theory, name) for name in theory.__all__},
    **{f"mpi_fed.analysis.{name}": getattr(analysis, name) for name in analysis.__all__},
    **{f"{each.__module__}.{each.__qualname__}": each for each in CLASSES},
}
DOCUMENTS = [
    f"mpi_fed.{name}.document"
    for name in ("theory", "certification", "analysis", "benchmark", "analysis.scaling", "analysis.cost_model")
]
RECORDS: list[type] = [Row, Log, Message, Client, Round, Comm, Stream]
ARRAY = re.compile(r"\b(Array|NDArray|Floats|Counts|ndarray)\b")
SHAPE = re.compile(r"\((?:[A-Za-z0-9_+*]+)(?:, ?[A-Za-z0-9_+*]+)*,?\)|shape|scalar")


def members() -> Iterator[tuple[str, Any]]:
    """Yield the public names, and the public methods and properties of the classes among them."""
    for name, thing in NAMES.items():
        yield name, thing
        if inspect.isclass(thing):
            for attribute, value in vars(thing).items():
                is_code = inspect.isfunction(value) or isinstance(value, property | staticmethod | classmethod)
                if is_code and not attribute.startswith(("_", "model_")):
                    yield f"{name}.{attribute}", getattr(thing, attribute)


MEMBERS = dict(members())


@pytest.mark.parametrize("name", MEMBERS)
def test_every_public_name_has_a_docstring(name: str) -> None:
    assert inspect.getdoc(MEMBERS[name]), name


@pytest.mark.parametrize("name", [name for name, thing in MEMBERS.items() if inspect.isfunction(thing)])
def test_a_function_with_arrays_gives_their_shapes(name: str) -> None:
    function = MEMBERS[name]
    if any(ARRAY.search(str(annotation)) for annotation in function.__annotations__.values()):
        assert SHAPE.search(inspect.getdoc(function) or ""), name


def entries(thing: type, kind: DocstringSectionKind) -> set[str]:
    """Return the names in the sections of this kind in the docstring of a class."""
    sections = Docstring(inspect.cleandoc(thing.__doc__ or ""), parser=Parser.numpy).parsed
    tables = [section.value for section in sections if section.kind is kind]
    return {name for table in tables for entry in table for name in entry.name.split(", ")}


@pytest.mark.parametrize("model", [*COMPONENTS, *BASES, StudyOptions, LogOptions], ids=lambda model: model.__qualname__)
def test_the_parameters_of_a_component_are_its_keys(model: type[BaseModel]) -> None:
    inherited = {key for base in model.__mro__[1:] for key in getattr(base, "model_fields", {})}
    described = entries(model, DocstringSectionKind.parameters)
    assert set(model.model_fields) - inherited <= described <= set(model.model_fields)


def attribute_docstrings(record: type) -> set[str]:
    """Return the fields of a class that have a docstring of their own."""
    (definition,) = ast.parse(inspect.getsource(record)).body
    assert isinstance(definition, ast.ClassDef)
    return {
        statement.target.id
        for statement, following in pairwise(definition.body)
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)
        if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
    }


def records() -> list[type]:
    """Return the classes whose fields a user reads: those of the JSON documents, logs, and arguments of operations."""
    found = list(RECORDS)
    for name in DOCUMENTS:
        module = importlib.import_module(name)
        classes = [each for each in vars(module).values() if inspect.isclass(each) and each.__module__ == name]
        found += [each for each in classes if dataclasses.is_dataclass(each)]
    return found


@pytest.mark.parametrize("record", records(), ids=lambda record: f"{record.__module__}.{record.__qualname__}")
def test_every_field_of_a_record_is_described(record: type) -> None:
    fields = set(inspect.get_annotations(record))
    listed, documented = entries(record, DocstringSectionKind.attributes), attribute_docstrings(record)
    assert listed | documented == fields
    assert not listed & documented, "these fields are described twice"


def modules_with_examples() -> list[str]:
    """Return the modules of the package whose text has a doctest."""
    listed = subprocess.run(["git", "ls-files", "mpi_fed"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    files = [name for name in listed.split() if name.endswith(".py") and ">>> " in (ROOT / name).read_text()]
    return [name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for name in files]


@pytest.mark.parametrize("name", modules_with_examples())
def test_examples_run(name: str) -> None:
    results = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert results.failed == 0
