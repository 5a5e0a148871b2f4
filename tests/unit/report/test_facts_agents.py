"""The agent's calls as the report shows them."""

from __future__ import annotations

from helpers import report_records as sample
from ratchet.base.structs import replace
from ratchet.records.records import AgentCall, CallOutcome
from ratchet.report.facts import LOGS, WORDS, agent_calls, build_facts
from ratchet.report.render import render_html


def with_calls(*calls: AgentCall, logs: dict[str, str] | None = None):
    records = sample.session()
    first = replace(records.history.proposals[0], calls=calls)
    return sample.changed(
        records, proposals=(first, *records.history.proposals[1:]), agent_logs=logs or {}
    )


def call(outcome: CallOutcome, slot: int = 0, attempt: int = 1, **more: object) -> AgentCall:
    return AgentCall(slot, attempt, "codex", outcome, **more)  # type: ignore[arg-type]


def test_every_failure_has_words() -> None:
    assert set(WORDS) == set(CallOutcome) - {CallOutcome.PROPOSED}


def test_a_session_without_agents_says_nothing_of_them() -> None:
    facts = build_facts(sample.session())
    assert facts["agents"] is None
    assert "Failed proposals" not in render_html(facts)


def test_what_was_sent_back_is_told_from_what_failed() -> None:
    found = agent_calls(
        with_calls(
            call(CallOutcome.TIMEOUT, reason="too long", log="a", tokens=10),
            call(CallOutcome.PROPOSED, attempt=2, experiment=1, tokens=5, dollars=0.5),
            call(CallOutcome.DUPLICATE, slot=1, reason="again"),
            call(CallOutcome.EMPTY, slot=1, attempt=2, reason="nothing"),
            logs={"a": "x\n" * 5000},
        )
    )
    assert found is not None
    assert (found["calls"], found["proposals"], found["failed"]) == (4, 1, 1)
    assert (found["tokens"], found["dollars"], found["silent"]) == (15, 0.5, 2)
    rows = [(r["outcome"], r["sent_back"], r["experiment"]) for r in found["refusals"]]
    assert rows == [
        ("too slow", True, 1),
        ("duplicate", True, None),
        ("empty diff", False, None),
    ]
    assert found["refusals"][0]["log_tail"].startswith("[cut: only the end")
    assert found["refusals"][1]["log_tail"] is None


def test_hostile_reasons_and_logs_are_text_on_the_page() -> None:
    bad = "</pre><script>alert(1)</script>\x1b[31m\u202e"
    records = with_calls(call(CallOutcome.FORBIDDEN, reason=bad, log="a"), logs={"a": bad})
    page = render_html(build_facts(records))
    assert "Failed proposals" in page
    assert "<script>alert" not in page
    assert "&lt;script&gt;" in page
    assert "\u202e" not in page
    assert "\x1b" not in page


def test_the_logs_of_many_failures_do_not_fill_the_page() -> None:
    many = [call(CallOutcome.EMPTY, slot=n, reason="r", log="a") for n in range(LOGS + 5)]
    found = agent_calls(with_calls(*many, logs={"a": "said"}))
    assert found is not None
    shown = [r["log_tail"] for r in found["refusals"]]
    assert shown == [None] * 5 + ["said"] * LOGS
