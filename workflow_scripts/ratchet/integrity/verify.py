"""Verification of sessions: everything that they rest on is hashed again, every deviation named.

:func:`verify_sessions` checks the store that sessions share, and for each session its
seal, the inputs that it froze, what its records point to in the store, and its git
repository.
"""

import hashlib
import json
import os
import re
import subprocess
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import ratchet
from ratchet.base.errors import NEW_SESSION, DataError, InputMissingError
from ratchet.base.git import call_git
from ratchet.base.io import digest, digest_file, read_json
from ratchet.base.structs import Frozen, Struct, field, from_json_values
from ratchet.integrity.seal import (
    GROWING,
    WHOLE,
    damaged_place,
    is_after_the_end,
    prefix_digest,
    read_seal,
    sealable_files,
)
from ratchet.manifest import harness_digest
from ratchet.records.paths import SessionPaths, StorePaths
from ratchet.records.proposals import Proposal
from ratchet.records.records import (
    Baseline,
    Certification,
    Confirmation,
    Manifest,
    Outcome,
    TransferPlan,
)
from ratchet.records.store import RECORD, SOURCE, read_entry, run_key
from ratchet.task.presets import edited_files
from ratchet.task.repository import named_task
from ratchet.task.task import build_task

PACKAGE = Path(ratchet.__file__).parent
NO_FILE = "no such file"

# What to do about a deviation.
BLOB = f"restore it from a backup, or delete it and {NEW_SESSION}"
FROZEN = f"restore it from a backup, or {NEW_SESSION}"
RUN = "to have the run made again: snakemake --cores 1 -F"
ANSWER = "delete it to have it made again: snakemake --cores 1 -F"
STRAY = "nothing of Ratchet's put it there; look at it and delete it"
MEND = "delete the repository's folder and have it made again: snakemake --cores 1 -F"
_DIGEST = re.compile(r"[0-9a-f]{64}")
# A file of loose or packed objects, as git's complaints name it.
_OBJECTS = re.compile(r"objects/(?:[0-9a-f]{2}|pack)/[\w.-]+\w")
# Folders of the store that hold no answers: locks, work in progress, what was found damaged
# before, commits of other people's repositories, of which what a session uses is compared
# with its manifest, and what was compiled, which is checked before each use.
_OTHER = (
    "blobs",
    "runs",
    "lock",  # of earlier versions
    "locks",
    "partial",
    "partial.lock",
    "damaged",
    ".git",
    "trees",
    "clones",
    "environments",
    "caches",
)
# What git itself writes into `config`; other sections (a remote, say) are the user's.
_CORE = re.compile(
    r"\t(repositoryformatversion = 0|(filemode|precomposeunicode|ignorecase) = (true|false)"
    r"|bare = true|symlinks = false)"
)
# Fields by which the call of an agent and the summary of a run are known in any record.
_CALL_FIELDS = {"slot", "attempt", "log"}
_RUN_FIELDS = {"key", "seed", "outcome", "reason", "value"}


