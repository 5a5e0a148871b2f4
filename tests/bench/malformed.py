"""Malformed files, by the thousand, through all that reads candidates' files::

    PYTHONPATH=tests .venv-dev/bin/python tests/bench/malformed.py --count 5000

Prints how many were read, refused and run otherwise than they read, the slowest, and every
exception with the file that raised it; the exit code is 1 if there is any.
"""

import argparse
import sys
import time
import traceback
from collections import Counter

from helpers import BYTELM, FAKE, load_task
from helpers.malformed import mutants, read_everywhere

SETTINGS = {
    "c.yaml": b"lr: 1e-3\nmodel: {size: 3, a: [1, 2]}\na: 4\n",
    "c.json": b'{"lr": 0.1, "model": {"size": 3}, "a": 2}\n',
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=5000, help="files of Python")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    count, seed = options.count, options.seed
    tasks = [(FAKE, count - count // 10), (BYTELM, count // 10)]
    jobs = [("train.py", (t / "train.py").read_bytes(), t, n) for t, n in tasks]
    jobs += [(name, base, None, count // 10) for name, base in SETTINGS.items()]
    outcomes, slowest, broken = Counter[str](), (0.0, b""), 0
    for name, base, task, number in jobs:
        space = () if task is None else tuple(load_task(task).search_space)
        for place, data in enumerate(mutants(base, number, seed, task is None)):
            began = time.process_time()
            new = data.decode("utf-8", errors="surrogateescape")
            try:
                found = read_everywhere(name, base.decode(), new, space, place % 50 == 0)
            except Exception:
                broken += 1
                print(f"{name}: {data!r:.500}\n{traceback.format_exc()}")
                continue
            kind = "unreadable" if found.unreadable else "refused" if found.refused else "read"
            outcomes[kind] += 1
            slowest = max(slowest, (time.process_time() - began, data))
    print(f"{dict(outcomes)}; {broken} exceptions")
    print(f"slowest: {slowest[0]:.2f} s of processor time, {slowest[1][-80:]!r}")
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
