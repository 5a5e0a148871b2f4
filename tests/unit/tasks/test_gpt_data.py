"""tasks/gpt: packed rows, the offline corpus, and downloads from a server of our own."""

import hashlib
import http.server
import itertools
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import GPT, import_modules
from helpers.commands import Patch

NAMES = ("packing", "corpus", "shards", "prepare", "channel")
packing, corpus, shards, prepare, _ = import_modules(GPT, NAMES).values()
BOS = 9


def refused(code: int, words: str, function: Callable[..., object], *arguments: object) -> None:
    """A call must end with this status and these words."""
    with pytest.raises(corpus.PreparationError, match=words) as caught:
        function(*arguments)
    assert caught.value.code == code


def stream(lengths: list[int]) -> np.ndarray:
    """Documents of so many tokens; tokens tell which document they are of."""
    tokens = [token for n, length in enumerate(lengths) for token in (BOS, *[10 + n] * length)]
    return np.array(tokens, "<u2")


@settings(max_examples=50)
@given(st.lists(st.integers(0, 40), min_size=1, max_size=30), st.integers(2, 17), st.integers(0, 9))
def test_rows_are_full_and_no_token_is_lost(lengths: list[int], row: int, seed: int) -> None:
    if not sum(lengths):
        lengths = [*lengths, 3]
    packer = packing.Packer(stream(lengths), BOS, row, np.random.default_rng(seed))
    packed: Counter[int] = Counter()
    while packer.epoch <= 3:
        rows = packer.batch(1)
        assert rows.shape == (1, row)
        assert rows[0, 0] == BOS
        packed.update(rows.ravel().tolist())
    # Everything that is neither packed nor waiting would have been dropped.
    for length, start in packer._waiting:
        packed.update(stream(lengths)[start : start + length].tolist())
    del packed[BOS]
    counts = {10 + n: length for n, length in enumerate(lengths) if length}
    assert set(packed) == set(counts)
    for token, length in counts.items():
        # Two epochs at least went by, and of the last at most all.
        assert 2 * length <= packed[token] <= packer.epoch * length


def test_pieces_keep_their_order_and_begin_with_bos() -> None:
    tokens = np.array([BOS, *range(100, 130), BOS, *range(200, 204)], "<u2")
    packer = packing.Packer(tokens, BOS, 8, np.random.default_rng(0))
    for line in packer.batch(20).tolist():
        for before, after in itertools.pairwise(line):
            assert BOS in (before, after) or after == before + 1


def test_the_order_follows_the_seed_and_changes_with_the_epoch() -> None:
    tokens = stream([5] * 600)
    rows = [packing.Packer(tokens, BOS, 6, np.random.default_rng(s)).batch(700) for s in (1, 1, 2)]
    assert (rows[0] == rows[1]).all()
    assert (rows[0] != rows[2]).any()
    assert (rows[0][:80] != rows[0][600:680]).any()
    with pytest.raises(ValueError, match="no document"):
        packing.Packer(np.array([BOS, BOS], "<u2"), BOS, 8, np.random.default_rng(0))


class Record:
    """A line of a wheel's RECORD."""

    def __init__(self, path: Path, sha: str) -> None:
        self.path, self.hash = path, type("Hash", (), {"value": sha})

    def locate(self) -> Path:
        return self.path


def test_a_changed_or_missing_source_is_refused(tmp_path: Path, monkeypatch: Patch) -> None:
    monkeypatch.setitem(corpus.PACKAGES, "no-such-package", "1.0")
    source = tmp_path / "a.py"
    source.write_text("x = 1\n")
    changed, missing = Record(source, "other"), Record(tmp_path / "b.py", "other")
    refused(65, "was changed .*pip install .*django==", corpus._verified, changed, "django")
    refused(66, "cannot be read", corpus._verified, missing, "django")
    refused(65, r"expected version 0\.1", corpus.read_sources, "docutils", "0.1")
    refused(66, "not installed", corpus.read_sources, "no-such-package", "1.0")


def test_a_file_is_in_one_split_by_its_path_alone() -> None:
    splits = Counter(corpus.split_of(f"django/{n}.py") for n in range(2000))
    assert splits.keys() == {"train", "val", "audit"}
    assert 100 < splits["val"] < 180 and 100 < splits["audit"] < 180


def test_settings_come_from_the_preset() -> None:
    read = prepare.Settings.from_environment
    assert read({}).corpus == "web"
    some = read({"RATCHET_CORPUS": "embedded", "RATCHET_SHARDS": "3", "RATCHET_SHARD_CACHE": "~/x"})
    assert (some.corpus, some.train_shards, some.cache) == ("embedded", 3, Path.home() / "x")
    for variables in (
        {"RATCHET_CORPUS": "books"},
        {"RATCHET_SHARDS": "many"},
        {"RATCHET_SHARDS": "6542"},
        {"RATCHET_VOCAB_SIZE": "257"},
    ):
        refused(65, "expected", read, variables)


def test_the_tokenizer_learns_from_a_limited_text(monkeypatch: Patch) -> None:
    monkeypatch.setattr(prepare, "TOKENIZER_CHARACTERS", 25)
    monkeypatch.setattr(prepare, "DOCUMENT_CHARACTERS", 10)
    assert list(prepare.some_of(["a" * 30, "b" * 8, "c" * 9, "d"])) == ["a" * 10, "b" * 8, "c" * 7]


