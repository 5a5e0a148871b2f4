"""Rule `limits`: start the clock."""

from ratchet.entry import Call, main

if __name__ == "__main__":
    main(Call.start_limits)
