"""Rule `judge`: verdicts of one round, retests included."""

from ratchet.entry import Call, main
from ratchet.stages import skipping


def run(call: Call) -> None:
    if skipping.judge(call.paths, call.number, call.config.candidates):
        return
    from ratchet.stages import judge  # not needed for a round that is skipped

    judge.run(call.session, call.number)


if __name__ == "__main__":
    main(run)
