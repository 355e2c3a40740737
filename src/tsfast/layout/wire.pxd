"""The frames between clients and the server (native/wire.h)."""
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t, uint8_t

cdef extern from "tsfast/native/wire.h" nogil:
    enum:
        TSF_WIRE_VERSION
        TSF_WIRE_VERSION1
        TSF_FRAME_MAX
        TSF_EXIT_ERROR

    cdef enum tsf_frame_type:
        TSF_FRAME_REQUEST
        TSF_FRAME_DESCRIPTORS
        TSF_FRAME_SIGNAL
        TSF_FRAME_TAKE_OVER
        TSF_FRAME_BATCH
        TSF_FRAME_WATCH
        TSF_FRAME_OUT
        TSF_FRAME_ERR
        TSF_FRAME_EXIT
        TSF_FRAME_EXIT_AT_CLOSE
        TSF_FRAME_SEND_DESCRIPTORS
        TSF_FRAME_FOLLOW
        TSF_FRAME_ENDED
        TSF_FRAME_EXEC
        TSF_FRAME_PROGRESS
        TSF_FRAME_GIVE_WAY
        TSF_FRAME_EVENTS
        TSF_FRAME_LOOK
        TSF_FRAME_ALIVE
        TSF_FRAME_MOMENT
        TSF_FRAME_COUNTED
        TSF_FRAME_ADDED
        TSF_FRAME_REFUSED

    cdef enum tsf_refusal:
        TSF_REFUSED_JOB
        TSF_REFUSED_ID
        TSF_REFUSED_FULL
        TSF_REFUSED_SYSTEM
        TSF_REFUSED_CALLER

    uint32_t tsf_release(const char *version) noexcept

    cdef struct tsf_frame:
        uint32_t version
        uint32_t type
        uint32_t length
        uint32_t release

    cdef enum tsf_look:
        TSF_LOOK_HOOK
        TSF_LOOK_MAIL
        TSF_LOOK_LOG

    cdef enum tsf_tty:
        TSF_TTY_STDIN
        TSF_TTY_STDOUT
        TSF_TTY_STDERR
        TSF_HEARS_ALIVE
        TSF_SHOWS_MOMENTS

    cdef struct tsf_counted:
        uint64_t since
        uint64_t gone
        uint64_t bad
        uint64_t bad_id
        int32_t bad_level
        uint32_t reserved

    cdef struct tsf_request:
        uint64_t token[2]
        uint32_t argc
        uint32_t argv_len
        uint32_t cwd_len
        uint32_t env_count
        uint32_t env_len
        uint32_t affinity_len
        uint32_t umask
        int32_t nice
        uint32_t columns
        uint32_t tty
        uint64_t limits[16][2]
        tsf_counted counted

    cdef struct tsf_batch:
        uint64_t place
        uint32_t count
        uint32_t parts
        uint32_t flags
        uint32_t reserved

    cdef enum tsf_batch_flag:
        TSF_BATCH_NO_BLOCK

    cdef struct tsf_batch_part:
        uint64_t place
        uint64_t first

    cdef struct tsf_batch_job:
        uint32_t argc
        uint32_t argv_len
        uint32_t cwd_len
        uint32_t env_count
        uint32_t env_len

    cdef struct tsf_added:
        uint64_t first
        uint32_t count
        uint32_t reserved

    cdef struct tsf_refused:
        uint32_t place
        int32_t reason

    cdef struct tsf_code:
        int32_t code

    const char *TSF_MOMENT_FORMAT

    cdef struct tsf_moment:
        int64_t seconds

    cdef struct tsf_follow:
        int32_t lines

    cdef struct tsf_watch:
        uint64_t since

    cdef enum tsf_event_kind:
        TSF_EVENT_CHANGE
        TSF_EVENT_HEAD
        TSF_EVENT_GAP

    cdef struct tsf_event:
        uint64_t seq
        uint64_t id
        uint64_t time_ns
        int32_t status
        uint8_t state
        uint8_t kind
        uint8_t waited
        uint8_t end
        uint8_t tries
        uint8_t group
