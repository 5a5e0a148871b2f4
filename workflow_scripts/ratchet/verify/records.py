"""A session's own files: against its seal, and against the store that they point to."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ratchet import files, seal
from ratchet.canonical import digest
from ratchet.codec import decode
from ratchet.errors import DataError, InputMissingError
from ratchet.paths import SessionPaths
from ratchet.records import Baseline, Manifest, Proposal
from ratchet.store import RECORD
from ratchet.verify import history
from ratchet.verify.finding import NO_FILE, Findings

_CALL_FIELDS = {"slot", "attempt", "log"}
_RUN_FIELDS = {"key", "seed", "outcome", "reason", "value"}


class Records:
    """Everything that is checked of one session beside its inputs."""

    def __init__(self, paths: SessionPaths, findings: Findings) -> None:
        self.paths = paths
        self.findings = findings
        target = " audit" if paths.rerun_plan.is_file() else ""
        self.workflow = f"snakemake --cores 1{target}"
        again = f"{self.workflow} -F --config session={paths.session}"
        self.again = f"to have it made again from the store: {again}"
        self.frozen = (
            "restore it from a backup, or start another session: "
            "snakemake --cores 1 --config session=NAME"
        )
        self.json = {path: self._json(path) for path in seal.sealable(paths, seal.WHOLE)}

    def _json(self, path: Path) -> Any:
        """Content of a JSON file, ``None`` for others and for damaged ones."""
        if path.suffix != ".json":
            return None
        try:
            value, data = files.read_json(path), path.read_bytes()
            if files.to_json(value) == data:
                return value
            found = "others"
        except (DataError, InputMissingError, ValueError) as error:
            found = f"{error}".split("(", 1)[-1].split(")", 1)[0]
        self.findings.deviates(path, "JSON as Ratchet writes it", found, self._todo(path))
        return None

    def _todo(self, path: Path) -> str:
        return self.frozen if path == self.paths.manifest else self.again

    # ------------------------------------------------------------------- seal

    def check_seal(self) -> None:
        """Compare every sealed file with its digest; tell what is not sealed yet."""
        paths, findings = self.paths, self.findings
        findings.checked += 1
        found = seal.read(paths)
        aside = seal.damaged(paths)
        if found is None or aside.exists():
            damaged = paths.seal if found is None else aside
            todo = f"delete it; the next report seals the session again: {self.again}"
            findings.deviates(damaged, "a seal as Ratchet writes it", "other bytes", todo)
        if found is None:
            return
        for name, sha in found.whole.items():
            self._sealed(name, sha, found.at_work)
        for name, (size, sha) in found.growing.items():
            self._grown(name, size, sha)
        if found.at_work:
            findings.notes.append(
                f"{findings.name(paths.folder)}: the session is not at its end; go on with: "
                f"{self.workflow} --config session={paths.session}"
            )
        patterns = (*seal.WHOLE, *seal.GROWING)
        names = {p.relative_to(paths.folder).as_posix() for p in seal.sealable(paths, patterns)}
        unsealed = sorted(names - set(found.whole) - set(found.growing))
        if unsealed:
            findings.notes.append(
                f"{findings.name(paths.folder)}: not sealed yet: {len(unsealed)} files, such as "
                f"{unsealed[0]}; the session's report seals them"
            )

    def _sealed(self, name: str, sha: str, at_work: bool) -> None:
        path = self.paths.folder / name
        try:
            found = files.digest_file(path)
        except InputMissingError:
            found = NO_FILE
        self.findings.checked += 1
        if found == sha:
            return
        # Snakemake deletes what a step will write, and copies rounds without a step.
        copied = at_work and found != NO_FILE and seal.is_after_the_end(path)
        if copied or (found == NO_FILE and self._is_begun(path)):
            self.findings.notes.append(f"{self.findings.name(path)}: is being made again")
            return
        shown = found if found == NO_FILE else f"sha256 {found}"
        self.findings.deviates(path, f"sha256 {sha}", shown, self._todo(path))

    def _is_begun(self, path: Path) -> bool:
        """Whether Snakemake has begun to make a file and was not done with it."""
        name = urlsafe_b64encode(self.findings.name(path).encode()).decode()
        return (self.paths.root / ".snakemake" / "incomplete" / name).exists()

    def _grown(self, name: str, size: int, sha: str) -> None:
        path = self.paths.folder / name
        self.findings.checked += 1
        try:
            length, found = seal.prefix(path, size)
        except OSError:
            length, found = 0, NO_FILE
        if (length, found) != (size, sha):
            self.findings.deviates(
                path,
                f"{size} bytes with sha256 {sha} at its beginning",
                found if found == NO_FILE else f"{length} with {found}",
                "restore it from a backup; nothing is decided from it",
            )

    # -------------------------------------------------------------- references

    def manifest(self) -> Manifest | None:
        """The manifest, if it can be read and its settings have their digest."""
        try:
            found = decode(Manifest, self.json.get(self.paths.manifest))
        except DataError as error:
            if self.json.get(self.paths.manifest) is not None:
                self.findings.deviates(self.paths.manifest, "a manifest", f"{error}", self.frozen)
            return None
        if digest(found.frozen) != found.config_sha256:
            self.findings.deviates(
                self.paths.manifest,
                f"settings with digest {found.config_sha256}",
                digest(found.frozen),
                self.frozen,
            )
        return found

    def check_references(self, manifest: Manifest) -> None:
        """Whatever the records name must be in the store, and say the same there."""
        fixed = (
            *manifest.fixed,
            *manifest.baseline,
            *manifest.data,
            *manifest.evaluation,
            *manifest.locked,
        )
        for entry in (*fixed, manifest.brief, manifest.definition):
            self._blob(self.paths.manifest, entry.sha256)
        for path, value in self.json.items():
            for found in _objects(value):
                if "source" in found and isinstance(found.get("files"), Mapping):
                    for sha in found["files"].values():
                        self._blob(path, str(sha))
                if set(found) >= _CALL_FIELDS:
                    self._blob(path, str(found["log"]))
                if set(found) >= _RUN_FIELDS:
                    self._run(path, found, manifest)

    def _blob(self, path: Path, sha: str) -> None:
        blob = self.paths.store.blob(sha)
        if not blob.is_file():
            named = f"the blob that {self.findings.name(path)} names"
            self.findings.deviates(blob, named, NO_FILE, "restore it from a backup")

    def _run(self, path: Path, summary: Mapping[str, Any], manifest: Manifest) -> None:
        record = self.paths.store.run(str(summary["key"])) / RECORD
        try:
            entry = json.loads(record.read_bytes())
            kept, seed = entry["record"], entry["inputs"]["seed"]
            value = kept["metrics"].get(manifest.values["metric"]["name"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            if not record.exists():
                named = f"the run that {self.findings.name(path)} names"
                self.findings.deviates(record, named, NO_FILE, self.again)
            return
        stored = {
            "seed": seed,
            "outcome": kept.get("outcome"),
            "reason": kept.get("reason"),
            "value": value if kept.get("outcome") == "ok" else None,
        }
        for name, expected in stored.items():
            if summary[name] != expected:
                where = f"{name} {expected} of run {str(summary['key'])[:12]}"
                self.findings.deviates(path, where, f"{summary[name]}", self.again)

    # ----------------------------------------------------------------- history

    def check_history(self, manifest: Manifest) -> None:
        """The repository by itself, then its refs and trees against the records."""
        started = self.json.get(self.paths.baseline)
        folder, name = self.paths.repository, self.paths.session
        if not (folder / "HEAD").exists():
            if started is not None:
                self.findings.deviates(folder, "the session's repository", "none", history.MEND)
            return
        readable = history.check_repository(folder, name, self.findings)
        try:
            baseline = decode(Baseline, started)
        except DataError:
            return
        proposals = list(self._proposals())
        commits = {0: baseline.commit, **{p.number: p.commit for p in proposals}}
        refs = {"refs/ratchet/baseline": baseline.commit}
        refs |= {f"refs/ratchet/experiments/{p.number:04d}": p.commit for p in proposals}
        branch = f"refs/heads/ratchet/{name}"
        history.check_refs(folder, refs, branch, self._tips(commits), self.findings)
        if readable:
            sources = {baseline.commit: baseline.files, **{p.commit: p.files for p in proposals}}
            trees = {commit: self._tree(manifest, held) for commit, held in sources.items()}
            history.check_trees(folder, trees, self.findings)

    def _proposals(self) -> Iterator[Proposal]:
        for path, value in self.json.items():
            if path.name == "proposals.json" and isinstance(value, Mapping):
                for entry in value.get("proposals", []):
                    try:
                        yield decode(Proposal, entry, str(path))
                    except DataError as error:
                        self.findings.deviates(path, "proposals", f"{error}", self.again)

    def _tips(self, commits: Mapping[int, str]) -> list[str]:
        """Where the branch may be: at the champion, or anywhere while the session goes on."""
        confirmed = self.json.get(self.paths.confirmation)
        sealed = seal.read(self.paths)
        if sealed is not None and sealed.whole and not sealed.at_work and confirmed is not None:
            champion = confirmed.get("champion") if isinstance(confirmed, Mapping) else None
            if isinstance(champion, int) and champion in commits:
                return [commits[champion]]
        return list(commits.values())

    def _tree(self, manifest: Manifest, sources: Mapping[str, str]) -> dict[str, bytes]:
        """What a commit holds; files whose blob is damaged are left to the store's check."""
        entries = {e.path: e.sha256 for e in (*manifest.fixed, manifest.brief)}
        found = {}
        for name, sha in {**entries, **sources}.items():
            blob = self.paths.store.blob(sha)
            if blob.is_file() and files.digest_file(blob) == sha:
                found[name] = blob.read_bytes()
        return found


def _objects(value: Any) -> Iterator[Mapping[str, Any]]:
    """Every JSON object within a value."""
    if isinstance(value, Mapping):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from _objects(inner)
