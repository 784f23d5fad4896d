"""Errors shown to the user as one sentence. Any other exception is a bug and prints its traceback."""


class InputError(Exception):
    """Error in the user's input. The message says where, what is wrong and how to fix it.

    Notes
    -----
    The exit status of a command is then 2.
    """

    exit_status = 2


class WorldError(Exception):
    """Error in the MPI world: MPI is missing, or its world differs from the requested one. Exit status 3."""

    exit_status = 3


class RunError(Exception):
    """Error of a machine: a message changed on its way, or ranks have different results. Exit status 1."""

    exit_status = 1
