"""Rule `report`: the session for people and tools."""

from ratchet.entry import main
from ratchet.report import publish

if __name__ == "__main__":
    main(lambda call: publish.run(call.session))
