"""The page and the pictures: same bytes twice, safe whatever the runs wrote, small."""

import base64
import hashlib
import json
import re
import struct

import pytest

from helpers import pages
from helpers import report_records as sample
from helpers.pages import PLOTS, check_inert, without_scripts
from ratchet.base.structs import replace
from ratchet.records.proposals import AgentCall, CallOutcome
from ratchet.records.records import Remeasurement
from ratchet.records.series import Sample
from ratchet.report.facts import build_facts
from ratchet.report.figures import (
    PARETO_WIDE,
    PROGRESS_NARROW,
    PROGRESS_WIDE,
    SCHEDULE_NARROW,
    pareto_figure,
    progress_figure,
    schedule_figure,
)
from ratchet.report.intervals import WIDE, forest_figure
from ratchet.report.render import (
    COLUMNS,
    VENDOR,
    column_cells,
    column_style,
    content_policy,
    data_block,
    diff_hunks,
    interactive_figure,
    page_limit,
    page_scripts,
    render_html,
    render_png,
    render_svg,
    themed_svg,
    vendored_scripts,
)

HOSTILE = pages.HOSTILE + "\x00\u2029\ud800"


@pytest.fixture(scope="module")
def page(facts):
    return render_html(facts)


@pytest.fixture(scope="module")
def hostile():
    """A session in which every text that is not ours attacks the page."""
    records = sample.session()
    every = range(1, 13)
    diff = "+" + HOSTILE + "\n" + "-" + "x" * 1_000_000 + "\n@@" + HOSTILE
    texts = {"description": HOSTILE, "hypothesis": HOSTILE, "category": HOSTILE, "diff": diff}
    records = sample.ruled(sample.proposed(records, every, **texts), every, reason=HOSTILE)
    refused = AgentCall(0, 1, HOSTILE, CallOutcome.FORBIDDEN, reason=HOSTILE, log="a")
    first, *others = (replace(group, detail=HOSTILE) for group in records.history.proposals)
    odd = {HOSTILE: HOSTILE}
    manifest = replace(
        records.manifest, session=HOSTILE, task=HOSTILE, hardware=odd, versions=odd,
        machine={"cpu": HOSTILE},
        frozen={"a": {HOSTILE: [HOSTILE]}},
    )  # fmt: skip
    return build_facts(
        sample.changed(
            records,
            manifest=manifest,
            metric=HOSTILE,
            unit=HOSTILE,
            judge={"mode": HOSTILE},
            proposals=(replace(first, calls=(refused,)), *others),
            logs=dict.fromkeys(records.logs, "y" * 1000000 + HOSTILE),
            agent_logs={"a": HOSTILE},
            confirmation=replace(records.history.confirmation, detail=HOSTILE),
        )
    )


def test_the_page_is_complete_and_inert(page, facts):
    parsed = check_inert(without_scripts(page))
    assert "default-src 'none'" in page
    ids = parsed.values("id")
    assert len(ids) == len(set(ids))
    sections = "progress verdicts experiments pareto crashes confirmation noise steering timeline"
    sections += " integrity provenance method program"
    assert set(sections.split()) <= set(ids)
    assert {link[1:] for link in parsed.values("href")} <= set(ids)
    assert "var(--keep)" in page and 'fill="white"' not in page
    shown = "".join(parsed.words)
    for entry in facts["provenance"]["files"]:
        assert entry["sha256"] in shown
    for e in facts["experiments"]:
        assert e["commit"] in shown and all(r["key"] in shown for r in e["runs"])
    assert not re.search(r"\bNone\b|\bnan\b|Undefined", shown)
    assert "Failed proposals" not in shown and 'class="alarm"' not in page


def test_an_experiment_shows_how_it_used_its_machine(records):
    trial = records.history.trials[0]
    key = trial.telling_run.key
    telemetry = {"gpu": HOSTILE, "utilisation": {"mean": 91.0}, "power_watts": {"mean": 300.0}}
    hot = {**telemetry, "throttled": ["power cap", "hardware thermal slowdown"]}
    runs = {**records.runs, key: replace(records.runs[key], telemetry=hot)}
    samples = [Sample(float(n), 90.0 + n, 64.0 * n, throttle=0x40) for n in range(1, 5)]
    told = sample.changed(records, runs=runs, samples={key: samples})
    facts = build_facts(told)
    e = facts["experiments"][0]
    assert (e["machine"]["gpu_percent"], e["machine"]["power_watts"]) == (91.0, 300.0)
    assert e["machine"]["samples"]["memory_mb"] == [64.0, 128.0, 192.0, 256.0]
    assert e["wall_seconds"] == sum(r["wall_seconds"] for r in e["runs"]) > e["seconds"]
    (flag,) = (f for f in facts["soundness"]["flags"] if f["number"] == e["number"])
    assert flag["text"].endswith("throttled while it ran (hardware thermal slowdown)")
    page = render_html(facts)
    check_inert(without_scripts(page))
    assert page.count('<svg class="spark"') == 2, "of the processor and of its memory"
    words = page.replace("\xa0", " ")
    assert "GPU 91 %, 300 W, throttled (power cap, hardware thermal slowdown)" in words
    assert "<td>Memory, MiB<td>" in page and '<td class="n">256</tr>' in page
    assert "0 to 4 s" in page
    assert all(other["machine"]["samples"] is None for other in facts["experiments"][1:])


