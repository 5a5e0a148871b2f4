"""Curves: lines of many trainers, hostile lines, and what counts as diverged."""

import itertools
import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratchet.records.series import CurvePoint
from ratchet.runs.curve import (
    MOST_LINES,
    Clock,
    curve_parts,
    divergence,
    printed_curve,
)

UPSTREAM = "\rstep {:05d} ({:.1f}%) | loss: {:.6f} | lrm: 1.00 | dt: 500ms | tok/sec: 1,048,576 | mfu: 39.8% | epoch: 1 | remaining: 200s    "  # noqa: E501
STATES = "".join(UPSTREAM.format(n, n / 10, 5 - n / 250) for n in range(951))

LINES = {
    "upstream": (STATES[: 2 * len(UPSTREAM)], [(0, 5.0), (1, 4.996)]),
    "bytelm": (
        "step 120: loss 1.2345 bits per byte\nstep 240: loss 1.1\n",
        [(120, 1.2345), (240, 1.1)],
    ),
    "nanogpt": (
        "step 0: train loss 4.2, val loss 4.3\niter 0: loss 4.1, time 33ms, mfu 5.1%\n"
        "iter 10: loss 3.9, time 3ms\n",
        [(0, 4.1), (10, 3.9)],
    ),
    "modded-nanogpt": (
        "step:125/1750 val_loss:4.2 train_time:3ms\nstep:126/1750 train_loss:4.3 step_avg:3ms\n",
        [(126, 4.3)],
    ),
    "llm.c": ("step    7/100 | loss 4.3 (+nanz)| norm 1.0 | 33.1 ms | 5% MFU\n", [(7, 4.3)]),
    "epochs": (
        "epoch 3 lr 1e-3 train_loss=0.5 val_loss=.6\nepoch 4 lr 1e-3 train_loss=.4 val_loss=.6\n",
        [(3, 0.5), (4, 0.4)],
    ),
    "tqdm": (
        "Epoch 1:  45%|##  | 450/900 [00:12<00:15, 35it/s, loss=2.31]\r"
        "Epoch 1: 100%|####| 900/900 [00:30<00:00, 35it/s, loss=2.2]\n"
        "Epoch 2:   0%|    | 0/900 [00:00<?, ?it/s]\r"
        "Epoch 2:  50%|##  | 450/900 [00:12<00:15, 35it/s, loss=2.1]\n",
        [(450, 2.31), (900, 2.2), (1350, 2.1)],
    ),
    "keras": (
        "10/100 [===>...] - ETA: 3s - loss: 2.3 - val_loss: 9\n"
        "20/100 [====>..] - ETA: 2s - loss: 2.2\n",
        [(10, 2.3), (20, 2.2)],
    ),
    "json": ('{"step": 1, "loss": 2.0}\n{"step": 2, "loss": NaN}\n', [(1, 2.0), (2, math.nan)]),
    "HF Trainer": (
        "{'loss': 2.3, 'epoch': 0.1}\n{'eval_loss': 2.0}\n{'loss': 2.1, 'epoch': 0.2}\n"
        "{'train_runtime': 9.1, 'train_loss': 2.2, 'epoch': 0.2}\n",
        [(1, 2.3), (2, 2.1)],
    ),
    "MNIST": (
        "Train Epoch: 1 [640/60000 (1%)]\tLoss: 2.3\nTrain Epoch: 1 [1280/60000 (2%)]\tLoss: 2.2\n"
        "Test set: Average loss: 0.05\n",
        [(640, 2.3), (1280, 2.2)],
    ),
    "MLX": ("Iter 1: Val loss 2.8, Val took 3s\nIter 10: Train loss 2.3, It/sec 3\n", [(10, 2.3)]),
    "logging": (
        "2026-01-01 12:00:00 INFO step=10 loss=tensor(2.3, device='cuda')\nstep=20 loss=-inf\n",
        [(10, 2.3), (20, -math.inf)],
    ),
    "parts": (
        "step 1 box_loss 1.5 cls_loss 0.5 loss 2.0\nstep 2 box_loss 1\n",
        [(1, 2.0), (2, 1.0)],
    ),
    "colours": ("\x1b[1mStep 4\x1b[0m loss=\x1b[32m2.5\x1b[0m\n", [(4, 2.5)]),
    "two processes": (
        "".join(f"step {n} loss {n}\n" for n in (7, 8, 7, 8, 9)),
        [(7, 7), (8, 8), (9, 9)],
    ),
    "no number": ("lossless step 4\nstep 5 loss 12.5%\nstep 6: loss 1.2.3\nstep 7: loss\n", []),
    "a sentence": ("the loss 3.1 was logged\n", []),
    "nothing": ("", []),
}


