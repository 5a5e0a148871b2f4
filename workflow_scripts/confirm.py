"""Rule `confirm`: champion and baseline with fresh seeds."""

from ratchet.entry import main
from ratchet.stages import confirm

if __name__ == "__main__":
    main(lambda call: confirm.run(call.session))
