import pathlib
import sys

import tsfast

pathlib.Path("points").mkdir(exist_ok=True)
jobs = [
    tsfast.Job([sys.executable, "point.py", rate, str(seed)], output=f"points/{rate}-{seed}", truncate=True)
    for rate in ("0.1", "0.2", "0.5")
    for seed in range(20)
]
every = [f"@{place}" for place in range(len(jobs))]  # of this batch
jobs.append(tsfast.Job([sys.executable, "total.py", "points"], after_ok=every, label="total"))
with tsfast.Queue() as queue:
    *_, total = queue.submit_many(jobs)
    [result] = queue.wait(total)
    if not result.ok:
        sys.exit(f"the total is {result.state}: see ts --why {total}")
    print(pathlib.Path(queue.output_path(total)).read_text(), end="")
