"""One point of the sweep: python point.py RATE SEED"""

import random
import sys

rate, seed = float(sys.argv[1]), int(sys.argv[2])
draw = random.Random(seed)
print(rate, sum(draw.random() < rate for _ in range(10_000)))
