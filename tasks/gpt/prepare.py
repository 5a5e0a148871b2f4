"""Preparation of the task: text, tokenizer, token files; run once, before training.

Fixed file.  By hand::

    python prepare.py --out DIR     # default: data beside this file

It trains a byte-level BPE tokenizer on the training text alone, encodes all splits and
writes ``train.bin``, ``tokenizer.json`` and ``data.json`` (for everybody), ``val.bin``
and ``token_bytes.bin`` (the evaluator's) and ``audit.bin`` (its, for a champion).  Token
files are 16-bit numbers; BOS, the last number of the vocabulary, begins each document.

Which data are used is said by the preset, never by what a download did:

* ``RATCHET_CORPUS``: ``web`` (default), or ``embedded``, which needs no network;
* ``RATCHET_SHARDS``: training shards of the web text (default 10);
* ``RATCHET_VOCAB_SIZE``: tokens, BOS included (default 8192).

``RATCHET_SHARD_CACHE`` (default ``~/.cache/ratchet-gpt``) is the folder that sessions
share, ``RATCHET_SHARD_URL`` a mirror.  Exit codes: 65 wrong data, 66 missing data,
69 not to be downloaded.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeAlias

import corpus
import numpy as np
import shards
from corpus import EXIT_WRONG_DATA, PreparationError

# Characters that the tokenizer learns from, and of a single document.
TOKENIZER_CHARACTERS = 200_000_000
DOCUMENT_CHARACTERS = 10_000
# As in GPT-4's, but numbers in groups of two, since the vocabulary is small.
PATTERN = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,2}"
    r"| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"
)
# The evaluator holds so many tokens of a split at most.
EVALUATION_TOKENS = 1 << 22
# Documents that are encoded together.
TOGETHER = 1024
LARGEST_VOCAB = 1 << 16

Documents: TypeAlias = Iterable[str]


@dataclass(frozen=True)
class Settings:
    """What the preset says."""

    corpus: str = "web"
    train_shards: int = 10
    vocab_size: int = 8192
    cache: Path = Path("~/.cache/ratchet-gpt")
    url: str = shards.URL

    @classmethod
    def from_environment(cls, variables: Mapping[str, str]) -> Settings:
        """Raises :class:`PreparationError` for a value that makes no sense."""
        found = cls(
            corpus=variables.get("RATCHET_CORPUS") or cls.corpus,
            train_shards=_number(
                variables, "RATCHET_SHARDS", cls.train_shards, 1, shards.AUDIT_SHARD
            ),
            vocab_size=_number(variables, "RATCHET_VOCAB_SIZE", cls.vocab_size, 258, LARGEST_VOCAB),
            cache=Path(variables.get("RATCHET_SHARD_CACHE") or cls.cache).expanduser(),
            url=variables.get("RATCHET_SHARD_URL") or cls.url,
        )
        if found.corpus not in ("web", "embedded"):
            raise PreparationError(
                EXIT_WRONG_DATA,
                f"RATCHET_CORPUS: expected web or embedded, found {found.corpus!r}",
            )
        return found


def _number(variables: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    said = variables.get(name) or str(default)
    if not said.isdecimal() or not low <= int(said) <= high:
        raise PreparationError(
            EXIT_WRONG_DATA, f"{name}: expected a number from {low} to {high}, found {said!r}"
        )
    return int(said)


@dataclass(frozen=True)
class Text:
    """Documents by split, to be gone through again and again, and where they are from."""

    train: list[Any]
    val: list[Any]
    audit: list[Any]
    sources: dict[str, Any] = field(default_factory=dict)


def embedded() -> Text:
    """The offline corpus."""
    found = corpus.documents()
    return Text(found["train"], found["val"], found["audit"], dict(corpus.PACKAGES))


def web(settings: Settings) -> Text:
    """The shards as paths, downloaded where they are missing."""
    cache = shards.Cache(settings.cache, settings.url)
    wanted = [*range(settings.train_shards), shards.VALIDATION_SHARD, shards.AUDIT_SHARD]
    found = {}
    for number in wanted:
        found[number] = cache.fetch(number)
        print(f"{found[number][0]}: sha256 {found[number][1]['sha256']}", flush=True)
    return Text(
        train=[found[number][0] for number in wanted[:-2]],
        val=[found[shards.VALIDATION_SHARD][0]],
        audit=[found[shards.AUDIT_SHARD][0]],
        sources={shards.name_of(number): entry for number, (_, entry) in found.items()},
    )


def read(parts: list[Any]) -> Iterator[str]:
    """The documents of a split; a path stands for a shard."""
    for part in parts:
        if isinstance(part, Path):
            yield from read_shard(part)
        else:
            yield part


def read_shard(path: Path) -> Iterator[str]:
    """Texts of a parquet file, a few at a time."""
    import pyarrow.parquet as pq

    try:
        content = pq.ParquetFile(path)
        for batch in content.iter_batches(batch_size=TOGETHER, columns=["text"]):
            yield from (text for text in batch.column(0).to_pylist() if text)
    except (ValueError, OSError, KeyError, IndexError) as error:
        raise PreparationError(
            EXIT_WRONG_DATA,
            f"{path}: expected a parquet file with a column `text`, found {error}",
        ) from None


def train_tokenizer(documents: Documents, vocab_size: int) -> Any:
    """A byte-level BPE tokenizer of ``vocab_size - 1`` tokens; BOS comes after them."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(PATTERN), behavior="isolated")
    bytes_of = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, bytes_of])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - 1,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        special_tokens=[],
        show_progress=False,
    )
    tokenizer.train_from_iterator(some_of(documents), trainer)
    return tokenizer


