"""What the edits are truly worth: mean and sd of the accuracy over seeds of its own.

python prepare.py && python measure.py 30
"""

import itertools
import sys

import numpy as np
import train

EDITS = ("MICRONS", "DECADES", "UNSIGNED", "DIFFERENCES")


def main(seeds):
    table = train.prepare.load()
    train.prepare.load = lambda: table  # read once
    alone = [(), *((edit,) for edit in EDITS)]
    together = [EDITS[:count] for count in range(2, len(EDITS) + 1)]
    for chosen in itertools.chain(alone, together):
        for edit in EDITS:
            setattr(train, edit, edit in chosen)
        values = [train.train(10_000 + seed, 40) for seed in range(seeds)]
        name = " + ".join(chosen) or "as it is"
        print(f"| {name} | {np.mean(values):.3f} ± {np.std(values, ddof=1):.3f} |", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
