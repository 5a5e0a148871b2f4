"""The seal: what it holds, how steps change it, and that a change by hand stays visible."""

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratchet.integrity.seal import (
    Seal,
    begin_workflow,
    damaged_place,
    finish_workflow,
    parse_seal,
    prefix_digest,
    read_seal,
    sealed_step,
)
from ratchet.records.paths import SessionPaths


@pytest.fixture
def paths(tmp_path: Path) -> SessionPaths:
    found = SessionPaths("s", tmp_path)
    write(found.manifest, "{}")
    write(found.round(1).proposals, '{"proposals": []}')
    write(found.round(1).verdict, "{}")
    write(found.round(2).proposals, '{"stop": "target"}')
    write(found.round(2).verdict, '{"rulings": []}')
    write(found.results_tsv, "a\n")
    write(found.events, "one\n")
    write(found.log("judge"), "said")
    write(found.repository / "HEAD", "ref")
    write(found.folder / ".hidden.json", "{}")
    return found


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def read(paths: SessionPaths) -> Seal:
    found = read_seal(paths)
    assert found is not None
    return found


def test_a_finished_session_is_sealed_whole(paths: SessionPaths) -> None:
    finish_workflow(paths)
    found = read(paths)
    assert set(found.whole) == {
        "manifest.json",
        "results.tsv",
        *(f"rounds/000{n}/{name}.json" for n in (1, 2) for name in ("proposals", "verdict")),
    }
    assert found.whole["results.tsv"] == sha("a\n")
    assert found.growing == {"events.jsonl": (4, sha("one\n"))}
    assert not found.at_work
    once = paths.seal.read_bytes()
    finish_workflow(paths)
    assert paths.seal.read_bytes() == once


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="there is no sha256sum here")
def test_sha256sum_understands_it(paths: SessionPaths) -> None:
    def check() -> tuple[int, str, str]:
        command = ["sha256sum", "-c", "--strict", paths.seal.name]
        done = subprocess.run(command, cwd=paths.folder, capture_output=True, text=True)
        return done.returncode, done.stdout, done.stderr

    finish_workflow(paths)
    code, out, err = check()
    assert (code, out.count(": OK\n"), err) == (0, 6, "")
    write(paths.manifest, "{ }")
    code, out, _ = check()
    assert code == 1
    assert "manifest.json: FAILED" in out


def test_what_only_grew_is_sealed_again_and_a_change_by_hand_is_not(paths: SessionPaths) -> None:
    finish_workflow(paths)
    write(paths.round(1).verdict, '{"kept": 1}')
    # A round after the end may be copied anew.
    write(paths.round(2).verdict, '{"rulings": [], "detail": "another"}')
    write(paths.round(3).verdict, "{}")
    write(paths.events, "one\ntwo\n")
    finish_workflow(paths)
    found = read(paths)
    assert found.whole["rounds/0001/verdict.json"] == sha("{}")
    assert found.whole["rounds/0002/verdict.json"] != sha('{"rulings": []}')
    assert found.whole["rounds/0003/verdict.json"] == sha("{}")
    assert found.growing["events.jsonl"] == (8, sha("one\ntwo\n"))
    for changed in ("ONE\ntwo\nthree\n", "one\n"):
        write(paths.events, changed)
        finish_workflow(paths)
        assert read(paths) == found


def test_a_step_takes_its_outputs_out_and_puts_them_back(paths: SessionPaths) -> None:
    finish_workflow(paths)
    with sealed_step(paths, "judge", 1, 0, None):
        during = read(paths)
        assert during.at_work
        assert "rounds/0001/verdict.json" not in during.whole
        assert "results.tsv" not in during.whole
        assert "rounds/0001/proposals.json" in during.whole
        write(paths.round(1).verdict, "[]")
    after = read(paths)
    assert after.at_work
    assert after.whole["rounds/0001/verdict.json"] == sha("[]")
    assert after.whole["results.tsv"] == sha("a\n")
    with pytest.raises(OSError, match="full"), sealed_step(paths, "judge", 1, 0, None):
        raise OSError("full")
    assert "rounds/0001/verdict.json" not in read(paths).whole, "a step that failed seals nothing"


def test_the_report_closes_the_seal(paths: SessionPaths) -> None:
    with sealed_step(paths, "report", 0, 0, None):
        write(paths.report_html, "page")
    found = read(paths)
    assert not found.at_work
    assert found.whole["report.html"] == sha("page")
    assert "manifest.json" in found.whole


def test_a_session_without_a_folder_is_left_alone(tmp_path: Path) -> None:
    paths = SessionPaths("none", tmp_path)
    begin_workflow(paths)
    finish_workflow(paths)
    assert not paths.folder.exists()
    assert read(paths) == Seal()
    with sealed_step(paths, "prepare", 0, 0, None):  # the first step makes it
        write(paths.manifest, "{}")
    assert read(paths).whole == {"manifest.json": sha("{}")}


def test_any_flipped_byte_of_the_seal_is_seen(paths: SessionPaths) -> None:
    finish_workflow(paths)
    begin_workflow(paths)
    data = paths.seal.read_bytes()
    for place in range(len(data)):
        for bit in (0x01, 0x20, 0x80):
            changed = bytearray(data)
            changed[place] ^= bit
            text = bytes(changed).decode("utf-8", errors="replace")
            assert parse_seal(text) is None, (place, bit)


def test_a_damaged_seal_is_set_aside_and_begun_again(paths: SessionPaths) -> None:
    finish_workflow(paths)
    paths.seal.write_bytes(paths.seal.read_bytes()[:-3])
    assert read_seal(paths) is None
    begin_workflow(paths)
    assert read(paths) == Seal(at_work=True)
    assert damaged_place(paths).exists()


names = st.text("az09/._ -", max_size=20).map(lambda text: f"a{text}z")
digests = st.integers(0, 2**256 - 1).map(lambda number: f"{number:064x}")


@given(
    st.dictionaries(names, digests, max_size=5),
    st.dictionaries(names, st.tuples(st.integers(0, 10**9), digests), max_size=3),
    st.booleans(),
)
def test_what_is_written_is_read_back(whole: dict, growing: dict, at_work: bool) -> None:
    written = Seal(whole, growing, at_work)
    assert parse_seal(written.text()) == written


@given(st.text())
def test_no_text_breaks_the_reader(text: str) -> None:
    found = parse_seal(text)
    assert found is None or found.text() == text


def test_a_prefix_is_of_a_part(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("abcdef")
    assert prefix_digest(path, 3) == (3, sha("abc"))
    assert prefix_digest(path, 99) == (6, sha("abcdef"))
