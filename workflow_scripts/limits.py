"""Rule `limits`: start the clock."""

from ratchet.entry import main
from ratchet.stages import limits

if __name__ == "__main__":
    main(lambda call: limits.run(call.config, call.root, call.now))
