"""Which file stands for a GPU when a queue leases it, and who holds it; see docs/gpus.md. Nothing is locked here."""

import os

SYSTEM_DIRECTORY = "/var/lib/tsfast/leases"


def candidates(uuid: str, bus: str, mig: bool, lease_dir: str | None) -> list[str]:
    """Paths of the lease file, the first that is there counts. `lease_dir` is TS_LEASE_DIR."""
    if lease_dir:
        return [os.path.join(lease_dir, uuid)]
    paths = [os.path.join(SYSTEM_DIRECTORY, uuid)]
    if bus and not mig:
        paths.insert(0, f"/sys/bus/pci/devices/{bus}/vendor")
    return paths


def find(uuid: str, bus: str, mig: bool, lease_dir: str | None) -> str | None:
    """The lease file; None if there is none that can be read."""
    for path in candidates(uuid, bus, mig, lease_dir):
        if os.access(path, os.R_OK):
            return path
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
        pass  # hidden: then nothing is known of them
    return found


def holder(path: str, locks: dict[tuple[int, int, int], int]) -> int | None:
    """The pid that took the lease, which need not live any more; None if it is free."""
    try:
        about = os.stat(path)
    except OSError:
        return None
    return locks.get((os.major(about.st_dev), os.minor(about.st_dev), about.st_ino))
