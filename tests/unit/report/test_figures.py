"""Figures as data: classes, ranges and labels, without drawing anything."""

import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import report_records as sample
from ratchet.base.colours import DARK, LIGHT
from ratchet.records.records import Confirmation, Direction
from ratchet.report.facts import build_facts
from ratchet.report.figure_style import (
    Anchor,
    Plane,
    broken_range,
    gain_line,
    place_labels,
    robust_range,
    tick_axis,
    value_axis,
)
from ratchet.report.figures import (
    PROGRESS_CLASSES,
    PROGRESS_NARROW,
    PROGRESS_WIDE,
    SHARED,
    pareto_figure,
    progress_figure,
    schedule_figure,
)
from ratchet.report.intervals import MOST_ROWS, forest_figure, forest_rows


def layer_of(spec, kind, **has):
    marks = [each["mark"] for each in spec["layer"]]
    wanted = {"type": kind, **has}.items()
    return [each for each, mark in zip(spec["layer"], marks, strict=True) if wanted <= mark.items()]


def names(spec):
    """The rows of all labels of a figure."""
    named = [layer for layer in spec["layer"] if layer.get("name", "").startswith("named_")]
    return [row for layer in named[1::2] for row in layer["data"]["values"]]


def words(spec):
    return [row["text"] for layer in layer_of(spec, "text") for row in layer["data"]["values"]]


def rows(spec):
    return layer_of(spec, "point")[0]["data"]["values"]


def test_every_experiment_is_a_point_of_its_class(facts):
    # Classes differ by shape or area, and not by colour alone.
    assert len({(shape, area) for _, shape, _, area in PROGRESS_CLASSES}) == len(PROGRESS_CLASSES)
    assert Counter(row["class"] for row in rows(progress_figure(facts))) == {
        "baseline run": 3,
        "discarded": 4,
        "kept": 4,
        "champion": 1,
        "no result": 2,
        "off the scale, higher": 1,
        "baseline, fresh seeds": 1,
        "champion, fresh seeds": 1,
    }


@pytest.mark.parametrize("direction", list(Direction))
def test_one_wild_point_does_not_blow_up_the_axis(direction):
    facts = build_facts(sample.session(direction=direction))
    spec = progress_figure(facts)
    points = layer_of(spec, "point")[0]
    low, high = points["encoding"]["y"]["scale"]["domain"]
    assert high - low < 1.0
    assert all(low <= row["y"] <= high for row in points["data"]["values"])
    edge = {row["y"] for row in points["data"]["values"] if row["class"] == "no result"}
    worse_end = high if direction is Direction.MINIMIZE else low
    assert all(abs(y - worse_end) < 0.1 * (high - low) for y in edge)
    # In the forest plot better is positive, whatever the direction.
    found = {row["label"].split()[0]: row for row in forest_rows(facts)}
    assert found["#1"]["value"] > 0.2 and found["#1"]["kind"] == "kept"
    assert found["#2"]["value"] < -0.15 and "#4" not in found
    assert all(row["low"] < row["value"] < row["high"] for row in found.values())
    (points,) = layer_of(forest_figure(facts), "point")
    low, high = points["encoding"]["x"]["scale"]["domain"]
    assert high - low < 1.5
    shapes = {r["label"].split()[0]: r["shape"] for r in points["data"]["values"]}
    assert shapes["#7"] == "further left"


def test_incumbent_steps_at_the_kept_experiments(facts):
    best, line = layer_of(progress_figure(facts), "line")
    assert line["mark"]["interpolate"] == "step-after"
    steps = [row["x"] for row in line["data"]["values"]]
    assert steps == sorted(steps) and steps[0] == 0 and steps[-1] == 12
    assert {1, 3, 6, 8, 11} <= set(steps)
    naive = [row["y"] for row in best["data"]["values"]]
    assert naive == sorted(naive, reverse=True) and best["mark"]["strokeDash"]
    assert any("selected, optimistic" in word for word in words(progress_figure(facts)))


