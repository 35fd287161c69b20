"""What can go wrong, and the exit code of each kind.

Every message is one line: what, where, what to do.
"""


class WedgeError(Exception):
    """A fault that the user is told in one line; the base of all others."""

    exit_code = 1


class UsageError(WedgeError):
    """A wrong option, an unknown plugin or an unknown option key."""

    exit_code = 2


class InputError(WedgeError):
    """Input that is missing, damaged or does not fit, or a disk that is full."""

    exit_code = 3


class PluginError(WedgeError):
    """A plugin that was chosen and could not be loaded, built or run."""

    exit_code = 4


class OutputExistsError(WedgeError):
    """An output that is already there, or that another run is writing."""

    exit_code = 5


class DeviceError(WedgeError):
    """A device that is missing, or memory that does not suffice."""

    exit_code = 6


class DivergedError(WedgeError):
    """A fit whose loss stopped being finite or ran away."""

    exit_code = 7


class StoppedError(WedgeError):
    """A run ended by SIGTERM that left a checkpoint to resume."""

    exit_code = 75


class TerminatedError(WedgeError):
    """A run ended by SIGTERM with nothing to resume."""

    exit_code = 143


class InterruptedRunError(WedgeError):
    """A run ended from the keyboard; its checkpoint, if any, is kept."""

    exit_code = 130


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether an error means that memory did not suffice; torch has a kind of its own for GPUs and none for main memory."""
    return isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or "DefaultCPUAllocator" in str(error)
