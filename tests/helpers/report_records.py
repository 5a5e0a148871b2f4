"""Records of made-up sessions, as real as they need to be for the report."""

import datetime
import hashlib
import math
import random
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from helpers import trials
from helpers.pages import HOSTILE
from ratchet.base.io import Fingerprint
from ratchet.base.structs import replace
from ratchet.proposers.landscape import Constant, Landscape
from ratchet.proposers.optimizer import Measured
from ratchet.records.confirmed import confirmed_gain
from ratchet.records.history import History
from ratchet.records.proposals import Proposal, Proposals
from ratchet.records.records import (
    Baseline,
    Confirmation,
    Direction,
    Incumbent,
    Manifest,
    Outcome,
    RoundVerdict,
    Ruling,
    RunSummary,
    SessionState,
    Verdict,
)
from ratchet.records.series import CurvePoint
from ratchet.records.store import RunRecord
from ratchet.report.inputs import Integrity, Recipe, SessionRecords
from ratchet.steering.bandit import CategoryScore

SD = 0.0104
# True change of the metric, category, description; None is a crash, inf a timeout.
IDEAS: tuple[tuple[float | None, str, str], ...] = (
    (-0.246, "optimiser", "lr 1e-3 → 3e-3"),
    (0.19, "regularisation", "weight decay 0 → 0.1"),
    (-0.178, "architecture", "relu → relu² in the feed-forward block"),
    (None, "architecture", "two layers with a shared key projection"),
    (0.061, "schedule", "cosine decay to zero over the whole budget"),
    (-0.004, "optimiser", "beta2 0.999 → 0.99"),
    (4.9, "optimiser", "lr 3e-3 → 3e-2"),
    (-0.052, "architecture", "embedding 48 → 64"),
    (math.inf, "data", "context 64 → 1024"),
    (0.012, "schedule", "warm-up over 5 % of the steps"),
    (-0.012, "initialisation", "Xavier scale for the output layer"),
    (0.031, "data", "batch 16 → 32"),
)
DIFF = """--- train.py
+++ train.py
@@ -12,7 +12,7 @@
 # hyperparameters
 depth = 2
-learning_rate = 1e-3
+learning_rate = 3e-3  # {}
 weight_decay = 0.0
"""
TRACEBACK = """step 12 loss 3.91
Traceback (most recent call last):
  File "train.py", line 141, in <module>
    main()
  File "train.py", line 88, in forward
    return keys @ values.T
ValueError: matmul: shapes (64, 48) and (96, 64) do not fit
"""
SUMMARY = "step {} loss {:.3f}\n---\nval_bpb:          {:.6f}\ntraining_seconds: 3.0\n"


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def fingerprint(path: str, size: int) -> Fingerprint:
    return Fingerprint(path, sha(path), size)


def manifest() -> Manifest:
    return Manifest(
        session="oct14",
        task="bytelm",
        fixed=(fingerprint("prepare.py", 8121),),
        baseline=(fingerprint("train.py", 9034),),
        values={},
        brief=fingerprint("program.md", 3310),
        data=(fingerprint("corpus/train.bin", 3_600_000), fingerprint("corpus/val.bin", 200_000)),
        locked=(fingerprint("corpus/audit.bin", 200_000),),
        environment=fingerprint("envs/bytelm.lock", 5120),
        definition=fingerprint("task.yaml", 2048),
        frozen={"budget": {"kind": "cpu_seconds", "amount": 3.0}, "seed": 7, "rounds": 12},
        config_sha256=sha("config"),
        harness_sha256=sha("harness"),
        hardware={"class": "cpu", "cpu": "x86_64, 2 cores", "gpu": None},
        versions={"python": "3.11.7", "numpy": "2.3.1", "ratchet": "0.1.0"},
    )


