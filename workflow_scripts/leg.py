"""Rule `leg`: a competitor's share of one round of the tournament."""

from ratchet.entry import Call, main
from ratchet.stages import leg


def run(call: Call) -> None:
    leg.run(call.arena, call.number, call.candidate, call.limits_file, lambda: call.now)


if __name__ == "__main__":
    main(run)
