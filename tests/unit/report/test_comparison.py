"""Sessions side by side: what is refused, what is told, and how changes are matched."""

import json
from collections.abc import Mapping, Sequence

import pytest

from helpers import report_records as sample
from helpers import trials
from helpers.pages import HOSTILE, check_inert, without_scripts
from ratchet.base.errors import DataError
from ratchet.base.io import Fingerprint
from ratchet.base.structs import replace
from ratchet.records.history import Trial
from ratchet.records.proposals import Edit
from ratchet.records.records import Contribution, Direction, Standing, Verdict
from ratchet.report.comparison import (
    ComparedSession,
    answer,
    compare_sessions,
    elsewhere_words,
    hours_words,
    touched_names,
    trajectory,
)
from ratchet.report.comparison_page import render_comparison

CODE = {"file 0": "RATE = 1\nDEPTH = 2\n"}


def tried(
    number: int, verdict: Verdict, mean: float, lines: Sequence[str] = (), edit: Edit | None = None
) -> Trial:
    """A trial whose diff changes these lines."""
    made = trials.trial(number, description=f"idea {number}", verdict=verdict, mean=mean, gain=0.1)
    gone, come = (sum(line[:1] == sign for line in lines) for sign in "-+")
    diff = "\n".join(["--- a/train.py", "+++ b/train.py", f"@@ -1,{gone} +1,{come} @@", *lines, ""])
    runs = tuple(replace(run, key=f"run {number} {mean}") for run in made.runs)
    assert made.ruling is not None
    return replace(
        made,
        proposal=replace(made.proposal, diff=diff, edit=edit),
        ruling=replace(made.ruling, runs=runs),
    )


def session(
    name: str, made: Sequence[Trial], code: Mapping[str, str] = CODE, **fields: object
) -> ComparedSession:
    """A session with three runs of the baseline, each run of 36 s."""
    history = trials.history(made, baseline=(3.0, 3.1, 2.9))
    found = ComparedSession(
        name=name,
        manifest=replace(sample.manifest(), session=name),
        metric="val_bpb",
        unit=None,
        direction=Direction.MINIMIZE,
        mode="gain",
        budget={"seconds": 300.0, "steps": None},
        history=history,
        walls={run.key: 36.0 for run in history.runs},
        texts=lambda files: {file: code.get(sha, CODE["file 0"]) for file, sha in files.items()},
    )
    return replace(found, **fields)


RATE = ("-RATE = 1", "+RATE = 2")
MONDAY = session(
    "monday",
    [
        tried(1, Verdict.KEEP, 2.5, RATE),
        tried(2, Verdict.DISCARD, 3.5),
        tried(3, Verdict.KEEP, 2.0, ("-DEPTH = 2", "+DEPTH = 3")),
    ],
    {"file 1": "RATE = 2\nDEPTH = 2\n", "file 3": "RATE = 1\nDEPTH = 3\n"},
)
TUESDAY = session(
    "tuesday",
    [
        tried(1, Verdict.DISCARD, 3.2, ("-RATE =  1", "+RATE = 2")),
        tried(2, Verdict.KEEP, 2.25, ("-DEPTH = 2", "+DEPTH = 4")),
    ],
    {"file 1": "RATE = 2\nDEPTH = 2\n", "file 2": "RATE = 1\nDEPTH = 4\n"},
)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"metric": "loss"}, "expected the same metric, found val_bpb and loss"),
        ({"direction": Direction.MAXIMIZE}, "direction of the metric, found minimize and maximize"),
        (
            {"budget": {"seconds": None, "steps": 5}},
            "budget of a run, found seconds 300.0 and steps",
        ),
        (
            {"manifest": replace(sample.manifest(), evaluation=(Fingerprint("v", "00ff", 1),))},
            "evaluation data, found corpus/train.bin",
        ),
    ],
)
def test_what_measured_something_else_is_refused(fields: dict[str, object], said: str) -> None:
    with pytest.raises(DataError, match="monday and tuesday cannot be compared") as error:
        compare_sessions([MONDAY, replace(TUESDAY, **fields)])
    assert said in str(error.value)


