"""``program.md``: a new one agrees with its task, a wrong one is found out."""

from collections.abc import Sequence

import pytest

from helpers import REPO, load_task
from helpers.trials import history, trial
from ratchet.base.structs import replace
from ratchet.config import parse_config, read_config
from ratchet.judge.tradeoffs import Ceiling
from ratchet.proposers.program_md import (
    Flaw,
    PastSession,
    ProgramContract,
    budget_of,
    check_program,
    contract_of,
    parse_sections,
    render_program,
    update_program,
)
from ratchet.records.history import Trial
from ratchet.records.records import (
    Confirmation,
    Direction,
    StopReason,
    Suggestion,
    SuggestionKind,
    Verdict,
)

CONTRACT = ProgramContract(
    task="tiny",
    metric="val_bpb",
    direction=Direction.MINIMIZE,
    mutable=("train.py",),
    fixed=("prepare.py", "evaluator.py"),
    description="A small model",
    unit="bits per byte",
    budget_seconds=300.0,
    directions={"optimizer": ("BETA2 (0.95)", "nesterov"), "data": ("SEQ_LEN (32)",)},
)
GOOD = render_program(CONTRACT)


def found_in(text: str, contract: ProgramContract = CONTRACT) -> list[str]:
    return [f"{found.line}: {found}" for found in check_program(text, contract)]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"direction": Direction.MAXIMIZE, "metric": "accuracy", "unit": ""},
        {"budget_seconds": None, "budget_steps": 300},
        {"budget_seconds": 0.05, "fixed": (), "description": "", "network": True},
        {"ceiling": Ceiling(24_000.0, hard=True)},
        {"ceiling": Ceiling(5.5), "directions": {}},
        {"mutable": ("a/train.py", "config.yaml")},
    ],
)
def test_a_new_one_agrees_with_its_task(changes: dict[str, object]) -> None:
    contract = replace(CONTRACT, **changes)
    text = render_program(contract)
    assert found_in(text, contract) == []
    assert contract.budget in text
    assert "Nothing yet." in text


def test_the_default_task_has_a_clean_text_and_gets_a_new_one() -> None:
    bytelm, folder = load_task(REPO / "tasks" / "bytelm", REPO), REPO / "config"
    settings = parse_config(read_config(folder / "config.yaml"), folder / "schema.yaml", "c")
    contract = contract_of(bytelm, settings, budget_of(bytelm, settings))
    assert "LOGIT_CAP (0 to 30)" in contract.directions["regularization"]
    new, own = render_program(contract), (REPO / "tasks" / "bytelm" / "program.md").read_text()
    for text in (new, own):
        assert found_in(text, contract) == []
    assert "Lower `val_bpb` (bits per byte): lower is better." in new
    assert "1. hyperparams: LEARNING_RATE (0.003, 0.001, 0.01)" in new
    steps = replace(settings, budget_steps=300)
    assert budget_of(bytelm, steps)["steps"] == 300


WRONG, MISSING = Flaw.CONTRADICTORY, Flaw.MISSING


@pytest.mark.parametrize(
    ("flaw", "old", "new", "words"),
    [
        (WRONG, "lower is better", "higher is better", "lower is better, found 'higher is better'"),
        (WRONG, "is 300 seconds of", "is 10 minutes of", "of 300 seconds, found '10 minutes'"),
        (WRONG, "is 300 seconds of", "is 300 steps of", "of 300 seconds, found '300 steps'"),
        (WRONG, "- `train.py`\n", "- `train.py`\n- `prepare.py`\n", "`prepare.py` to be fixed"),
        (WRONG, "yet.\n", "yet.\n\n## What is fixed\n\n- `train.py`: all\n", "to be editable"),
        (WRONG, "yet.\n", "yet.\n\n## Notes\n\nRun `python run.py`.\n", "'python run.py', no file"),
        (MISSING, "val_bpb", "val_loss", "the metric `val_bpb`"),
        (MISSING, ": lower is better", "", "the direction (lower is better)"),
        (MISSING, "300 seconds of training", "short", "a budget of 300 seconds"),
        (MISSING, "`prepare.py`, `evaluator.py`", "`prepare.py`", "no word of `evaluator.py`"),
        (MISSING, "- `train.py`\n", "", "the files to edit (`train.py`)"),
        (MISSING, "The seed is given", "Luck is given", "who chooses the seed"),
    ],
)
def test_what_is_missing_or_contradicts_is_named(
    flaw: Flaw, old: str, new: str, words: str
) -> None:
    assert old in GOOD
    (found,) = check_program(GOOD.replace(old, new), CONTRACT)
    assert found.flaw is flaw
    assert words in str(found)


