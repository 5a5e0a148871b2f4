"""Which column is the metric, which says what was kept, which way is better: or a question."""

from collections.abc import Sequence
from typing import Any

import pytest

from helpers.autojudge_logs import CORPUS, HEADER
from ratchet.base.errors import DataError
from ratchet.logs.reader import read_table
from ratchet.logs.table import RowStatus, Table
from ratchet.records.records import Direction


def read(text: str | bytes, **options: Any) -> Table:
    return read_table(text.encode() if isinstance(text, str) else text, "log.tsv", **options)


def log_of(header: str, *rows: str) -> str:
    """A log of tabs, from words between blanks."""
    return "\n".join("\t".join(line.split()) for line in (header, *rows)) + "\n"


FALLING = ("9 keep", "12 discard", "8 keep", "10 discard", "7 keep", "6 keep", "5 keep", "4 keep")
PLAIN = ("a 0.9 1 keep", "b 0.8 2 keep", "c 0.85 3 discard")


def beside(*cells: str, rows: Sequence[str] = FALLING) -> list[str]:
    """Rows with further cells in front."""
    return [f"{cell} {row}" for cell, row in zip(cells, rows, strict=True)]


LOSS = ("val_loss", "minimize")
COUNTS = [str(n) for n in range(8)]
OLD = ["9", "9", "9", "8", "8", "7", "6", "5"]


@pytest.mark.parametrize(
    ("text", "metric", "direction"),
    [
        # The name says one direction, the keeps the other.
        (log_of("run score_ns status", *beside(*COUNTS)), "score_ns", "minimize"),
        (log_of("run quick_score status", *beside(*COUNTS)), "quick_score", "minimize"),
        (log_of("run win_gap status", *(f"{n} {n / 2} keep" for n in range(7))), "win_gap", "max"),
        (log_of("run performance status", *beside(*COUNTS)), "performance", "minimize"),
        (log_of("run gain_pct status", *beside(*COUNTS)), "gain_pct", "minimize"),
        # Rates and times are metrics where they come first.
        (
            log_of("run tok_per_sec bpb status", "a 5 1.1 keep", "b 6 1.1 keep"),
            "tok_per_sec",
            "max",
        ),
        (log_of("run tok_sec mem_gb status", "a 50 9 keep", "b 55 9 keep"), "tok_sec", "maximize"),
        (log_of("run decode_ms status", "a 50 keep", "b 45 keep"), "decode_ms", "minimize"),
        # Columns that cannot be the metric, though they come first.
        (log_of("run acc loss status", "a 1 3 keep", "b 1 2 keep", "c 1 4 drop"), "loss", "min"),
        (log_of("id code_bytes val_loss status", *beside(*COUNTS, rows=beside(*COUNTS))), *LOSS),
        (
            log_of("step_no iteration val_loss status", *beside(*COUNTS, rows=beside(*COUNTS))),
            *LOSS,
        ),
        (log_of("old_value new_value status", *beside(*OLD)), "new_value", "minimize"),
        (log_of("metric_before metric_after status", *beside(*OLD)), "metric_after", "minimize"),
        (log_of("control_ms two_pass_ms status", *beside(*OLD)), "two_pass_ms", "minimize"),
        (log_of("incumbent_loss loss status", *beside(*OLD)), "loss", "minimize"),
        (
            log_of("best_loss final_loss status", *beside("0", *OLD[1:6], "0", "0")),
            "final_loss",
            "min",
        ),
        (log_of("f1 loss status", *beside("0.5", *["-"] * 7)), "loss", "minimize"),
        (log_of("fitness_so_far value status", *beside(*OLD)), "value", "minimize"),
        (
            log_of("f_seed1 f_seed2 f_loss status", *beside(*COUNTS, rows=beside(*COUNTS))),
            "f_loss",
            "min",
        ),
        (log_of("timestamp err status", *(f"17{n} {n % 3} keep" for n in range(8))), "err", "min"),
        (log_of("# err status", "5 3 keep", "9 2 keep", "4 2 drop", "8 1 keep"), "err", "min"),
        # A metric of few levels repeats itself; time is none then.
        (
            log_of("run err time_s status", "a 3 1 keep", *["b 3 2 drop"] * 4, "c 2 1 keep"),
            "err",
            "min",
        ),
        # A few values that only grow are no counter; memory may be all there is.
        (
            log_of("run rmse r2 status", "a 5 1 keep", *(f"b 6{n} 2 drop" for n in range(3))),
            "rmse",
            "min",
        ),
        (log_of("run peak_mb status", "a 50 keep", "b 45 keep"), "peak_mb", "minimize"),
        (log_of("run memory_mb status", "a 50 keep", "b 45 keep"), "memory_mb", "minimize"),
        # The author's keeps settle between an unknown name and a known one.
        (log_of("alpha core status", *beside(*"35281746")), "core", "minimize"),
        # A target is what a row is about.
        (
            log_of("target value status", *(f"ms {row}" for row in FALLING), "mb 3 keep"),
            "ms",
            "min",
        ),
    ],
)
def test_traps(text: str, metric: str, direction: str) -> None:
    table = read(text)
    assert (table.metric, table.direction.value[:3]) == (metric, direction[:3])
    assert not [problem for problem in table.problems if problem.unread]


