"""What the report says of one experiment or check beyond its numbers."""

from __future__ import annotations

from ratchet.history import name_of
from ratchet.report.inputs import Facts
from ratchet.report.text import number, plural


def remarks(experiment: Facts, decimals: int) -> list[str]:
    """Sentences on price, memory, near misses and second tries; often none."""
    e = experiment
    said = []
    if e["retry_of"] is not None:
        said.append(f"The edit of experiment {e['retry_of']}, tried again on another incumbent.")
    if e["near_miss"]:
        later = f"; tried again as experiment {e['retried_as']}" if e["retried_as"] else ""
        said.append(
            f"Near miss: probably better, but another candidate of its round was kept{later}."
        )
    if e["quarantined"]:
        said.append(
            "Quarantined: larger than everything seen before, so a fresh run had to confirm it."
        )
    if (e["changes"] or 0) > 1:
        said.append(
            f"It changes {e['changes']} constants or definitions at once, so its effect cannot "
            "be attributed to one of them."
        )
    said += [f"Noticed in the edit: {note}." for note in e["notes"]]
    if e["price"]:
        said.append(_price(e, decimals))
    if e["pareto"]:
        low, high = e["pareto_low"], e["pareto_high"]
        chance = f"{low:.2f}" if f"{low:.2f}" == f"{high:.2f}" else f"{low:.2f} to {high:.2f}"
        said.append(
            f"{e['pareto']} in metric and memory: with a probability of {chance} nothing kept "
            "before is better without needing more memory."
        )
    return said


def _price(e: Facts, decimals: int) -> str:
    amount = number(abs(e["price"]), decimals + 1)
    causes = []
    if e["net_lines"]:
        kind = "more" if e["net_lines"] > 0 else "less"
        causes.append(f"{plural(abs(e['net_lines']), 'code line')} {kind}")
    if e["memory_ratio"] is not None:
        causes.append(f"{e['memory_ratio']:.2f} times the memory")
    why = f" ({', '.join(causes)})" if causes else ""
    if e["price"] > 0:
        return f"For a keep it had to be better by more than {amount}{why}."
    return f"It was allowed to cost up to {amount}{why}."


def alarm(check: Facts, decimals: int) -> str:
    """The sentence for a re-measurement that raised the alarm."""
    expected, value = number(check["expected"], decimals), number(check["value"], decimals)
    name = name_of(check["number"])
    return (
        f"The incumbent moved: before round {check['round']}, {name} was expected at {expected} ± "
        f"{number(check['sd'], decimals)} and measured {value} (z = {number(check['z'], 1)}). The "
        "machine or the data may have changed."
    )
