"""The verdict on one edit, as text and as JSON."""

from __future__ import annotations

from typing import Any

from ratchet.advice import Kind
from ratchet.codec import encode
from ratchet.history import History, Trial, name_of
from ratchet.records import Ruling
from ratchet.results_tsv import one_line

SHOWN = 3
"""Suggestions that are named after a verdict."""


def text_of(trial: Trial, history: History, metric: str) -> str:
    """What was ruled, why, where the session stands, and what to try next."""
    proposal, ruling, state = trial.proposal, trial.ruling, history.state
    assert ruling is not None
    lines = [_headline(ruling, metric), f"  {one_line(ruling.reason)}"]
    about = f"  experiment {ruling.number}, {one_line(proposal.category)}"
    about += f", +{proposal.lines_added} -{proposal.lines_removed} lines"
    if ruling.changes is not None:
        count = "1 change" if ruling.changes == 1 else f"{ruling.changes} changes"
        about += f", {count}"
    lines.append(f"{about}, commit {proposal.commit[:10]}")
    if (ruling.changes or 0) > 1:
        lines.append("  several changes at once: the effect cannot be attributed to one of them")
    lines += [f"  noticed: {one_line(note)}" for note in ruling.notes]
    held = state.incumbent
    noise_sd = history.noise_sd
    noise = "" if noise_sd is None else f"; noise floor {noise_sd:.2g}"
    lines.append(
        f"incumbent: {name_of(held.number)}, {metric} {held.mean:.6g} ± {held.sd:.2g}{noise}"
    )
    todo = [s for s in state.suggestions if s.kind is not Kind.RETEST][:SHOWN]
    lines += [f"next: [{one_line(s.category)}] {one_line(s.title)}" for s in todo]
    if not trial.kept:
        lines.append("to go back to the incumbent's files: ratchet try --restore")
    return "\n".join(lines)


def _headline(ruling: Ruling, metric: str) -> str:
    if ruling.mean is None:
        return str(ruling.verdict)
    runs = "1 run" if len(ruling.runs) == 1 else f"{len(ruling.runs)} runs"
    return (
        f"{ruling.verdict}: {metric} {ruling.mean:.6g} over {runs}, {ruling.delta:+.3g} against "
        f"the incumbent, P(better) {ruling.confidence:.3f}"
    )


def json_of(trial: Trial, history: History) -> dict[str, Any]:
    """The same facts for tools."""
    state = history.state
    return {
        "kept": trial.kept,
        "ruling": encode(trial.ruling),
        "proposal": encode(trial.proposal),
        "incumbent": encode(state.incumbent),
        "noise_sd": history.noise_sd,
        "suggestions": encode(state.suggestions),
        "avoid": list(state.avoid),
    }
