"""Champion and baseline, run again with fresh seeds and compared."""

from collections.abc import Mapping, Sequence

from ratchet.base.errors import DataError
from ratchet.base.io import digest, read_json, read_record, write_json
from ratchet.base.structs import replace
from ratchet.integrity.run_checks import Scrutiny
from ratchet.judge.confirmation import CONFIRMATION_LEVEL, FreshRuns, confirm_gain
from ratchet.judge.judge import Judge
from ratchet.records.confirmed import confirmed_gain
from ratchet.records.history import SEED_IGNORED, SeedEffect, seed_effect
from ratchet.records.records import (
    Baseline,
    Confirmation,
    ConfirmationRun,
    Evaluation,
    Incumbent,
    Outcome,
    Role,
    RunSummary,
)
from ratchet.runs.executor import Executor
from ratchet.session import Session
from ratchet.steps.certify import (
    announce_contributions,
    certified_contributions,
    read_certification,
)

HOUR_SECONDS = 3600.0
"""The runs of a pair end at most so far apart, beside the time that the second takes."""

TRIES = 3
"""So often the second run may have been made, where others used its GPU."""

OCCASIONS = 3
"""So often a pair is made that a stop of the session has torn apart."""


def write_confirmation(session: Session) -> None:
    """Write the confirmation; only its runs enter the gain that is reported."""
    certified = read_certification(session)
    champion = confirmed_champion(session)
    # A judge that changed its mind may have left the branch ahead.
    session.repo.settle(champion.commit)
    replicates = range(session.config.confirm_replicates if champion.number else 0)
    pairs = [_read(session, champion, replicate) for replicate in replicates]
    noise_sd = noise_bound(session, session.config.rounds)
    found = compare_champion(session, champion, pairs, noise_sd)
    if certified is not None and champion.number:
        found = replace(found, contributions=certified_contributions(session, certified, found))
        announce_contributions(session, found)
    write_json(session.paths.confirmation, found)


def confirmed_champion(session: Session) -> Incumbent:
    """The search's last incumbent, without what the certification took out."""
    certified = read_certification(session)
    searched = session.state(session.config.rounds).incumbent
    return searched if certified is None else certified.champion


def write_confirmation_run(session: Session, replicate: int) -> None:
    """Write one pair of runs, or that there is no champion to confirm."""
    champion = confirmed_champion(session)
    write_json(
        session.paths.confirm_run(replicate), confirmation_pair(session, champion, replicate)
    )


def confirmation_pair(session: Session, champion: Incumbent, replicate: int) -> ConfirmationRun:
    """One run of baseline and champion, in turn: a machine that slows down slows both."""
    if champion.number == 0:
        return ConfirmationRun(0, champion.source)
    codes = read_record(Baseline, session.paths.baseline).files, champion.files
    pair = run_pair(session, *codes, champion.number, champion.source, replicate)
    return ConfirmationRun(champion.number, champion.source, *pair)


def run_pair(
    session: Session,
    baseline: Mapping[str, str],
    champion: Mapping[str, str],
    number: int,
    source: str,
    replicate: int,
    role: Role = Role.CONFIRM,
) -> tuple[RunSummary, RunSummary]:
    """One run of the baseline's files and one of the champion's, in one go.

    In role :attr:`Role.TRANSFER` the session is at another scale, where only the pair's own
    baseline tells how long an evaluation takes.
    """
    elsewhere = role is Role.TRANSFER
    for again in range(OCCASIONS):
        occasion = confirmation_occasion(session, source, again)
        first = Executor(session, () if elsewhere else None)
        ours = first.run(baseline, role, replicate, audit=True, occasion=occasion)
        second = Executor(session, (ours,) if elsewhere else None)
        about = number, "champion"
        theirs = second.run(champion, role, replicate, *about, audit=True, occasion=occasion)
        if not occasion or _is_of_one_hour(session, ours, theirs):
            break
    return ours, theirs


def confirmation_occasion(session: Session, source: str, again: int = 0) -> str:
    """What the runs of a champion of this source are made for; empty with a budget in steps.

    Within a budget of time a run depends on how the machine did at its hour.  So those
    of another session do not count, nor those beside another champion.  A session that
    is stopped, or replayed from the store, finds its own.
    """
    if session.budget["seconds"] is None:
        return ""
    return digest([session.config.session, source, again])


def _is_of_one_hour(session: Session, ours: RunSummary, theirs: RunSummary) -> bool:
    """Whether a pair was made in one go, and not before and after a stop of the session."""
    first, second = (session.store.finished(run.key) for run in (ours, theirs))
    return abs(second - first) <= HOUR_SECONDS + TRIES * session.budget["timeout_seconds"]


