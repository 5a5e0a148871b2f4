"""Rule `retest`: a round's retests, before the rule that asks for them."""

from ratchet.entry import main
from ratchet.stages import ahead

if __name__ == "__main__":
    main(lambda call: ahead.retests(call.session, call.number))
