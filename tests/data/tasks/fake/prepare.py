import os
import sys
from pathlib import Path

SEED = int(os.environ.get("RATCHET_SEED", "1"))
STEPS = os.environ.get("RATCHET_BUDGET_STEPS")
SECONDS = float(os.environ.get("RATCHET_BUDGET_SECONDS", "0.05"))
DATA = Path(os.environ.get("RATCHET_DATA", "data"))

if __name__ == "__main__":
    out = Path(sys.argv[1])
    (out / "numbers.txt").write_text("1 2 3\n")
    (out / "audit.txt").write_text("4 5 6\n")
