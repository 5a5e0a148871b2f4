"""The session's git repository: its objects, its refs, and what commits hold."""

from __future__ import annotations

import hashlib
import re
import subprocess
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from ratchet import git
from ratchet.verify.finding import Findings

MEND = "delete the repository's folder and have it made again: snakemake --cores 1 -F"
_COMMIT = re.compile(r"[0-9a-f]{40}")
# What git itself writes there; other sections (a remote, say) are the user's.
_CORE = re.compile(
    r"\t(repositoryformatversion = 0|(filemode|precomposeunicode|ignorecase) = (true|false)"
    r"|bare = true|symlinks = false)"
)


def check_repository(folder: Path, branch: str, findings: Findings) -> bool:
    """Check a repository by itself; returns whether git can read it.

    ``branch`` is the session's name in ``refs/heads/ratchet``.
    """
    named = len(findings.deviations)
    _plain(folder, branch, findings)
    for path in sorted(folder.glob("objects/??/*")):
        if _COMMIT.fullmatch(path.parent.name + path.name):
            _object(path, findings)
    for path in sorted(folder.glob("objects/pack/*.idx")):
        done = on(folder, "verify-pack", str(path.resolve()))
        findings.checked += 2
        if done.returncode:
            findings.deviates(path.with_suffix(".pack"), "a whole pack", _said(done), MEND)
    done = on(folder, "fsck", "--full", "--no-progress", "--no-dangling")
    if done.returncode and len(findings.deviations) == named:
        findings.deviates(folder, "what git fsck accepts", _said(done), MEND)
    return done.returncode == 0


def _plain(folder: Path, branch: str, findings: Findings) -> None:
    findings.checked += 2
    head = f"ref: refs/heads/ratchet/{branch}\n"
    found = _text(folder / "HEAD")
    if found != head:
        findings.deviates(folder / "HEAD", repr(head), repr(found), MEND)
    first, _, rest = _text(folder / "config").partition("\n")
    core = rest.split("\n[", 1)[0].rstrip("\n").split("\n")
    keys = {line.split(" ")[0].strip() for line in core}
    whole = first == "[core]" and {"repositoryformatversion", "bare"} <= keys
    for line in [] if whole else [first]:
        findings.deviates(folder / "config", "[core] of a bare repository", repr(line), MEND)
    for line in core if whole else []:
        if not _CORE.fullmatch(line):
            findings.deviates(folder / "config", "git's own settings", repr(line), MEND)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _object(path: Path, findings: Findings) -> None:
    """One loose object: its content's digest is its name."""
    findings.checked += 1
    expected = path.parent.name + path.name
    reader = zlib.decompressobj()
    try:
        data = reader.decompress(path.read_bytes())
        whole = reader.eof and not reader.unused_data
    except (zlib.error, OSError):
        data, whole = b"", False
    found = hashlib.sha1(data, usedforsecurity=False).hexdigest() if whole else "damaged bytes"
    if found != expected:
        findings.deviates(path, f"the git object {expected}", found, MEND)


def check_refs(
    folder: Path, expected: Mapping[str, str], branch: str, tips: Iterable[str], findings: Findings
) -> None:
    """Compare refs with what the records say.

    ``expected`` maps refs to commits, ``tips`` are those that ``branch`` may be at.
    """
    listed = on(folder, "for-each-ref", "--format=%(objectname) %(refname)")
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


def check_trees(
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
    answer = on(folder, "cat-file", "--batch-check=%(objectname)", stdin=question)
    for (commit, name, data), found in zip(asked, answer.stdout.splitlines(), strict=False):
        expected = hashlib.sha1(b"blob %d\0%s" % (len(data), data), usedforsecurity=False)
        if found != expected.hexdigest():
            place = f"blob {expected.hexdigest()} as {name} of commit {commit[:12]}"
            findings.deviates(folder, place, found, MEND)


def on(folder: Path, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Call Git on one repository; what it prints is text."""
    done = git.call(*words, bare=folder, given=stdin.encode())
    said = (text.decode(errors="replace") for text in (done.stdout, done.stderr))
    return subprocess.CompletedProcess(done.args, done.returncode, *said)


def _said(done: subprocess.CompletedProcess[str]) -> str:
    lines = (done.stderr or done.stdout).strip().splitlines()
    return lines[0] if lines else f"exit status {done.returncode}"
