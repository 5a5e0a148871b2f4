"""The folder and the answer of an agent: laid out, read back without trust, judged before a try."""

import json
import os
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratchet.base.errors import ConfigError, StoreError
from ratchet.base.structs import from_json_values, replace, to_json_values
from ratchet.proposers import agent_workspace
from ratchet.proposers.agent_workspace import (
    AgentReply,
    Left,
    Statement,
    Workplace,
    check_file_names,
    idea_category,
    parse_statement,
    reply_fault,
)
from ratchet.records.proposals import CallOutcome
from ratchet.records.records import CATEGORIES
from ratchet.task.sources import MOST_BYTES

MUTABLE = {"train.py": b"A = 1\n", "lib/model.py": b"B = 2\n"}
GIVEN = {"prepare.py": b"C = 3\n", "BRIEF.md": b"# Brief\n"}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workplace:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("GIT_DIR", "/elsewhere")
    found = Workplace(tmp_path / "session")
    found.lay_out(MUTABLE, GIVEN, "do it")
    return found


def left(place: Workplace) -> Left:
    return place.read(list(MUTABLE))


def test_the_folder_holds_what_was_given_in_a_repository_of_its_own(place: Workplace) -> None:
    assert place.prompt.read_text() == "do it"
    assert (place.work / "lib" / "model.py").read_bytes() == b"B = 2\n"
    assert place.root.stat().st_mode & 0o777 == 0o700
    (place.work / "train.py").write_text("A = 2\n")
    variables = {k: v for k, v in os.environ.items() if k != "GIT_DIR"}
    shown = subprocess.run(
        ["git", "diff", "--stat"], cwd=place.work, env=variables, capture_output=True, text=True
    )
    assert "train.py" in shown.stdout
    (place.work / "proposal.json").write_text("{}")
    # Caches, and what tools keep for themselves, are nothing.
    for name in ("__pycache__/a.pyc", "lib/__pycache__/b", ".aider.tags/x", ".claude/s.json"):
        (place.work / name).parent.mkdir(parents=True, exist_ok=True)
        (place.work / name).write_text("")
    (place.work / "empty").mkdir()
    (place.work / ".git" / "junk").write_text("")
    assert left(place) == Left({**MUTABLE, "train.py": b"A = 2\n"}, (), b"{}", ())


def test_what_an_agent_wrote_before_is_its_edit_again(place: Workplace) -> None:
    kept = {"train.py": b"A = 2\n", "proposal.json": b"{"}
    place.lay_out(MUTABLE, GIVEN, "again", kept)
    assert left(place) == Left({**MUTABLE, "train.py": b"A = 2\n"}, (), b"{", ())
    variables = {k: v for k, v in os.environ.items() if k != "GIT_DIR"}
    git = ["git", "diff", "--unified=0"]
    shown = subprocess.run(git, cwd=place.work, env=variables, capture_output=True, text=True)
    assert "-A = 1\n+A = 2\n" in shown.stdout


def test_whatever_else_changed_is_named(place: Workplace) -> None:
    (place.work / "prepare.py").chmod(0o644)
    (place.work / "prepare.py").write_text("C = 4\n")
    (place.work / "BRIEF.md").unlink()
    (place.work / "new").mkdir()
    (place.work / "new" / "x.txt").write_text("")
    # Names of any bytes can be said.
    (Path(os.fsdecode(os.fsencode(place.work) + b"/\xff\x1b[31m\n"))).write_text("")
    named = ("BRIEF.md (removed)", "new/x.txt (added)", "prepare.py (changed)")
    assert sorted(left(place).others) == ["? [31m (added)", *named]


def test_links_are_not_followed(place: Workplace, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "model.py").write_text("secret\n")
    (place.work / "lib" / "model.py").unlink()
    (place.work / "lib").rmdir()
    (place.work / "lib").symlink_to(secret)
    (place.work / "train.py").unlink()
    (place.work / "train.py").symlink_to(secret / "model.py")
    found = left(place)
    behind = tuple(f"{name} is a link or lies behind one" for name in MUTABLE)
    assert found == Left({}, behind, None, ("lib (added)",))


def test_what_is_no_plain_text_file_is_a_problem(place: Workplace) -> None:
    (place.work / "train.py").unlink()
    os.mkfifo(place.work / "train.py")
    (place.work / "lib" / "model.py").write_bytes(b"\xff\xfe")
    (place.work / "proposal.json").write_bytes(b" " * (1 << 17))
    found = left(place)
    assert found.problems == (
        "train.py is no plain file",
        "lib/model.py is not UTF-8 text (byte 0)",
        "proposal.json is larger than 65536 bytes",
    )
    (place.work / "lib" / "model.py").write_bytes(b"#" * (MOST_BYTES + 1))
    (place.work / "train.py").unlink()
    assert left(place).problems[:2] == (
        "train.py is gone",
        f"lib/model.py is larger than {MOST_BYTES} bytes",
    )


def test_floods_of_files_and_depths_of_folders_end(
    place: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent_workspace, "MOST_FILES", 700)
    deep = place.work
    for _ in range(600):
        deep = deep / "d"
        deep.mkdir()
    assert left(place).others == ()
    for number in range(700):
        (place.work / f"f{number}").touch()
    assert left(place).others == ("more than 700 files or folders (added)",)
    place.clear()  # nobody else could
    assert not place.root.exists()


def test_a_folder_that_is_gone_or_replaced_is_no_error(place: Workplace, tmp_path: Path) -> None:
    place.work.rename(tmp_path / "moved")
    found = left(place)
    assert found.problems == ("train.py is gone", "lib/model.py is gone")
    place.work.symlink_to(tmp_path / "moved")
    found = left(place)
    assert (found.contents, found.others) == ({}, ("the folder itself (replaced)",))