def test_same_facts_same_bytes(page, facts):
    again = build_facts(sample.session())
    assert render_html(again) == page
    assert render_svg(again) == render_svg(facts)
    png = render_png(facts)
    assert render_png(again) == png
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", png[16:24])
    assert width == 1600 and 800 <= height <= 1000
    assert len(png) > 50_000, "a blank one takes a few thousand"


def test_hostile_text_neither_runs_nor_hides(hostile):
    text = render_html(hostile)
    parsed = check_inert(without_scripts(text))
    assert len(text.encode()) <= page_limit(12)
    shown = "".join(parsed.words)
    assert "alert(1)" in shown and "{{7*7}}" in shown and "Failed proposals" in shown
    assert "⟨U+202E⟩" in shown and "␀" in shown
    assert not re.search("[\x80-\x9f\ud800-\udfff]", text)
    assert max(map(len, shown.split("\n"))) < 40_000
    check_inert(render_svg(hostile))
    assert render_png(hostile).startswith(b"\x89PNG")


def test_unfinished_and_empty_sessions_have_a_page():
    records = sample.session(3)
    for changed in (
        sample.changed(records, confirmation=None),
        sample.changed(records, confirmation=None, verdicts=(), states=()),
        sample.session(0),
    ):
        facts = build_facts(changed)
        check_inert(without_scripts(render_html(facts)))
    assert render_png(facts)
    # A single class of points is drawn: three runs, the legend's symbol.
    assert render_svg(facts).count('fill="#3a5da6"') >= 4


def test_a_page_of_long_diffs_is_cut_and_says_so(facts):
    assert page_limit(12) == page_limit(200) < 2_000_000
    assert page_limit(200) < page_limit(201) < page_limit(1000) < 5_000_000
    records = sample.session(300)
    long = sample.proposed(records, range(1, 301), diff="+ a < b & c\n" * 3000)
    logs = dict.fromkeys(records.logs, "step <b> & 'c'\n" * 900)
    text = render_html(build_facts(sample.changed(long, logs=logs)))
    assert len(text.encode()) < page_limit(300)
    assert "To keep this page small, these are cut: log tails " in text
    assert "these are cut" not in render_html(facts), "small sessions are not cut"


def test_near_misses_and_alarms_are_on_the_page():
    records = sample.ruled(
        sample.session(), [6], near_miss=True, pareto="EFFICIENT", pareto_low=0.7, pareto_high=0.7,
        price=-0.01,
    )  # fmt: skip
    run = replace(records.history.baseline.runs[0], value=9.5)
    check = Remeasurement(number=0, run=run, expected=3.4, sd=0.1, z=61.0, alarm=True)
    records = sample.in_round(records, 6, remeasured=check)
    records = sample.in_round(records, 7, remeasured=replace(check, z=1.0, alarm=False))
    text = render_html(build_facts(records))
    shown = "".join(check_inert(without_scripts(text)).words)
    assert text.count('<p class="alarm">') == 1
    assert "before round 6, the baseline was expected at 3.400 ± 0.100 and measured 9.500" in shown
    assert text.count("<small>near miss</small>") == 1
    assert "It was allowed to cost up to 0.0100." in shown
    assert "with a probability of 0.70 nothing kept before" in shown
    assert "round 7: 9.500, expected 3.400 (z = 1.0)" in shown


def test_hunks_are_lines_of_one_kind():
    lines = ["--- a", "+++ b", "@@", " x", "-old", "-older", "+new", ""]
    assert diff_hunks(lines) == [
        ("-", "--- a"), ("+", "+++ b"), ("", "@@\n x"), ("-", "-old\n-older"), ("+", "+new"),
        ("", ""),
    ]  # fmt: skip


def test_every_experiment_has_every_column(facts):
    keys = [column.key for column in COLUMNS]
    cells = [column_cells(e, 3) for e in facts["experiments"]]
    assert all([key for key, *_ in row] == keys for row in cells)
    first, crashed = ({key: cell for key, *cell in cells[place]} for place in (0, 3))
    assert first["delta"][0].startswith("−0.2") and first["delta"][1] < -0.2
    assert first["lines"] == ["+2 −1", 1] and first["strict"] == ["survives", None]
    assert first["commit"][0] == facts["experiments"][0]["commit"][:10]
    assert crashed["mean"] == ["–", -1e99] and crashed["strict"][0] == "–"
    rules = column_style()
    assert all(
        f"main:has(#c-{key}:checked) .c-{key}{{display:table-cell}}" in rules for key in keys
    )


