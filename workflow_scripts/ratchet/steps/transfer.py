"""Champion and baseline once more, at another budget or with another preset of the task.

Three steps: the plan freezes the other scale's inputs, one job each runs a pair, and the last
compares them.  Nothing is selected by these runs, and they change no verdict.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ratchet.base.errors import ConfigError, DataError
from ratchet.base.io import Fingerprint, digest, read_bytes, read_record, write_json
from ratchet.base.structs import replace, to_json_values
from ratchet.judge.confirmation import CONFIRMATION_LEVEL
from ratchet.manifest import check_files
from ratchet.records.confirmed import confirmed_gain
from ratchet.records.history import History
from ratchet.records.records import (
    Baseline,
    Confirmation,
    ConfirmationRun,
    Incumbent,
    Manifest,
    Preset,
    Role,
    RunSummary,
    Scale,
    Transfer,
    TransferPlan,
)
from ratchet.records.transferred import scale_words, transferred_gain
from ratchet.runs.hardware import current_hardware
from ratchet.session import Session, frozen_task, other_scale
from ratchet.steps.confirm import compare_runs, confirmed_champion, run_pair
from ratchet.steps.prepare import Preparation
from ratchet.task.environment import task_interpreter
from ratchet.task.presets import carried_constants, edited_files, sole_value, with_constants
from ratchet.task.task import Task


def write_transfer_plan(session: Session, task: Task) -> None:
    """Write what is to be run at the other scale; ``task`` is that of the checkout.

    Nothing is, where nothing was kept, the champion could not be confirmed, or the runs would
    be more than are allowed.
    """
    wanted = session.config.transfer_scale
    assert wanted is not None
    champion = confirmed_champion(session)
    confirmed = read_record(Confirmation, session.paths.confirmation)
    own, scale = session.manifest.preset, _scale(session)
    plan = TransferPlan(champion.number, champion.source, _digest(confirmed), scale)
    detail = _obstacle(session, confirmed)
    if detail:
        write_json(session.paths.transfer_plan, replace(plan, detail=detail))
        return
    check_files(session.manifest, task)
    session.journal.append(
        "transferring", scale=scale_words(scale), runs=session.config.transfer_runs
    )
    preset = own if wanted.preset is None else task.preset(wanted.preset)
    plan = replace(
        plan,
        baseline=read_record(Baseline, session.paths.baseline).files,
        champion_files=champion.files,
        manifest=_manifest(session, task, scale, preset),
    )
    if preset != own and preset is not None:
        plan = _with_preset(session, plan, champion, _constants(session, task, preset))
    write_json(session.paths.transfer_plan, plan)


def _scale(session: Session) -> Scale:
    wanted, manifest = session.config.transfer_scale, session.manifest
    assert wanted is not None
    task = frozen_task(manifest, session.paths.root, session.harness)
    return other_scale(manifest.frozen, wanted, task, manifest.preset)


def _digest(confirmed: Confirmation) -> str:
    return digest(to_json_values(confirmed))


def _obstacle(session: Session, confirmed: Confirmation) -> str:
    """Why nothing is to be run at the other scale; empty where something is."""
    if not confirmed.champion:
        return "nothing was kept"
    if confirmed.gain is None:
        return f"the champion was not confirmed: {confirmed.detail}"
    most, more = session.config.max_runs, session.config.transfer_runs
    history = replace(History.read(session.paths, session.config.rounds), transfer=None)
    closing = {run.key: run for run in (*history.certification_runs, *history.confirmation_runs)}
    used = history.state.runs_used + sum(run.tries for run in closing.values())
    if most is not None and used + more > most:
        return f"{more} runs more than the {used} so far would exceed max_runs, {most}"
    return ""


def _manifest(session: Session, task: Task, scale: Scale, preset: Preset | None) -> Manifest:
    """The session's manifest at the other scale; data are prepared anew for another preset.

    The hardware is that of now: these runs are compared with each other alone.
    """
    old, sized = session.manifest, task.sized(preset)
    frozen = {
        **old.frozen,
        "budget_seconds": scale.budget_seconds,
        "budget_steps": scale.budget_steps,
        "timeout_seconds": scale.timeout_seconds,
    }
    hardware = current_hardware(sized.device, devices=session.config.devices)
    manifest = replace(old, hardware=hardware, **_settings({**frozen, "preset": _name(preset)}))
    if preset == old.preset:
        return manifest
    python = task_interpreter(session.config, task, session.paths.root, session.harness)
    data = Preparation(sized, task.environment_of(preset), python).data(session.store)
    return replace(
        manifest,
        preset=preset,
        data=tuple(data[name] for name in task.visible_data),
        locked=tuple(data[name] for name in task.locked_data),
        evaluation=tuple(data[name] for name in task.evaluation_data),
    )


def _name(preset: Preset | None) -> str | None:
    return None if preset is None else preset.name


def _settings(frozen: Mapping[str, Any]) -> dict[str, Any]:
    return {"frozen": frozen, "config_sha256": digest(frozen)}


def _constants(session: Session, task: Task, preset: Preset) -> dict[str, Any]:
    """Constants of a preset, and the task's own values of those that only the session's set.

    Raises :class:`ConfigError` where the task's own values are no longer known.
    """
    own = session.manifest.preset
    others = [c for c in (own.constants if own else {}) if c not in preset.constants]
    if not others:
        return dict(preset.constants)
    assert own is not None
    edited = edited_files(session.manifest, task.folder)
    if edited:
        raise ConfigError(
            f"transfer: preset {preset.name} leaves {', '.join(others)} as the task has them, "
            f"where the session's preset {own.name} set them; expected to read their values in "
            f"{task.folder / edited[0]} as the session started from it, found another file; put "
            "it back as it was, or name a preset that sets them"
        )
    texts = {name: read_bytes(task.folder / name) for name in task.mutable}
    own_texts = {n: t.decode("utf-8", errors="surrogateescape") for n, t in texts.items()}
    return {**{c: sole_value(own_texts, c) for c in others}, **preset.constants}


def _with_preset(
    session: Session, plan: TransferPlan, champion: Incumbent, constants: Mapping[str, Any]
) -> TransferPlan:
    """The plan with both codes as the preset sets them, but for what the champion's edits set."""
    before, after = session.texts(plan.baseline), session.texts(champion.files)
    moved, kept = carried_constants(after, before, constants)
    where = f"transfer: preset {plan.scale.preset}"
    assert plan.manifest is not None
    files = session.put(with_constants(before, constants, where))
    sizes = {name: len(session.store.get(sha)) for name, sha in files.items()}
    started = tuple(Fingerprint(name, sha, sizes[name]) for name, sha in files.items())
    return replace(
        plan,
        baseline=files,
        champion_files=session.put(moved),
        kept_constants=kept,
        manifest=replace(plan.manifest, baseline=started),
    )