def test_hostile_text_is_data_only(facts):
    hostile = "</script>' + alert(1) + datum['x'] // {{7*7}}"
    first = {**facts["experiments"][0], "description": hostile}
    spec = progress_figure({**facts, "experiments": [first, *facts["experiments"][1:]]})
    packed = json.dumps(spec)
    assert "expr" not in packed and "calculate" not in packed and "signal" not in packed
    assert any(word.startswith("</script>") for word in words(spec))


@pytest.mark.parametrize("count", [0, 1, 2, 100, 1000])
def test_any_number_of_experiments(count):
    facts = build_facts(sample.session(count))
    for frame in (PROGRESS_WIDE, PROGRESS_NARROW, SHARED):
        spec = progress_figure(facts, frame)
        assert len(names(spec)) <= frame.labels
    assert len(rows(spec)) >= count + 3
    shown = forest_figure(facts)
    assert (shown is None) == (count == 0)
    assert len(forest_rows(facts)) <= MOST_ROWS


def test_without_confirmation_or_measurements(facts):
    nothing = {**facts, "confirmation": None, "incumbents": [], "experiments": []}
    nothing["baseline"] = {**facts["baseline"], "values": [], "mean": None}
    assert progress_figure(nothing)["layer"] == []
    empty = build_facts(sample.changed(sample.session(3), confirmation=Confirmation(champion=0)))
    assert "champion, fresh seeds" not in {row["class"] for row in rows(progress_figure(empty))}


def test_robust_range():
    found = robust_range([3.0, 3.1, 3.05, 3.2, 3.15, 80.0], [3.4])
    assert found.holds(3.4) and found.holds(3.0) and not found.holds(80.0)
    assert found.high < 4 and found.low < found.edge(top=False) < found.edge(top=True) < found.high
    single = robust_range([], [2.0])
    assert single.low < 2.0 < single.high
    assert robust_range([], []).low < robust_range([], []).high
    assert robust_range([0.0], [0.0]).holds(0.0)


def test_large_ticks_are_short():
    assert tick_axis("profit", 0.0, 5.4e10)["format"] == "~e"
    assert tick_axis("loss", -2e6, 1.0)["format"] == "~e"
    assert "format" not in tick_axis("val_bpb", 0.9, 999_999.0)


def test_an_axis_is_broken_where_a_first_drop_would_flatten_the_rest():
    near = [0.97 + n / 10_000 for n in range(40)]
    found = broken_range(near, [0.998, 0.9701])
    assert found.place(0.9739) - found.place(0.97) > 0.6
    assert found.holds(0.998) and found.holds(0.97) and found.place(0.974) < 0.8 < found.place(0.99)
    assert all(found.value(found.place(v)) == pytest.approx(v) for v in (0.96, 0.972, 0.99, 1.2))
    axis = value_axis("y", found, "loss", 300)
    assert len(axis["scale"]["domain"]) == len(axis["scale"]["range"]) == 3
    assert axis["scale"]["range"][0] == 300 and axis["axis"]["format"] == ",.3f"
    assert sum(tick < 0.975 for tick in axis["axis"]["values"]) >= 3
    # Few values, or values all along the axis, leave it whole.
    assert broken_range(near[:5], [0.998]).dense is None
    assert broken_range([*near, 0.976, 0.978, 0.98], [0.974]).dense is None


def box(anchor, label, size=12):
    left = label.x if label.left else label.x - anchor.length
    return left, label.y - size / 2, left + anchor.length, label.y + size / 2


def apart(a, b):
    return a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]


@given(
    st.lists(
        st.tuples(st.floats(0, 400), st.floats(0, 200), st.floats(5, 150), st.floats(0, 9)),
        max_size=20,
    ),
    st.lists(st.tuples(st.floats(0, 400), st.floats(0, 200)), max_size=30),
    st.booleans(),
)
def test_labels_touch_no_point_no_edge_and_no_other_label(wanted, points, up):
    anchors, plane = [Anchor(*one) for one in wanted], Plane(0, 410, 200)
    taken = [(x - 4, y - 4, x + 4, y + 4) for x, y in points]
    for one in taken:
        plane.take(one)
    found = place_labels(anchors, plane, 12, 8, up=up, reach=120)
    boxes = [box(anchors[label.index], label) for label in found]
    assert len(found) <= 8 and len({label.index for label in found}) == len(found)
    for place, one in enumerate(boxes):
        assert one[0] >= 0 and one[2] <= 410 and one[1] >= 0 and one[3] <= 200
        assert all(apart(one, other) for other in [*taken, *boxes[:place]])


