"""The users of the processes that NVML names by their pids."""

import os

# The inode of the machine's own pid namespace (PROC_PID_INIT_INO of linux/proc_ns.h).
MACHINE = 0xEFFFFFFC


def owner(pid: int) -> int | None:
    """The uid of a process; None if it is hidden."""
    try:
        return os.stat(f"/proc/{pid}").st_uid
    except OSError:
        return None


def pids_are_our_own() -> bool:
    """Whether /proc shows a pid namespace of our own, as in a container. NVML names processes by the machine's pids,
    which mean nothing there.

    In such a namespace but with the /proc of the one around it, our process has a pid in both (NSpid), and those of
    NVML can be looked up.
    """
    try:
        if os.stat("/proc/self/ns/pid").st_ino == MACHINE:
            return False
        with open("/proc/self/status") as file:
            pids = next((line.split()[1:] for line in file if line.startswith("NSpid:")), [])
    except OSError:
        return False
    return len(pids) <= 1
