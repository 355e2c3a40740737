"""The journal of TS_DURABLE=1: whatever is written to the table is also appended here, and synced in groups.

What a caller or a runner is to see goes out when all that was written before it is on the disk: each remembers `end`
as it was then, and waits for `synced` to reach it. What destroys something that a lost group would need again (storage
that is given back, wiped secrets, unlinked contexts) is deferred likewise. After a loss of power replay() writes the
table anew. Layout: native/journal.h; the thread that syncs: native/syncer.h.
"""
from libc.stddef cimport size_t
from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t

from tsfast.base.loop cimport Loop, Source

cdef extern from "tsfast/native/syncer.h" nogil:
    enum:
        TSF_JOURNAL_BYTES
        TSF_JOURNAL_BOOT_ID
        TSF_JOURNAL_FORMAT
        TSF_JOURNAL_RECORD
    const uint64_t TSF_JOURNAL_MAGIC

    cdef enum tsf_journal_kind:
        TSF_JOURNAL_HEADER
        TSF_JOURNAL_SEGMENT
        TSF_JOURNAL_BLOB
        TSF_JOURNAL_CONTEXT
        TSF_JOURNAL_DROP

    cdef struct tsf_journal_head:
        uint64_t magic
        uint32_t format
        uint32_t check
        uint64_t number
        uint64_t first
        char boot_id[TSF_JOURNAL_BOOT_ID]

    cdef struct tsf_journal_record:
        uint32_t magic
        uint32_t kind
        uint64_t group
        uint64_t number
        uint64_t offset
        uint32_t size
        uint32_t check

    cdef struct tsf_syncer:
        int event
        int state_dir
        int dir
        int file
        tsf_journal_head head
        uint64_t at

    uint32_t tsf_journal_head_check(const tsf_journal_head *head)
    uint32_t tsf_journal_check(const tsf_journal_record *record, const void *data, uint64_t seed)
    int tsf_sync_table(int state_dir)
    int tsf_syncer_start(tsf_syncer *syncer, const char *group, size_t size)
    void tsf_syncer_give(tsf_syncer *syncer, const char *group, size_t size, bint fresh)
    int tsf_syncer_look(tsf_syncer *syncer, bint wait, uint64_t *synced, bint *busy)
    void tsf_syncer_stop(tsf_syncer *syncer)

# What may be deferred; `number` is an id, a segment or a context.
cdef enum DeferredKind:
    DEFER_WIPE
    DEFER_PUNCH
    DEFER_UNLINK
    DEFER_CONTEXT
    DEFER_KINDS

ctypedef void (*DeferredHandler)(void *owner, int kind, uint64_t number) noexcept nogil

cdef struct Deferred:
    int kind
    uint64_t number
    uint64_t barrier          # once this much is synced

cdef struct Group:
    char *data                # owned
    size_t size, room

cdef class Journal:
    cdef Loop loop
    cdef tsf_syncer syncer
    cdef Source event
    cdef int timer
    cdef Group groups[2]      # one is filled while the other one is written
    cdef int filling
    cdef uint64_t number      # of the file that the filled one goes to
    cdef uint64_t group_at    # where in that file it will begin
    cdef bint fresh           # it begins that file
    cdef bint busy            # the thread is
    cdef const char *header   # borrowed: the table's header as it is now, for the beginning of each file
    cdef size_t header_size
    cdef Deferred *deferred   # owned
    cdef size_t n_deferred, first_deferred, deferred_room
    cdef DeferredHandler handlers[DEFER_KINDS]
    cdef void *owners[DEFER_KINDS]
    cdef readonly uint64_t end, synced
    cdef bint wanted          # somebody waits for what is in the filled group
    cdef readonly int failed  # errno: nothing is synced any more, so nothing may be answered any more

    # Sync the table as it is and journal from here on; the header stays where it is. Raises OSError, MemoryError.
    cdef int begin(self, const char *header, size_t size) except -1
    # Remember that this was written. Never fails visibly (see `failed`).
    cdef void add(self, int kind, uint64_t number, uint64_t offset, const void *data, size_t size) noexcept nogil
    # Call the kind's handler when all that was added so far is synced.
    cdef void defer(self, int kind, uint64_t number) noexcept nogil
    cdef void register(self, int kind, DeferredHandler handler, void *owner) noexcept nogil
    # At the end of a turn: hand what was added to the thread, if it is free and somebody waits for it.
    cdef void push(self) noexcept nogil
    # Do not come back before all is synced. 0, or -1 with errno.
    cdef int settle(self) noexcept nogil

    # private
    cdef void _came(self, bint wait) noexcept nogil
    cdef void _give(self) noexcept nogil
    cdef void _run_deferred(self) noexcept nogil
