"""The two errors that are the user's to mend; everything else is a bug and shows its traceback."""


class InputError(Exception):
    """What the user gave is wrong: one sentence that names the place and the mend. Exit status 2."""

    exit_status = 2


class WorldError(Exception):
    """The MPI world is not the one that was asked for. Exit status 3."""

    exit_status = 3
