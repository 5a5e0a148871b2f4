"""Rule `experiment`: the first run of one candidate."""

from ratchet.entry import main
from ratchet.stages import experiment

if __name__ == "__main__":
    main(
        lambda call: experiment.run(
            call.session, call.number, call.candidate, call.limits, call.now
        )
    )
