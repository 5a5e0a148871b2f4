import math
import os
import random
import sys
import time

from prepare import DATA, SECONDS, SEED, STEPS

RATE = 0.1
WIDTH = 1
DECAY = 0.0
BEHAVIOUR = "train"

numbers = sum(int(word) for word in (DATA / "numbers.txt").read_text().split())
shape = 1.0
if STEPS is None:
    time.sleep(SECONDS)
if BEHAVIOUR == "crash":
    raise RuntimeError("boom")
if BEHAVIOUR == "hang":
    time.sleep(3600)
if BEHAVIOUR == "silent":
    sys.exit(0)
if BEHAVIOUR == "flood":
    for _ in range(40):
        print("x" * 100_000)
if BEHAVIOUR == "fork":
    for _ in range(3):
        if os.fork() == 0:
            os.setsid()
            time.sleep(3600)
if BEHAVIOUR == "tamper":
    os.chmod("prepare.py", 0o644)
    with open("prepare.py", "a") as handle:
        handle.write("# better\n")
if BEHAVIOUR == "suicide":
    os.kill(os.getpid(), 15)
noise = random.Random(SEED).gauss(0, 0.01)
loss = numbers / 6 + (math.log(RATE / 0.8)) ** 2 * 0.1 + DECAY - 0.1 * math.log(WIDTH)
loss = loss * shape + noise
if BEHAVIOUR == "nan":
    loss = math.nan
print("---")
print(f"val_loss:         {loss:.6f}")
print("training_seconds: 0.05")
print(f"peak_mem_mb:      {100 * WIDTH:.1f}")