def test_the_weightiest_label_wins():
    anchors = [Anchor(10, 20, 80, 1), Anchor(14, 20, 80, 5), Anchor(200, 20, 80, 2)]
    for most, wanted in ((9, [1, 2]), (1, [1])):
        found = place_labels(anchors, Plane(0, 300, 40), 12, most, up=True, reach=8)
        assert [label.index for label in found] == wanted


@pytest.mark.parametrize("count", [12, 100])
@pytest.mark.parametrize("frame", [PROGRESS_WIDE, PROGRESS_NARROW, SHARED])
def test_the_champion_is_marked_and_named(count, frame):
    spec = progress_figure(build_facts(sample.session(count)), frame)
    assert [row["class"] for row in rows(spec)].count("champion") == 1
    assert any(row["text"].startswith("champion") for row in names(spec))


def test_the_shared_picture_has_gain_and_interval(facts):
    title = progress_figure(facts, SHARED)["title"]
    assert title["text"] == facts["answer"]["headline"]
    assert title["subtitle"][0] == (
        "gain 0.483 by fresh runs, 95 % interval 0.462 to 0.504: confirmed"
    )
    open_ended = {**facts, "confirmation": None}
    assert "the judge's estimate: not confirmed" in gain_line(open_ended)
    assert gain_line({**open_ended, "best": None}) == ""
    assert not progress_figure(facts).get("title")


@pytest.mark.parametrize("direction", list(Direction))
def test_the_pareto_plot_names_front_and_dominated(direction):
    facts = build_facts(sample.session(direction=direction))
    spec = pareto_figure(facts)
    points = {row["number"] or 0: row for row in rows(spec)}
    for number in facts["front"]["front"]:
        assert points[number]["class"] == "on the front"
    beaten = [p for p in facts["front"]["points"] if p["by"] is not None and p["number"] in points]
    assert beaten and all("dominated by" in points[p["number"]]["tip"] for p in beaten)
    assert any(word.startswith(("#", "baseline")) for word in words(spec))
    stairs = spec["layer"][0]["data"]["values"]
    assert [row["x"] for row in stairs] == sorted(row["x"] for row in stairs)
    assert pareto_figure({**facts, "front": {"front": [], "points": []}}) is None


def test_the_timeline_has_a_bar_for_every_run_in_the_row_of_its_purpose(facts):
    bars, lanes = schedule_figure(facts)["layer"]
    shown = bars["data"]["values"]
    assert len(shown) == len(facts["timeline"]["runs"])
    assert [row["text"] for row in lanes["data"]["values"]] == ["baseline", "experiments"]
    assert {row["lane"]: row["top"] for row in shown} == {"baseline": 0.15, "experiments": 1.15}
    assert bars["encoding"]["x"]["axis"]["title"] == "seconds since the start"
    assert shown[0]["from"] == 1.0 and shown[0]["to"] == 5.0
    assert shown[3]["tip"] == "experiments, ok, 4.0 seconds" and shown[3]["number"] == 1
    long = {**facts["timeline"], "seconds": 7200.0}
    bars = schedule_figure({**facts, "timeline": long})["layer"][0]
    assert bars["encoding"]["x"]["axis"]["title"] == "hours since the start"
    assert bars["data"]["values"][0]["to"] == round(5 / 3600, 6)
    assert schedule_figure({**facts, "timeline": None}) is None


def luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("palette", [LIGHT, DARK])
def test_contrast(palette):
    words = dict.fromkeys(("ink", "muted", "keep", "crash", "baseline", "champion"), 4.5)
    for ground in ("page", "surface"):
        for name, least in {**words, "discard": 3.0}.items():
            low, high = sorted((luminance(palette[name]), luminance(palette[ground])))
            assert (high + 0.05) / (low + 0.05) >= least, (name, ground)
