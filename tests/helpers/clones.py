"""Clones of somebody else's, made by tests."""

from collections.abc import Mapping
from pathlib import Path

from helpers.boxes import git


class Clone:
    """A repository whose commits are made from files by name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        self.git("init", "-q", "--initial-branch=master")

    def git(self, *words: str) -> str:
        return git(self.folder, *words).strip()

    def commit(self, files: Mapping[str, str | bytes]) -> str:
        """The whole hash of a new commit."""
        for name, content in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        self.git("add", ".")
        self.git("commit", "-q", "--allow-empty", "-m", "x")
        return self.git("rev-parse", "HEAD")
