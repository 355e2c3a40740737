"""All points together: python total.py DIRECTORY"""

import collections
import pathlib
import sys

found = collections.defaultdict(list)
for path in pathlib.Path(sys.argv[1]).iterdir():
    rate, hits = path.read_text().split()
    found[rate].append(int(hits))
for rate, hits in sorted(found.items()):
    print(rate, len(hits), round(sum(hits) / len(hits) / 10_000, 2))