@pytest.mark.parametrize("make", LINES)
def test_lines_of_trainers_are_read(make: str) -> None:
    text, expected = LINES[make]
    found = [(point.step, point.loss) for point in printed_curve(text.encode())]
    assert repr(found) == repr([(step, float(loss)) for step, loss in expected])


def test_tokens_are_printed_or_speed_by_time() -> None:
    found = [point.tokens for point in printed_curve(STATES[: 3 * len(UPSTREAM)].encode())]
    assert found == [524_288.0, 1_048_576.0, 1_572_864.0]
    every = "".join(UPSTREAM.format(n, 0, 1) for n in (10, 20)).encode()
    assert [point.tokens for point in printed_curve(every)] == [5_242_880.0, 10_485_760.0]
    told = b"step 1 loss 2 tokens 1.5M\nstep 2 loss 2 tokens: 3,000,000\n"
    assert [point.tokens for point in printed_curve(told)] == [1.5e6, 3e6]
    some = b"step 1 loss 2 dt: 5ms tok/sec: 10\nstep 2 loss 2\n"
    assert [point.tokens for point in printed_curve(some)] == [None, None]


def test_a_pattern_reads_what_it_names_and_nothing_else() -> None:
    pattern = r"#(?P<step>[\d,]+) E=(?P<loss>\S+)(?: t=(?P<seconds>[\d.]+))? n=(?P<tokens>\S+)"
    text = b"step 1 loss 9\n#1,000 E=2.5 t=7.5 n=4e6\n\x1b[1m#2,000\x1b[0m E=nan n=x\n#x E=1 n=1\n"
    first, second = printed_curve(text, Clock([(10_000, 60.0)]), pattern)
    assert first == CurvePoint(1000, 2.5, 7.5, 4e6)
    assert (second.step, second.seconds, second.tokens) == (2000, 60.0, None)


def test_seconds_are_those_by_which_a_line_was_there() -> None:
    text = b"step 1 loss 4\nstep 2 loss 3\nstep 3 loss 2\n"
    clock = Clock([(14, 0.5), (20, 1.0), (28, 2.0)])
    assert [point.seconds for point in printed_curve(text, clock)] == [0.5, 2.0, None]
    # After the first 14 bytes 1,000 were left out, and a note of 14 bytes stands there.
    note = b"\n[left out!!]\n"
    cut = text[:14] + note + text[14:]
    clock = Clock([(14, 0.5), (1_014, 60.0), (1_028, 61.0), (1_042, 62.0)], 14, len(note), 1_000)
    assert [point.seconds for point in printed_curve(cut, clock)] == [0.5, 61.0, 62.0]


