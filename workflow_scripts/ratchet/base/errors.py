"""The exception tree: every failure that is the user's to mend.

A crash of a candidate is data and never raises one of these.  Each class has
an exit code of its own, from sysexits, so that a typo never reads as a verdict
(0 keep, 1 discard, 2 retest).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

EXIT_USAGE = 64
EXIT_DATA = 65
EXIT_NO_INPUT = 66
EXIT_UNAVAILABLE = 69
EXIT_SOFTWARE = 70
EXIT_IO = 74
EXIT_TEMPORARY = 75

THIS_SESSION = "snakemake --cores 1 --config session=THIS"
ANOTHER_SESSION = "snakemake --cores 1 --config session=NAME"
"""Commands of a session and of another one like it.  Whoever shows a message that has one
spells it, with the session's settings (:func:`ratchet.config.spell_commands`)."""

NEW_SESSION = f"start another session: {ANOTHER_SESSION}"
"""What to do where a session cannot go on as it is."""


class RatchetError(Exception):
    """Root of the tree.

    ``str(error)`` is the whole message for the user: what happened, where,
    what was expected, what was found, and what to type next.
    """

    exit_code = EXIT_SOFTWARE

    faults: tuple[RatchetError, ...] = ()
    """Of an error that names several at once: each by itself, in the order of mending."""


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
    """Another living process plays this session."""

    exit_code = EXIT_TEMPORARY


def faults_of(checks: Iterable[Callable[[], object]]) -> list[RatchetError]:
    """What these checks raise, each fault by itself."""
    found: list[RatchetError] = []
    for check in checks:
        try:
            check()
        except RatchetError as error:
            found += error.faults or (error,)
    return found


def raise_faults(faults: Sequence[RatchetError]) -> None:
    """Raise the only fault, or one error of the first one's class that names all, in order."""
    if not faults:
        return
    if len(faults) == 1:
        raise faults[0]
    lines = [f"{number}. {fault}" for number, fault in enumerate(faults, 1)]
    text = "\n".join(lines).replace("\n", "\n  ")
    error = type(faults[0])(f"{len(faults)} things are to be mended, in this order:\n  {text}")
    error.faults = tuple(faults)
    raise error
