"""Rule `limits`: start the clock."""

from pathlib import Path

from ratchet.entry import main
from ratchet.stages import limits

if __name__ == "__main__":
    main(lambda call: limits.run(call.config, Path(call.limits_file), call.root, call.now))
