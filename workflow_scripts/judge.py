"""Rule `judge`: verdicts of one round, retests included."""

from ratchet.entry import main
from ratchet.stages import judge

if __name__ == "__main__":
    main(lambda call: judge.run(call.session, call.number))
