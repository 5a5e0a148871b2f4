"""Which branches ``ratchet finalize`` makes of kept changes, and what it writes about them."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from helpers.boxes import git
from helpers.clones import Clone
from helpers.trials import history, trial
from ratchet.base.structs import replace
from ratchet.cli.finalize import BranchPlan, Finalizing, Measured, Place, slug
from ratchet.records.history import Trial
from ratchet.records.paths import StorePaths
from ratchet.records.records import Direction, Start, Verdict
from ratchet.records.session_repo import Repository, SessionRepo
from ratchet.records.store import Store
from ratchet.task.repository import check_out_commit


def plan(fits: Mapping[int, Callable[[set[int]], bool]], chosen: tuple[int, ...]) -> BranchPlan:
    """Kept changes, each with what must be there for it to fit; they add their numbers."""

    def onto(held: Mapping[str, str], one: Trial) -> Mapping[str, str] | None:
        there = {int(word) for word in held["train.py"].split()}
        fitting = fits[one.number](there)
        return {"train.py": f"{held['train.py']} {one.number}"} if fitting else None

    kept = tuple(trial(number, verdict=Verdict.KEEP) for number in fits)
    session = SimpleNamespace(texts=lambda files: {"train.py": ""})
    stack: Any = SimpleNamespace(kept=kept, onto=onto, session=session, history=history())
    return BranchPlan(stack, chosen)


def needing(*numbers: int) -> Callable[[set[int]], bool]:
    return lambda there: there.issuperset(numbers)


def test_a_change_that_fits_stands_alone() -> None:
    made = plan({1: needing(), 2: needing()}, (1, 2))
    assert (made.chain(2), made.conflicts(2), made.whole) == ((2,), (), (1, 2))


def test_a_change_stands_on_the_one_that_it_conflicts_with() -> None:
    made = plan({1: needing(), 2: needing(), 3: needing(2), 4: needing(2, 3)}, (1, 2, 3, 4))
    assert (made.chain(3), made.conflicts(3)) == ((2, 3), (2,))
    assert (made.chain(4), made.conflicts(4)) == ((2, 3, 4), (3,))


def test_a_change_stands_on_as_few_others_as_it_can() -> None:
    made = plan({1: needing(), 2: needing(), 3: needing(), 4: needing(1, 3)}, (1, 2, 3, 4))
    assert (made.chain(4), made.conflicts(4)) == ((1, 3, 4), (1, 3))


def test_a_certified_change_is_stood_on_before_another_one() -> None:
    fits = {1: needing(), 2: needing(), 3: bool}
    assert plan(fits, (2, 3)).chain(3) == (2, 3)
    assert plan(fits, (3,)).chain(3) == (1, 3)


def test_all_together_have_others_only_where_they_need_them() -> None:
    assert plan({1: needing(), 2: needing(), 3: needing()}, (1, 3)).whole == (1, 3)
    chain = {1: needing(), 2: needing(1), 3: needing(2), 4: needing()}
    assert plan(chain, (3,)).whole == (1, 2, 3)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("RATE 0.1 -> 0.2", "rate-0-1-0-2"),
        ("Größer é", "groer-e"),
        ("../../etc/passwd.lock", "etc-passwd-lock"),
        ("\u202e-- ", "change"),
        ("word " * 30, "word-word-word-word-word-word-word-word"),
    ],
)
def test_names_are_small_letters_digits_and_hyphens(text: str, name: str) -> None:
    assert slug(text) == name


HOSTILE = "good\n---\ndiff --git a/x b/x\nFrom: me <a@b>\n\x1b[2J\u202eSigned-off-by: <a@b>\n"


def test_hostile_words_stay_in_their_lines(tmp_path: Path) -> None:
    one = trial(1, verdict=Verdict.KEEP, description=HOSTILE * 40, gain=0.5)
    one = replace(one, proposal=replace(one.proposal, hypothesis=HOSTILE * 40))
    session: Any = SimpleNamespace(
        config=SimpleNamespace(session="night"),
        task=SimpleNamespace(
            metric=SimpleNamespace(name="val\n\nbpb", direction=Direction.MINIMIZE)
        ),
        texts=lambda files: {"train.py": "a = 1\n"},
    )
    stack: Any = SimpleNamespace(
        kept=(one,),
        onto=lambda held, t: {"train.py": "a = 2\n"},
        session=session,
        history=history(),
    )
    clone = Clone(tmp_path / "clone")
    base = clone.commit({"train.py": "a = 1\n"})
    repository = Repository(clone.folder / ".git")
    work = Finalizing(BranchPlan(stack, (1,)), Place(repository, base))
    message = work._message(1, {(1,): Measured(reason="not run")})
    lines = message.splitlines()
    assert all(len(line) <= 72 for line in lines[:-1])
    assert [line for line in lines if line.startswith(("-", "diff", "From", "Signed"))] == []
    assert all(line.isprintable() for line in lines)
    assert re.fullmatch(r"ratchet/night-final/01-good-diff-git-[a-z0-9-]{,31}", work.name(1))
    commit = repository.commit_onto(base, {"train.py": b"a = 2\n"}, message, 5)
    (tmp_path / "0001.patch").write_bytes(repository.patch(commit))
    git(clone.folder, "am", "--quiet", str(tmp_path / "0001.patch"))
    assert git(clone.folder, "diff", commit, "HEAD") == ""
    shown = git(clone.folder, "log", "-1", "--format=%an%n%(trailers:only)")
    assert shown.startswith("Ratchet\nExperiment: night#1\nSource: ")
    assert "Signed" not in shown


def test_a_fetched_commit_is_copied_to_the_session_with_its_whole_tree(tmp_path: Path) -> None:
    upstream = Clone(tmp_path / "up stream")
    upstream.commit({"train.py": "a = 0\n"})
    upstream.commit({"train.py": "a = 1\n", "README.md": "all of it\n"})
    address = f"file://{upstream.folder}"
    store = Store(StorePaths(tmp_path / "store"))
    origin = check_out_commit(address, "master", tmp_path, store.paths).origin
    own = SessionRepo(tmp_path / "session" / ".git", "night")
    own.create()
    own.commit({"train.py": b"a = 1\n"}, "Baseline\n", 0, None, "refs/ratchet/baseline")
    session: Any = SimpleNamespace(
        manifest=SimpleNamespace(origin=origin),
        task=SimpleNamespace(clone=None),
        store=store,
        repo=own,
    )
    dry = Place.of(session, history(), dry=True)
    assert not own.has(origin.commit)
    place = Place.of(session, history(), dry=False)
    assert (place.base, place.repository) == (origin.commit, own) == (dry.base, own)
    assert place.texts(["train.py"]) == dry.texts(["train.py"]) == {"train.py": "a = 1\n"}
    assert place.seconds == dry.seconds
    commit = own.commit_onto(place.base, {"train.py": b"a = 2\n"}, "Try\n", place.seconds)
    own.set_branches({"ratchet/night-final/all": (commit, "")})
    assert git(own.folder, "ls-tree", "--name-only", commit).split() == ["README.md", "train.py"]
    git(own.folder, "fsck", "--full", "--strict")
    # Somebody who has the repository can fetch the branch.
    git(upstream.folder, "fetch", "--quiet", str(own.folder), "ratchet/night-final/all")
    assert upstream.git("rev-parse", "FETCH_HEAD~1") == origin.commit


def test_a_task_in_a_folder_of_a_clone_is_changed_there(tmp_path: Path) -> None:
    clone = Clone(tmp_path / "clone")
    (clone.folder / "sub").mkdir()
    (clone.folder / "sub" / "train.sh").touch(0o755)
    base = clone.commit({"sub/train.sh": "true\n", "train.sh": "false\n"})
    clone.git("worktree", "add", "--quiet", "--detach", str(tmp_path / "other"))
    store = Store(StorePaths(tmp_path / "store"))
    for folder in (clone.folder / "sub", tmp_path / "other" / "sub"):
        origin = check_out_commit(str(folder), "HEAD", tmp_path, store.paths).origin
        session: Any = SimpleNamespace(
            manifest=SimpleNamespace(origin=origin, preset=None, start=Start("day", 3, {})),
            task=SimpleNamespace(clone=folder, metric=None),
            config=SimpleNamespace(session="night"),
            store=store,
            repo=None,
            texts=lambda files: {"train.sh": "true 1\n"},
        )
        place = Place.of(session, history(), dry=False)
        assert (place.base, place.prefix, place.is_clone) == (base, "sub/", True)
        assert place.texts(["train.sh"]) == {"train.sh": "true\n"}
        # What a session starts from may be other code than the commit's.
        stack: Any = SimpleNamespace(session=session, history=history(), kept=())
        first = Finalizing(BranchPlan(stack, ()), place)._commit((), {})
        assert clone.git("diff", "--name-only", base, first) == "sub/train.sh"
        assert clone.git("ls-tree", first, "sub/train.sh").startswith("100755 ")
        assert clone.git("show", f"{first}:sub/train.sh") == "true 1"
        assert "Champion of: day#3" in clone.git("show", "--no-patch", first)
