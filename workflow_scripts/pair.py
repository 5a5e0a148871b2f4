"""Rule `pair`: one pair of the confirmation, before the rule that asks for it."""

from ratchet.entry import main
from ratchet.stages import ahead

if __name__ == "__main__":
    main(lambda call: ahead.pair(call.session, call.candidate))