def test_trajectories_count_each_run_once() -> None:
    points = trajectory(MONDAY)
    assert [point.runs for point in points] == [3, 4, 5, 6]
    assert [point.number for point in points] == [0, 1, 1, 3]
    assert [round(point.hours or 0, 6) for point in points] == [0.03, 0.04, 0.05, 0.06]
    lost = replace(MONDAY, walls={**MONDAY.walls, "run 2 3.5": None})
    assert [point.hours is None for point in trajectory(lost)] == [False, False, True, True]
    last = MONDAY.history.proposals[2].proposals[0]
    assert last.number == 3
    again = replace(MONDAY.history.verdicts[2].rulings[0], runs=MONDAY.history.baseline.runs)
    verdicts = [*MONDAY.history.verdicts[:2], replace(MONDAY.history.verdicts[2], rulings=(again,))]
    history = replace(MONDAY.history, verdicts=tuple(verdicts))
    assert trajectory(replace(MONDAY, history=history))[-1].runs == 5, "its run was there before"


def test_times_to_reach_a_value() -> None:
    facts = compare_sessions([MONDAY, TUESDAY], [2.4, 1.0])
    common, asked, never = facts["levels"]
    assert (common["of"], common["value"]) == ("all", 2.25)
    assert common["reached"]["monday"]["number"] == 3
    assert common["reached"]["tuesday"] == {"runs": 5, "hours": pytest.approx(0.05), "number": 2}
    assert (asked["of"], asked["reached"]["monday"]["runs"]) == ("asked", 6)
    assert never["reached"] == {"monday": None, "tuesday": None}
    quarter, half, whole = facts["own_gain"]["monday"]
    assert [each["value"] for each in (quarter, half, whole)] == [2.75, 2.5, 2.0]
    assert [each["reached"]["runs"] for each in (quarter, half, whole)] == [4, 4, 6]
    nothing = session("none", [tried(1, Verdict.DISCARD, 3.2)])
    assert compare_sessions([MONDAY, nothing])["own_gain"]["none"] == []


def test_a_metric_to_maximize_is_turned() -> None:
    def turned(one: ComparedSession) -> ComparedSession:
        return replace(one, direction=Direction.MAXIMIZE)

    up = session("up", [tried(1, Verdict.KEEP, 4.0, RATE)])
    facts = compare_sessions([turned(up), turned(session("flat", []))])
    assert [row["search_gain"] for row in facts["sessions"]] == [pytest.approx(1.0), 0.0]
    assert facts["levels"][0]["value"] == pytest.approx(3.0)
    assert facts["own_gain"]["up"][2]["reached"]["number"] == 1


def test_changes_are_matched_by_lines_and_by_what_they_touch() -> None:
    found = compare_sessions([MONDAY, TUESDAY])["found"]
    rate, depth = found["monday"]
    assert (rate["number"], rate["names"]) == (1, ["RATE"])
    assert (rate["elsewhere"]["tuesday"]["how"], rate["elsewhere"]["tuesday"]["kept"]) == (
        "same",
        False,
    )
    other = depth["elsewhere"]["tuesday"]
    assert (other["how"], other["kept"], other["number"]) == ("alike", True, 2)
    assert elsewhere_words(other, 2) == "another value or form, kept, gain +0.10"
    alone = compare_sessions([MONDAY, session("flat", [])])["found"]["monday"]
    assert [e["elsewhere"]["flat"] for e in alone] == [None, None]
    assert elsewhere_words(None, 2) == "never tried"


def test_points_of_an_optimiser_match_by_their_sets_of_constants() -> None:
    def point(rate: str) -> Edit:
        return Edit("point", "p", rate, {"RATE": rate, "DEPTH": "3"})

    one = session("one", [tried(1, Verdict.KEEP, 2.0, ["+a"], point("2"))])
    other = session(
        "other",
        [
            tried(1, Verdict.KEEP, 2.0, ["+b"], Edit("constant", "RATE", "2")),
            tried(2, Verdict.DISCARD, 2.5, ["+c"], point("5")),
        ],
    )
    (found,) = compare_sessions([one, other])["found"]["one"]
    assert found["names"] == ["DEPTH", "RATE"]
    assert (found["elsewhere"]["other"]["how"], found["elsewhere"]["other"]["number"]) == (
        "alike",
        2,
    )


