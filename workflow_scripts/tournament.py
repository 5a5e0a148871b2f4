"""Rule `tournament`: the tournament for people and tools."""

from ratchet.entry import main
from ratchet.report import evolve

if __name__ == "__main__":
    main(lambda call: evolve.run(call.arena))