def write_transfer_run(session: Session, replicate: int) -> None:
    """Write one pair of runs at the other scale, or that there is nothing to run."""
    plan = read_record(TransferPlan, session.paths.transfer_plan)
    found = ConfirmationRun(plan.champion, plan.source)
    if plan.manifest is not None:
        there, codes = session.at_scale(plan.manifest), (plan.baseline, plan.champion_files)
        pair = run_pair(there, *codes, plan.champion, plan.source, replicate, Role.TRANSFER)
        found = replace(found, baseline_run=pair[0], champion_run=pair[1])
    write_json(session.paths.transfer_run(replicate), found)


def write_transfer(session: Session) -> None:
    """Write whether the champion's gain holds at the other scale."""
    plan = read_record(TransferPlan, session.paths.transfer_plan)
    confirmed = read_record(Confirmation, session.paths.confirmation)
    if plan.manifest is None:
        measured = Confirmation(plan.champion, level=CONFIRMATION_LEVEL, detail=plan.detail)
    else:
        wanted = session.config.transfer_scale
        assert wanted is not None
        pairs = [_read(session, plan, number) for number in range(wanted.replicates)]
        measured = compare_runs(session.at_scale(plan.manifest), plan.champion, pairs, None)
    found = Transfer(
        confirmation=plan.confirmation,
        scale=plan.scale,
        measured=measured,
        reference=confirmed_gain(confirmed)["gain"],
        kept_constants=plan.kept_constants,
    )
    if plan.champion:
        session.journal.append("transferred", **transferred_gain(found))
    write_json(session.paths.transfer, found)


def _read(session: Session, plan: TransferPlan, number: int) -> tuple[RunSummary, RunSummary]:
    """The pair of runs of one replicate."""
    path = session.paths.transfer_run(number)
    found = read_record(ConfirmationRun, path)
    ours, theirs = found.baseline_run, found.champion_run
    if found.source != plan.source or ours is None or theirs is None:
        raise DataError(
            f"{path}: expected runs of experiment {plan.champion}, found others; make them again: "
            "snakemake --cores 1 --forcerun transfer_run "
            "--config session=THIS"
        )
    return ours, theirs
