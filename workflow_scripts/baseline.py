"""Rule `baseline`: replicates of the unchanged source."""

from ratchet.entry import main
from ratchet.stages import baseline

if __name__ == "__main__":
    main(lambda call: baseline.run(call.session))
