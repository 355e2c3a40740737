"""hyperqueue_batch.py COUNT: a HyperQueue server of its own without workers, one job of COUNT tasks; prints JSON."""

import json
import sys
import tempfile
import time

from hyperqueue import Job, LocalCluster


def main() -> None:
    with tempfile.TemporaryDirectory() as directory, LocalCluster(server_dir=f"{directory}/server") as cluster:
        client = cluster.client()
        begin = time.perf_counter()
        job = Job(directory)
        for _ in range(int(sys.argv[1])):
            job.program(["true"], stdout=None, stderr=None)
        built = time.perf_counter()
        client.submit(job)
        end = time.perf_counter()
    print(json.dumps({"build": built - begin, "submit": end - built}), flush=True)


if __name__ == "__main__":
    main()
