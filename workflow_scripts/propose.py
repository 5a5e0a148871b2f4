"""Rule `propose`: what one round tries."""

from ratchet.entry import main
from ratchet.stages import propose

if __name__ == "__main__":
    main(lambda call: propose.run(call.session, call.number, call.limits, call.now))
