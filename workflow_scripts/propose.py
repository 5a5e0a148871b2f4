"""Rule `propose`: what one round tries."""

from ratchet.entry import Call, main
from ratchet.stages import skipping


def run(call: Call) -> None:
    if skipping.proposals(call.paths, call.number, call.limits, call.now, call.journal):
        return
    from ratchet.stages import propose  # not needed for a round that is skipped

    propose.run(call.session, call.number)


if __name__ == "__main__":
    main(run)
