"""Rule `experiment`: the first run of one candidate; on a cluster's node those after it too."""

from ratchet.entry import Call, main
from ratchet.stages import skipping


def run(call: Call) -> None:
    where = call.paths, call.number, call.candidate
    if not skipping.experiment(*where, call.limits, call.now, call.journal, lambda: recall(call)):
        from ratchet.stages import experiment  # not needed for a round that is skipped

        experiment.run(call.session, call.number, call.candidate)
    if call.judge_follows:
        from ratchet.stages import ahead

        ahead.retests(call.session, call.number)


def recall(call: Call) -> bool:
    """Whether the store has the experiment, which is then written again."""
    from ratchet.stages import experiment

    return experiment.recall(call.session, call.number, call.candidate)


if __name__ == "__main__":
    main(run)
