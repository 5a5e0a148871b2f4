"""The exception tree: every failure that is the user's to mend.

A crash of a candidate is data and never raises one of these.  Each class has
an exit code of its own, from sysexits, so that a typo never reads as a verdict
(0 keep, 1 discard, 2 retest).
"""

EXIT_USAGE = 64
EXIT_DATA = 65
EXIT_NO_INPUT = 66
EXIT_UNAVAILABLE = 69
EXIT_SOFTWARE = 70
EXIT_IO = 74
EXIT_TEMPORARY = 75

NEW_SESSION = "start another session: snakemake --cores 1 --config session=NAME"
"""What to do where a session cannot go on as it is."""


class RatchetError(Exception):
    """Root of the tree.

    ``str(error)`` is the whole message for the user: what happened, where,
    what was expected, what was found, and what to type next.
    """

    exit_code = EXIT_SOFTWARE


class UsageError(RatchetError):
    """A wrong option or a wrong combination of options."""

    exit_code = EXIT_USAGE


class ConfigError(RatchetError):
    """The configuration or a task file does not say what it must."""

    exit_code = EXIT_USAGE


class DataError(RatchetError):
    """An input exists but cannot be understood."""

    exit_code = EXIT_DATA


class InputMissingError(RatchetError):
    """An input does not exist or cannot be read."""

    exit_code = EXIT_NO_INPUT


class AgentUnusableError(RatchetError):
    """A coding agent is to propose, and its tool does not work."""

    exit_code = EXIT_UNAVAILABLE


class FixedInputChangedError(RatchetError):
    """Something that a running session had frozen is not what it was."""

    exit_code = EXIT_DATA


class OtherHardwareError(FixedInputChangedError):
    """A run that would be compared with others landed on hardware of another class."""


class StoreError(RatchetError):
    """The store cannot hold or find what it should."""

    exit_code = EXIT_IO


class SessionBusyError(RatchetError):
    """Another living process owns this folder."""

    exit_code = EXIT_TEMPORARY
