"""Errors shown to the user as one sentence. Any other exception is a bug and prints its traceback."""


class InputError(Exception):
    """The user's input is wrong: the message says where, what is wrong and how to fix it. Exit status 2."""

    exit_status = 2


class WorldError(Exception):
    """The MPI world is not the one that was asked for. Exit status 3."""

    exit_status = 3


class RunError(Exception):
    """A machine does not do what it should: a message that arrived as another, ranks that differ. Exit status 1."""

    exit_status = 1
