"""The check of sessions and of the store that they share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ratchet.errors import InputMissingError
from ratchet.paths import SessionPaths, StorePaths
from ratchet.verify import inputs, stored
from ratchet.verify.finding import Findings
from ratchet.verify.records import Records


def sessions(root: Path) -> list[str]:
    """Names of the sessions below ``root``."""
    return sorted(
        path.name for path in (root / "results").glob("*") if _is_session(root, path.name)
    )


def _is_session(root: Path, name: str) -> bool:
    paths = SessionPaths(name, root)
    return paths.manifest.exists() or paths.baseline.exists() or paths.seal.exists()


def verify(root: Path, names: Sequence[str] = ()) -> Findings:
    """Check the store and these sessions, or all of them.

    Raises :class:`InputMissingError` if there is no such session.
    """
    there = sessions(root)
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
    stored.check(StorePaths(root / "store"), findings)
    for name in names or there:
        _session(SessionPaths(name, root), findings)
    return findings


def _session(paths: SessionPaths, findings: Findings) -> None:
    records = Records(paths, findings)
    records.check_seal()
    if not paths.manifest.exists():
        findings.deviates(paths.manifest, "a manifest", "no such file", records.frozen)
        return
    manifest = records.manifest()
    if manifest is not None:
        inputs.check(manifest, paths.root, paths.store, findings)
        records.check_references(manifest)
        records.check_history(manifest)
