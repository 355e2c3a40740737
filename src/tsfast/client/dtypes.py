"""What `Reader.snapshot()` fills: a row of a numpy array for each job.

Fields may be added at the end of a later version; those that are there keep their names and types. Times are
nanoseconds, of CLOCK_REALTIME but for `duration_ns`. 0 means that there is none (yet), but for `exit_code`, where it is
-1.
"""

import numpy

JOB_DTYPE = numpy.dtype(
    [
        ("id", "u8"),
        ("enqueue_ns", "u8"),
        ("start_ns", "u8"),
        ("duration_ns", "u8"),  # once it has ended
        ("order", "u8"),  # place in the queue; once it has ended: in the order of ending
        ("vram", "u8"),  # bytes of each GPU's memory
        ("utime_ms", "u4"),  # of the job's own process, once it has ended; 2**32 - 1: that or more
        ("stime_ms", "u4"),
        ("maxrss_kb", "u4"),
        ("slots", "u4"),
        ("gpus", "u4"),
        ("flags", "u4"),  # enum tsf_job_flag of native/table.h
        ("batch_index", "u4"),
        ("batch_count", "u4"),
        ("status", "i4"),  # as from wait(2)
        ("exit_code", "i4"),  # 0 to 255
        ("pid", "i4"),
        ("attempt", "u2"),  # which start it is in, or was the last one
        ("gpu_share", "u2"),  # thousandths of each GPU
        ("stage", "u2"),  # not startable: enum tsf_stage
        ("cause", "u2"),  # not startable: errno; lost: enum tsf_loss
        ("state", "u1"),  # a constant of tsfast.client.reader
        ("signal", "u1"),  # that ended it
        ("notes", "u1"),  # enum tsf_note
        ("end", "u1"),  # enum tsf_end: how it has ended
    ],
    align=True,  # as struct JobRow of reader.pxd
)
