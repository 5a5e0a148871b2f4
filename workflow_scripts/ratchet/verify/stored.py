"""The store: every blob, every finished run and every memoised answer."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ratchet import files
from ratchet.canonical import digest
from ratchet.errors import DataError, InputMissingError
from ratchet.paths import StorePaths
from ratchet.store import RECORD, SOURCE, read_entry, run_key
from ratchet.verify import history
from ratchet.verify.finding import NO_FILE, Findings

_DIGEST = re.compile(r"[0-9a-f]{64}")
# Not contents: locks, work in progress, what was found damaged before, and commits of
# other people's repositories, of which what a session uses is compared with its manifest.
_OTHER = ("blobs", "runs", "lock", "partial", "partial.lock", "damaged", ".git", "trees", "clones")

BLOB = (
    "restore it from a backup, or delete it and start a new session: "
    "snakemake --cores 1 --config session=NAME"
)
RUN = "to have the run made again: snakemake --cores 1 -F"
ANSWER = "delete it to have it made again: snakemake --cores 1 -F"
STRAY = "nothing of Ratchet's put it there; look at it and delete it"


def check(paths: StorePaths, findings: Findings) -> None:
    """Check the whole store; a store that does not exist is intact."""
    if not paths.root.is_dir():
        return
    _blobs(paths, findings)
    _runs(paths, findings)
    _answers(paths, findings)
    if paths.damaged.is_dir() and (aside := list(paths.damaged.iterdir())):
        findings.notes.append(
            f"{findings.name(paths.damaged)}: holds {len(aside)} entries that were found damaged "
            "earlier and made again"
        )
    if (paths.root / ".git").is_dir():
        history.check_repository(paths.root / ".git", "none", findings)


def _blobs(paths: StorePaths, findings: Findings) -> None:
    root = paths.blob("00").parents[1]
    for path in _files(root):
        if _DIGEST.fullmatch(path.name) and path == paths.blob(path.name):
            findings.compare(path, path.name, _digest(path), BLOB)
        else:
            findings.deviates(path, "a blob named after its digest", path.name, STRAY)


def _runs(paths: StorePaths, findings: Findings) -> None:
    root = paths.run("00").parents[1]
    for folder in sorted(root.glob("*/*")):
        if folder.is_dir() and folder == paths.run(folder.name):
            run(folder, findings)
        else:
            findings.deviates(folder, "a folder named after a run's key", folder.name, STRAY)
    for path in sorted(root.glob("*")):
        if not path.is_dir():
            findings.deviates(path, "folders only", path.name, STRAY)


def run(folder: Path, findings: Findings) -> None:
    """Check one run: its record, the key against its preimage, and every file."""
    entry = _record(folder / RECORD, findings, RUN)
    if entry is None:
        return
    stated = entry.pop("digest", None)
    if stated != digest(entry):
        findings.deviates(folder / RECORD, f"digest {digest(entry)}", f"{stated}", RUN)
        return
    try:
        listed: Mapping[str, str] = dict(entry["files"])
        key, source = run_key(entry["inputs"]), dict(entry["inputs"].get("sources", {}))
    except (KeyError, TypeError, AttributeError, ValueError):
        findings.deviates(folder / RECORD, "a run's record", "other fields", RUN)
        return
    if not key == entry.get("key") == folder.name:
        findings.deviates(folder / RECORD, f"key {key} of its inputs", folder.name, RUN)
    for name, sha in sorted(listed.items()):
        findings.compare(folder / name, sha, _digest(folder / name), RUN)
    for name, sha in sorted(source.items()):
        kept = listed.get(f"{SOURCE}/{name}", NO_FILE)
        if kept != sha:
            findings.deviates(folder / SOURCE / name, f"sha256 {sha} of its key", kept, RUN)
    known = {folder / RECORD, *(folder / name for name in listed)}
    for path in _files(folder):
        if path not in known:
            findings.deviates(path, "no such file in the run's record", path.name, STRAY)


def _answers(paths: StorePaths, findings: Findings) -> None:
    for folder in sorted(paths.root.iterdir()):
        if folder.name in _OTHER:
            continue
        kind = [path for path in _files(folder) if path == paths.memo(folder.name, path.stem)]
        if not folder.is_dir() or not kind:
            findings.notes.append(f"{findings.name(folder)}: not known to this check, left out")
            continue
        for path in _files(folder):
            _answer(paths, folder.name, path, findings)


def _answer(paths: StorePaths, kind: str, path: Path, findings: Findings) -> None:
    if path != paths.memo(kind, path.stem):
        findings.deviates(path, "an answer named after its question", path.name, STRAY)
        return
    entry = _record(path, findings, ANSWER)
    if entry is None:
        return
    if set(entry) != {"question", "answer", "digest"}:
        findings.deviates(path, "question, answer and digest", ", ".join(entry), ANSWER)
    elif digest(entry["question"]) != path.stem:
        asked = digest(entry["question"])
        findings.deviates(path, f"a question with digest {path.stem}", asked, ANSWER)
    elif digest(entry["answer"]) != entry["digest"]:
        given = digest(entry["answer"])
        findings.deviates(path, f"an answer with digest {entry['digest']}", given, ANSWER)


def _record(path: Path, findings: Findings, todo: str) -> dict[str, Any] | None:
    """One of the store's JSON objects; ``None`` and a deviation if it is none."""
    findings.checked += 1
    try:
        entry = read_entry(path)
    except InputMissingError:
        findings.deviates(path, "a record", NO_FILE, todo)
        return None
    except DataError:
        findings.deviates(path, "the bytes of a record", "others", todo)
        return None
    if isinstance(entry, dict):
        return entry
    findings.deviates(path, "a JSON object", type(entry).__name__, todo)
    return None


def _digest(path: Path) -> str:
    try:
        return files.digest_file(path)
    except InputMissingError:
        return NO_FILE


def _files(folder: Path) -> Iterator[Path]:
    """Files below a folder, in order; without those that a killed process left half."""
    for path in sorted(folder.rglob("*")):
        half = path.name.startswith(".") and path.name.endswith(".partial")
        if path.is_file() and not half:
            yield path
