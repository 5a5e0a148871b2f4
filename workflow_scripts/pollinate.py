"""Rule `pollinate`: what competitors are offered after a round of the tournament."""

from ratchet.entry import main
from ratchet.stages import pollinate

if __name__ == "__main__":
    main(lambda call: pollinate.run(call.arena, call.number))
