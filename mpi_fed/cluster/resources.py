"""The resources that a batch job requests from Slurm: read from the command line and a cluster's profile, and checked.

A text that enters an #SBATCH line must match a strict pattern here; a text that enters a command is quoted by
`job.sh.j2`. The only exception is a profile's `setup`, whose lines are commands.
"""

from __future__ import annotations

import re
import shlex
from argparse import Namespace
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from ..study import validation
from ..study.toml_tables import read_toml
from ..text import plain

_NAME = r"[A-Za-z0-9_][A-Za-z0-9_.@+-]*"
FORMS = {
    "mem": (r"[1-9][0-9]{0,9}[KMGT]?", "4G or 500M"),
    "time": (r"[0-9]{1,7}(:[0-9]{1,2}){0,2}|[0-9]{1,4}-[0-9]{1,2}(:[0-9]{1,2}){0,2}", "90, 01:30:00 or 2-12"),
    "partition": (rf"{_NAME}(,{_NAME})*", "short or short,long"),
    "account": (_NAME, "physics"),
    "qos": (_NAME, "normal"),
    "constraint": (r"[A-Za-z0-9_][A-Za-z0-9_.,&|*+()\[\]:-]*", "skylake or [rack1|rack2]"),
}
"""Pattern and example of each text that enters an #SBATCH line."""
OPTION = r"--([a-z][a-z0-9-]*)(=[A-Za-z0-9_.,:/=@%+*&|()\[\]-]+)?"
SET_HERE = ("array", "job-name", "nodes", "ntasks", "open-mode", "output", "requeue", "no-requeue", "signal", "wrap")
"""Options of sbatch that the script sets; an option of the user would contradict them."""
HAVE_OPTIONS = (
    *("account", "constraint", "cpus-per-task", "mem", "nodes"),
    *("ntasks-per-node", "partition", "qos", "time"),
)
"""Options of sbatch that are also options of `mpi-fed submit`."""
MODULE = r"[A-Za-z0-9][A-Za-z0-9_.+@:/-]*"


class Resources(BaseModel):
    """The keys of a profile. The keys that do not hold commands are also options of `mpi-fed submit`."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    nodes: int | None = Field(None, ge=1, le=10**6)
    tasks_per_node: int | None = Field(None, ge=1, le=10**6)
    cpus_per_task: int | None = Field(None, ge=1, le=10**6)
    mem: str | None = None
    time: str | None = None
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    array_limit: int | None = Field(None, ge=1, le=10**6)
    sbatch: list[str] = []
    launcher: str | None = None
    python: str | None = None
    modules: list[str] = []
    setup: list[str] = []
    environment: dict[str, str] = {}

    @field_validator(*FORMS)
    @classmethod
    def _formed(cls, value: str | None, info: ValidationInfo) -> str | None:
        pattern, example = FORMS[info.field_name or ""]
        if value is not None and not re.fullmatch(pattern, value):
            raise ValueError(f"must be like {example}")
        return value

    @field_validator("sbatch")
    @classmethod
    def _options(cls, lines: list[str]) -> list[str]:
        for line in lines:
            match = re.fullmatch(OPTION, line)
            if match is None:
                raise ValueError("each must be one option of sbatch like --gres=gpu:1, without spaces or quotes")
            for name in (*SET_HERE, *HAVE_OPTIONS):
                if name.startswith(match[1]):  # sbatch takes abbreviations
                    hint = "is set by mpi-fed submit" if name in SET_HERE else f"has its own key: {_key(name)}"
                    raise ValueError(f"--{name} {hint}; leave it out here")
        return lines

    @field_validator("launcher")
    @classmethod
    def _words(cls, text: str | None) -> str | None:
        if text is not None and (not text.isprintable() or not _split(text)):
            raise ValueError("must be a command in one line, with each quote closed")
        return text

    @field_validator("python")
    @classmethod
    def _path(cls, text: str | None) -> str | None:
        if text is not None and not (text and text.isprintable()):
            raise ValueError("must be the path of a Python interpreter")
        return text

    @field_validator("modules")
    @classmethod
    def _modules(cls, names: list[str]) -> list[str]:
        if not all(re.fullmatch(MODULE, name) for name in names):
            raise ValueError("each must be a module's name like openmpi/4.1.5")
        return names

    @field_validator("setup")
    @classmethod
    def _lines(cls, lines: list[str]) -> list[str]:
        if not all(line.isprintable() and line.strip() for line in lines):
            raise ValueError("each must be one line of shell code")
        return lines

    @field_validator("environment")
    @classmethod
    def _variables(cls, variables: dict[str, str]) -> dict[str, str]:
        for name, value in variables.items():
            if not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", name) or not value.isprintable():
                raise ValueError("must give each variable, whose name has letters, digits and _, a text of one line")
        return variables

    @property
    def ranks(self) -> int:
        """Number of ranks of a job."""
        return (self.nodes or 1) * (self.tasks_per_node or 1)

    @property
    def cores(self) -> int:
        """Number of cores of a job."""
        return self.ranks * (self.cpus_per_task or 1)

    @property
    def launch(self) -> list[str] | None:
        """Words of the launcher's command, or None if no launcher is given."""
        return None if self.launcher is None else _split(self.launcher)

    @property
    def seconds(self) -> int | None:
        """Time limit in seconds, or None if no limit is given."""
        return None if self.time is None else seconds_of(self.time)


def _key(option: str) -> str:
    return "tasks_per_node" if option == "ntasks-per-node" else option.replace("-", "_")


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return []


def seconds_of(time: str) -> int:
    """Return the seconds of a time in one of Slurm's forms: M, M:S, H:M:S, D-H, D-H:M, D-H:M:S."""
    days, dash, rest = time.rpartition("-")
    parts = [int(part) for part in rest.split(":")]
    if dash:
        hours, minutes, seconds = (*parts, 0, 0)[:3]
    elif len(parts) == 3:
        hours, minutes, seconds = parts
    else:
        hours, (minutes, seconds) = 0, (*parts, 0)[:2]
    return int(days or 0) * 86400 + hours * 3600 + minutes * 60 + seconds


def from_command_line(arguments: Namespace) -> Resources:
    """Return the resources of the profile. Options of the command line replace its keys; --sbatch adds to them."""
    profile = {}
    if arguments.profile is not None:
        profile = read_toml(Path(arguments.profile), "profile")
        validation.model(Resources, profile, f"{plain(arguments.profile)}: the profile's")
    keys = Resources.model_fields
    options = {key: value for key in keys if (value := getattr(arguments, key, None)) not in (None, [])}
    sbatch = validation.model(Resources, options, "mpi-fed submit:").sbatch
    return Resources(**{**profile, **options, "sbatch": [*profile.get("sbatch", []), *sbatch]})
