"""Rule `steer`: what the next round starts from."""

from ratchet.entry import Call, main
from ratchet.stages import skipping


def run(call: Call) -> None:
    if skipping.steer(call.paths, call.number):
        return
    from ratchet.stages import steer  # not needed for a round that is skipped

    steer.run(call.session, call.number)


if __name__ == "__main__":
    main(run)
