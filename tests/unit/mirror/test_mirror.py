"""Sessions in mirrors: every cut is whole, nothing is sent twice, nothing foreign comes back."""

import gzip
import os
import shutil
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import REPO
from helpers.boxes import Box, make_box
from helpers.commands import Patch
from helpers.recorded import play_fake
from helpers.shared import copied, shared_box
from ratchet.base.errors import (
    ConfigError,
    DataError,
    InputMissingError,
    SessionBusyError,
    StoreError,
    UsageError,
)
from ratchet.base.io import canonical_json, digest, digest_bytes, to_json
from ratchet.base.structs import replace, to_json_values
from ratchet.cli.sessions import read_settings
from ratchet.integrity.verify import verify_sessions
from ratchet.mirror import sender, targets
from ratchet.mirror.index import (
    PART_BYTES,
    Index,
    MirroredFile,
    MirrorHolder,
    answer_object,
    index_object,
    own_object,
    read_index,
    run_object,
)
from ratchet.mirror.mirror import Mirror
from ratchet.mirror.restore import Restored, mirrored_sessions, restore_session
from ratchet.mirror.targets import Content, FolderTarget, RsyncTarget, open_target
from ratchet.records.events import Journal
from ratchet.records.paths import SessionPaths, StorePaths
from ratchet.records.records import Outcome
from ratchet.records.store import RECORD, RunRecord, Store, run_key

LATER = time.time() + 10_000
SHA = "ab" * 32


@shared_box
def mirrorable(path: Path) -> Box:
    """A session of twelve rounds with a secret of its own."""
    return play_fake(make_box(path, task="tasks/fake", rounds=12, seeds="secret"))


@pytest.fixture
def box(mirrorable: Box, tmp_path: Path) -> Box:
    return copied(mirrorable, tmp_path / "box")


def mirror_of(box: Box, address: str | Path) -> Mirror:
    return Mirror(str(address), SessionPaths("default", box.path))


def restored(address: str | Path, place: Path, box: Box) -> Restored:
    """The mirror's session in a fresh folder with the box's task."""
    if not place.exists():
        shutil.copytree(box.path / "tasks", place / "tasks")
    return restore_session(str(address), "default", place, LATER)


