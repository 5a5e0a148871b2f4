"""The page and the pictures: same bytes twice, safe whatever the runs wrote, small."""

from __future__ import annotations

import json
import re
import struct
import zlib
from html.parser import HTMLParser

import pytest

from helpers import report_records as sample
from ratchet.base.structs import replace
from ratchet.records.records import Remeasurement
from ratchet.report.facts import build_facts
from ratchet.report.render import (
    diff_hunks,
    fit_texts,
    page_limit,
    page_scripts,
    render_html,
    render_png,
    render_svg,
)

HOSTILE = (
    "</script></style><script>alert(1)</script><img src=x onerror=alert(2)>{{7*7}}{% raw %}"
    '\x1b[31m\x1b]0;title\x07\x00\u202egnp.exe\u2066\u2029\ud800\' onload="x" --> ]]>'
    " <a href='javascript:alert(3)'>https://example.org/x.js</a>"
)


class Page(HTMLParser):
    """Collects tags and attributes, as a browser would see them."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes = set(), []
        self.words = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture(scope="module")
def facts():
    return build_facts(sample.session())


@pytest.fixture(scope="module")
def page(facts):
    return render_html(facts)


@pytest.fixture(scope="module")
def hostile():
    records = sample.session()
    proposals = tuple(
        replace(
            group,
            detail=HOSTILE,
            proposals=tuple(
                replace(
                    p,
                    description=HOSTILE + p.description,
                    hypothesis=HOSTILE,
                    category=HOSTILE,
                    diff="+" + HOSTILE + "\n" + "-" + "x" * 1_000_000 + "\n@@" + HOSTILE,
                )
                for p in group.proposals
            ),
        )
        for group in records.history.proposals
    )
    verdicts = tuple(
        replace(v, rulings=tuple(replace(r, reason=HOSTILE) for r in v.rulings))
        for v in records.history.verdicts
    )
    logs = dict.fromkeys(records.logs, "y" * 1000000 + HOSTILE)
    manifest = replace(
        records.manifest,
        session=HOSTILE,
        task=HOSTILE,
        hardware={HOSTILE: HOSTILE},
        versions={HOSTILE: HOSTILE},
        frozen={"a": {HOSTILE: [HOSTILE]}},
    )
    confirmation = replace(records.history.confirmation, detail=HOSTILE)
    return build_facts(
        sample.changed(
            records,
            manifest=manifest,
            metric=HOSTILE,
            unit=HOSTILE,
            judge={"mode": HOSTILE},
            proposals=proposals,
            verdicts=verdicts,
            logs=logs,
            confirmation=confirmation,
        )
    )


PLOTS = re.compile(r'<script type="application/json" id="plots">([^<]*)</script>')


def without_scripts(page):
    """The page without its own scripts, which must be exactly those that its policy allows."""
    rest, found = PLOTS.subn("", page)
    assert found == 1
    for code in page_scripts():
        block = f"<script>{code}</script>"
        assert rest.count(block) == 1
        rest = rest.replace(block, "")
    return rest


def check_inert(text):
    """Nothing that loads or names a resource, and nothing that runs but the page's own."""
    text = without_scripts(text) if text.startswith("<!doctype") else text
    parsed = Page(text)
    assert not parsed.tags & {"script", "img", "link", "iframe", "object", "embed", "base", "form"}
    for tag, name, value in parsed.attributes:
        assert not name.startswith("on") and name not in ("src", "srcset", "action"), (tag, name)
        if name in ("href", "xlink:href"):
            assert value.startswith("#"), value
        assert "://" not in value or name.startswith("xmlns") or name == "aria-label", (name, value)
        assert not re.search(r"url\((?!#)", value)
    assert "@import" not in text and "url(" not in text.split("</style>")[0]
    return parsed


