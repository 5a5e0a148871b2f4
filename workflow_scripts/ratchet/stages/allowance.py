"""How much more an agent may be asked: failures in a row, tokens, dollars."""

from __future__ import annotations

from collections.abc import Sequence

from ratchet.config import Config
from ratchet.proposers.usage import Usage
from ratchet.records import AgentCall, Proposals, StopReason

Stop = tuple[StopReason, str]


def stop(config: Config, rounds: Sequence[Proposals], calls: Sequence[AgentCall]) -> Stop | None:
    """Why the agent is not to be asked, with a sentence; ``None`` to go on.

    ``rounds`` are all before this one, ``calls`` those of this one so far.
    """
    return _failed(config, rounds, calls) or spent(config, rounds, calls)


def _failed(config: Config, rounds: Sequence[Proposals], calls: Sequence[AgentCall]) -> Stop | None:
    if failures(config, rounds, calls) < config.agent_failures:
        return None
    last = _all(rounds, calls)[-1]
    most = config.agent_failures
    times = "a proposal" if most == 1 else f"{most} proposals in a row"
    return (
        StopReason.AGENT_FAILURES,
        f"{times} of the agent {last.agent} failed, the last because {last.reason}; look at its "
        "logs, correct what is wrong, and raise `leg` to go on",
    )


def failures(config: Config, rounds: Sequence[Proposals], calls: Sequence[AgentCall]) -> int:
    """Failed proposals in a row up to now, as long as the limits are those of now.

    Rounds without a call (they tried near misses again) neither count nor end
    the row.
    """
    now = Proposals(0, calls=tuple(calls), limits=config.limits_token)
    count = 0
    for made in (now, *reversed(rounds)):
        if made.calls and made.limits != config.limits_token:
            return count
        for filled in reversed(made.slots.values()):
            if filled:
                return count
            count += 1
    return count


def spent(config: Config, rounds: Sequence[Proposals], calls: Sequence[AgentCall]) -> Stop | None:
    """Whether a cap on tokens or dollars is reached, or cannot be kept."""
    used = Usage()
    for call in _all(rounds, calls):
        used += Usage(call.tokens, call.dollars)
    for key, unit, cap, found in (
        ("agent_tokens", "tokens", config.agent_tokens, used.tokens),
        ("agent_dollars", "dollars", config.agent_dollars, used.dollars),
    ):
        if cap is None:
            continue
        if found is not None and found >= cap:
            return (
                StopReason.AGENT_BUDGET,
                f"the agent has used {found:g} {unit} of the {cap:g} that {key} allows; raise it "
                "to go on",
            )
        # One that was stopped or never began may have had nothing to report.
        own = [call for call in _all(rounds, calls) if call.agent == config.proposer]
        if found is None and any(call.exit_code == 0 for call in own):
            return (
                StopReason.AGENT_BUDGET,
                f"{key} is set, but the agent's output names no {unit}, so that the limit cannot "
                "be kept; set it to null to go on without",
            )
    return None


def _all(rounds: Sequence[Proposals], calls: Sequence[AgentCall]) -> list[AgentCall]:
    return [*(call for made in rounds for call in made.calls), *calls]
