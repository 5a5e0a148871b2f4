"""Pages that a command line writes where it is told to, and where it may not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ratchet.cli import command
from ratchet.results_tsv import one_line

HEAD_BYTES = 8192
"""Within so many bytes a page of ours says what made it."""


def may_write(output: Path, force: bool, inputs: Sequence[Path | None], option: str = "-o") -> None:
    """Refuse to replace an input, a file of a session, and what is no report of ours.

    ``option`` names the file on the command line.  Raises
    :class:`ratchet.cli.command.OutputError`.
    """
    shown = one_line(str(output))
    try:
        if output.is_dir():
            raise command.OutputError(f"{shown}: is a folder; name a file in it with {option}")
        if not output.parent.is_dir():
            raise command.OutputError(f"{shown}: there is no such folder; make it, or name another")
        if (output.parent / "manifest.json").is_file():
            raise command.OutputError(
                f"{shown}: that folder is a session's, whose files are sealed; name another with "
                f"{option}"
            )
        if not (output.exists() or output.is_symlink()):
            return
        if any(path is not None and path.exists() and output.samefile(path) for path in inputs):
            raise command.OutputError(f"{shown}: is what the report is made of; name another file")
        if not force and not _is_report(output):
            raise command.OutputError(
                f"{shown}: exists and is no report of this program; name another with {option}, or "
                "replace it with --force"
            )
    except (OSError, ValueError) as error:
        raise _unwritable(output, error) from None


def _is_report(path: Path) -> bool:
    """Whether a page says of itself that it was made here."""
    from ratchet.report.render import GENERATOR

    if not path.is_file():
        return False
    with path.open("rb") as stream:
        return f'<meta name="generator" content="{GENERATOR}">'.encode() in stream.read(HEAD_BYTES)


def write(output: Path, page: str) -> None:
    """Write a page; raises :class:`ratchet.cli.command.OutputError` where that fails."""
    from ratchet.files import write_bytes

    try:
        write_bytes(output, page.encode())
    except (OSError, ValueError) as error:
        raise _unwritable(output, error) from None


def _unwritable(output: Path, error: Exception) -> command.OutputError:
    reason = getattr(error, "strerror", None) or error
    return command.OutputError(f"{one_line(str(output))}: cannot be written: {reason}")