def _read(session: Session, champion: Incumbent, replicate: int) -> ConfirmationRun:
    path = session.paths.confirm_run(replicate)
    found = read_record(ConfirmationRun, path)
    if found.source != champion.source:
        raise DataError(
            f"{path}: expected runs of experiment {champion.number}, found those of "
            f"{found.champion}; make them again: snakemake --cores 1 --forcerun confirm_run "
            "--config session=THIS"
        )
    return found


def compare_champion(
    session: Session,
    champion: Incumbent,
    made: Sequence[ConfirmationRun],
    noise_sd: float,
) -> Confirmation:
    """A champion beside the session's baseline; it may be another session's.

    ``noise_sd`` is what its session knows of the noise of one run.
    """
    if champion.number == 0:
        return Confirmation(champion=0, level=CONFIRMATION_LEVEL, detail="nothing was kept")
    pairs = [
        (each.baseline_run, each.champion_run)
        for each in made
        if each.baseline_run is not None and each.champion_run is not None
    ]
    result = compare_runs(session, champion.number, pairs, noise_sd)
    session.journal.append("confirmed", **confirmed_gain(result))
    return result


def ignores_seed(found: Confirmation) -> bool:
    """Whether every run of the champion gave one number, and those of the baseline did not."""
    before, after = (
        seed_effect([[run.value for run in runs if run.value is not None]])
        for runs in (found.baseline_runs, found.champion_runs)
    )
    return after is SeedEffect.NONE and before is SeedEffect.SHOWN


def noise_bound(session: Session, rounds: int) -> float:
    """The noise floor after some rounds, at the upper end of its interval."""
    judge = Judge.from_dict(read_json(session.paths.round(rounds).judge))
    return judge.noise_interval()[1]


def compare_runs(
    session: Session,
    champion: int,
    pairs: Sequence[tuple[RunSummary, RunSummary]],
    noise_sd: float | None,
) -> Confirmation:
    """Gains by pairs of runs of baseline and champion, or the reason why there are none.

    Without the noise of one run at the search's scale (``noise_sd``) the pairs are of another
    scale: they are compared with each other alone, and not tested for what carries over.
    """
    runs = [run for pair in pairs for run in pair]
    found = Confirmation(
        champion=champion,
        baseline_runs=tuple(ours for ours, _ in pairs),
        champion_runs=tuple(theirs for _, theirs in pairs),
        level=CONFIRMATION_LEVEL,
    )
    failed = next((run for run in runs if run.outcome is not Outcome.OK), None)
    if failed is not None:
        whose = "champion" if failed in found.champion_runs else "baseline"
        detail = f"the {whose}'s run with seed {failed.seed} failed: {failed.outcome.value}"
        return replace(found, detail=f"{detail}, {failed.reason}")
    scrutiny = Scrutiny(session, found.baseline_runs, alone=noise_sd is None)
    wrong = scrutiny.wrong(found.champion_runs)
    if wrong is not None:
        return replace(found, detail=f"the champion's runs are tampered with: {wrong}")
    over = scrutiny.off_budget(found.champion_runs)
    if over is not None:
        return replace(found, detail=f"the champion's runs are off budget: {over}")
    if ignores_seed(found):
        return replace(found, detail=f"the champion cannot be confirmed: {SEED_IGNORED}")
    unread = next((run for run in runs if session.audits and run.audit is None), None)
    if unread is not None:
        detail = f"the run with seed {unread.seed} gave no value on the unseen data"
        return replace(found, detail=detail)
    before, after = (
        _fresh_runs(session, runs) for runs in (found.baseline_runs, found.champion_runs)
    )
    return confirm_gain(found, before, after, noise_sd, _sizes(session, runs))


def _fresh_runs(session: Session, runs: Sequence[RunSummary]) -> FreshRuns:
    """The runs of one code as the judge takes them: lower is better."""
    sign = session.sign
    evaluations = [_evaluation(session, run) for run in runs]
    parts = [[sign * part for part in each.audit_parts] for each in evaluations if each]
    return FreshRuns(
        search=[session.value(run) for run in runs],
        unseen=[sign * run.audit for run in runs if run.audit is not None],
        parts=parts if len(parts) == len(runs) else (),
    )


def _sizes(session: Session, runs: Sequence[RunSummary]) -> tuple[int, int]:
    """Items of the search's data and of the unseen data."""
    known = _evaluation(session, runs[0])
    return (1, 1) if known is None else (max(known.tokens, 1), known.audit_tokens)


def _evaluation(session: Session, run: RunSummary) -> Evaluation | None:
    record = session.store.lookup(run.key)
    return None if record is None else record.evaluation
