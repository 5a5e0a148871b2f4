"""Rule `prepare`: hash the inputs, prepare the data, freeze the manifest."""

from ratchet.entry import main
from ratchet.stages import prepare

if __name__ == "__main__":
    main(lambda call: prepare.run(call.config, call.task, call.root, call.harness, call.journal))
