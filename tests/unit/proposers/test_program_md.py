"""``program.md``: a new one agrees with its task, a wrong one is found out."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from helpers import REPO, load_task
from helpers.trials import history, trial
from ratchet.base.structs import replace
from ratchet.base.text import escape_markdown
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


def only(text: str, contract: ProgramContract = CONTRACT) -> str:
    (found,) = check_program(text, contract)
    return f"{found.line}: {found}"


# ---------------------------------------------------------------------- new ones


@pytest.mark.parametrize(
    "contract",
    [
        CONTRACT,
        replace(CONTRACT, direction=Direction.MAXIMIZE, metric="accuracy", unit=""),
        replace(CONTRACT, budget_seconds=None, budget_steps=300),
        replace(CONTRACT, budget_seconds=0.05, fixed=(), description="", network=True),
        replace(CONTRACT, ceiling=Ceiling(24_000.0, hard=True)),
        replace(CONTRACT, ceiling=Ceiling(5.5), directions={}),
        replace(CONTRACT, mutable=("a/train.py", "config.yaml")),
    ],
)
def test_a_new_one_agrees_with_its_task(contract: ProgramContract) -> None:
    text = render_program(contract)
    assert [str(found) for found in check_program(text, contract)] == []
    assert text == render_program(contract)
    assert contract.budget in text
    assert "Nothing yet." in text


def test_the_default_task_has_a_clean_text_and_gets_a_new_one() -> None:
    bytelm, folder = load_task(REPO / "tasks" / "bytelm", REPO), REPO / "config"
    settings = parse_config(read_config(folder / "config.yaml"), folder / "schema.yaml", "c")
    contract = contract_of(bytelm, settings, budget_of(bytelm, settings))
    new, own = render_program(contract), (REPO / "tasks" / "bytelm" / "program.md").read_text()
    for text in (new, own):
        assert [f"{found.line}: {found}" for found in check_program(text, contract)] == []
    assert "Lower `val_bpb` (bits per byte): lower is better." in new
    assert "1. hyperparams: LEARNING_RATE (0.003, 0.001, 0.01)" in new
    steps = replace(settings, budget_steps=300)
    assert budget_of(bytelm, steps)["steps"] == 300


# ------------------------------------------------------------------ what is wrong

WRONG = [
    ("lower is better", "higher is better", "expected lower is better, found 'higher is better'"),
    ("is 300 seconds of", "is 10 minutes of", "a budget of 300 seconds, found '10 minutes'"),
    ("is 300 seconds of", "is 300 steps of", "a budget of 300 seconds, found '300 steps'"),
    ("- `train.py`\n", "- `train.py`\n- `prepare.py`\n", "`prepare.py` to be fixed"),
    ("yet.\n", "yet.\n\n## What is fixed\n\n- `train.py`: all\n", "`train.py` to be editable"),
    ("yet.\n", "yet.\n\n## Notes\n\nRun `python run.py`.\n", "'python run.py', no file of the"),
]
MISSING = [
    ("val_bpb", "val_loss", "the metric `val_bpb`"),
    (": lower is better", "", "the direction (lower is better)"),
    ("300 seconds of training", "short", "a budget of 300 seconds"),
    ("`prepare.py`, `evaluator.py`", "`prepare.py`", "no word of `evaluator.py`"),
    ("- `train.py`\n", "", "the files to edit (`train.py`)"),
    ("The seed is given", "Luck is given", "who chooses the seed"),
]

FLAWS = [
    *((Flaw.CONTRADICTORY, *case) for case in WRONG),
    *((Flaw.MISSING, *case) for case in MISSING),
]


@pytest.mark.parametrize(("flaw", "old", "new", "words"), FLAWS)
def test_what_is_missing_or_contradicts_is_named(
    flaw: Flaw, old: str, new: str, words: str
) -> None:
    assert old in GOOD
    text = GOOD.replace(old, new)
    (found,) = check_program(text, CONTRACT)
    assert found.flaw is flaw
    assert words in str(found)
    assert 1 <= found.line <= len(text.splitlines())


def test_a_finding_has_its_line_and_says_what_to_write() -> None:
    text = GOOD.replace("is 300 seconds of", "is 10 minutes of")
    line = next(n for n, words in enumerate(text.splitlines(), 1) if "10 minutes" in words)
    assert only(text) == (
        f"{line}: contradictory: expected a budget of 300 seconds, found '10 minutes'; "
        "write: The budget of each run is 300 seconds."
    )
    everything = check_program("", CONTRACT)
    assert [(one.flaw, one.line) for one in everything] == [(Flaw.MISSING, 1)] * 6


@pytest.mark.parametrize(
    "words",
    [
        "Run `git checkout -b <tag>` first.",
        "Kill a run that takes 10 minutes of training.",
        "The budget does not count what comes before. Compiling takes 40 seconds.",
        "Run `python train.py > run.log`.",
        "Try what you like.",
    ],
)
def test_how_a_text_is_worded_is_its_authors_affair(words: str) -> None:
    assert check_program(f"{GOOD}\n## Notes\n\n{words}\n", CONTRACT) == []


def test_a_ceiling_must_be_the_configured_one() -> None:
    contract = replace(CONTRACT, ceiling=Ceiling(24_000.0, hard=True))
    assert "missing: expected the memory ceiling of 24000 MiB" in only(GOOD, contract)
    near = f"{GOOD}\n## Notes\n\nStay below 25 GB of memory.\n"
    assert check_program(near, contract) == []
    assert "memory ceiling of 24000 MiB" in only(near.replace("25 GB", "40 GB"), contract)


def test_what_was_tried_is_data() -> None:
    text = GOOD.replace(
        "Nothing yet.", "- 1 TODO: raise val_bpb; higher is better; edit `prepare.py`; 9 minutes"
    )
    assert check_program(text, CONTRACT) == []


def test_code_begins_no_section_and_lines_are_those_of_the_file() -> None:
    text = (
        "# T\n\n```\n# not a heading\nTODO\n```\n\nOne. Two\nthree. Four\n\n## Goal #\n- a\n- b\n"
    )
    document = parse_sections(text)
    assert [(s.title, s.line, s.end, s.kind) for s in document.sections] == [
        ("T", 1, 13, ""),
        ("Goal", 11, 13, "goal"),
    ]


# ------------------------------------------------------------------------ updates

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
    assert check_program(text, CONTRACT) == []
    for words in (
        "### Session `night`\n\n3 experiments, 1 kept. Differences are of `val_bpb`",
        "- 2 [hyperparams] LEARNING_RATE 5e-4 -> 3e-3: KEEP, -0.2, P(better) > 0.999\n",
        "- 1 [optimizer] BETA2 0.999 -> 0.95: DISCARD, +0.02, P(better) < 0.001\n",
        "- 3 [other] \\`\\<b>\\` \\[x\\](y) \\*boom\\* ## Goal: crash: no\n",
        "- WARMUP: every declared value was tried",
        "1. [data] SEQ_LEN 64 -> 32. Never tried.",
        "confirmed a gain of 0.19 (95 % interval 0.17 to 0.21)",
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
    assert check_program(twice, CONTRACT) == []


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
        (0.2, 0.1, 0.3, "fresh runs of both confirmed a gain of 0.2 (95 % interval 0.1 to 0.3)"),
        (0.2, -0.1, 0.5, "did not confirm it, with a gain of 0.2 (95 % interval -0.1 to 0.5)"),
        (0.2, None, None, "one fresh run of each shows a gain of 0.2"),
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
    assert check_program(text, CONTRACT) == []
    assert "1. data: SEQ_LEN (32).\n2. optimizer: BETA2 (0.95), nesterov.\n" in text
    assert "3 experiments, 1 kept" in text
    assert "measured `val_bpb` 3 for the unchanged source (mean of 3 runs)" in text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("LEARNING_RATE 1 -> 2", "LEARNING_RATE 1 -> 2"),
        ("_a_ b_", "\\_a\\_ b\\_"),
        ("a\nb\x1b[2J\u202ec", "a b \\[2Jc"),
        ("a|b &lt; & c ~~d~~", "a\\|b \\&lt; & c \\~\\~d\\~\\~"),
        ("x" * 200, "x" * 99 + "…"),
    ],
)
def test_other_peoples_words_are_words(text: str, expected: str) -> None:
    assert escape_markdown(text) == expected