def test_certified_changes_come_first() -> None:
    records = sample.session()
    kept = [trial.number for trial in records.history.kept]
    last = records.history.confirmation
    assert last is not None and len(kept) > 2
    fresh = Contribution(kept[-1], 0.001, 0.0005, 0.002, 0.99, Standing.CERTIFIED)
    history = replace(
        records.history, confirmation=replace(last, contributions=(fresh,)), certification=None
    )
    one = replace(MONDAY, history=history, walls={}, texts=lambda _: {})
    found = compare_sessions([one, TUESDAY])["found"]["monday"]
    assert found[0]["number"] == kept[-1]
    assert (found[0]["standing"], found[0]["fresh_gain"]) == ("certified", 0.001)
    gains = [e["gain"] for e in found[1:]]
    assert gains == sorted(gains, reverse=True)


def test_touched_names_of_files_that_are_no_python_are_their_names() -> None:
    old = {"a.py": "x = 1\n", "b.yaml": "x: 1\n", "c.py": "def f(:"}
    new = {"a.py": "x = 2\n\ndef f(): pass\n", "b.yaml": "x: 2\n", "c.py": "def g(:"}
    assert touched_names(old, new) == {"x", "f", "b.yaml", "c.py"}
    assert touched_names(old, old) == set()


def test_what_else_differs_is_said() -> None:
    manifest = replace(
        TUESDAY.manifest,
        fixed=(Fingerprint("prepare.py", "other", 1),),
        frozen={"seed": 8},
        hardware={"gpu": "H100"},
    )
    lines = compare_sessions([MONDAY, replace(TUESDAY, manifest=manifest, mode="prudent")])[
        "differ"
    ]
    assert "seed: monday 7, tuesday 8" in lines
    assert "mode of the judge: monday gain, tuesday prudent" in lines
    assert "machine: monday x86_64, 2 cores, tuesday H100" in lines
    assert "fixed files that differ: prepare.py" in lines
    assert compare_sessions([MONDAY, replace(MONDAY, name="again")])["differ"] == []


def test_the_answer_rests_on_fresh_runs_where_there_are_some() -> None:
    facts = compare_sessions([MONDAY, TUESDAY])
    monday, tuesday = facts["sessions"]
    assert answer(facts).startswith("monday leads by the judge's estimate of the search")
    tuesday["confirmed"] = {"gain": 0.9, "low": 0.7, "high": 1.1, "standing": "confirmed"}
    assert answer(facts) == "tuesday alone has a gain by fresh runs; none of monday yet"
    monday["confirmed"] = {"gain": 0.5, "low": 0.4, "high": 0.6, "standing": "confirmed"}
    best = "tuesday has the largest gain by fresh runs"
    assert answer(facts) == f"{best}; clearly so: the intervals are apart"
    tuesday["confirmed"]["low"] = 0.5
    assert answer(facts) == f"{best}; their intervals overlap, so chance may be why"
    tuesday["confirmed"] |= {"low": -0.1, "standing": "not_confirmed"}
    assert answer(facts) == f"{best}, and it is not confirmed"
    tuesday["confirmed"] |= {"low": None, "high": None, "standing": "confirmed"}
    assert answer(facts) == f"{best}; without intervals, chance may be why"


def test_hours_are_told_in_a_unit_of_people() -> None:
    assert [hours_words(h) for h in (None, 0.001, 0.5, 3.25)] == ["–", "4 s", "30.0 min", "3.2 h"]


@pytest.fixture(scope="module")
def page() -> str:
    hostile = trials.trial(4, description=HOSTILE, verdict=Verdict.KEEP, mean=1.9, gain=0.1)
    one = replace(
        MONDAY, history=trials.history([*MONDAY.history.judged, hostile], baseline=(3.0, 3.1, 2.9))
    )
    facts = compare_sessions([one, replace(TUESDAY, name="tuesday")])
    assert json.loads(json.dumps(facts)) == facts
    return render_comparison(facts, {"monday": "monday/report.html", "tuesday": ""})


def test_the_page_is_inert_small_and_links_to_experiments(page: str) -> None:
    check_inert(without_scripts(page).replace('href="monday/report.html', 'href="#'))
    assert len(page.encode()) < 1_500_000
    assert 'href="monday/report.html#exp-3"' in page
    assert "tuesday/report.html" not in page


def test_both_figures_have_every_session(page: str) -> None:
    still = page[: page.index('id="plots"')]
    assert still.count("<svg") == 4, "over runs and over hours, wide and narrow"
    for name in ("monday", "tuesday"):
        assert still.count(f">{name}</text>") >= 4