def files_of(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Files of a session or store that a mirror has, with contents and times."""
    return {
        path.relative_to(folder).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".git" not in path.relative_to(folder).parts
    }


def test_what_comes_back_is_what_was_sent(box: Box, tmp_path: Path) -> None:
    sent = mirror_of(box, tmp_path / "m").push()
    assert sent.runs == len(box.runs())
    place = tmp_path / "fresh"
    got = restored(tmp_path / "m", place, box)
    assert (got.runs, got.blobs, got.left_out, got.finished) == (sent.runs, sent.blobs, (), True)
    before, after = files_of(box.session), files_of(place / "results/default")
    own = {name for name in after if not name.startswith("mirror/")}
    assert own == set(sent.index.files)
    assert all(after[name] == before[name] for name in own)
    for kind in ("runs", "blobs"):
        old, new = (files_of(at / "store" / kind) for at in (box.path, place))
        assert {name: new[name][0] for name in new} == {name: old[name][0] for name in new}
    assert not verify_sessions(place).deviations
    assert (place / "results/default/seed-secret").stat().st_mode & 0o077 == 0
    # The same session once more is no fault, and another one of its name stays.
    assert restored(tmp_path / "m", place, box).files == 0
    (place / "results/default/results.tsv").write_text("other")
    with pytest.raises(UsageError, match="another"):
        restored(tmp_path / "m", place, box)


def test_what_is_there_is_not_sent_again(box: Box, tmp_path: Path) -> None:
    mirror_of(box, tmp_path / "m").push()
    index = (tmp_path / "m" / index_object("default")).stat()
    mirror = mirror_of(box, tmp_path / "m")
    sent = mirror.push()
    assert (sent.runs, sent.blobs, sent.files, sent.bytes) == (0, 0, 0, 0)
    assert (tmp_path / "m" / index_object("default")).stat().st_mtime_ns == index.st_mtime_ns
    # Of a file that grows only the end goes out, and its old end goes away.
    events = box.session / "events.jsonl"
    line = '{"time": "2026-01-01T00:00:00+00:00", "event": "noted"}\n'
    with events.open("a") as stream:
        stream.write(line * (PART_BYTES // len(line) + 1))
    assert mirror.push().files == 2
    with events.open("a") as stream:
        stream.write(line)
    assert mirror.push().files == 1
    parts = {path.name for path in (tmp_path / "m/sessions/default/files").iterdir()}
    assert parts == mirror.push().index.parts


class Cut(FolderTarget):
    """A folder whose writer is killed after so many objects."""

    left = 0

    def send(self, objects: Mapping[str, Content], replace: bool = False) -> None:
        for name, content in objects.items():
            if Cut.left == 0:
                raise KeyboardInterrupt
            Cut.left -= 1
            super().send({name: content}, replace)

    def keep_only(self, folder: str, names: Iterable[str]) -> None:
        if Cut.left == 0:
            raise KeyboardInterrupt
        super().keep_only(folder, names)


def test_every_cut_is_a_whole_session(mirrorable: Box, tmp_path: Path) -> None:
    early = copied(mirrorable, tmp_path / "early")
    for name in (*(f"rounds/{n:04d}" for n in range(4, 13)), "confirm.json", "SHA256SUMS"):
        path = early.session / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    # The branch is where the third round left it.
    commit = early.json("rounds/0003/steer.json")["incumbent"]["commit"]
    early.git("update-ref", "refs/heads/ratchet/default", commit)
    ahead = {path.name: path for path in (early.path / "store/runs").glob("*/*")}
    first = mirror_of(early, tmp_path / "first")
    was = first.push().index
    late = copied(mirrorable, tmp_path / "late")
    shutil.copytree(early.session / "mirror", late.session / "mirror")
    for cut in (0, 7, 20, 10_000):
        place = tmp_path / f"m{cut}"
        shutil.copytree(tmp_path / "first", place)
        mirror = mirror_of(late, place)
        mirror.target, Cut.left = Cut(place), cut
        try:
            mirror.push()
            now = mirror.push().index
        except KeyboardInterrupt:
            now = was
        assert (now is was) == (cut < 100)
        fresh = tmp_path / f"fresh{cut}"
        got = restored(place, fresh, late)
        assert got.left_out == () and got.runs == len(now.runs) <= len(ahead)
        held = {
            path.parent.name for path in (fresh / "results/default").glob("rounds/*/verdict.json")
        }
        assert len(held) == (3 if now is was else 12)
        assert not verify_sessions(fresh).deviations
        # The next call goes on, whatever the cut one left.
        Cut.left = 10_000
        last = mirror_of(late, place).push(take_over=True).index
        assert len([name for name in last.files if name.endswith("verdict.json")]) == 12


def test_a_tournament_keeps_what_it_was_started_with(box: Box, tmp_path: Path) -> None:
    own, fresh = (SessionPaths("default", root) for root in (box.path, tmp_path / "fresh"))
    own.tournament.parent.mkdir()
    own.tournament.write_text('{"rounds": 9}')
    mirror_of(box, tmp_path / "m").push()
    restored(tmp_path / "m", tmp_path / "fresh", box)
    assert fresh.tournament.read_text() == '{"rounds": 9}'


def test_one_copy_mirrors_a_session(box: Box, tmp_path: Path) -> None:
    mirror_of(box, tmp_path / "m").push()
    other = copied(box, tmp_path / "other")
    shutil.rmtree(other.session / "mirror")
    with pytest.raises(SessionBusyError, match=r"ratchet mirror default --to .*/m --take-over"):
        mirror_of(other, tmp_path / "m").push()
    mirror_of(other, tmp_path / "m").push(take_over=True)
    with pytest.raises(SessionBusyError):
        mirror_of(box, tmp_path / "m").push()
    # Whoever brings it back has it from then on.
    place = tmp_path / "fresh"
    restored(tmp_path / "m", place, box)
    Mirror(str(tmp_path / "m"), SessionPaths("default", place)).push()
    with pytest.raises(SessionBusyError):
        mirror_of(other, tmp_path / "m").push()


def test_a_session_that_may_still_run_is_not_brought_back(box: Box, tmp_path: Path) -> None:
    (box.session / "SHA256SUMS").unlink()
    index = mirror_of(box, tmp_path / "m").push().index
    for now, over in ((index.time + 1, False), (index.time + 1, True)):
        try:
            restore_session(str(tmp_path / "m"), "default", tmp_path / "fresh", now, over)
        except SessionBusyError as error:
            assert not over and "--take-over" in str(error)
        else:
            assert over


def test_a_session_that_starts_here_meanwhile_does_no_harm(
    box: Box, tmp_path: Path, monkeypatch: Patch
) -> None:
    """It clears up what the dead left unfinished, and makes a run that comes back too."""
    mirror_of(box, tmp_path / "m").push()
    store, fetch = Store(StorePaths(tmp_path / "fresh" / "store")), FolderTarget.fetch
    made = next(path for path in sorted((box.path / "store" / "runs").glob("*/*")))

    def beside(target: FolderTarget, names: Mapping[str, int], folder: Path) -> None:
        fetch(target, names, folder)
        store.clear_partial()
        place = store.paths.run(made.name)
        if not place.exists():
            shutil.copytree(made, place)

    monkeypatch.setattr(FolderTarget, "fetch", beside)
    found = restored(tmp_path / "m", tmp_path / "fresh", box)
    assert not found.left_out
    assert not verify_sessions(tmp_path / "fresh", ("default",)).deviations
    assert not [*store.paths.partial.iterdir()]


def test_damage_is_named_and_left_out(box: Box, tmp_path: Path) -> None:
    index = mirror_of(box, tmp_path / "m").push().index
    place = tmp_path / "m"
    run, blob = next(iter(index.runs)), next(iter(index.blobs))
    record = place / run_object(run, RECORD)
    record.write_bytes(record.read_bytes().replace(b'"outcome"', b'"outcomf"'))
    (place / f"store/blobs/sha256/{blob[:2]}/{blob}").unlink()
    part = place / own_object("default", index.files["results.tsv"].parts[0])
    part.write_bytes(b"x" * part.stat().st_size)
    got = restored(place, tmp_path / "fresh", box)
    assert len(got.left_out) == 3 and (got.runs, got.blobs) == (
        len(index.runs) - 1,
        len(index.blobs) - 1,
    )
    assert not (tmp_path / "fresh/results/default/results.tsv").exists()
    # Links lead out of the mirror.
    part.unlink()
    part.symlink_to(box.session / "seed-secret")
    assert any("results.tsv" in line for line in restored(place, tmp_path / "again", box).left_out)
    # Without its manifest nothing can go on.
    (place / own_object("default", index.files["manifest.json"].parts[0])).unlink()
    with pytest.raises(DataError, match="manifest"):
        restored(place, tmp_path / "third", box)
    assert not (tmp_path / "third/results/default").exists()


def test_nothing_leads_out_of_a_folder_that_others_may_write_to(box: Box, tmp_path: Path) -> None:
    home, place = tmp_path / "home", tmp_path / "m"
    home.mkdir()
    (home / "thesis.tex").write_text("mine")
    (place / "sessions" / "default").mkdir(parents=True)
    (place / "sessions/default/files").symlink_to(home)
    mirror = mirror_of(box, place)
    for act in (
        mirror.push,
        lambda: mirror.target.send({own_object("default", SHA): b"x"}),
        lambda: mirror.target.keep_only("sessions/default/files", []),
    ):
        with pytest.raises(StoreError, match="found a link"):
            act()
    assert [path.name for path in home.iterdir()] == ["thesis.tex"]
    (place / "sessions/default/files").unlink()
    mirror.push()
    # What is no object stays.
    (place / "sessions/default/files/notes.txt").write_text("mine")
    mirror.target.keep_only("sessions/default/files", [])
    assert [path.name for path in (place / "sessions/default/files").iterdir()] == ["notes.txt"]


@pytest.mark.timeout(60)
def test_nobody_waits_for_a_pipe_in_a_mirror(tmp_path: Path) -> None:
    place = tmp_path / index_object("default")
    place.parent.mkdir(parents=True)
    os.mkfifo(place)
    with pytest.raises(StoreError, match="expected a file"):
        FolderTarget(tmp_path).read(index_object("default"), 9)


def an_index(**fields: object) -> Index:
    index = Index("default", 1.0, MirrorHolder("t", "host", "/f"), {}, {}, (), {}, {}, ())
    return replace(index, **fields)


PLAIN = MirroredFile(1, 1, (SHA,))


def hostile_run(place: Path, files: object, n: int) -> str:
    """A run in a mirror whose digests fit, with these ``files``; its key."""
    inputs = {"made": f"up {n}"}
    record = RunRecord(Outcome.OK, "", 0, None, 1.0, 1.0, None, {})
    key = run_key(inputs)
    entry = {"inputs": inputs, "key": key, "record": to_json_values(record), "files": files}
    path = place / run_object(key, RECORD)
    path.parent.mkdir(parents=True)
    path.write_bytes(to_json({**entry, "digest": digest(entry)}))
    return key


def test_runs_and_answers_of_a_strange_shape_are_left_out(box: Box, tmp_path: Path) -> None:
    """Their digests fit, so whoever wrote the mirror made them up."""
    mirror, place = mirror_of(box, tmp_path / "m"), tmp_path / "m"
    index = mirror.push().index
    secret = tmp_path / "secret"
    secret.write_text("mine")
    sha = digest_bytes(b"mine")
    shapes: list[object] = [
        *({str(secret): sha}, {"../" * 20 + str(secret)[1:]: sha}, [str(secret)], 7, "x"),
        *({"n" * 5000: sha}, {".": sha}, {"": sha}, {"a\0b": sha}, {"run.log": 3}),
    ]
    keys = [hostile_run(place, files, n) for n, files in enumerate(shapes)]
    deep = run_key({"made": "deep"})
    (place / run_object(deep, RECORD)).parent.mkdir(parents=True)
    (place / run_object(deep, RECORD)).write_text("[" * 100_000)
    asked = ["no mapping"]
    answer = place / answer_object(f"proposals/{digest(asked)}")
    answer.parent.mkdir(parents=True, exist_ok=True)
    answer.write_bytes(to_json({"question": asked, "answer": 1, "digest": digest(1)}))
    runs = {**index.runs, **dict.fromkeys([*keys, deep], 1)}
    answers = (*index.answers, f"proposals/{answer.stem}")
    odd = replace(index, runs=runs, answers=answers)
    mirror.target.send({index_object("default"): odd.packed()}, replace=True)
    got = restored(place, tmp_path / "fresh", box)
    assert got.runs == len(index.runs)
    assert len(got.left_out) >= len(keys) + 1 and all("left out" in x for x in got.left_out)
    assert secret.read_text() == "mine"
    Mirror(str(place), SessionPaths("default", tmp_path / "fresh")).push()


@pytest.mark.parametrize(
    "body",
    [b"{", b"[" * 200_000, b"\xff", b"7", b"null", b'{"format": %s}' % (b"9" * 5000)],
    ids=["cut", "deep", "bytes", "number", "null", "long"],
)
def test_an_index_whose_digest_fits_may_still_be_none(body: bytes) -> None:
    with pytest.raises(DataError, match=r"^m"):
        read_index(gzip.compress(digest_bytes(body).encode() + b"\n" + body), "default", "m")


def test_an_index_has_a_time() -> None:
    body = canonical_json({**to_json_values(an_index()), "time": 7.5}).replace("7.5", "Infinity")
    data = gzip.compress(f"{digest_bytes(body.encode())}\n{body}".encode())
    with pytest.raises(DataError, match="expected a time"):
        read_index(data, "default", "m")


@pytest.mark.parametrize(
    "fields",
    [
        {"files": {"../manifest.json": PLAIN}},
        {"files": {"/etc/manifest.json": PLAIN}},
        {"files": {"rounds/../x.json": PLAIN}},
        {"files": {".git/hooks/post-update": PLAIN}},
        {"files": {"worktree/train.py": PLAIN}},
        {"files": {"a\nb.json": PLAIN}},
        {"files": {"x.json": replace(PLAIN, parts=("../../x",))}},
        {"files": {"x.json": replace(PLAIN, size=PART_BYTES + 1)}},
        {"files": {"x.json": replace(PLAIN, size=-1, parts=())}},
        {"refs": {"refs/heads/main": "a" * 40}},
        {"refs": {"refs/ratchet/../../config": "a" * 40}},
        {"refs": {"refs/ratchet/baseline": "--upload-pack"}},
        {"files": {"x.json": replace(PLAIN, time_ns=10**30)}},
        {"runs": {"../../x": 1}},
        {"runs": {SHA: 10**30}},
        {"blobs": {SHA: 1 << 50}},
        {"blobs": {"x/" + SHA: 1}},
        {"answers": (f"runs/{SHA}",)},
        {"answers": (f"../{SHA}",)},
        {"packs": ("../" + SHA,)},
    ],
    ids=str,
)
def test_foreign_names_are_left_out(fields: dict[str, object]) -> None:
    index, left = read_index(an_index(**fields).packed(), "default", "m")
    assert index == an_index() and len(left) == 1


def test_whole_indexes_are_read_as_they_are() -> None:
    whole = an_index(
        files={"manifest.json": PLAIN, "rounds/0001/judge.json": PLAIN, "seed-secret": PLAIN},
        refs={"refs/heads/ratchet/default": "a" * 40, "refs/ratchet/experiments/0001": "b" * 40},
        runs={SHA: 5},
        blobs={SHA: 0},
        answers=(f"proposals/{SHA}",),
        packs=(SHA,),
    )
    assert read_index(whole.packed(), "default", "m") == (whole, [])
    with pytest.raises(DataError, match="other"):
        read_index(whole.packed(), "other", "m")


@given(st.binary(max_size=200), st.integers(0, 300))
def test_other_bytes_are_no_index(data: bytes, at: int) -> None:
    packed = an_index().packed()
    for text in (data, packed[:at] + data + packed[at + len(data) :]):
        if text != packed:
            try:
                # A byte of the envelope may change without harm to what is in it.
                assert read_index(text, "default", "m") == (an_index(), [])
            except DataError as error:
                assert str(error).startswith("m: expected the index of a mirror")


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("s3://me:secret@host/x", "without a password"),
        ("s3://me:sec/secret@host/x", "without a password"),
        ("S3://me:secret@host", "without a password"),
        ("rsync://me:secret@host/x", "without a password"),
        ("me:secret@host:x", "without a password"),
        ("az://box/x?sv=1&sig=secret", "without a password"),
        ("-e sh", "found '-e sh'"),
        ("results/mirror", "outside"),
        ("ftp://host/x", "expected a folder, HOST:PATH or file://"),
        ("", "expected a folder"),
    ],
)
def test_addresses_that_are_none(address: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=said) as raised:
        open_target(address, tmp_path)
    assert "secret" not in str(raised.value)
    if "secret" in address:
        with pytest.raises(ConfigError, match="without a password") as refused:
            read_settings(REPO, [f"mirror={address}"])
        assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "address",
    ["me@host:a/b", "host:a@b", "rsync://host:873/m/x@y", "rsync://me@host/m", "/a:b@c", "a/b?c=d"],
)
def test_addresses_without_a_password(address: str, tmp_path: Path) -> None:
    assert read_settings(REPO, [f"mirror={address}"]).mirror == address
    assert open_target(address, tmp_path)


def test_a_failure_tells_no_login_and_no_signature(tmp_path: Path, monkeypatch: Patch) -> None:
    def fails(*_: object) -> None:
        raise OSError("PUT (https://me@a.net/box/x?sv=1&sig=secret) failed: 403")

    monkeypatch.setattr(targets, "_write", fails)
    with pytest.raises(StoreError, match="failed: 403") as raised:
        FolderTarget(tmp_path).send({"x": b"y"})
    assert "(https://a.net/box/x)" in str(raised.value)


def test_without_its_package_an_address_says_what_to_install(
    tmp_path: Path, monkeypatch: Patch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "obstore", None)
    with pytest.raises(InputMissingError, match="make env-mirror"):
        open_target("s3://bucket/x", tmp_path)


@pytest.mark.skipif(shutil.which("rsync") is None, reason="the program rsync is not there")
def test_rsync_sends_and_fetches(box: Box, tmp_path: Path, monkeypatch: Patch) -> None:
    # Stands in for SSH: runs the other side here.
    shell = tmp_path / "shell"
    shell.write_text('#!/bin/sh\nshift\nexec "$@"\n')
    shell.chmod(0o755)
    monkeypatch.setenv("RSYNC_RSH", str(shell))
    address = f"host:{tmp_path}/deep/m"
    mirror = mirror_of(box, address)
    assert isinstance(mirror.target, RsyncTarget)
    with pytest.raises(InputMissingError, match="none"):
        mirrored_sessions(address, tmp_path)
    sent = mirror.push()
    assert mirror_of(box, address).push().files == 0
    with (box.session / "results.tsv").open("a") as stream:
        stream.write("one more\n")
    index = mirror.push().index
    parts = {path.name for path in (tmp_path / "deep/m/sessions/default/files").iterdir()}
    assert parts == index.parts
    assert mirrored_sessions(address, tmp_path) == ["default"]
    got = restored(address, tmp_path / "fresh", box)
    assert (got.runs, got.blobs, got.left_out) == (sent.runs, sent.blobs, ())
    # Of a folder only objects are ever removed.
    other = tmp_path / "deep/m/sessions/default/files/notes.txt"
    other.write_text("mine")
    mirror.target.keep_only("sessions/default/files", [])
    assert list(other.parent.iterdir()) == [other]


def test_a_failure_is_noted_once_and_when_it_is_over(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "events.jsonl")
    for reason in ("", "no route", "no route", "full", "", ""):
        sender.note_outcome(journal, reason)
    kinds = [line.split('"event": ')[1][:15] for line in journal.path.read_text().splitlines()]
    assert kinds == ['"mirror_failed"', '"mirror_failed"', '"mirror_works"}']