def test_a_finding_has_its_line_and_says_what_to_write() -> None:
    text = GOOD.replace("is 300 seconds of", "is 10 minutes of")
    line = next(n for n, words in enumerate(text.splitlines(), 1) if "10 minutes" in words)
    assert found_in(text) == [
        f"{line}: contradictory: expected a budget of 300 seconds, found '10 minutes'; "
        "write: The budget of each run is 300 seconds."
    ]
    everything = check_program("", CONTRACT)
    assert [(one.flaw, one.line) for one in everything] == [(Flaw.MISSING, 1)] * 6


@pytest.mark.parametrize(
    "words",
    [
        "Run `git checkout -b <tag>` first.",
        "Kill a run that takes 10 minutes of training.",
        "The budget does not count what comes before. Compiling takes 40 seconds.",
        "Run `python train.py > run.log`.",
    ],
)
def test_how_a_text_is_worded_is_its_authors_affair(words: str) -> None:
    assert found_in(f"{GOOD}\n## Notes\n\n{words}\n") == []
    # What was tried is data.
    tried = "- 1 TODO: raise val_bpb; higher is better; edit `prepare.py`; 9 minutes"
    assert found_in(GOOD.replace("Nothing yet.", tried)) == []


@pytest.mark.parametrize(("memory", "fits"), [("", False), ("25 GB", True), ("40 GB", False)])
def test_a_ceiling_must_be_the_configured_one(memory: str, fits: bool) -> None:
    contract = replace(CONTRACT, ceiling=Ceiling(24_000.0, hard=True))
    found = found_in(f"{GOOD}\n## Notes\n\nStay below {memory} of memory.\n", contract)
    assert len(found) == (not fits)
    assert fits or "the memory ceiling of 24000 MiB" in found[0]


def test_code_begins_no_section_and_lines_are_those_of_the_file() -> None:
    text = (
        "# T\n\n```\n# not a heading\nTODO\n```\n\nOne. Two\nthree. Four\n\n## Goal #\n- a\n- b\n"
    )
    document = parse_sections(text)
    assert [(s.title, s.line, s.end, s.kind) for s in document.sections] == [
        ("T", 1, 13, ""),
        ("Goal", 11, 13, "goal"),
    ]


TRIALS = (
    trial(1, "optimizer", "BETA2 0.999 -> 0.95", delta=0.02, confidence=0.0001),
    trial(
        *(2, "hyperparams", "LEARNING_RATE 5e-4 -> 3e-3", Verdict.KEEP),
        mean=2.8,
        delta=-0.2,
        confidence=0.9999,
    ),
    trial(3, "other", "`<b>` [x](y) *boom*\n## Goal", Verdict.CRASH, reason="no"),
)
CONFIRMED = Confirmation(champion=2, gain=0.19, low=0.17, high=0.21)
NEXT = (Suggestion(SuggestionKind.EDIT, "data", "SEQ_LEN 64 -> 32", "Never tried."),)
AVOID = ("WARMUP: every declared value was tried (0.02, 0.3)",)


def past(trials: Sequence[Trial] = TRIALS, name: str = "night", **last: object) -> PastSession:
    fields = {"confirmation": CONFIRMED, "suggestions": NEXT, "avoid": AVOID, **last}
    return PastSession(name, f"results/{name}", "tasks/tiny", history(trials, **fields))


PAST = past()