class Server(http.server.ThreadingHTTPServer):
    """Files with ETags and ranges; ``cut`` ends answers after so many bytes."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.cut: list[int] = []
        self.asked: list[tuple[str, str | None]] = []
        self.status = 200
        self.ranges = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.asked.append((self.path, asked))
        content = self.server.files.get(self.path.lstrip("/"))
        status = self.server.status if content is not None else 404
        if content is None or status != 200:
            self.send_error(status)
            return
        tag, start = f'"{hashlib.sha256(content).hexdigest()[:8]}"', 0
        if asked and self.server.ranges and self.headers.get("If-Range") == tag:
            start = int(asked.removeprefix("bytes=").rstrip("-"))
            if start >= len(content):
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        self.send_header("ETag", tag)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        rest = content[start:]
        self.wfile.write(rest[: self.server.cut.pop(0)] if self.server.cut else rest)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    thread = threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield made
    made.shutdown()
    made.server_close()


SHARD = bytes(range(256)) * 40


@pytest.fixture
def cache(tmp_path: Path, server: Server) -> Any:
    server.files["shard_00003.parquet"] = SHARD
    return shards.Cache(tmp_path / "cache", server.url, pause_seconds=0.0)


def test_a_shard_is_downloaded_once_and_its_digest_kept(cache: Any, server: Server) -> None:
    path, entry = cache.fetch(3)
    assert path.read_bytes() == SHARD
    assert entry == {"sha256": hashlib.sha256(SHARD).hexdigest(), "bytes": len(SHARD)}
    again = shards.Cache(cache.folder, server.url, pause_seconds=0.0)
    assert again.fetch(3) == (path, entry)
    assert len(server.asked) == 1
    manifest = json.loads((cache.folder / "manifest.json").read_text())
    assert manifest == {f"{server.url}/shard_00003.parquet": entry}
    assert {p.name for p in cache.folder.iterdir()} == {".lock", "manifest.json", path.name}


def test_a_download_goes_on_where_it_broke_off(cache: Any, server: Server) -> None:
    server.cut = [500] * 9
    refused(69, "2500 bytes of it are kept", cache.fetch, 3)
    # In another process, on another day.
    server.cut, server.asked = [1000], []
    again = shards.Cache(cache.folder, server.url, pause_seconds=0.0)
    assert again.fetch(3)[0].read_bytes() == SHARD
    assert [asked for _, asked in server.asked] == ["bytes=2500-", "bytes=3500-"]


@pytest.mark.parametrize("ranges", [True, False])
def test_a_file_that_changed_is_downloaded_anew(cache: Any, server: Server, ranges: bool) -> None:
    server.ranges = ranges
    server.cut = [700] * 5
    refused(69, "kept", cache.fetch, 3)
    server.files["shard_00003.parquet"] = SHARD[::-1]
    server.cut = []
    assert cache.fetch(3)[0].read_bytes() == SHARD[::-1]


def test_a_kept_part_that_is_too_long_is_thrown_away(cache: Any, server: Server) -> None:
    partial = cache.folder / "shard_00003.parquet.partial"
    partial.write_bytes(SHARD)
    tag = f'"{hashlib.sha256(SHARD).hexdigest()[:8]}"'
    partial.with_name(partial.name + ".tag").write_text(tag)
    assert cache.fetch(3)[0].read_bytes() == SHARD
    assert [asked for _, asked in server.asked] == [f"bytes={len(SHARD)}-", None]


def test_other_bytes_than_at_the_first_download_are_refused(cache: Any, server: Server) -> None:
    path, entry = cache.fetch(3)
    path.unlink()
    server.files["shard_00003.parquet"] = b"other"
    refused(65, f"(?s){entry['sha256']}.*the server sends other bytes now", cache.fetch, 3)
    assert not path.exists()
    server.files["shard_00003.parquet"] = SHARD
    assert cache.fetch(3)[0].read_bytes() == SHARD
    path.write_bytes(SHARD[1:])
    refused(65, "expected sha256 .* type: rm ", cache.fetch, 3)
    path.write_bytes(SHARD)
    for text, words in (("{}", r"is not in manifest\.json"), ("not json", "expected JSON")):
        (cache.folder / "manifest.json").write_text(text)
        refused(65, words, cache.fetch, 3)


def test_a_failed_download_says_what_to_type(cache: Any, server: Server) -> None:
    refused(69, "(?s)answered 404.*preset=gpu-offline", cache.fetch, 4)
    assert len(server.asked) == 1  # Asking again would not help.
    server.status = 503
    refused(69, "answered 503", cache.fetch, 3)
    assert len(server.asked) == 1 + shards.ATTEMPTS
    server.shutdown()
    server.server_close()
    refused(69, "Connection refused", cache.fetch, 3)


def test_the_preparation_takes_no_other_data_where_a_download_fails(
    tmp_path: Path, server: Server, monkeypatch: Patch, capsys: Any
) -> None:
    monkeypatch.setenv("RATCHET_SHARD_URL", server.url)
    monkeypatch.setenv("RATCHET_SHARD_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("RATCHET_CORPUS", raising=False)
    assert prepare.main(["--out", str(tmp_path / "out")]) == 69
    assert "shard_00000.parquet: cannot be downloaded" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
