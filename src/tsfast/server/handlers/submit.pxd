"""Jobs come in: one from a command line, or many in a frame of a program."""
from libc.stddef cimport size_t
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

from tsfast.server.connections cimport Conn, Conns
from tsfast.grammar.envfilter cimport EnvPatterns
from tsfast.grammar.options cimport Command
from tsfast.server.inherited cimport Bounds
from tsfast.layout.structs cimport tsf_added, tsf_batch, tsf_request
from tsfast.grammar.logpath cimport DATE_LENGTH
from tsfast.base.text cimport Text
from tsfast.server.replies cimport Replies
from tsfast.server.request cimport Request
from tsfast.lifecycle.spool cimport Spool
from tsfast.store.staging cimport Submission

# Where a frame of a batch is being read.
cdef struct Reading:
    const char *at
    const char *end
    const char *parts                 # batch.parts struct tsf_batch_part, not aligned
    tsf_batch batch
    uint64_t first                    # the id of its first job
    uint32_t place                    # of the job at hand, in the frame
    EnvPatterns patterns              # of TS_ENV_KEEP and TS_ENV_DROP
    bint warned                       # one warning for all of them

cdef class Adding:
    cdef Conns conns
    cdef Replies reply
    cdef Spool spool
    cdef uint64_t max_unfinished      # TS_MAXCONN, 0: no limit
    cdef const char **words           # owned: of the command line at hand
    cdef size_t words_room
    cdef Text element                 # of an array: the words and variables of the one that is being queued
    cdef char date[DATE_LENGTH + 1]   # of the caller at hand, for --log; empty: not told
    cdef Bounds bounds                # of jobs of all calls
    cdef bint by_unit                 # it is a service manager's
    cdef uint32_t release             # of this server, see tsf_release
    cdef char refusal[320]            # a text under construction

    # No room for so many more jobs. A frame that is larger than the queue may be waits until the queue is empty.
    cdef bint full(self, uint64_t more) noexcept nogil
    # The call with this token has been here before.
    cdef bint known(self, const tsf_request *head) noexcept nogil
    # Where output files go.
    cdef void logdir(self, Text *text) noexcept nogil
    # argc NUL-terminated words as an argv, valid until the next call; NULL without memory.
    cdef const char *const *split(self, const char *bytes, uint32_t argc) noexcept nogil
    # Queue the job of a command line that split() was called for. True: answered but for the exit code, the id is
    # there; False: answered.
    cdef bint one(self, Conn *conn, const Request *request, Command *command, uint64_t *id) noexcept nogil
    # A BATCH frame: 0; FRAME_LATER: there is no room yet, or others wait for it, for so many `jobs`; -1: it is not
    # well-formed.
    cdef int batch(self, Conn *conn, char *payload, uint32_t size, bint others_wait, uint32_t *jobs) noexcept nogil

    # private
    cdef void _prefix(self, const char *cwd, const Command *command, uint64_t id, int64_t index) noexcept nogil
    cdef bint _check(self, Conn *conn, const Request *request, Command *command, tsf_request *checked) noexcept nogil
    cdef int _elements(self, const Request *request, const Command *command, Submission *job,
                       uint64_t first) noexcept nogil
    cdef int _make_element(self, const Command *command, Submission *job, uint64_t first, uint32_t i) noexcept nogil
    cdef void _fill(self, Submission *job, const Command *command, const char *end, uint32_t argc) noexcept nogil
    cdef void _have_looked_at(self, Conn *conn, const Request *request, const Command *command,
                              uint64_t id) noexcept nogil
    cdef void _warn_of_bounds(self, Conn *conn, const tsf_request *head) noexcept nogil
    cdef bint _warn(self, Conn *conn, const Command *command, const Submission *job) noexcept nogil
    cdef void _refuse(self, Conn *conn, uint32_t place, int32_t reason, const char *text) noexcept nogil
    cdef void _refuse_errno(self, Conn *conn) noexcept nogil
    cdef int _batch_jobs(self, Conn *conn, const Request *request, Reading *reading, tsf_added *added) noexcept nogil
    cdef int _batch_job(self, Conn *conn, const Request *request, Reading *reading) noexcept nogil
    cdef int _batch_submit(self, Conn *conn, const Request *request, Reading *reading, Submission *job,
                           Command *command) noexcept nogil
    cdef bint _resolve(self, const Reading *reading, uint64_t *ids, size_t n) noexcept nogil