def test_page_is_complete_and_inert(page):
    parsed = check_inert(page)
    assert "default-src 'none'" in page
    ids = [value for _, name, value in parsed.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    sections = "progress verdicts experiments pareto crashes confirmation noise steering timeline"
    sections += " integrity provenance method program"
    assert set(sections.split()) <= set(ids)
    anchors = {value[1:] for _, name, value in parsed.attributes if name == "href"}
    assert anchors <= set(ids)
    assert "var(--keep)" in page and 'fill="white"' not in page


def test_page_shows_every_digest_and_no_none(page, facts):
    shown = "".join(Page(without_scripts(page)).words)
    for entry in facts["provenance"]["files"]:
        assert entry["sha256"] in shown
    for e in facts["experiments"]:
        assert e["commit"] in shown and all(r["key"] in shown for r in e["runs"])
    assert not re.search(r"\bNone\b|\bnan\b|Undefined", shown)


def test_same_facts_same_bytes(page, facts):
    again = build_facts(sample.session())
    assert render_html(again) == page
    assert render_png(again) == render_png(facts)
    assert render_svg(again) == render_svg(facts)


def test_hostile_text_neither_runs_nor_hides(hostile):
    text = render_html(hostile)
    parsed = check_inert(text)
    assert len(text.encode()) < 2_000_000
    shown = "".join(parsed.words)
    assert "alert(1)" in shown and "{{7*7}}" in shown
    assert "⟨U+202E⟩" in shown and "␀" in shown
    assert not re.search(
        "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", text
    )
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
        check_inert(render_html(facts))
        assert render_png(facts)


def pixels(png):
    """Width, height and the decoded scan lines of a PNG."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", png[16:24])
    place, data = 8, b""
    while place < len(png):
        (length,) = struct.unpack(">I", png[place : place + 4])
        if png[place + 4 : place + 8] == b"IDAT":
            data += png[place + 8 : place + 8 + length]
        place += 12 + length
    return width, height, zlib.decompress(data)


def test_picture_is_wide_and_not_blank(facts):
    width, height, data = pixels(render_png(facts))
    assert width == 1600 and 800 <= height <= 1000
    assert len({data[i : i + 4096] for i in range(0, len(data), 4096)}) > 100


@pytest.mark.parametrize(("count", "limit"), [(200, 2_000_000), (1000, 5_000_000)])
def test_size_with_long_diffs(count, limit):
    records = sample.session(count)
    proposals = tuple(
        replace(g, proposals=tuple(replace(p, diff="+ a < b & c\n" * 3000) for p in g.proposals))
        for g in records.history.proposals
    )
    logs = dict.fromkeys(records.logs, "step <b> & 'c'\n" * 900)
    text = render_html(build_facts(sample.changed(records, proposals=proposals, logs=logs)))
    assert len(text.encode()) < limit
    assert "To keep this page small, these are cut: log tails " in text


def test_near_misses_and_alarms_are_on_the_page():
    records = sample.session()
    ruling = replace(
        records.history.verdicts[5].rulings[0], near_miss=True, pareto="EFFICIENT", pareto_low=0.7,
        pareto_high=0.7, price=-0.01, net_lines=-4,
    )  # fmt: skip
    run = replace(records.history.baseline.runs[0], value=9.5)
    check = Remeasurement(number=0, run=run, expected=3.4, sd=0.1, z=61.0, alarm=True)
    calm = replace(check, z=1.0, alarm=False)
    verdicts = [*records.history.verdicts]
    verdicts[5] = replace(verdicts[5], rulings=(ruling,), remeasured=check)
    verdicts[6] = replace(verdicts[6], remeasured=calm)
    text = render_html(build_facts(sample.changed(records, verdicts=tuple(verdicts))))
    shown = "".join(check_inert(text).words)
    assert text.count('<p class="alarm">') == 1
    assert "before round 6, the baseline was expected at 3.400 ± 0.100 and measured 9.500" in shown
    assert text.count("<small>near miss</small>") == 1
    assert "It was allowed to cost up to 0.0100 (4 code lines less)." in shown
    assert "with a probability of 0.70 nothing kept before" in shown
    assert "round 7: 9.500, expected 3.400 (z = 1.0)" in shown
    assert 'class="alarm"' not in render_html(build_facts(records))


def test_small_sessions_are_not_cut(facts):
    shown, notes = fit_texts(facts, 1_000_000)
    assert shown == facts and notes == []


def test_a_single_class_of_points_is_drawn():
    svg = render_svg(build_facts(sample.session(0)))
    assert svg.count('fill="#3a5da6"') >= 4  # three runs, the legend's symbol


def test_a_page_fits_its_limit_whatever_stands_in_it(hostile):
    assert page_limit(12) == page_limit(200) < 2_000_000 < page_limit(201) + 10_000
    assert page_limit(1000) < 5_000_000
    assert len(render_html(hostile).encode()) <= page_limit(12)


def test_hunks_are_lines_of_one_kind():
    lines = ["--- a", "+++ b", "@@", " x", "-old", "-older", "+new", ""]
    assert diff_hunks(lines) == [
        ("-", "--- a"), ("+", "+++ b"), ("", "@@\n x"), ("-", "-old\n-older"), ("+", "+new"),
        ("", ""),
    ]  # fmt: skip


def test_plots_share_their_rows(page):
    plots = json.loads(PLOTS.search(page)[1])
    wide, narrow = plots["progress"]
    shared = [data["same"] for data in narrow["spec"]["data"] if "same" in data]
    assert shared and all(wide["spec"]["data"][i]["values"] for i in shared)
    assert plots["tips"]["1"].startswith("#1 lr 1e-3 → 3e-3\nSTRONG KEEP")