@dataclass
class Bench:
    """Makes runs with noise that depends on a seed alone."""

    chance: random.Random
    details: dict[str, RunRecord]
    logs: dict[str, str]

    def run(self, name: str, value: float | None, outcome: Outcome = Outcome.OK) -> RunSummary:
        seed = self.chance.randrange(2**31)
        key = sha(f"{name}/{seed}")
        shown = None if value is None else value + self.chance.gauss(0, SD)
        ok = shown is not None
        self.logs[key] = SUMMARY.format(412, shown, shown) if ok else TRACEBACK
        self.details[key] = RunRecord(
            outcome=outcome,
            reason="",
            exit_code=None,
            signal=None,
            metrics={"training_seconds": 3.0 + self.chance.random() / 20} if ok else {},
            wall_seconds=3.4 + self.chance.random() / 5,
            cpu_seconds=3.3,
            peak_rss_mb=96.0 + self.chance.random() if ok else None,
            isolation="",
        )
        reasons = {
            Outcome.CRASH: "ValueError: matmul: shapes (64, 48) and (96, 64) do not fit",
            Outcome.TIMEOUT: "still running after 30 s, killed",
        }
        return RunSummary(key, seed, outcome, reasons.get(outcome, ""), shown, 61.5 if ok else None)


def session(
    count: int = 12, direction: Direction = Direction.MINIMIZE, seed: int = 1
) -> SessionRecords:
    """A finished session of ``count`` rounds with one proposal each."""
    bench, sign = Bench(random.Random(seed), {}, {}), direction.sign
    truth = start = 3.412 if sign > 0 else 0.612
    base = tuple(bench.run("base", start) for _ in range(3))
    commit = sha("c0")[:40]
    held = Incumbent(0, sha("base"), {"train.py": sha("base")}, commit, start, start, SD, 61.5, 0)
    proposals, verdicts, states = [], [], []
    for number in range(1, count + 1):
        change, *words = IDEAS[(number - 1) % len(IDEAS)]
        if change is not None:
            late = 0.6 ** ((number - 1) // len(IDEAS)) if change < 0 else 1.0
            change *= late * sign
        proposal = _proposal(number, held.source, *words)
        ruling = _ruling(bench, proposal, change, truth, held, sign)
        kept = ruling.verdict.is_keep
        if kept and change is not None and ruling.mean is not None:
            truth += change
            mean = ruling.mean + sign * 0.1 * SD
            held = replace(
                held, number=number, source=proposal.source, measured=ruling.mean, mean=mean,
                sd=0.6 * SD, commit=proposal.commit, kept=held.kept + 1,
            )  # fmt: skip
        runs = len(bench.details)
        noise = SD, 0.8 * SD, 1.4 * SD
        proposals.append(Proposals(number, (proposal,)))
        verdicts.append(RoundVerdict(number, (ruling,), number if kept else None, *noise, runs))
        states.append(SessionState(number, held, runs, ("architecture",)))
    return SessionRecords(
        manifest=manifest(),
        categories=_categories(len(verdicts)),
        metric="val_bpb" if sign > 0 else "val_score",
        unit=None,
        direction=direction,
        judge={"mode": "gain", "keep_probability": 0.6},
        history=History(
            Baseline(sha("base"), {"train.py": sha("base")}, commit, base),
            tuple(proposals),
            tuple(verdicts),
            tuple(states),
            _confirmation(bench, held, start, truth, sign),
        ),
        runs=bench.details,
        logs=bench.logs,
        events=tuple(_events(base, verdicts)),
        integrity=Integrity(("every input", "every run")),
        program="# bytelm\n\nLower `val_bpb`.\n",
        recipe=Recipe("results/oct14", ("python", "train.py"), {"train.bin": "store/blobs/x"}),
    )


def with_curves(records: SessionRecords, points: int = 200, seed: int = 3) -> SessionRecords:
    """The records with a curve of each run, down to its value; one that failed diverges."""
    chance, curves = random.Random(seed), {}
    for run in records.history.runs:
        end, pace = run.value if run.value is not None else 4.0, 0.9 + chance.random() / 5
        curves[run.key] = [
            CurvePoint(
                step,
                math.nan
                if run.value is None and step > 0.6 * points
                else end + 5 * math.exp(-12 * step / points) + chance.gauss(0, 0.02),
                seconds=0.5 + pace * 3 * step / points,
                tokens=1024.0 * step,
            )
            for step in range(points + 1)
        ]
    return replace(records, curves=curves)


def with_settings(records: SessionRecords) -> SessionRecords:
    """The records with settings of three constants, of which the first decides."""
    trials = (records.history.start, *records.history.trials)
    chance = random.Random(5)
    measured = [
        Measured(
            trial.number,
            {
                "RATE": float(f"{10 ** (trial.mean - 5):.3g}"),
                "WIDTH": chance.choice([16, 32, 64]),
                "MIXED<b>": chance.choice([True, False]),
            },
            records.direction.sign * trial.mean,
        )
        for trial in trials
        if trial.mean is not None and trial.mean < 4
    ]
    constants = [
        Constant("RATE", 0.7, -1, [0.01, 0.02], 0.013, low=0.5, high=0.9, log=True),
        Constant("WIDTH", 0.2, 0, [16, 64], 32, clear=False, low=0.0, high=0.4, log=True),
        Constant("MIXED<b>", 0.1, 0, [True, False], True, True, False, 0.0, 0.3),
    ]
    return replace(records, landscape=Landscape(len(measured), 1, constants, measured=measured))


def changed(records: SessionRecords, **fields: object) -> SessionRecords:
    """The records with other fields; those of their history are given by name too."""
    own = {name: fields.pop(name) for name in records.history.__struct_fields__ if name in fields}
    return replace(records, history=replace(records.history, **own), **fields)


def in_round(records: SessionRecords, number: int, **fields: object) -> SessionRecords:
    """The records with other fields of one round's verdict."""
    rounds = [*records.history.verdicts]
    rounds[number - 1] = replace(rounds[number - 1], **fields)
    return changed(records, verdicts=tuple(rounds))


def ruled(records: SessionRecords, numbers: Iterable[int], **fields: object) -> SessionRecords:
    """The records with other fields of the rulings on these experiments."""
    for number in numbers:
        rulings = records.history.verdicts[number - 1].rulings
        records = in_round(records, number, rulings=(replace(rulings[0], **fields),))
    return records


def proposed(records: SessionRecords, numbers: Iterable[int], **fields: object) -> SessionRecords:
    """The records with other fields of these proposals."""
    groups = [*records.history.proposals]
    for number in numbers:
        proposal = replace(groups[number - 1].proposals[0], **fields)
        groups[number - 1] = replace(groups[number - 1], proposals=(proposal,))
    return changed(records, proposals=tuple(groups))


def _events(base: tuple[RunSummary, ...], verdicts: list[RoundVerdict]) -> list[dict[str, object]]:
    """A journal in which every run takes 4 s and is followed by 1 s of nothing."""
    clock, events = 0.0, [{"time": _stamp(0.0), "event": "session_started"}]
    runs = [(0, run) for run in base]
    runs += [(r.number, run) for v in verdicts for r in v.rulings for run in r.runs]
    for number, run in runs:
        about = {"number": number, "role": "search", "replicate": 0, "seed": run.seed}
        events.append({"time": _stamp(clock + 1), "event": "run_started", **about})
        clock += 5
        done = {**about, "key": run.key, "outcome": run.outcome.value}
        events.append({"time": _stamp(clock), "event": "run_finished", **done})
    return events


def _stamp(seconds: float) -> str:
    start = datetime.datetime(2026, 3, 1, 22, 0, tzinfo=datetime.UTC)
    return (start + datetime.timedelta(seconds=seconds)).isoformat(timespec="milliseconds")


def _proposal(number: int, parent: str, category: str, description: str) -> Proposal:
    return replace(
        trials.proposal(number, category, description),
        source=sha(f"source {number}"),
        parent=parent,
        files={"train.py": sha(f"file {number}")},
        hypothesis=f"{description}: the model is far from the limit that this setting protects.",
        diff=DIFF.format(description),
        lines_added=1 + number % 4,
        lines_removed=1,
        commit=sha(f"commit {number}")[:40],
    )


def _ruling(
    bench: Bench, proposal: Proposal, change: float | None, truth: float, held: Incumbent, sign: int
) -> Ruling:
    name, number = f"e{proposal.number}", proposal.number
    if change is None or math.isinf(change):
        run = bench.run(name, None, Outcome.CRASH if change is None else Outcome.TIMEOUT)
        return Ruling(number, 0, proposal.commit, Verdict.CRASH, run.reason, (run,))
    close = abs(change) < 2 * SD
    runs = tuple(bench.run(name, truth + change) for _ in range(3 if close else 1))
    mean = sum(r.value for r in runs if r.value is not None) / len(runs)
    sd = SD * math.sqrt(1 / len(runs) + 0.36)
    delta = mean - held.mean
    confidence = 0.5 * math.erfc(sign * delta / sd / math.sqrt(2))
    bars = (Verdict.STRONG_KEEP, 0.95), (Verdict.KEEP, 0.6), (Verdict.MARGINAL, 0.5)
    return Ruling(
        number,
        0,
        proposal.commit,
        next((verdict for verdict, least in bars if confidence > least), Verdict.DISCARD),
        f"P(better) {confidence:.3f} against the required 0.600 after {len(runs)} run(s)",
        runs,
        mean=mean,
        incumbent=held.mean,
        delta=delta,
        delta_sd=sd,
        gain=-0.9 * sign * delta,
        confidence=confidence,
        memory_mb=61.5 + number,
    )


def _categories(number: int) -> tuple[CategoryScore, ...]:
    return (
        CategoryScore("architecture", number // 3, number // 6, "EXPLOIT", 0.91),
        CategoryScore("optimiser", number // 3, number // 9, "NEUTRAL", 0.52),
        CategoryScore("regularisation", 1, 0, "EXPLORE", None),
    )


def _confirmation(
    bench: Bench, held: Incumbent, start: float, truth: float, sign: int
) -> Confirmation:
    if not held.kept:
        return Confirmation(champion=0, detail="nothing was kept")
    before = tuple(bench.run("confirm-base", start) for _ in range(3))
    after = tuple(bench.run("confirm-champion", truth) for _ in range(3))
    means = [sum(r.value or 0.0 for r in runs) / 3 for runs in (before, after)]
    gain = sign * (means[0] - means[1])
    return Confirmation(held.number, before, after, 0.95, gain, gain - 0.021, gain + 0.021)


_FOUND = {"gain": 0.1, "confidence": 0.97, "runs": 2}
_ROW: dict[str, Any] = {
    **{"rank": 1, "competitor": "fast", "session": "s.fast", "branch": "ratchet/s.fast"},
    **{"strategy": HOSTILE, "best": 1.21, "mean": 1.25, "low": 1.2, "high": 1.3, "gain": 0.2},
    **{"own_wins": 1, "adopted_wins": 1, "wins_adopted_elsewhere": 0},
    **{
        "expected_false_keeps": 0.125,
        "runs": 6,
        "crashes": 1,
        "stop": "exhausted",
        "detail": HOSTILE,
    },
    "trajectory": [{"runs": 0, "mean": 1.45}, {"runs": 6, "mean": 1.25}],
}
_KEEP = {
    **{"experiment": 2, "commit": "a" * 40, "description": HOSTILE, "category": "other"},
    **{"origin": "s.slow#3", **_FOUND},
}
_OFFER = {
    **{"round": 1, "origin": "s.slow#3", "recipient": "fast", "description": HOSTILE},
    "gain_there": 0.1,
}
_RETEST = {"experiment": 2, "verdict": "STRONG_KEEP", **_FOUND}
TOURNAMENT: dict[str, Any] = {
    "session": "s",
    "task": "fake",
    "metric": {"name": "val_loss", "direction": "minimize"},
    "pollination": "patches",
    "rounds": 2,
    "runs_per_round": 3,
    "baseline": {"mean": 1.45, "runs": 3},
    "runs": {"counted": 12, "distinct": 9},
    "leaderboard": [_ROW, {**_ROW, "rank": 2, "competitor": "slow", "stop": None}],
    "lineage": {"fast": [_KEEP], "slow": []},
    "pollinations": [
        {**_OFFER, "fate": "kept", "detail": "", "retest": _RETEST},
        {**_OFFER, "fate": "conflict", "detail": "both set RATE"},
    ],
    "champion": {
        "competitor": "fast",
        "experiment": 2,
        "gain": confirmed_gain(
            Confirmation(
                2, gain=0.2, low=0.15, high=0.25, audit_gain=0.19, audit_low=0.1, audit_high=0.28
            )
        ),
    },
}
"""Facts of a tournament's page, with words of strangers."""