def test_an_update_writes_the_session_and_leaves_the_rest() -> None:
    text = update_program(GOOD, CONTRACT, PAST)
    assert found_in(text) == []
    for words in (
        "### Session `night`\n\n3 experiments, 1 kept. Differences are of `val_bpb`",
        "- 2 [hyperparams] LEARNING_RATE 5e-4 -> 3e-3: KEEP, -0.2, P(better) > 0.999\n",
        "- 1 [optimizer] BETA2 0.999 -> 0.95: DISCARD, +0.02, P(better) < 0.001\n",
        "- 3 [other] \\`\\<b>\\` \\[x\\](y) \\*boom\\* ## Goal: crash: no\n",
        "- WARMUP: every declared value was tried",
        "1. [data] SEQ_LEN 64 -> 32. Never tried.",
        "by fresh runs of both confirmed: gain 0.19, 95 % interval 0.17 to 0.21; the task has no",
        "git -C results/night show ratchet/night:train.py > tasks/tiny/train.py",
    ):
        assert words in text, words
    assert "Nothing yet." not in text
    titles = " | ".join(section.title for section in parse_sections(text).sections)
    assert titles == (
        "tiny: lower `val_bpb` | Goal | Baseline | Measured by the last session | "
        "What you may edit | Constraints | What to try next | "
        "Directions, the most promising first | What has been tried | Session `night`"
    )
    for line in GOOD.splitlines():
        assert line in text or line == "Nothing yet."


def test_updates_replace_their_own_parts_and_keep_earlier_sessions() -> None:
    once = update_program(GOOD, CONTRACT, PAST)
    assert update_program(once, CONTRACT, PAST) == once
    later = past((), "later", suggestions=(), avoid=())
    twice = update_program(once, CONTRACT, later)
    assert "### Session `night`" in twice
    assert twice.index("### Session `night`") < twice.index("### Session `later`")
    assert "0 experiments, 0 kept." in twice
    assert "Nothing better was found: start from the same source." in twice
    assert twice.count("### Measured by the last session") == 1
    assert twice.count("## What to try next") == 1
    assert "SEQ_LEN 64 -> 32" not in twice
    assert found_in(twice) == []


def test_a_text_without_sections_gets_them() -> None:
    text = update_program("Just words", CONTRACT, PAST)
    titles = [section.title for section in parse_sections(text).sections if section.level == 2]
    assert text.startswith("Just words\n")
    assert titles == ["Baseline", "What to try next", "What has been tried"]
    assert update_program(text, CONTRACT, PAST) == text
    assert update_program("", CONTRACT, PAST).count("## What has been tried") == 1


def test_an_unfinished_or_long_session() -> None:
    many = [trial(n, "data", f"try {n}", delta=0.1) for n in range(1, 101)]
    stopped = past(many, confirmation=None, stop=StopReason.TARGET, detail="it *was*")
    text = update_program(GOOD, CONTRACT, stopped)
    assert "100 experiments so far, 0 kept. It ended early: it \\*was\\*." in text
    assert "(40 earlier ones are not listed)" in text
    assert "- 100 [data] try 100: DISCARD, +0.1\n" in text
    assert "- 40 [data]" not in text


@pytest.mark.parametrize(
    ("gain", "low", "high", "words"),
    [
        (0.2, 0.1, 0.3, "by fresh runs of both confirmed: gain 0.2, 95 % interval 0.1 to 0.3"),
        (0.2, -0.1, 0.5, "by fresh runs of both not confirmed: gain 0.2, 95 % interval -0.1"),
        (0.2, None, None, "not confirmed, a difference of single measurements: gain 0.2"),
        (None, None, None, "it was not confirmed by fresh runs"),
    ],
)
def test_how_sure_the_champion_is(
    gain: float | None, low: float | None, high: float | None, words: str
) -> None:
    confirmed = replace(CONFIRMED, gain=gain, low=low, high=high)
    text = update_program(GOOD, CONTRACT, past(confirmation=confirmed))
    assert words in text
    assert "preset" not in text
    sized = update_program(GOOD, CONTRACT, replace(PAST, preset="cpu-tiny"))
    assert "those of the preset `cpu-tiny`; start the next session with `preset=null`" in sized


def test_a_new_one_after_a_session() -> None:
    text = render_program(CONTRACT, past(ranking=("data", "other")))
    assert found_in(text) == []
    assert "1. data: SEQ_LEN (32).\n2. optimizer: BETA2 (0.95), nesterov.\n" in text
    assert "3 experiments, 1 kept" in text
    assert "measured `val_bpb` 3 for the unchanged source (mean of 3 runs)" in text
