"""The page of an audit in a browser, with re-runs and with hostile words in it."""

from __future__ import annotations

import json

import pytest

from ratchet.base.structs import to_json_values
from ratchet.cli.audit import main
from ratchet.logs.rerun_plan import AuditVerdicts, HeldChange, KeptStanding, count_standings
from ratchet.report.audit_report import render_audit

SECTIONS = "gains doubts whole advice reruns noise table-of-changes log method"
HOSTILE = (
    "</script><script>window.owned=1</script><img src=x onerror='window.owned=2'>"
    '<svg onload=window.owned=3>\x1b[31m\u202e {{7*7}} " onmouseover=window.owned=4 x="'
)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("audit")
    lines = ["commit\tval_bpb\tmemory_gb\tstatus\tdescription"]
    for n in range(30):
        status = "keep" if n % 5 == 0 else "discard"
        lines.append(f"{n:07x}\t{1 - n / 9000:.6f}\t40.0\t{status}\t{HOSTILE} wider {n}")
    log, facts = folder / "results.tsv", folder / "facts.json"
    log.write_text("\n".join(lines))
    with pytest.MonkeyPatch.context() as patch, facts.open("w") as stream:
        patch.setattr("sys.stdout", stream)
        assert main(["--results", str(log), "--json"]) == 0
    found = json.loads(facts.read_text())
    lines = [change["line"] for change in found["changes"]]
    measured = [KeptStanding.HOLDS, KeptStanding.FAILS, KeptStanding.UNDECIDED]
    held = (
        *(
            HeldChange(line, "abc", HOSTILE, standing, 3, "", 1e-3, -1e-3, 3e-3, 0.7)
            for line, standing in zip(lines, measured, strict=False)
        ),
        HeldChange(lines[3], "abc", HOSTILE, KeptStanding.NOT_RUN, 3, HOSTILE),
    )
    verdicts = AuditVerdicts(
        "again", HOSTILE, "x", HOSTILE, 5, held, count_standings(held), 12, 4e-4, 8
    )
    written = folder / "audit.html"
    reruns = {**to_json_values(verdicts), "sentence": verdicts.sentence}
    written.write_text(render_audit({**found, "reruns": reruns}))
    return written


@pytest.mark.parametrize(("width", "dark"), [(1200, False), (400, True)])
def test_an_audit_opens_calmly_at_any_width(browser, page, width, dark):
    browser.open(page, width=width, dark=dark)
    for name in SECTIONS.split():
        assert browser.run(f"document.getElementById('{name}').offsetHeight") > 20, name
    assert browser.run("document.documentElement.scrollWidth") == width
    assert "1 of 4 kept changes hold; 1 does not; 1 undecided" in browser.text(".answer")
    # A click on a mark has no row of an experiment to open, and says nothing.
    browser.click("[data-plot=gains] svg path")
    assert browser.run("window.owned") is None
    assert browser.problems == []
    assert browser.requests == [page.resolve().as_uri()]


def test_without_scripts_everything_is_there(browser, page):
    browser.open(page, scripts=False)
    assert browser.run("document.querySelectorAll('.still svg').length") == 8
    assert browser.run("document.querySelectorAll('#changes tbody tr').length") == 5
    assert browser.run("window.owned") is None
