"""Rule `audited`: every change judged by its fresh runs, for people and tools."""

from ratchet.entry import main
from ratchet.report import audited

if __name__ == "__main__":
    main(lambda call: audited.run(call.session))
