"""What checks find: deviations, one line each, and notes that are none."""

from __future__ import annotations

from pathlib import Path

from ratchet.codec import Frozen, Struct, field

NO_FILE = "no such file"


class Deviation(Frozen):
    """Something that is not what it was when it was recorded.

    ``path`` is the file, relative to the folder of results and store; ``todo``
    is what to type or do next.
    """

    path: str
    expected: str
    found: str
    todo: str

    def __str__(self) -> str:
        return f"{self.path}: expected {self.expected}, found {self.found}; {self.todo}"


class Findings(Struct):
    """Collects what the checks of one call find; ``checked`` counts files."""

    root: Path
    checked: int = 0
    deviations: list[Deviation] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def name(self, path: Path) -> str:
        """How people read a path: relative to the root where it lies below it."""
        try:
            return path.relative_to(self.root).as_posix()
        except ValueError:
            return path.as_posix()

    def deviates(self, path: Path, expected: str, found: str, todo: str) -> None:
        """Record a deviation; the same one is recorded once."""
        deviation = Deviation(self.name(path), expected, found, todo)
        if deviation not in self.deviations:
            self.deviations.append(deviation)

    def compare(self, path: Path, expected: str, found: str, todo: str) -> bool:
        """Count a file and compare its digest; returns whether it fits."""
        self.checked += 1
        if found != expected:
            shown = found if found == NO_FILE else f"sha256 {found}"
            self.deviates(path, f"sha256 {expected}", shown, todo)
        return found == expected