def test_clearing_takes_everything_along_but_nobody_elses(place: Workplace, tmp_path: Path) -> None:
    place.clear()
    place.clear()
    assert not place.root.exists()
    (tmp_path / "precious").mkdir()
    place.root.symlink_to(tmp_path / "precious")
    with pytest.raises(StoreError, match="belongs to somebody else"):
        place.lay_out(MUTABLE, GIVEN, "")
    assert (tmp_path / "precious").is_dir()


def test_a_task_cannot_have_files_named_like_the_agents_own() -> None:
    with pytest.raises(ConfigError, match=r"t\.yaml: the file untrusted/a\.py has a name"):
        check_file_names(["train.py", "untrusted/a.py"], "t.yaml")
    assert check_file_names(["train.py", "lib/BRIEF.md"], "t.yaml") is None


SAID = Statement("wider", "more width", "architecture")
REPLY = AgentReply(exit_code=0, timed_out=False, minutes=3, log="l", files={}, statement=SAID)
OLD = {"train.py": "WIDTH = 1\nx = WIDTH\n"}
NEW = {"train.py": "WIDTH = 2\nx = WIDTH\n"}
COMMENTED = {"train.py": "# more\nWIDTH = 1  # one\n\nx = WIDTH\n"}


def test_a_statement_is_cleaned_and_cut() -> None:
    said = {
        "description": "wider\n\tlayers\u202e\ud800" + "!" * 500,
        "hypothesis": " it \x00may help ",
        "category": "Architecture ",
        "expected_effect": 0.012,
        "more": [1],
    }
    cut = f"wider layers?{'!' * 146}…"
    assert parse_statement(json.dumps(said).encode()) == Statement(
        cut, "it  may help", "architecture", "0.012"
    )
    assert len(cut) == 160


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"{", "not valid JSON"),
        (b"\xff", "not valid JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[]", "expected an object, found list"),
        (b'{"description": "a"}', "the text 'hypothesis' is missing"),
        (b'{"description": " ", "hypothesis": "b"}', "the text 'description' is missing"),
        (b'{"description": {}, "hypothesis": "b"}', "expected a text for 'description'"),
        (b'{"description": "a", "hypothesis": "b", "category": 3}', "for 'category', found int"),
    ],
)
def test_what_is_wrong_with_a_statement_is_said(data: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=r"proposal\.json") as caught:
        parse_statement(data)
    assert words in str(caught.value)


@given(st.dictionaries(st.text(), st.none() | st.floats() | st.text() | st.integers()))
def test_any_object_is_a_statement_or_a_mistake(values: dict) -> None:
    try:
        said = json.dumps({"description": "d", "hypothesis": "h", **values})
        found = parse_statement(said.encode())
    except ValueError as error:
        assert "proposal.json" in str(error)
    else:
        assert found.description
        assert json.dumps(found.expected_effect, ensure_ascii=False).encode()


def reply(**changes: object) -> AgentReply:
    return replace(REPLY, **changes)


TOUCHED = "it touched prepare.py (changed); only train.py and proposal.json"
QUIET = "it ended with status 2 without a change and without proposal.json"
KILLED = "it was ended by signal 11 with a change but without"
FAULTS = [
    (reply(timed_out=True, statement=None), NEW, CallOutcome.TIMEOUT, "more than 3 minutes"),
    (reply(timed_out=True), OLD, CallOutcome.TIMEOUT, "more than 3 minutes"),
    (reply(timed_out=True), NEW, None, ""),
    (reply(others=("prepare.py (changed)",)), NEW, CallOutcome.FORBIDDEN, TOUCHED),
    (reply(others=("x",) * 9), NEW, CallOutcome.FORBIDDEN, "x, x, x, x, x and 4 more"),
    (reply(problems=("a is gone",)), {}, CallOutcome.UNREADABLE, "a is gone"),
    (reply(statement=None, exit_code=2), OLD, CallOutcome.NO_PROPOSAL, QUIET),
    (reply(statement=None, exit_code=-11), NEW, CallOutcome.NO_PROPOSAL, KILLED),
    (REPLY, OLD, CallOutcome.EMPTY, "it changes nothing in train.py"),
    (REPLY, COMMENTED, CallOutcome.EMPTY, "nothing but comments or layout"),
    (REPLY, {"train.py": "WIDTH = = 2\n"}, CallOutcome.UNREADABLE, "not valid Python (line 1"),
    (REPLY, NEW, None, ""),
]


@pytest.mark.parametrize(("answer", "new", "outcome", "words"), FAULTS)
def test_only_an_edit_with_a_statement_can_be_tried(
    answer: AgentReply, new: dict, outcome: CallOutcome | None, words: str
) -> None:
    found = reply_fault(answer, OLD, new)
    assert (None if found is None else found[0]) is outcome
    assert found is None or words in found[1]


def test_replies_of_earlier_versions_are_read() -> None:
    values = to_json_values(REPLY)
    assert values.pop("stopped_late") is False
    assert from_json_values(AgentReply, values) == REPLY


def test_the_authors_category_counts_and_a_contradiction_is_noted() -> None:
    rate = {"train.py": "WEIGHT_DECAY = 0.2\n"}, {"train.py": "WEIGHT_DECAY = 0.1\n"}
    said = Statement("less decay", "h", "architecture")
    found, notes = idea_category(said, *rate, CATEGORIES, {})
    assert found == "architecture"
    assert notes == ("proposed as architecture; what it changes looks like regularization",)
    agreed = idea_category(replace(said, category="regularization"), *rate, CATEGORIES, {})
    assert agreed == ("regularization", ())
    unknown = idea_category(replace(said, category="wonders"), *rate, CATEGORIES, {})
    assert unknown == ("regularization", ())
