"""Rule `champion`: the tournament's best beside the common baseline, with fresh seeds."""

from ratchet.entry import main
from ratchet.stages import champion

if __name__ == "__main__":
    main(lambda call: champion.run(call.arena))
