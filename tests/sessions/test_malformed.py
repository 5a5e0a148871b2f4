"""Sessions with proposals that nobody can read, or that are run otherwise than they read."""

import shutil

from helpers import FAKE
from helpers.agents import calls, hire
from helpers.boxes import Box
from helpers.malformed import DEEP
from helpers.recorded import Recorded
from ratchet.base.structs import from_json_values
from ratchet.integrity.verify import verify_sessions
from ratchet.records.paths import SessionPaths
from ratchet.records.proposals import Proposals
from ratchet.records.store import Store
from ratchet.steps.propose import Offer, write_offer

START = (FAKE / "train.py").read_bytes()
MALFORMED = (
    (
        b"# coding: raw_unicode_escape\n" + START,
        "TAMPERED",
        "names the encoding raw_unicode_escape",
    ),
    (START + b"\n" + DEEP["attributes"](900).encode(), "CRASH", "is nested deeper than 80 levels"),
    (START + b"x = '\0'\n", "TAMPERED", "has U+0000 (NULL) on line"),
    (START + "# \u202e\n".encode(), "TAMPERED", "has U+202E (RIGHT-TO-LEFT OVERRIDE) on line"),
    (START + b"# \xff\n", "CRASH", "is not UTF-8 text on line"),
    (START + b"def (\n", "CRASH", "is not valid Python (line"),
    (START + DEEP["names"](60_000).encode(), "CRASH", "is larger than 200,000 characters"),
)


def put_forward(box: Box, number: int, content: bytes) -> None:
    """Offer a file for a round past all that `ratchet try` would say to it."""
    paths = SessionPaths("default", box.path)
    sha = Store(paths.store).put(content)
    write_offer(paths, number, Offer({"train.py": sha}, "other", f"edit {number}", "it may help"))


def test_a_session_with_nothing_but_malformed_proposals_ends_as_any_other(box: Box) -> None:
    table = Recorded.load("fake", FAKE)
    box.backend, box.clock = table, table.clock
    box.play(last="baseline")
    for number, (content, _, _) in enumerate(MALFORMED, 1):
        put_forward(box, number, content)
    box.play(last="rounds", rounds=3)
    # As a kill leaves it in the middle of a round, and in another after its proposals.
    for name in ("experiment-0", "verdict", "judge", "steer"):
        (box.session / f"rounds/0003/{name}.json").unlink()
    (box.session / "rounds/0002/steer.json").unlink()
    box.play(rounds=len(MALFORMED))
    rulings = box.rulings()
    assert len(rulings) == len(MALFORMED)
    page = (box.session / "report.html").read_text()
    rows = (box.session / "results.tsv").read_text().splitlines()[2:]
    for ruling, row, (_, verdict, words) in zip(rulings, rows, MALFORMED, strict=True):
        assert ruling["verdict"] == verdict
        assert ruling["runs"] == []
        assert ruling["reason"].startswith("not run: could not be read: train.py ")
        assert words in ruling["reason"]
        assert words in page
        assert row.split("\t")[3] == "crash"
    refused = [event["reason"] for event in box.events("refused")]
    assert all(any(words in reason for reason in refused) for _, _, words in MALFORMED)
    assert verify_sessions(box.path).deviations == []
    before = box.state()
    shutil.rmtree(box.session / "rounds")
    for name in ("confirm.json", "report.json", "report.html"):
        (box.session / name).unlink()
    box.play(rounds=len(MALFORMED))
    assert box.state() == before


def test_an_agent_whose_files_cannot_be_read_is_told_why(box: Box) -> None:
    coded = b"# coding: cp037\nRATE = 1\n" + START
    first = [["write", "train.py", coded.decode()], ["propose"]]
    second = [["write", "train.py", "\u202e" + START.decode()], ["propose"]]
    third = [["write", "train.py", DEEP["attributes"](900)], ["propose"]]
    fourth = [["write", "train.py", DEEP["names"](60_000)], ["propose"]]
    hire(box, first, second, third, fourth, rounds=2, agent_failures=9)
    table = Recorded.load("fake", FAKE)
    box.backend, box.clock = table, table.clock
    box.play()
    found = calls(box)
    assert [call["outcome"] for call in found] == ["unreadable"] * 4
    for call, words in zip(
        found, ("names the encoding cp037", "U+202E", "nested deeper", "larger than"), strict=True
    ):
        assert words in call["reason"]
    rounds = [box.json(f"rounds/{number:04d}/proposals.json") for number in (1, 2)]
    assert not any(from_json_values(Proposals, each).proposals for each in rounds)