TWO = "run\tacc\tf1\tstatus\n" + "a\t1\t0.2\tkeep\n" * 3 + "b\t1\t0.3\tkeep\n"


@pytest.mark.parametrize(
    ("text", "message", "settled"),
    [
        (log_of("run alpha beta status", *PLAIN), "--direction", {"direction": "maximize"}),
        (
            log_of("run alpha loss status", *PLAIN),
            "'alpha' and 'loss'.*--metric",
            {"metric": "loss"},
        ),
        (
            log_of("run loss status verdict", "a 1 keep reject", "b 2 discard keep"),
            "'status' and 'verdict', which differ.*--status",
            {"status": ["verdict"]},
        ),
        (
            log_of("run loss status", "a 1 ok", "b 2 failed", "c 3 ok"),
            "decisions in the column 'status' .* found 'ok', 'failed'.*--status",
            {"status": ["ok=keep"]},
        ),
        (
            log_of("run loss status", "a 3 keep", "b 2 zapp", "c 3 zapp", "d 2 keep"),
            "found 'zapp' in 2 of 4 rows.*--status 'zapp=keep'",
            {"status": ["zapp=discard"]},
        ),
        (
            log_of("metric value status", "loss 3 keep", "acc 4 keep", "loss 2 keep", "acc 5 keep"),
            "one metric, found loss, acc.*--label",
            {"label": "acc"},
        ),
        # The best name is empty, or the author's decisions deny it and another column fits them.
        (
            log_of("run score_ns wall_s status", "a - 5 keep", "b - 4 keep"),
            "'score_ns', which is filled in 0 of 2 rows.*such as wall_s",
            {"metric": "wall_s"},
        ),
        (
            log_of(
                "run pass_rate exact_acc status", "a 99 60 keep", "b 98 70 keep", "c 98 65 drop"
            ),
            "'pass_rate' and 'exact_acc'.*--metric",
            {"metric": "exact_acc"},
        ),
        (
            log_of("run entropy gap status", *(f"{v} {v} 1{v} keep" for v in (5, 1, 2, 6, 0))),
            "'entropy' and 'gap'.*--metric",
            {"metric": "gap"},
        ),
        (
            HEADER + "a\t1\t4\tok\tx\nb\t2\t4\tok\ty\nc\t0\t0\tOOM\tz\n",
            "decisions in the column 'status'.*--status",
            {"status": ["ok=keep"]},
        ),
        (
            log_of("run delta status", "a 0 keep", "b -1 keep"),
            "holds differences",
            {"metric": "delta"},
        ),
    ],
)
def test_two_readings_are_asked_about_and_settled_by_an_option(
    text: str, message: str, settled: dict[str, Any]
) -> None:
    with pytest.raises(DataError, match=message):
        read(text)
    settled.setdefault("direction", "minimize")
    settled["direction"] = Direction(settled["direction"])
    assert read(text, **settled).rows


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (log_of("state commit loss kept", "best0 a 1 yes", "best1 b 2 no"), ["keep", "discard"]),
        (
            log_of("run action loss decision", "1 drop-it 2 keep", "2 merge-it 3 drop"),
            ["keep", "discard"],
        ),
        (log_of("run loss outcome", "1 2 keep", "2 3 size_violation"), ["keep", "discard"]),
        (log_of("run loss chosen", "1 2 keep", "2 3 discard"), ["keep", "discard"]),
        (
            log_of(
                "loss status",
                *(
                    f"3 {w}"
                    for w in str.split("base accept reject neutral best nan oom tie kept drop -")
                ),
            ),
            str.split(
                "baseline keep discard discard keep crash crash discard keep discard pending"
            ),
        ),
    ],
)
def test_the_status_is_where_the_decisions_are(text: str, status: list[str]) -> None:
    assert [row.status for row in read(text).rows] == status


@pytest.mark.parametrize(
    "word", ["CHAMPION", "contender", "usable", "ok", "tentative", "infra_retry"]
)
def test_a_first_row_of_a_rare_word_stays_the_baseline(word: str) -> None:
    rows = [f"a\t0.9\t1\t{word}\tx", *(f"b{n}\t0.8\t1\tkeep\ty" for n in range(6))]
    assert read(HEADER + "\n".join(rows)).rows[0].value == 0.9


