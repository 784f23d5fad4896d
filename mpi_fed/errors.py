"""The errors that are told in one sentence; everything else is a bug and shows its traceback."""


class InputError(Exception):
    """What the user gave is wrong: one sentence that names the place and the mend. Exit status 2."""

    exit_status = 2


class WorldError(Exception):
    """The MPI world is not the one that was asked for. Exit status 3."""

    exit_status = 3


class RunError(Exception):
    """A machine does not do what it should: a message that arrived as another, ranks that differ. Exit status 1."""

    exit_status = 1
