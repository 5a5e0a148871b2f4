"""Rule `steer`: what the next round starts from."""

from ratchet.entry import main
from ratchet.stages import steer

if __name__ == "__main__":
    main(lambda call: steer.run(call.session, call.number))
