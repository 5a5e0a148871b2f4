"""Pages of a log that Ratchet did not write, and of its audit, with hostile words in them."""

import json

import pytest

from helpers import chromium
from ratchet.base.structs import to_json_values
from ratchet.cli import audit, report
from ratchet.logs.rerun_plan import AuditVerdicts, HeldChange, KeptStanding, count_standings
from ratchet.report.audit_report import render_audit

# Logs with zero bytes are refused.
HOSTILE = chromium.HOSTILE.replace("\0", "")
SECTIONS = {
    "log": "progress verdicts experiments pareto crashes noise steering log method",
    "audit": "gains doubts advice reruns noise table-of-changes log method",
}


def write_log(folder, slope, memory, *more):
    lines = ["commit\tval_bpb\tmemory_gb\tstatus\tdescription"]
    for n in range(30):
        status = "keep" if n % 5 == 0 else "discard"
        gb = memory[n % len(memory)]
        lines.append(f"{n:07x}\t{1 - n / slope:.6f}\t{gb}\t{status}\t{HOSTILE} wider {n}")
    log = folder / "results.tsv"
    log.write_text("\n".join([*lines, *more]))
    return log


@pytest.fixture(scope="module")
def log_page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("log")
    log, run, written = (folder / name for name in ("results.tsv", "run.log", "report.html"))
    write_log(folder, 1000, (40, 41, 42), f"abcdef0\t0.000000\t0.0\tcrash\t{HOSTILE}")
    run.write_text(f"{HOSTILE}\nval_bpb: 0.980000\n")
    given = ["--results", str(log), "--run-log", str(run), "-o", str(written)]
    assert report.main(given) == 0
    return written


@pytest.fixture(scope="module")
def audit_page(tmp_path_factory):
    """With re-runs, of which all can end differently."""
    folder = tmp_path_factory.mktemp("audit")
    log, facts = write_log(folder, 9000, ("40.0",)), folder / "facts.json"
    with pytest.MonkeyPatch.context() as patch, facts.open("w") as stream:
        patch.setattr("sys.stdout", stream)
        assert audit.main(["--results", str(log), "--json"]) == 0
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
    counts = count_standings(held)
    verdicts = AuditVerdicts("again", HOSTILE, "x", HOSTILE, 5, held, counts, 12, 4e-4, 8)
    reruns = {**to_json_values(verdicts), "sentence": verdicts.sentence}
    written = folder / "audit.html"
    written.write_text(render_audit({**found, "reruns": reruns}))
    return written


@pytest.mark.parametrize(("width", "dark"), [(1200, False), (400, True)])
@pytest.mark.parametrize("kind", SECTIONS)
def test_a_page_opens_calmly_at_any_width(browser, request, kind, width, dark):
    page = request.getfixturevalue(f"{kind}_page")
    browser.open(page, width=width, dark=dark)
    for name in SECTIONS[kind].split():
        assert browser.run(f"document.getElementById('{name}').offsetHeight") > 20, name
    assert browser.run("document.documentElement.scrollWidth") == width
    browser.unfold()
    assert browser.run(chromium.TANGLED) == []
    boxes = "[...document.querySelectorAll('.box')].filter(e => !e.closest('#log'))"
    assert browser.run(f"{boxes}.every(e => e.scrollWidth <= e.clientWidth)")
    if kind == "audit":
        assert "1 of 4 kept changes hold; 1 does not; 1 undecided" in browser.text(".answer")
        # A click on a mark has no row of an experiment to open, and says nothing.
        browser.click("[data-plot=gains] svg path")


def test_a_row_of_a_log_opens_and_is_filtered(browser, log_page):
    browser.open(log_page)
    browser.click("#e20 .open")
    shown = browser.text("#e20 + tr .inside")
    assert "Line 22 of the log, logged as keep" in shown and "val_bpb: 0.980000" in shown
    browser.choose("filter-verdict", "s.value = 'baseline'")
    browser.until("document.querySelectorAll('#table tbody tr[id]').length === 1")
    browser.open(log_page, scripts=False)
    assert "Line 22 of the log, logged as keep" in browser.run("document.body.textContent")


def test_without_scripts_everything_of_an_audit_is_there(browser, audit_page):
    browser.open(audit_page, scripts=False)
    assert browser.run("document.querySelectorAll('.still svg').length") == 4
    assert browser.run("document.querySelectorAll('#changes tbody tr').length") == 5