class Deviation(Frozen):
    """A file that is not what it was when it was recorded.

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
        """The path relative to the root, or as it is if it lies elsewhere."""
        try:
            return path.relative_to(self.root).as_posix()
        except ValueError:
            return path.as_posix()

    def deviates(self, path: Path, expected: str, found: str, todo: str) -> None:
        """Record a deviation; the same one is recorded once."""
        deviation = Deviation(self.name(path), expected, found, todo)
        if deviation not in self.deviations:
            self.deviations.append(deviation)

    def compare(self, path: Path, expected: str, todo: str, found: str | None = None) -> None:
        """Count a file and compare its digest, which may be ``found`` already."""
        self.checked += 1
        found = found or _digest_of(path)
        if found != expected:
            shown = found if found == NO_FILE else f"sha256 {found}"
            self.deviates(path, f"sha256 {expected}", shown, todo)


def session_names(root: Path) -> list[str]:
    """Names of the sessions below ``root``."""
    folders = (SessionPaths(path.name, root) for path in (root / "results").glob("*"))
    return sorted(
        paths.session
        for paths in folders
        if paths.manifest.exists() or paths.baseline.exists() or paths.seal.exists()
    )


def verify_sessions(root: Path, names: Sequence[str] = ()) -> Findings:
    """Check the store and these sessions, or all of them.

    Raises :class:`InputMissingError` if there is no such session.
    """
    there = session_names(root)
    for name in names:
        if name not in there:
            known = ", ".join(there) or "none"
            raise InputMissingError(
                f"{SessionPaths(name, root).folder}: holds no session; there are: {known}"
            )
    if not there:
        raise InputMissingError(
            f"{(root / 'results').resolve()}: holds no session; name the folder in which the "
            "sessions were run with --root"
        )
    findings = Findings(root)
    check_store(StorePaths(root / "store"), findings)
    for name in names or there:
        _verify_session(SessionPaths(name, root), findings)
    return findings


QUICK_BYTES = 1 << 20
"""Blobs up to this size are hashed whenever a finished session is started again."""


def glance_at_session(paths: SessionPaths) -> Findings:
    """Check a finished session's records in passing; finds nothing in one that goes on.

    Seal, records, history, and all runs and blobs that they name are checked as
    :func:`verify_sessions` does.  A large blob, such as training data, is hashed only if
    it was written after the session was sealed: each run hashes its data anyway.
    """
    findings = Findings(paths.root)
    seal = read_seal(paths)
    if not paths.seal.exists() or (seal is not None and seal.at_work):
        return findings
    records = _SessionFiles(paths, findings, sealed=seal is not None)
    records.check_seal()
    manifest = records.manifest()
    if manifest is None:
        return findings
    records.check_references(manifest)
    records.check_history(manifest)
    sealed = paths.seal.stat().st_mtime
    for sha in sorted(records.blobs):
        blob = paths.store.blob(sha)
        if blob.is_file():
            about = blob.stat()
            if about.st_size <= QUICK_BYTES or about.st_mtime > sealed:
                findings.compare(blob, sha, BLOB)
    for key in sorted(records.runs):
        if (paths.store.run(key) / RECORD).exists():
            _check_stored_run(paths.store.run(key), findings)
    return findings


def _verify_session(paths: SessionPaths, findings: Findings) -> None:
    records = _SessionFiles(paths, findings)
    records.check_seal()
    if not paths.manifest.exists():
        findings.deviates(paths.manifest, "a manifest", "no such file", FROZEN)
        return
    manifest = records.manifest()
    if manifest is not None:
        _check_inputs(manifest, paths.root, paths.store, findings)
        records.check_references(manifest)
        records.check_history(manifest)


def _digest_of(path: Path) -> str:
    try:
        return digest_file(path)
    except InputMissingError:
        return NO_FILE


def _check_inputs(manifest: Manifest, root: Path, store: StorePaths, findings: Findings) -> None:
    """Compare fixed files, brief, definition and lock with the manifest.

    An edited mutable file and a newer harness are no deviation (the session goes
    on with its own copy, and a change of how to judge judges again); they are noted.
    """
    harness = harness_of(manifest, root)
    wanted = manifest.frozen["task"]
    told, origin = named_task(wanted, root, harness), manifest.origin
    folder, place = store.tree(origin.tree) if origin else told.folder, told.definition
    clone = told.clone(manifest.values)
    defined = build_task(manifest.values, folder, harness, place, manifest.origin, clone)
    files = (*manifest.fixed, *([manifest.brief] if defined.brief else []))
    entries = {folder / entry.path: entry for entry in files}
    for path, entry in {**entries, place: manifest.definition}.items():
        copy = findings.name(store.blob(entry.sha256))
        findings.compare(path, entry.sha256, f"put it back: cp {copy} {findings.name(path)}")
    lock = defined.environment
    if lock is not None and manifest.environment is not None:
        todo = f"put the lock back as it was, for example: git checkout -- {findings.name(lock)}"
        findings.compare(lock, manifest.environment.sha256, todo)
    for name in edited_files(manifest, folder):
        findings.notes.append(
            f"{findings.name(folder / name)}: not what session {manifest.session!r} started from; "
            "it goes on with its own copy"
        )
    if harness_digest(PACKAGE) != manifest.harness_sha256:
        findings.notes.append(
            f"session {manifest.session!r} was started by another version of Ratchet's code"
        )


def harness_of(manifest: Manifest, root: Path) -> Path:
    """The folder of the Snakefile, below which locks lie, and definitions of repositories."""
    named = os.environ.get("RATCHET_HARNESS")
    places = [*([Path(named)] if named else []), root, PACKAGE.parents[1]]
    wanted = manifest.frozen["task"]

    def holds(place: Path) -> bool:
        if manifest.origin is None and "environment" in manifest.values:
            own = named_task(wanted, root, place).folder
            lock = str(manifest.values["environment"])
            return (place / lock).is_file() or (own / lock).is_file()
        # The lock is the repository's.
        return named_task(wanted, root, place).definition.is_file()

    return next((place for place in places if holds(place)), root)


def check_store(paths: StorePaths, findings: Findings) -> None:
    """Check the whole store; a store that does not exist is intact."""
    if not paths.root.is_dir():
        return
    _check_blobs(paths, findings)
    _check_runs(paths, findings)
    _check_answers(paths, findings)
    if paths.damaged.is_dir() and (aside := list(paths.damaged.iterdir())):
        findings.notes.append(
            f"{findings.name(paths.damaged)}: holds {len(aside)} entries that were found damaged "
            "earlier and made again"
        )
    if (paths.root / ".git").is_dir():
        _check_repository(paths.root / ".git", "none", findings)


def _check_blobs(paths: StorePaths, findings: Findings) -> None:
    root = paths.blob("00").parents[1]
    for path in _files(root):
        if _DIGEST.fullmatch(path.name) and path == paths.blob(path.name):
            findings.compare(path, path.name, BLOB)
        else:
            findings.deviates(path, "a blob named after its digest", path.name, STRAY)


def _check_runs(paths: StorePaths, findings: Findings) -> None:
    root = paths.run("00").parents[1]
    for folder in sorted(root.glob("*/*")):
        if folder.is_dir() and folder == paths.run(folder.name):
            _check_stored_run(folder, findings)
        else:
            findings.deviates(folder, "a folder named after a run's key", folder.name, STRAY)
    for path in sorted(root.glob("*")):
        if not path.is_dir():
            findings.deviates(path, "folders only", path.name, STRAY)


def _check_stored_run(folder: Path, findings: Findings) -> None:
    """Check one run: its record, the key against its preimage, and every file."""
    entry = _read_record(folder / RECORD, findings, RUN)
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
        findings.compare(folder / name, sha, RUN)
    for name, sha in sorted(source.items()):
        kept = listed.get(f"{SOURCE}/{name}", NO_FILE)
        if kept != sha:
            findings.deviates(folder / SOURCE / name, f"sha256 {sha} of its key", kept, RUN)
    known = {folder / RECORD, *(folder / name for name in listed)}
    for path in _files(folder):
        if path not in known:
            findings.deviates(path, "no such file in the run's record", path.name, STRAY)


def _check_answers(paths: StorePaths, findings: Findings) -> None:
    for folder in sorted(paths.root.iterdir()):
        if folder.name in _OTHER:
            continue
        kind = [path for path in _files(folder) if path == paths.memo(folder.name, path.stem)]
        if not folder.is_dir() or not kind:
            findings.notes.append(f"{findings.name(folder)}: not known to this check, left out")
            continue
        for path in _files(folder):
            _check_answer(paths, folder.name, path, findings)


def _check_answer(paths: StorePaths, kind: str, path: Path, findings: Findings) -> None:
    if path != paths.memo(kind, path.stem):
        findings.deviates(path, "an answer named after its question", path.name, STRAY)
        return
    entry = _read_record(path, findings, ANSWER)
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


def _read_record(path: Path, findings: Findings, todo: str) -> dict[str, Any] | None:
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


def _files(folder: Path) -> Iterator[Path]:
    """Files below a folder, in order; without those that a killed process left half."""
    for path in sorted(folder.rglob("*")):
        half = path.name.startswith(".") and path.name.endswith(".partial")
        if path.is_file() and not half:
            yield path


def _check_repository(folder: Path, branch: str, findings: Findings) -> bool:
    """Check a repository by itself; returns whether git can read it.

    ``branch`` is the session's name in ``refs/heads/ratchet``.
    """
    _check_own_files(folder, branch, findings)
    findings.checked += sum(1 for _ in _files(folder / "objects"))
    done = _git(folder, "fsck", "--full", "--no-progress", "--no-dangling")
    if done.returncode:
        lines = done.stderr.splitlines()
        damaged = {match[0]: line for line in lines if (match := _OBJECTS.search(line))}
        for name, line in (damaged or {"": _said(done)}).items():
            findings.deviates(folder / name, "what git fsck accepts", line, MEND)
    return done.returncode == 0


def _check_own_files(folder: Path, branch: str, findings: Findings) -> None:
    findings.checked += 2
    head = f"ref: refs/heads/ratchet/{branch}\n"
    found = _text(folder / "HEAD")
    if found != head:
        findings.deviates(folder / "HEAD", repr(head), repr(found), MEND)
    first, _, rest = _text(folder / "config").partition("\n")
    core = rest.split("\n[", 1)[0].rstrip("\n").split("\n")
    keys = {line.split(" ")[0].strip() for line in core}
    if first != "[core]" or not {"repositoryformatversion", "bare"} <= keys:
        findings.deviates(folder / "config", "[core] of a bare repository", repr(first), MEND)
        return
    for line in core:
        if not _CORE.fullmatch(line):
            findings.deviates(folder / "config", "git's own settings", repr(line), MEND)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _check_refs(
    folder: Path, expected: Mapping[str, str], branch: str, tips: Iterable[str], findings: Findings
) -> None:
    """Compare refs with what the records say.

    ``expected`` maps refs to commits, ``tips`` are those that ``branch`` may be at.
    """
    listed = _git(folder, "for-each-ref", "--format=%(objectname) %(refname)")
    refs = {name: sha for sha, _, name in (x.partition(" ") for x in listed.stdout.splitlines())}
    for ref, commit in sorted(expected.items()):
        findings.checked += 1
        if refs.get(ref) != commit:
            findings.deviates(folder / ref, f"commit {commit}", _ref(folder, ref, refs), MEND)
    allowed = sorted(set(tips))
    findings.checked += 1
    if refs.get(branch) not in allowed:
        one = f"commit {allowed[0]}" if len(allowed) == 1 else "a commit of the session"
        findings.deviates(folder / branch, one, _ref(folder, branch, refs), MEND)


def _ref(folder: Path, ref: str, refs: Mapping[str, str]) -> str:
    return refs.get(ref) or repr(_text(folder / ref)[:50]) or "none"


def _check_trees(
    folder: Path, contents: Mapping[str, Mapping[str, bytes]], findings: Findings
) -> None:
    """Compare the files of commits with the store's.

    ``contents`` maps commits to the files that each must hold.
    """
    asked = [
        (commit, name, data)
        for commit, held in sorted(contents.items())
        for name, data in sorted(held.items())
        if "\n" not in name  # git's batch mode has no way to ask for it
    ]
    question = "".join(f"{commit}:{name}\n" for commit, name, _ in asked)
    answer = _git(folder, "cat-file", "--batch-check=%(objectname)", stdin=question)
    for (commit, name, data), found in zip(asked, answer.stdout.splitlines(), strict=False):
        expected = hashlib.sha1(b"blob %d\0%s" % (len(data), data), usedforsecurity=False)
        if found != expected.hexdigest():
            place = f"blob {expected.hexdigest()} as {name} of commit {commit[:12]}"
            findings.deviates(folder, place, found, MEND)


def _git(folder: Path, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """One git command on a bare repository; its output is text."""
    done = call_git(*words, bare=folder, given=stdin.encode())
    said = (text.decode(errors="replace") for text in (done.stdout, done.stderr))
    return subprocess.CompletedProcess(done.args, done.returncode, *said)


def _said(done: subprocess.CompletedProcess[str]) -> str:
    lines = (done.stderr or done.stdout).strip().splitlines()
    return lines[0] if lines else f"exit status {done.returncode}"


class _SessionFiles:
    """One session's own files, beside its inputs: seal, references and history.

    ``blobs`` and ``runs`` are what the references that were checked name in the store.
    """

    def __init__(self, paths: SessionPaths, findings: Findings, sealed: bool = False) -> None:
        self.paths = paths
        self.findings = findings
        # What the seal holds need not be written once more to see that it is as it was.
        self._read = read_json if sealed else read_entry
        target = " audit" if paths.rerun_plan.is_file() else ""
        self.workflow = f"snakemake --cores 1{target}"
        again = f"{self.workflow} -F --config session={paths.session}"
        self.again = f"to have it made again from the store: {again}"
        self.json = {path: self._json(path) for path in sealable_files(paths, WHOLE)}
        self.blobs: set[str] = set()
        self.runs: set[str] = set()

    def _json(self, path: Path) -> Any:
        """Content of a JSON file, ``None`` for others and for damaged ones."""
        if path.suffix != ".json":
            return None
        try:
            return self._read(path)
        except (DataError, InputMissingError) as error:
            found = f"{error}".removeprefix(str(path)).partition("(")[2].partition(")")[0]
        found = found or "others"
        self.findings.deviates(path, "JSON as Ratchet writes it", found, self._todo(path))
        return None

    def _todo(self, path: Path) -> str:
        return FROZEN if path == self.paths.manifest else self.again

    def check_seal(self) -> None:
        """Compare every sealed file with its digest; tell what is not sealed yet."""
        paths, findings = self.paths, self.findings
        findings.checked += 1
        seal = read_seal(paths)
        aside = damaged_place(paths)
        if seal is None or aside.exists():
            damaged = paths.seal if seal is None else aside
            todo = f"delete it; the next report seals the session again: {self.again}"
            findings.deviates(damaged, "a seal as Ratchet writes it", "other bytes", todo)
        if seal is None:
            return
        for name, sha in seal.whole.items():
            self._check_sealed(name, sha, seal.at_work)
        for name, (size, sha) in seal.growing.items():
            self._check_grown(name, size, sha)
        if seal.at_work:
            findings.notes.append(
                f"{findings.name(paths.folder)}: the session is not at its end; go on with: "
                f"{self.workflow} --config session={paths.session}"
            )
        patterns = (*WHOLE, *GROWING)
        names = {p.relative_to(paths.folder).as_posix() for p in sealable_files(paths, patterns)}
        unsealed = sorted(names - set(seal.whole) - set(seal.growing))
        if unsealed:
            findings.notes.append(
                f"{findings.name(paths.folder)}: not sealed yet: {len(unsealed)} files, such as "
                f"{unsealed[0]}; the session's report seals them"
            )

    def _check_sealed(self, name: str, sha: str, at_work: bool) -> None:
        path = self.paths.folder / name
        found = _digest_of(path)
        # Snakemake deletes what a step will write, and copies rounds without a step.
        copied = at_work and found != NO_FILE and is_after_the_end(path)
        if found != sha and (copied or (found == NO_FILE and self._is_begun(path))):
            self.findings.checked += 1
            self.findings.notes.append(f"{self.findings.name(path)}: is being made again")
        else:
            self.findings.compare(path, sha, self._todo(path), found)

    def _is_begun(self, path: Path) -> bool:
        """Whether Snakemake has begun to make a file and was not done with it."""
        name = urlsafe_b64encode(self.findings.name(path).encode()).decode()
        return (self.paths.root / ".snakemake" / "incomplete" / name).exists()

    def _check_grown(self, name: str, size: int, sha: str) -> None:
        path = self.paths.folder / name
        self.findings.checked += 1
        try:
            length, found = prefix_digest(path, size)
        except OSError:
            length, found = 0, NO_FILE
        if (length, found) != (size, sha):
            self.findings.deviates(
                path,
                f"{size} bytes with sha256 {sha} at its beginning",
                found if found == NO_FILE else f"{length} with {found}",
                "restore it from a backup; nothing is decided from it",
            )

    def manifest(self) -> Manifest | None:
        """The manifest, if it can be read; a wrong digest of its settings is named."""
        try:
            manifest = from_json_values(Manifest, self.json.get(self.paths.manifest))
        except DataError as error:
            if self.json.get(self.paths.manifest) is not None:
                self.findings.deviates(self.paths.manifest, "a manifest", f"{error}", FROZEN)
            return None
        if digest(manifest.frozen) != manifest.config_sha256:
            self.findings.deviates(
                self.paths.manifest,
                f"settings with digest {manifest.config_sha256}",
                digest(manifest.frozen),
                FROZEN,
            )
        if manifest.seed_secret_sha256:
            self.findings.compare(self.paths.seed_secret, manifest.seed_secret_sha256, FROZEN)
        return manifest

    def check_references(self, manifest: Manifest) -> None:
        """Compare what the records name with the store."""
        self._check_frozen(self.paths.manifest, manifest)
        self._check_transfer()
        for path, value in self.json.items():
            for entry in _objects(value):
                if "source" in entry and isinstance(entry.get("files"), Mapping):
                    for sha in entry["files"].values():
                        self._check_blob(path, str(sha))
                if set(entry) >= _CALL_FIELDS:
                    self._check_blob(path, str(entry["log"]))
                if set(entry) >= _RUN_FIELDS:
                    self._check_run(path, entry, manifest)

    def _check_frozen(self, path: Path, manifest: Manifest) -> None:
        fixed = (
            *manifest.fixed,
            *manifest.baseline,
            *manifest.data,
            *manifest.evaluation,
            *manifest.locked,
            *manifest.remembered,
            *([manifest.allowed] if manifest.allowed else []),
        )
        for frozen in (*fixed, manifest.brief, manifest.definition):
            self._check_blob(path, frozen.sha256)

    def _check_transfer(self) -> None:
        """Inputs and sources at another scale, and whether its runs had these and no others."""
        paths, findings = self.paths, self.findings
        path, result = paths.transfer_plan, paths.transfer
        try:
            plan = from_json_values(TransferPlan, self.json.get(path))
        except DataError as error:
            if self.json.get(path) is not None:
                findings.deviates(path, "a plan of runs at another scale", f"{error}", self.again)
            return
        there = plan.manifest
        if there is None:
            return
        self._check_frozen(path, there)
        if digest(there.frozen) != there.config_sha256:
            said = f"settings with digest {there.config_sha256}"
            findings.deviates(path, said, digest(there.frozen), self.again)
        codes = {"baseline_runs": plan.baseline, "champion_runs": plan.champion_files}
        measured = (self.json.get(result) or {}).get("measured") or {}
        for name, files in codes.items():
            for sha in files.values():
                self._check_blob(path, sha)
            for run in measured.get(name) or ():
                self._check_scale(str(run.get("key")), files, there)

    def _check_scale(self, key: str, files: Mapping[str, str], there: Manifest) -> None:
        """Compare code, budget and data of a run with what was planned for another scale."""
        record = self.paths.store.run(key) / RECORD
        try:
            inputs = json.loads(record.read_bytes())["inputs"]
        except (OSError, ValueError, KeyError, TypeError):
            return  # named where all runs are checked
        planned = {
            "sources": dict(files),
            "budget_seconds": there.frozen["budget_seconds"],
            "budget_steps": there.frozen["budget_steps"],
            "data": {entry.path: entry.sha256 for entry in there.data},
            "evaluation_data": {entry.path: entry.sha256 for entry in there.evaluation},
        }
        for name, expected in planned.items():
            if inputs.get(name) != expected:
                where = f"a run with {name} {expected}"
                found = f"{inputs.get(name)} of run {key[:12]}"
                self.findings.deviates(self.paths.transfer, where, found, self.again)

    def _check_blob(self, path: Path, sha: str) -> None:
        self.blobs.add(sha)
        blob = self.paths.store.blob(sha)
        if not blob.is_file():
            named = f"the blob that {self.findings.name(path)} names"
            self.findings.deviates(blob, named, NO_FILE, "restore it from a backup")

    def _check_run(self, path: Path, summary: Mapping[str, Any], manifest: Manifest) -> None:
        aside = summary.get("set_aside")
        for key in (summary["key"], *(aside if isinstance(aside, list) else ())):
            self.runs.add(str(key))
            record = self.paths.store.run(str(key)) / RECORD
            if not record.exists():
                named = f"the run that {self.findings.name(path)} names"
                self.findings.deviates(record, named, NO_FILE, self.again)
        record = self.paths.store.run(str(summary["key"])) / RECORD
        try:
            entry = json.loads(record.read_bytes())
            kept, seed = entry["record"], entry["inputs"]["seed"]
            value = kept["metrics"].get(manifest.values["metric"]["name"])
            pace = kept.get("pace") or {}
            slowed, probe = pace.get("slowed", ""), pace.get("probe_seconds")
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return
        stored = {
            "seed": seed,
            "outcome": _present_name(kept.get("outcome")),
            "reason": kept.get("reason"),
            "value": value if kept.get("outcome") == "ok" else None,
            "slowed": slowed,
            "probe_seconds": probe,
        }
        for name, expected in stored.items():
            said = summary.get(name, expected)
            said = _present_name(said) if name == "outcome" else said
            if said != expected:
                where = f"{name} {expected} of run {str(summary['key'])[:12]}"
                self.findings.deviates(path, where, f"{said}", self.again)

    def check_history(self, manifest: Manifest) -> None:
        """The repository by itself, then its refs and trees against the records."""
        started = self.json.get(self.paths.baseline)
        folder, name = self.paths.repository, self.paths.session
        if not (folder / "HEAD").exists():
            if started is not None:
                self.findings.deviates(folder, "the session's repository", "none", MEND)
            return
        readable = _check_repository(folder, name, self.findings)
        try:
            baseline = from_json_values(Baseline, started)
        except DataError:
            return
        proposals = list(self._proposals())
        commits = {0: baseline.commit, **{p.number: p.commit for p in proposals}}
        refs = {"refs/ratchet/baseline": baseline.commit}
        refs |= {f"refs/ratchet/experiments/{p.number:04d}": p.commit for p in proposals}
        branch, smaller = f"refs/heads/ratchet/{name}", self._smaller()
        _check_refs(folder, refs, branch, self._tips(commits, smaller), self.findings)
        if readable:
            sources = {baseline.commit: baseline.files, **{p.commit: p.files for p in proposals}}
            if smaller is not None:
                sources[smaller.champion.commit] = smaller.champion.files
            trees = {commit: self._tree(manifest, held) for commit, held in sources.items()}
            _check_trees(folder, trees, self.findings)

    def _proposals(self) -> Iterator[Proposal]:
        for path, value in self.json.items():
            if path.name == "proposals.json" and isinstance(value, Mapping):
                for entry in value.get("proposals", []):
                    try:
                        yield from_json_values(Proposal, entry, str(path))
                    except DataError as error:
                        self.findings.deviates(path, "proposals", f"{error}", self.again)

    def _tips(self, commits: Mapping[int, str], smaller: Certification | None) -> list[str]:
        """Commits that the branch may be at: the champion, or any while the session goes on."""
        confirmed = self.json.get(self.paths.confirmation)
        sealed = read_seal(self.paths)
        if sealed is not None and sealed.whole and not sealed.at_work and confirmed is not None:
            champion = confirmed.get("champion") if isinstance(confirmed, Mapping) else None
            if isinstance(champion, int) and champion in commits:
                return [commits[champion]] if smaller is None else [smaller.champion.commit]
        return [*commits.values(), *([] if smaller is None else [smaller.champion.commit])]

    def _smaller(self) -> Certification | None:
        """The certification, if it took changes out of the champion that was confirmed."""
        try:
            found = from_json_values(Certification, self.json.get(self.paths.certification))
            confirmed = from_json_values(Confirmation, self.json.get(self.paths.confirmation))
        except DataError:
            return None
        return found if found.removed and confirmed.contributions else None

    def _tree(self, manifest: Manifest, sources: Mapping[str, str]) -> dict[str, bytes]:
        """Files that a commit must hold, without those whose blob the store's check names."""
        entries = {e.path: e.sha256 for e in (*manifest.fixed, manifest.brief)}
        held = {}
        for name, sha in {**entries, **sources}.items():
            blob = self.paths.store.blob(sha)
            if blob.is_file() and digest_file(blob) == sha:
                held[name] = blob.read_bytes()
        return held


def _objects(value: Any) -> Iterator[Mapping[str, Any]]:
    """Every JSON object within a value."""
    if isinstance(value, Mapping):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from _objects(inner)


def _present_name(outcome: Any) -> Any:
    """An outcome as it is called now: a run that diverged was once called ``nan``."""
    return Outcome.DIVERGED.value if outcome == "nan" else outcome
