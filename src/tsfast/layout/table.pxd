"""The records of the job table (native/table.h)."""
from libc.stddef cimport size_t
from libc.stdint cimport int32_t, int8_t, uint16_t, uint32_t, uint64_t, uint8_t

cdef extern from "tsfast/native/table.h" nogil:
    enum:
        TSF_TABLE_FORMAT
        TSF_CTX_MAGIC
        TSF_SEGMENT_BITS
        TSF_SEGMENT_JOBS
        TSF_LIMITS
        TSF_SUFFIX
        TSF_TABLE_FEATURES
        TSF_PART_MAX
        TSF_EXTRA_VERSION
    const uint64_t TSF_TABLE_MAGIC
    const uint64_t TSF_HOT_BYTES
    const uint64_t TSF_COLD_BYTES

    cdef enum tsf_state:
        TSF_NONE
        TSF_QUEUED
        TSF_STARTING
        TSF_RUNNING
        TSF_FINISHED
        TSF_FAILED
        TSF_KILLED
        TSF_NOT_STARTABLE
        TSF_LOST
        TSF_SKIPPED
        TSF_REMOVED
        TSF_FORGOTTEN
        TSF_CANCELLED
        TSF_ALLOCATING

    cdef enum tsf_end:
        TSF_END_NONE
        TSF_END_DONE
        TSF_END_FAILED
        TSF_END_KILLED
        TSF_END_TIMED_OUT
        TSF_END_OUT_OF_MEMORY
        TSF_END_CANCELLED
        TSF_END_SKIPPED
        TSF_END_REMOVED
        TSF_END_LOST
        TSF_END_NOT_STARTABLE

    cdef enum tsf_hot_flag:
        TSF_HOT_HELD
        TSF_HOT_PAUSED
        TSF_HOT_REQUEUED
        TSF_HOT_READY
        TSF_HOT_SECONDS
        TSF_HOT_TREE

    cdef enum tsf_engine:
        TSF_ENGINE_LOCAL
        TSF_ENGINE_SLURM

    cdef enum tsf_extra_flag:
        TSF_EXTRA_PTY
        TSF_EXTRA_UNIQUE
        TSF_EXTRA_JOB_DIR

    cdef enum tsf_queue_flag:
        TSF_QUEUE_PAUSED
        TSF_QUEUE_DRAIN

    cdef enum tsf_forgotten:
        TSF_WAS_REMOVED

    cdef enum tsf_loss:
        TSF_LOSS_RUNNER
        TSF_LOSS_BOOT
        TSF_LOSS_DAMAGE

    cdef enum tsf_note:
        TSF_NOTE_LIMIT
        TSF_NOTE_NICE
        TSF_NOTE_AFFINITY
        TSF_NOTE_CANCEL
        TSF_NOTE_GZIP

    cdef enum tsf_due:
        TSF_DUE_HOOK
        TSF_DUE_MAIL

    cdef enum tsf_stage:
        TSF_STAGE_NONE
        TSF_STAGE_RECORD
        TSF_STAGE_OUTPUT
        TSF_STAGE_CHDIR
        TSF_STAGE_SPAWN
        TSF_STAGE_EXEC
        TSF_STAGE_GZIP

    cdef enum tsf_job_flag:
        TSF_JOB_NO_OUTPUT
        TSF_JOB_FOREGROUND
        TSF_JOB_VOLATILE
        TSF_JOB_SPLIT_STDERR
        TSF_JOB_HOOK
        TSF_JOB_MAIL
        TSF_JOB_LOG
        TSF_JOB_GZIP
        TSF_JOB_APPEND
        TSF_JOB_TRUNCATE
        TSF_JOB_ARRAY

    cdef struct tsf_hot:
        uint8_t state
        uint8_t end
        uint16_t attempt
        uint16_t status
        uint16_t cause
        uint32_t run
        uint32_t gen
        uint32_t utime_ms
        uint32_t stime_ms
        uint64_t skipped_by
        int32_t pid
        uint8_t stage
        uint8_t notes
        uint8_t due
        uint8_t tries
        uint64_t start_ns
        uint64_t duration_ns
        uint64_t order
        char suffix[6]
        uint16_t flags
        uint32_t maxrss_kb
        uint32_t check

    cdef struct tsf_cold:
        uint64_t enqueue_ns
        uint64_t token[2]
        uint64_t blob_off
        uint32_t blob_len
        uint32_t blob_check
        uint64_t ctx
        uint32_t slots
        uint32_t flags
        uint32_t batch_index
        uint32_t batch_count
        uint32_t n_after
        uint32_t n_after_ok
        uint32_t argc
        uint32_t argv_len
        uint32_t diff_len
        uint32_t env_text_len
        uint16_t label_len
        uint16_t prefix_len
        uint16_t cwd_len
        uint16_t gpu_exact_len
        uint64_t vram
        uint16_t gpus
        uint16_t gpu_share
        uint16_t array_limit
        uint8_t version
        int8_t priority
        uint32_t array_first
        uint32_t label_hash
        uint16_t extra_len
        uint8_t group
        uint8_t engine
        uint32_t check

    cdef struct tsf_extra:
        uint32_t check
        uint16_t version
        uint16_t size
        uint32_t length
        uint32_t flags
        uint64_t not_before_ns
        uint64_t unique_hash
        uint32_t limit_s
        uint16_t grace_s
        uint8_t tries
        uint8_t warn_signal
        uint32_t warn_s
        uint32_t retry_delay_s
        uint8_t retry_codes[32]
        uint32_t retry_ends
        uint32_t core_words
        uint64_t memory
        uint32_t cores
        uint8_t requeue_codes[32]
        uint8_t uuid[16]
        uint32_t n_one_of
        uint32_t n_on_fail
        uint32_t params_len
        uint32_t notify_len
        uint32_t gpu_kind_len
        uint32_t stdin_len

    cdef struct tsf_course:
        uint32_t check
        uint32_t serial
        uint32_t attempt
        uint64_t paused_ns
        uint64_t pause_begun_ns
        uint64_t not_before_ns
        uint64_t memory
        uint64_t utime_us
        uint64_t stime_us
        uint64_t peak_memory
        uint64_t engine_job
        uint32_t engine_element

    uint64_t tsf_extra_offset(const tsf_cold *cold) noexcept
    uint64_t tsf_extra_room(const tsf_cold *cold) noexcept
    uint32_t tsf_extra_check(const tsf_extra *extra, uint64_t id) noexcept
    bint tsf_extra_fits(const tsf_extra *extra, const tsf_cold *cold, uint64_t id) noexcept
    uint32_t tsf_course_check(const tsf_course *course, uint32_t core_words, uint64_t id) noexcept
    tsf_course *tsf_course_at(const tsf_extra *extra, int place) noexcept
    int tsf_course_newest(const tsf_extra *extra, uint64_t id) noexcept
    uint32_t tsf_label_hash(const char *label, size_t size) noexcept
    uint8_t tsf_end_of(uint8_t state) noexcept
    void tsf_hot_set_times(tsf_hot *hot, uint64_t utime_ms, uint64_t stime_ms) noexcept
    uint64_t tsf_hot_utime_ms(const tsf_hot *hot) noexcept
    uint64_t tsf_hot_stime_ms(const tsf_hot *hot) noexcept

    cdef enum:
        TSF_GRANTED_BY_UUID

    cdef struct tsf_grant:
        uint32_t check
        uint32_t attempt
        uint32_t count
        uint32_t reserved

    cdef struct tsf_granted:
        uint32_t index
        uint32_t flags
        char uuid[64]

    uint64_t tsf_grant_offset(const tsf_cold *cold) noexcept
    uint64_t tsf_grant_room(const tsf_cold *cold) noexcept
    uint32_t tsf_grant_check(const tsf_grant *grant, uint64_t id) noexcept

    cdef struct tsf_ctx:
        uint32_t magic
        uint32_t check
        uint32_t umask
        int32_t nice
        uint32_t affinity_len
        uint32_t cwd_len
        uint32_t env_count
        uint32_t env_len
        uint64_t limits[16][2]

    cdef struct tsf_header:
        uint64_t magic
        uint32_t format
        uint32_t ids_check
        uint64_t committed
        uint64_t floor
        uint32_t features
        uint32_t not_features
        uint32_t slots
        uint32_t max_finished
        uint64_t intent[5]
        uint64_t swap_token[2]
        uint32_t logdir_len
        char logdir[2984]
        uint32_t gpu_free_percent
        uint32_t gpu_wait_s
        uint32_t gpu_devices
        uint32_t flags
        uint64_t history
        uint32_t check

    cdef struct tsf_group:
        char name[40]
        uint32_t slots
        uint32_t flags
        uint32_t check

    cdef struct tsf_book:
        uint64_t first
        uint64_t token
        uint32_t count
        uint32_t ended
        uint32_t bad
        uint32_t forgotten
        uint64_t bad_id
        int32_t bad_level
        uint32_t check

    uint32_t tsf_hot_check(const tsf_hot *hot, uint64_t id) noexcept
    uint32_t tsf_cold_check(const tsf_cold *cold, uint64_t id) noexcept