@pytest.mark.parametrize(
    "line",
    [
        b"loss 1\n",
        b"step 1 loss 1\n",
        b"loss 1 ",
        b"losslosslosslosslosslos\n",
        b"\n",
        b"step " * 9,
    ],
)
def test_no_log_takes_long_to_read(line: bytes) -> None:
    log = line * ((1 << 20) // len(line))
    began = time.process_time()
    found = printed_curve(log)
    assert len(found) <= MOST_LINES
    assert time.process_time() - began < 5.0, "seconds; a fiftieth of that is usual"


def test_of_very_many_lines_some_are_read_with_both_ends() -> None:
    log = "".join(f"step {n} loss {n}.5\n" for n in range(30_000)).encode()
    found = printed_curve(log)
    assert (len(found), found[0].step, found[-1].step) == (MOST_LINES, 0, 29_999)


@given(st.binary(max_size=300), st.sampled_from(["", r"(?P<step>\d+)(?P<loss>.*)"]))
def test_no_bytes_break_the_reader(log: bytes, pattern: str) -> None:
    for text in (log, b"step 1 loss 2\r" + log + b" loss: 1e5\nstep " + log):
        found = printed_curve(text, pattern=pattern)
        assert all(a.step < b.step for a, b in itertools.pairwise(found))


@given(
    st.lists(
        st.tuples(st.integers(0, 10**9), st.floats(-1e9, 1e9).map(lambda v: round(v, 6))),
        min_size=2,
        unique_by=lambda pair: pair[0],
    ).map(sorted)
)
def test_what_is_printed_is_read_back(points: list[tuple[int, float]]) -> None:
    log = "".join(f"step {step}: loss {loss:.6f}\n" for step, loss in points)
    assert [(p.step, p.loss) for p in printed_curve(log.encode())] == points


def points(*losses: float) -> list[CurvePoint]:
    return [CurvePoint(10 * n, loss) for n, loss in enumerate(losses)]


@pytest.mark.parametrize(
    ("losses", "where"),
    [
        ((4.1, 2.3, math.nan, math.nan), "training loss nan from step 20 on, 2.3 at step 10"),
        ((math.inf,), "training loss inf from step 0 on"),
        ((4.1, math.nan, 2.3, 2.2), ""),
        ((4.0, 3.0, 2.0, 5.0, 7.0, 9.0), "training loss 9 at step 50, it began with 4"),
        # An unlucky first batch, a warm-up, a plateau that wanders, a spike that is over.
        ((1.0, 4.0, 3.0, 2.0, 2.0, 2.0), ""),
        ((9.01, 9.2, 9.13, 8.0, 7.0, 6.0, 5.0), ""),
        ((5.54, 5.55, 5.53, 5.56, 5.55, 5.57), ""),
        ((4.0, 3.0, 90.0, 3.9, 3.8, 3.7), ""),
        # Too few to tell, and a loss below 0.
        ((1.0, 9.0, 9.0), ""),
        ((-4.0, -4.1, -4.2, -3.0, -2.0, -1.0), "training loss -1 at step 50, it began with -4"),
        ((), ""),
    ],
)
def test_a_curve_that_ends_in_no_number_or_beyond_its_beginning_diverged(
    losses: tuple[float, ...], where: str
) -> None:
    assert divergence(points(*losses)) == where


@pytest.mark.parametrize(
    ("text", "steps", "curve"),
    [
        (STATES, 950.0, [(0.1, 4.62), (0.249, 4.052), (0.5, 3.1), (1.0, 1.2)]),
        # A run that printed nothing of its last fifth.
        (
            "".join(f"step {10 * n}: loss {9 - n}.5\n" for n in range(1, 9)),
            100.0,
            [(0.1, 8.5), (0.2, 7.5), (0.5, 4.5), (0.8, 1.5)],
        ),
        ("step 0: loss 1.0\nstep 0: loss 1.0", None, []),
        ("", 10.0, []),
    ],
)
def test_a_few_points_of_a_curve(
    text: str, steps: float | None, curve: list[tuple[float, float]]
) -> None:
    found = curve_parts(printed_curve(text.encode()), steps)
    assert [(round(part, 3), round(loss, 3)) for part, loss in found] == curve


def test_a_word_that_is_no_count_of_tokens_is_none() -> None:
    (point,) = printed_curve(b"step 1 loss: 2.0 tokens: ,.\n")
    assert (point.loss, point.tokens) == (2.0, None)


def test_a_loss_that_no_sum_can_hold_is_infinite() -> None:
    curve = printed_curve(b"step 1 loss: 2.0\nstep 2 loss: 1.7e308\n")
    assert [point.loss for point in curve] == [2.0, math.inf]
    assert divergence(curve)


def test_the_loss_of_a_part_does_not_replace_that_of_the_whole() -> None:
    curve = printed_curve(b"step 1 loss 2\nstep 1 aux_loss 0.01\nstep 2 loss 1.5\n")
    assert [point.loss for point in curve] == [2.0, 1.5]


def test_tokens_of_lines_without_a_step_are_unknown() -> None:
    curve = printed_curve(b"loss: 2.1 | dt: 310ms | tok/sec: 1,690,000\n" * 3)
    assert {point.tokens for point in curve} == {None}
