"""Every limit of the server in one place. Sizes in bytes, times in nanoseconds unless the name says otherwise."""

cdef enum:
    EVENTS_PER_TURN = 256          # epoll events taken in one turn of the loop
    TIMERS_MAX = 24                # timers of the loop
    LISTEN_BACKLOG = 4096
    READ_CHUNK = 65536             # one recv
    ANSWER_MAX = 8 << 20           # longest list that the server writes itself; longer ones go through the table
    LIST_ROWS_MAX = 2000           # likewise, in rows
    TOKENS_KEPT = 16384            # newest submissions whose token still answers a repeated call (a power of two)
    CONTEXTS_CACHED = 8            # base contexts kept in memory to compute differences against
    DIFF_MAX = 4096                # longest difference to a base context; beyond that a new base is made
    PATH_BYTES = 4096              # longest path that the kernel takes, with its NUL
    READER_TRIES = 5               # a reader may meet a record while the server writes it
    BLOB_MAX = 16 << 20            # longest blob of one job
    MAX_FINISHED_DEFAULT = 1000
    PROGRESS_MS = 500              # between two progress lines of -w
    CANCEL_POLL_MS = 500           # how often cancelled jobs that still run are looked at
    SPAWN_RETRY_MS = 200           # after the system refused a process
    JOURNAL_IDLE_MS = 1000         # what nobody waits for is synced by then
    RECORD_RETRY_MS = 1000         # after the disk refused an outcome
    ACCEPT_RETRY_MS = 200          # after the system refused a caller's descriptor and no caller leaves one
    REBIND_RETRY_MS = 1000         # after the socket's name could not be restored
    ADOPTED_POLL_MS = 50           # how often adopted runners are looked at where the kernel has no pidfd
    HOOKS_MAX = 16                 # programs of TS_ONFINISH and mails that run at once
    HOOK_RETRY_MS = 1000           # after one died before it was executed, or the system refused a process
    HOOK_WORD_MAX = 120000         # bytes of one argument of theirs; the kernel takes 128 KiB
    GPU_FRESH_MS = 3000            # what the poller said counts as long as it was heard in this time
    GPU_INIT_TIMES = 6             # TS_GPU_TIMEOUT while NVML is initialised: seconds for each GPU that has to wake up
    GPU_SUSPECT_TIMES = 6          # TS_GPU_TIMEOUT: so long a device is left out that did not answer
    GPU_RETRY_MS = 1000            # after that process failed as a whole; doubled each time, up to
    GPU_RETRY_MAX_MS = 60000
    ENV_TEXT_MAX = 65536           # what is kept of the output of TS_ENV's command
    FOREGROUND_GRACE_MS = 10000    # after a restart, how long a queued -f job waits for its caller to come back
    BATCH_JOBS = 4096              # jobs that a program sends in one frame
    BATCH_BYTES = 1 << 20          # likewise, bytes: from there on the next job goes into the next frame
