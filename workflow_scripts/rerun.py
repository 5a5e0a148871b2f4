"""Rule `rerun`: one code's run of one turn of an audit."""

from ratchet.entry import main
from ratchet.stages import rerun

if __name__ == "__main__":
    main(lambda call: rerun.run(call.session, call.number, call.candidate))
