"""Rule `replicate`: one run of the baseline, before the rule that asks for it."""

from ratchet.entry import main
from ratchet.stages import ahead

if __name__ == "__main__":
    main(lambda call: ahead.replicate(call.session, call.candidate))