def some_of(documents: Documents) -> Iterator[str]:
    """Beginnings of documents, until there are enough characters."""
    left = TOKENIZER_CHARACTERS
    for text in documents:
        part = text[: min(DOCUMENT_CHARACTERS, left)]
        yield part
        left -= len(part)
        if left <= 0:
            return


def token_bytes(tokenizer: Any) -> np.ndarray:
    """Bytes of each token: its name has one sign for each; BOS has none."""
    names = [tokenizer.id_to_token(number) for number in range(tokenizer.get_vocab_size())]
    return np.array([*map(len, names), 0], dtype="<u2")


def encode(tokenizer: Any, documents: Documents, path: Path, most: int | None = None) -> int:
    """Write a split's tokens to ``path``, and how many documents it has.

    After ``most`` tokens the rest is left out.
    """
    bos, written, count = tokenizer.get_vocab_size(), 0, 0
    stream = iter(documents)
    with path.open("wb") as out:
        while texts := list(islice(stream, TOGETHER)):
            found = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
            tokens = chain.from_iterable([bos, *one.ids] for one in found)
            out.write(np.fromiter(tokens, dtype="<u2").tobytes())
            written, count = out.tell() // 2, count + len(texts)
            if most is not None and written >= most:
                break
        if most is not None and written > most:
            out.truncate(most * 2)
    return count


def prepare(settings: Settings, out: Path) -> dict[str, Any]:
    """Make all files in ``out``; a reader never sees half of one."""
    text = web(settings) if settings.corpus == "web" else embedded()
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = train_tokenizer(read(text.train), settings.vocab_size)
    table = token_bytes(tokenizer)
    facts: dict[str, Any] = {
        "corpus": settings.corpus,
        "sources": text.sources,
        "vocab_size": len(table),
        "bos": len(table) - 1,
        "splits": {},
    }
    for name, parts in (("train", text.train), ("val", text.val), ("audit", text.audit)):
        partial = out / f".{name}.partial"
        most = None if name == "train" else EVALUATION_TOKENS
        documents = encode(tokenizer, read(parts), partial, most)
        content = np.memmap(partial, dtype="<u2", mode="r")
        facts["splits"][name] = {
            "documents": documents,
            "tokens": len(content),
            "bytes": int(table[content].sum(dtype=np.int64)),
        }
        partial.replace(out / f"{name}.bin")
    shards.write(out / "token_bytes.bin", table.tobytes())
    shards.write(out / "tokenizer.json", tokenizer.to_str().encode())
    shards.write(out / "data.json", json.dumps(facts, indent=1, sort_keys=True).encode())
    return facts


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(description="Prepare the data of the task.")
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent / "data")
    out = parser.parse_args(arguments).out
    try:
        facts = prepare(Settings.from_environment(os.environ), out)
    except PreparationError as error:
        print(f"prepare.py: {error}", file=sys.stderr)
        return error.code
    digest = hashlib.sha256((out / "tokenizer.json").read_bytes()).hexdigest()
    print(f"{out}: {facts['splits']}, {facts['vocab_size']} tokens, tokenizer {digest[:12]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
