"""A session's seal: digests of its own files, so that a later change is seen.

``SHA256SUMS`` in the session's folder is what ``sha256sum -c`` reads; what only
Ratchet reads is behind ``#``: how far append-only files were sealed, whether the
workflow is at work, and a digest of the seal itself.

Each step takes its outputs out of the seal before it writes them and puts them
back when it has, so a kill leaves them *not sealed yet* and is no deviation.  The
report seals all that is left and closes the seal.  A sealed file that differs is
never sealed again by anyone but the step that makes it: what was changed by hand
stays visible after the session has gone on.

The seal finds bits that rotted and files that were edited.  It is no signature:
whoever may write the folder can write a new seal.
"""

import contextlib
import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from ratchet.base.io import digest_bytes, digest_file, lock_file, write_bytes
from ratchet.base.structs import Frozen, field, replace
from ratchet.records.paths import SessionPaths

HEADER = "# The session's files; check them with: sha256sum -c SHA256SUMS, or: ratchet verify"
# Everything below these is written once and whole.  Logs of steps are left out:
# nothing rests on them, and Snakemake writes some after the last step.
WHOLE = (
    "*.json",
    "*.tsv",
    "settings.yaml",
    "*.html",
    "*.png",
    "*.svg",
    "limits/*.json",
    "offers/*.json",
    "evolve/champion.json",
    "evolve/*/*.json",
    "audit/*.json",
    "audit/*/*.json",
    "baseline/*.json",
    "certify/*.json",
    "confirm/*.json",
    "transfer/*.json",
    "rounds/*/*.json",
)
# These only grow, so what was sealed of them must still be their beginning.
GROWING = ("*.jsonl", "progress.log")
# A view of the events, which anything may write again at any time.
VIEWS = ("live.html",)
_OPEN = "# the workflow is at work"
_LINE = re.compile(r"([0-9a-f]{64})  ([^\\\n]+)")
_PREFIX = re.compile(r"# first ([0-9]+) bytes: ([0-9a-f]{64})  ([^\\\n]+)")
# How the proposals of a round say that the session had ended before it.
_ENDED = b'"stop": "'


class Seal(Frozen):
    """Digests of sealed files, by path below the session's folder.

    ``whole`` maps to digests, ``growing`` to length in bytes and digest.
    ``at_work`` is true from a step's beginning until the session's report.
    """

    whole: Mapping[str, str] = field(default_factory=dict)
    growing: Mapping[str, tuple[int, str]] = field(default_factory=dict)
    at_work: bool = False

    def text(self) -> str:
        """The file's content; equal seals have equal bytes."""
        lines = [HEADER]
        lines += [f"{sha}  {name}" for name, sha in sorted(self.whole.items())]
        lines += [
            f"# first {size} bytes: {sha}  {name}"
            for name, (size, sha) in sorted(self.growing.items())
        ]
        lines += [_OPEN] if self.at_work else []
        body = "".join(f"{line}\n" for line in lines)
        return f"{body}# seal: {digest_bytes(body.encode())}\n"


def parse_seal(text: str) -> Seal | None:
    """Read a seal; ``None`` if it is not exactly what :meth:`Seal.text` wrote."""
    whole: dict[str, str] = {}
    growing: dict[str, tuple[int, str]] = {}
    for line in text.splitlines():
        if match := _LINE.fullmatch(line):
            whole[match[2]] = match[1]
        elif match := _PREFIX.fullmatch(line):
            growing[match[3]] = int(match[1]), match[2]
    seal = Seal(whole, growing, f"\n{_OPEN}\n" in text)
    return seal if seal.text() == text else None


def read_seal(paths: SessionPaths) -> Seal | None:
    """The seal of a session; ``None`` if it is damaged, an empty one if there is none."""
    try:
        return parse_seal(paths.seal.read_bytes().decode("utf-8", errors="replace"))
    except FileNotFoundError:
        return Seal()


def is_finished(paths: SessionPaths) -> bool:
    """Whether a session is at its end, and no workflow was at work on it since."""
    seal = read_seal(paths)
    return paths.seal.is_file() and seal is not None and not seal.at_work


@contextlib.contextmanager
def sealed_step(
    paths: SessionPaths, name: str, number: int, candidate: int, limits_file: Path | None
) -> Iterator[None]:
    """Context of one step of the workflow: its outputs are sealed when it has ended well.

    ``name`` is that of the step's rule; the report also seals everything else.
    """
    outputs = outputs_of(paths, name, number, candidate, limits_file)
    begin_workflow(paths, outputs)
    yield
    _add(paths, outputs)
    if name == "report":
        finish_workflow(paths)