FRAMES = (PROGRESS_NARROW, WIDE, PARETO_WIDE, SCHEDULE_NARROW)
MAKERS = (progress_figure, forest_figure, pareto_figure, schedule_figure)


@pytest.mark.parametrize(("make", "frame"), list(zip(MAKERS, FRAMES, strict=True)))
def test_each_figure_zooms_shows_tips_and_takes_the_page_s_colours(facts, make, frame):
    plot = interactive_figure(make(facts, frame), frame)
    packed = json.dumps(plot["spec"])
    assert plot["aside"] == frame.left + frame.right
    assert "vega.github.io/schema/vega/" in plot["spec"]["$schema"]
    assert any(signal["name"] == plot["zoom"] for signal in plot["spec"]["signals"])
    assert "event.ctrlKey" in packed and '"tooltip": {"value": "tip"}' in packed
    assert "var(--" in packed and "#17784a" not in packed
    marks = [mark for mark in plot["spec"]["marks"] if mark["type"] == "text"]
    assert not any(mark.get("clip", False) for mark in marks)


def test_texts_of_candidates_are_data(facts):
    hostile = "');alert(1)//</script>${x}"
    first = {**facts["experiments"][0], "description": hostile}
    changed = {**facts, "experiments": [first, *facts["experiments"][1:]]}
    spec = interactive_figure(progress_figure(changed, PROGRESS_WIDE), PROGRESS_WIDE)["spec"]
    assert "alert(1)" in json.dumps(spec.pop("data"))
    assert "alert(1)" not in json.dumps(spec)


def test_plots_share_their_rows(page):
    plots = json.loads(PLOTS.search(page)[1])
    wide, narrow = plots["progress"]
    shared = [data["same"] for data in narrow["spec"]["data"] if "same" in data]
    assert shared and all(wide["spec"]["data"][i]["values"] for i in shared)
    assert plots["tips"]["1"].startswith("#1 lr 1e-3 → 3e-3\nSTRONG KEEP")


def test_libraries_have_the_bytes_that_are_written_down_and_nothing_lies_beside_them():
    for entry in vendored_scripts():
        code = VENDOR.joinpath(entry["file"]).read_bytes()
        assert hashlib.sha256(code).hexdigest() == entry["sha256"]
        licence = VENDOR.joinpath(entry["licence_file"]).read_text()
        assert "Copyright" in licence and "*/" not in licence
        assert f"@{entry['version']}: " in entry["source"]
    known = {name for e in vendored_scripts() for name in (e["file"], e["licence_file"])}
    assert {path.name for path in VENDOR.iterdir()} == {*known, "vendored.json"}


def test_scripts_can_stand_between_tags():
    found = page_scripts()
    assert len(found) == len(vendored_scripts()) + 1
    for code in found:
        assert "</script" not in code.lower() and "<!--" not in code
        assert "\r" not in code and "\0" not in code and "sourceMappingURL" not in code
    for entry, code in zip(vendored_scripts(), found, strict=False):
        assert code.startswith(f"/*! {entry['name']} {entry['version']}\n\n")
        assert "Copyright" in code[:400]
    # Modules become plain scripts, and our own evaluates nothing and sets text only.
    assert not re.search(r"^(import|export)\b", found[1], re.MULTILINE)
    assert "= globalThis.vega;" in found[1] and "globalThis.vegaInterpreter = {" in found[1]
    forbidden = "eval( Function( innerHTML outerHTML insertAdjacent document.write"
    assert not [word for word in forbidden.split() if word in found[-1]]


def test_a_drawing_loses_digits_of_places_and_none_of_words():
    drawn = '<svg width="10" height="5.5" viewBox="0 0 10 5.5"><text x="1.2345">0.0025</text></svg>'
    assert themed_svg(drawn) == '<svg  viewBox="0 0 10 5.5"><text x="1.23">0.0025</text></svg>'


def test_the_policy_names_each_script_and_nothing_more():
    policy = content_policy(("one", "zwei ü"))
    digest = base64.b64encode(hashlib.sha256("zwei ü".encode()).digest()).decode()
    allowed = re.search(r"script-src ([^;]*);", policy)[1].split(" ")
    assert len(allowed) == 2 and allowed[1] == f"'sha256-{digest}'"
    assert policy.startswith("default-src 'none'; ") and "eval" not in policy


def test_data_cannot_end_its_element():
    hostile = {"a": "</script><!--<script>\u2028 & ü", "b": None}
    block = data_block(hostile)
    assert "<" not in block and ">" not in block and block.isascii()
    assert json.loads(block) == hostile
