"""Bytes to lines of text: encodings, byte order marks, terminal colours, line ends."""

from __future__ import annotations

import re

from ratchet.errors import DataError

_MARKS = (
    (b"\xef\xbb\xbf", "utf-8"),
    (b"\xff\xfe\x00\x00", "utf-32-le"),
    (b"\x00\x00\xfe\xff", "utf-32-be"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be"),
)
_ANSI = re.compile(r"\x1b\[[0-9;:?]*[ -/]*[@-~]|\x1b\][^\x07\x1b\n]*(?:\x07|\x1b\\)?|\x1b[@-Z\\^_]")
# Never str.splitlines: it also splits at form feeds and Unicode separators.
_LINE_END = re.compile(r"\r*\n|\r")


def decode_text(data: bytes, name: str) -> tuple[str, list[str]]:
    """The text of a file without terminal colours, and what was assumed.

    Raises :class:`DataError` for an empty and for a binary file.
    """
    if not data.strip(b"\x00\t\n\r \xef\xbb\xbf\xff\xfe"):
        raise DataError(f"{name}: expected text, found an empty file ({len(data)} bytes)")
    encoding, skip = _encoding(data)
    assumptions = [] if encoding == "utf-8" else [f"the file is {encoding.upper()}"]
    try:
        text = data[skip:].decode(encoding)
    except UnicodeDecodeError as error:
        if encoding != "utf-8":
            raise DataError(
                f"{name}: expected {encoding} text, found other bytes at {error.start + skip}"
            ) from None
        text = data[skip:].decode("latin-1")
        assumptions = [f"the file is not UTF-8 (byte {error.start + skip}); read as Latin-1"]
    place = text.find("\x00")
    if place >= 0:
        line, start = text.count("\n", 0, place) + 1, text.rfind("\n", 0, place)
        raise DataError(
            f"{name}: line {line}, character {place - start}: expected text, found a zero "
            "byte; this is a binary file, or UTF-16 without its mark"
        )
    if "\x1b" in text:
        text = _ANSI.sub("", text)
        assumptions.append("terminal colours were removed")
    return text, assumptions


def _encoding(data: bytes) -> tuple[str, int]:
    """Encoding by byte order mark, and the mark's length."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return encoding, len(mark)
    return "utf-8", 0


def numbered_lines(text: str) -> list[tuple[int, str]]:
    """The lines that are not blank, counted from 1."""
    return [(i, line) for i, line in enumerate(_LINE_END.split(text), 1) if line.strip()]