def outputs_of(
    paths: SessionPaths, name: str, number: int, candidate: int, limits_file: Path | None
) -> list[Path]:
    """The files that one step writes; none for an unknown step."""
    here, start = paths.round(number), paths.round(0)
    outputs: dict[str, list[Path | None]] = {
        "prepare": [paths.manifest],
        "limits": [limits_file],
        "baseline_run": [paths.baseline_run(candidate)],
        "baseline": [paths.baseline, start.judge, start.steer, paths.results_tsv],
        "ask": [here.asked(candidate)],
        "propose": [here.proposals],
        "experiment": [here.experiment(candidate)],
        "judge": [here.verdict, here.judge, paths.results_tsv],
        "steer": [here.steer],
        "certify_plan": [paths.certification_plan],
        "certify_run": [paths.certify_run(candidate)],
        "certify": [paths.certification],
        "confirm_run": [paths.confirm_run(candidate)],
        "confirm": [paths.confirmation],
        "transfer_plan": [paths.transfer_plan],
        "transfer_run": [paths.transfer_run(candidate)],
        "transfer": [paths.transfer],
        "evolve_leg": [paths.leg(number, candidate)],
        "evolve_pollinate": [paths.pollination(number)],
        "evolve_champion": [paths.champion],
        "evolve_report": [paths.evolve_json, paths.evolve_html],
        "audit_run": [paths.rerun(number, candidate)],
        "audit_report": [paths.audit_json, paths.audit_html],
        "report": [paths.report_html, paths.report_json, paths.progress_png, paths.progress_svg],
    }
    return [path for path in outputs.get(name, []) if path is not None]


def begin_workflow(paths: SessionPaths, outputs: Iterable[Path] = ()) -> None:
    """Say that the workflow is at work, and take ``outputs`` out of the seal.

    Does nothing for a session without a folder.
    """
    taken = {_name(paths, path) for path in outputs}
    if paths.folder.is_dir():
        with lock_file(paths.seal_lock):
            old = _trusted(paths)
            whole = {name: sha for name, sha in old.whole.items() if name not in taken}
            _write(paths, old, replace(old, whole=whole, at_work=True))


def _add(paths: SessionPaths, outputs: Iterable[Path]) -> None:
    fresh = {_name(paths, path): digest_file(path) for path in outputs if path.is_file()}
    if paths.folder.is_dir():
        with lock_file(paths.seal_lock):
            old = _trusted(paths)
            _write(paths, old, replace(old, whole={**old.whole, **fresh}))


def finish_workflow(paths: SessionPaths) -> None:
    """Seal what is not sealed yet and say that the workflow's work is done.

    Rounds after the session's end hold copies that a rule makes without a step;
    they are sealed as they are.
    """
    if not paths.folder.is_dir():
        return
    with lock_file(paths.seal_lock):
        old = _trusted(paths)
        whole, growing = dict(old.whole), dict(old.growing)
        for path in sealable_files(paths, WHOLE):
            name = _name(paths, path)
            if name not in whole or is_after_the_end(path):
                whole[name] = digest_file(path)
        for path in sealable_files(paths, GROWING):
            name = _name(paths, path)
            if name not in growing or prefix_digest(path, growing[name][0]) == growing[name]:
                growing[name] = prefix_digest(path, path.stat().st_size)
        _write(paths, old, Seal(whole, growing))


def sealable_files(paths: SessionPaths, patterns: Iterable[str]) -> list[Path]:
    """Files of the session's folder that match any of the patterns, in order."""
    matching = {path for pattern in patterns for path in paths.folder.glob(pattern)}
    named = (p for p in matching if not p.name.startswith(".") and p.name not in VIEWS)
    return sorted(p for p in named if p.is_file())


def is_after_the_end(path: Path) -> bool:
    """Whether a file belongs to a round that began after the session had ended."""
    try:
        return _ENDED in path.with_name("proposals.json").read_bytes()
    except OSError:
        return False


def prefix_digest(path: Path, size: int) -> tuple[int, str]:
    """Length and digest of the first ``size`` bytes of a file, or of all if it is shorter."""
    digest, left = hashlib.sha256(), size
    with path.open("rb") as stream:
        while left and (data := stream.read(min(left, 1 << 20))):
            digest.update(data)
            left -= len(data)
    return size - left, digest.hexdigest()


def _name(paths: SessionPaths, path: Path) -> str:
    return path.relative_to(paths.folder).as_posix()


def _trusted(paths: SessionPaths) -> Seal:
    """The seal to go on from; a damaged one is set aside, for ``verify`` to name."""
    seal = read_seal(paths)
    if seal is None:
        os.replace(paths.seal, damaged_place(paths))  # noqa: PTH105
        return Seal()
    return seal


def damaged_place(paths: SessionPaths) -> Path:
    """Path to which a damaged seal is moved."""
    return paths.seal.with_name(f"{paths.seal.name}.damaged")


def _write(paths: SessionPaths, old: Seal, new: Seal) -> None:
    if new != old or not paths.seal.exists():
        write_bytes(paths.seal, new.text().encode())