MINIMIZE, MAXIMIZE = Direction.MINIMIZE, Direction.MAXIMIZE
# Beginning of the file's name: metric, direction, keeps, discards and crashes, by reading it.
MEANT: dict[str, tuple[str, Direction, tuple[int, int, int]]] = {
    "Amadeus415__autoregen__1": ("intent_err", MINIMIZE, (12, 29, 0)),
    "Amadeus415__autoregen__2": ("intent_err", MINIMIZE, (9, 12, 0)),
    "Amadeus415__autoregen__3": ("intent_err", MINIMIZE, (5, 16, 0)),
    "Amadeus415__autoregen__4": ("intent_err", MINIMIZE, (15, 6, 0)),
    "Amadeus415__autoregen__5": ("intent_err", MINIMIZE, (13, 8, 0)),
    "AndErem314__autoresearch-mini-M4__1": ("val_bpb", MINIMIZE, (4, 1, 0)),
    "AndrewK404__autoresearch-v2__1": ("metric", MAXIMIZE, (11, 0, 0)),
    "Djordje-Stojanovic__TrainRTX5070_200MTokens__1": ("val_bpb", MINIMIZE, (4, 22, 6)),
    "Djordje-Stojanovic__TrainRTX5070__1": ("val_bpb", MINIMIZE, (20, 42, 7)),
    "Djordje-Stojanovic__TrainRTX5070__2": ("val_bpb", MINIMIZE, (12, 16, 1)),
    "Djordje-Stojanovic__TrainRTX5070__3": ("val_bpb", MINIMIZE, (11, 14, 1)),
    "Djordje-Stojanovic__TrainRTX5070__4": ("val_bpb", MINIMIZE, (9, 10, 1)),
    "FM-gpt__llamacpp-autotune__1": ("tg_tok_s", MAXIMIZE, (5, 16, 0)),
    "FM-gpt__llamacpp-autotune__2": ("tg_tok_s", MAXIMIZE, (5, 16, 0)),
    "JsonTheRuler__autoresearch__1": ("combined_profit", MAXIMIZE, (53, 60, 0)),
    "TheGreenCedar__codex-autoresearch__1": ("seconds", MINIMIZE, (29, 68, 3)),
    "Vizuara-AI-Lab__AutoResearch-MRL__1": ("success_rate", MAXIMIZE, (0, 1, 32)),
    "Vizuara-AI-Lab__AutoResearch-MRL__2": ("success_rate", MAXIMIZE, (4, 6, 0)),
    "codeyousef__Adam__1": ("pi_score", MAXIMIZE, (7, 41, 0)),
    "codeyousef__Adam__2": ("pi_score", MAXIMIZE, (5, 34, 0)),
    "giladresisi__autoresearch__1": ("mean_test_pnl", MAXIMIZE, (1, 9, 0)),
    "giladresisi__autoresearch__2": ("val_bpb", MINIMIZE, (2, 3, 0)),
    "karpathy__autoresearch__1": ("metric_after", MAXIMIZE, (0, 431, 9)),
    "karpathy__autoresearch__10": ("val_bpb", MINIMIZE, (5, 15, 0)),
    "karpathy__autoresearch__11": ("val_rmse", MINIMIZE, (6, 13, 0)),
    "karpathy__autoresearch__12": ("score", MAXIMIZE, (2, 16, 0)),
    "karpathy__autoresearch__13": ("val_bpb", MINIMIZE, (3, 12, 0)),
    "karpathy__autoresearch__14": ("val_bpb", MINIMIZE, (4, 5, 2)),
    "karpathy__autoresearch__15": ("val_psnr", MAXIMIZE, (3, 5, 0)),
    "karpathy__autoresearch__16": ("val_bpb", MINIMIZE, (3, 5, 0)),
    "karpathy__autoresearch__mar8": ("val_bpb", MINIMIZE, (23, 102, 1)),
    "pj4533__autoresearch-corewar__1": ("avg_score", MAXIMIZE, (51, 515, 8)),
    "soulmatchdk__autoresearch-mlx-mem__1": ("hard_avg_retrieval_latency_ms", MINIMIZE, (3, 1, 0)),
    "willcoming__autoresearch-mlx__1": ("val_sharpe", MAXIMIZE, (4, 4, 0)),
}
# What neither names nor decisions of these tell, and their readers are asked for.
ASKED = {
    "AndrewK404__autoresearch-v2__1": "direction",
    "karpathy__autoresearch__1": "direction",
    "soulmatchdk__autoresearch-mlx-mem__1": "metric",
}


@pytest.mark.skipif(not CORPUS.exists(), reason="the collection of real logs is not here")
def test_each_collected_session_is_read_as_its_author_means() -> None:
    files = {path.stem: path for path in (CORPUS / "sessions").iterdir()}
    assert set(files) == set(MEANT)
    for name, (metric, direction, counts) in MEANT.items():
        settled: dict[str, Any] = {}
        if name in ASKED:
            with pytest.raises(DataError, match=f"--{ASKED[name]}"):
                read(files[name].read_bytes())
            settled = {"metric": metric, "direction": direction}
        table = read(files[name].read_bytes(), **settled)
        statuses = [row.status for row in table.rows]
        kinds = (RowStatus.KEEP, RowStatus.DISCARD, RowStatus.CRASH)
        found = (table.metric, table.direction, tuple(map(statuses.count, kinds)))
        assert found == (metric, direction, counts), name
