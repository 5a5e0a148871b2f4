"""The page of a log that Ratchet did not write, in a browser, with hostile words in it."""

from __future__ import annotations

import pytest

from ratchet.cli.report import main

SECTIONS = "progress verdicts experiments pareto crashes noise steering log method"
HOSTILE = (
    "</script><script>window.owned=1</script><img src=x onerror='window.owned=2'>"
    '<svg onload=window.owned=3>\x1b[31m\u202e {{7*7}} " onmouseover=window.owned=4 x="'
)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("log")
    lines = ["commit\tval_bpb\tmemory_gb\tstatus\tdescription"]
    for n in range(30):
        status = "keep" if n % 5 == 0 else "discard"
        lines.append(f"{n:07x}\t{1 - n / 1000:.6f}\t{40 + n % 3}\t{status}\t{HOSTILE} wider {n}")
    lines.append(f"abcdef0\t0.000000\t0.0\tcrash\t{HOSTILE}")
    log, run = folder / "results.tsv", folder / "run.log"
    log.write_text("\n".join(lines))
    run.write_text(f"{HOSTILE}\nval_bpb: 0.980000\n")
    written = folder / "report.html"
    given = ["--results", str(log), "--run-log", str(run), "-o", str(written)]
    assert main(given) == 0
    return written


@pytest.mark.parametrize(("width", "dark"), [(1200, False), (400, True)])
def test_a_log_opens_calmly_at_any_width(browser, page, width, dark):
    browser.open(page, width=width, dark=dark)
    for name in SECTIONS.split():
        assert browser.run(f"document.getElementById('{name}').offsetHeight") > 20, name
    assert browser.run("document.documentElement.scrollWidth") == width
    assert browser.run("window.owned") is None
    assert browser.problems == []
    assert browser.requests == [page.resolve().as_uri()]


def test_a_row_of_a_log_opens_and_is_filtered(browser, page):
    browser.open(page)
    browser.click("#e21 .open")
    shown = browser.text("#e21 + tr .inside")
    assert "Line 22 of the log, logged as keep" in shown and "val_bpb: 0.980000" in shown
    browser.run(
        "(() => { const s = document.getElementById('filter-verdict'); s.value = 'baseline';"
        "s.dispatchEvent(new Event('change')); })()"
    )
    browser.until("document.querySelectorAll('#table tbody tr[id]').length === 1")
    assert browser.run("window.owned") is None
    assert browser.problems == []
    browser.open(page, scripts=False)
    assert "Line 22 of the log, logged as keep" in browser.run("document.body.textContent")
