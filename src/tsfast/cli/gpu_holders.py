"""The lease file of a GPU and the holder of the lease; see docs/gpus.md. Locks nothing."""

import os

from tsfast.resources.leases import lease_paths


def find(uuid: str, bus: str, mig: bool, lease_dir: str | None) -> str | None:
    """The lease file; None if none can be read. `lease_dir` is TS_LEASE_DIR."""
    for path in lease_paths(uuid.encode(), bus.encode(), mig, os.fsencode(lease_dir or "")):
        if os.access(path, os.R_OK):
            return os.fsdecode(path)
    return None


def held() -> dict[tuple[int, int, int], int]:
    """All exclusive flocks of the machine: major, minor and inode of the file -> pid that took the lock."""
    found = {}
    try:
        with open("/proc/locks") as file:
            for line in file:
                fields = line.split()
                if fields[1:4] == ["FLOCK", "ADVISORY", "WRITE"]:  # one that waits has an arrow there
                    major, minor, inode = fields[5].split(":")
                    found[int(major, 16), int(minor, 16), int(inode)] = int(fields[4])
    except OSError:
        pass  # hidden, so unknown
    return found


def holder(path: str, locks: dict[tuple[int, int, int], int]) -> int | None:
    """The pid that took the lease, which may have ended since; None if it is free."""
    try:
        about = os.stat(path)
    except OSError:
        return None
    return locks.get((os.major(about.st_dev), os.minor(about.st_dev), about.st_ino))
