"""A session's standing in words, for terminal and page; texts are cleaned there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ratchet.results_tsv import one_line
from ratchet.seeds import Role
from ratchet.status.pace import duration
from ratchet.vocabulary import Verdict

Facts = Mapping[str, Any]

LONGEST_NAME = 80

DOING = {
    "prepare": "preparing inputs",
    "baseline": "measuring the baseline",
    "proposing": "proposing",
    "experiment": "experiment",
    "judging": "judging",
    "evolving": "competitors at work",
    "leg over": "leg over",
    "confirming": "confirming the champion",
    "running again": "running kept changes again",
    "reporting": "writing the report",
    "reported": "reported",
}


def progress(found: Facts) -> str:
    """State and phase in one line."""
    state, phase = found["state"], found["phase"]
    if state == "finished":
        answer = one_line(str(found["answer"]))
        return f"finished: {answer}"
    if state == "waiting":
        return f"waiting {one_line(found['why'])}"
    return f"{state}, {doing(found)}" if phase != "reported" else state


def doing(found: Facts) -> str:
    """The phase, with the round where there is one."""
    phase = DOING[found["phase"]]
    if found["phase"] in ("proposing", "experiment", "judging"):
        rounds = f"/{found['rounds']}" if found["rounds"] else ""
        return f"round {found['round']}{rounds}: {phase}"
    if found["phase"] == "evolving" and found["answer"]:
        return f"{phase}; {one_line(found['answer'])}"
    if found["stop"] and found["phase"] == "confirming":
        return f"{phase} (ended early: {one_line(found['stop']['reason']).replace('_', ' ')})"
    return phase


def current(found: Facts) -> list[str]:
    """What goes on: each run or call with its age and what it may use."""
    return [f"{what(work)}, {used(work)}" for work in found["current"]]


def what(work: Mapping[str, Any]) -> str:
    """One run, or call of an agent."""
    name = one_line(work["description"])
    # What comes after it says how long it takes, which must not be cut away.
    name = name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1].rstrip() + "…"
    if work["kind"] == "agent":
        return name
    if work["role"] == Role.RERUN:
        return f"{name}, seed {work['replicate'] + 1}"
    if work["role"] == Role.CONFIRM:
        return f"{name}, fresh seed {work['replicate'] + 1}"
    if work["role"] == Role.REMEASURE:
        return f"{name}, once more"
    if not work["number"]:
        return f"{name}, run {work['replicate'] + 1}"
    again = f", run {work['replicate'] + 1}" if work["replicate"] else ""
    return f"experiment {work['number']}: {name}{again}"


def used(work: Mapping[str, Any]) -> str:
    """Time since it began, and its budget."""
    spent = duration(work["elapsed_seconds"])
    if work["budget_seconds"] is not None:
        return f"{spent} of {duration(work['budget_seconds'])}"
    if work["budget_steps"] is not None:
        return f"{spent}, {work['budget_steps']} steps"
    return spent


def tried(found: Facts) -> str:
    """How many experiments ended how."""
    n = found["counts"]
    text = f"{n['experiments']}: {n['keep']} kept, {n['discard']} discarded, {n['crash']} crashed"
    failed = found["failed_proposals"]
    return text + (f"; {failed} failed proposals" if failed else "")


def decision(entry: Mapping[str, Any]) -> str:
    """``keep``, ``discard`` or ``crash``, for one verdict."""
    return Verdict(entry["verdict"]).status.value
