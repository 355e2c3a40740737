"""What every submission needs, of a command line or of a batch: the output's path, the warnings, the refusals."""
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

from tsfast.base.text cimport Text
from tsfast.grammar.logpath cimport DATE_LENGTH
from tsfast.grammar.options cimport Command
from tsfast.layout.wire cimport tsf_request
from tsfast.lifecycle.spool cimport Spool
from tsfast.server.connections cimport Conn, Conns
from tsfast.server.inherited cimport Bounds
from tsfast.server.replies cimport Replies
from tsfast.server.request cimport Request, Words
from tsfast.store.staging cimport Submission

# Reasons to refuse a submission, beside those of SubmitResult.
cdef enum Refusal:
    REFUSE_DIRECTORY = -10            # the client's working directory is gone
    REFUSE_LOG = -11                  # the path of --log is too long
    REFUSE_ARRAY = -12                # the elements of the array are too much

cdef class Submitter:
    cdef Conns conns
    cdef Replies reply
    cdef Spool spool
    cdef Words words                  # of the command line at hand
    cdef Text element                 # of an array: the words and variables of the one that is being queued
    cdef char date[DATE_LENGTH + 1]   # of the client at hand, for --log; empty: not told
    cdef Bounds bounds                # of jobs of all clients
    cdef bint by_unit                 # it is a service manager's
    cdef uint32_t release             # of this server, see tsf_release
    cdef char refusal[320]            # the text of refuse()

    # A request with this idempotency key has been carried out before.
    cdef bint is_known(self, const tsf_request *head) noexcept nogil
    # Where output files go.
    cdef void logdir(self, Text *text) noexcept nogil
    # The output's path without what makes it unique, with a NUL at its end, into the reply's text. index: of an element
    # of an array, else -1. False: it is too long, or there is no memory (self.reply.text.failed).
    cdef bint prefix(self, const char *cwd, const Command *command, uint64_t id, int64_t index) noexcept nogil
    # What the words say; they end at `end`.
    cdef void fill(self, Submission *job, const Command *command, const char *end, uint32_t argc) noexcept nogil
    # The jobs for which it waits, each once. last: the one that -d means, or no_job(). -1 without memory.
    cdef int find_dependencies(self, Command *command, uint64_t last) noexcept nogil
    # The job that -d means: the newest one, of an array its first element; no_job() if there is none.
    cdef uint64_t last_job(self) noexcept nogil
    # Why it is refused (SubmitResult or Refusal; SUBMIT_FAILED: errno), into self.refusal. Returns the number that a
    # client of a batch gets (enum tsf_refused_reason).
    cdef int32_t refuse(self, int result, const char *what) noexcept nogil
    # Say that what the job waits for may never come, or that it is hardly what was meant. True: something was said.
    cdef bint warn(self, Conn *conn, const Command *command, const Submission *job) noexcept nogil
    # Say, once a request, that its jobs cannot have all that the client has.
    cdef void warn_of_bounds(self, Conn *conn, const tsf_request *head) noexcept nogil
    # Have the client look for what will surely fail, and lies where the server does not wait.
    cdef void have_looked_at(self, Conn *conn, const Request *request, const Command *command,
                             uint64_t id) noexcept nogil

cdef inline uint64_t no_job() noexcept nogil:
    return ~(<uint64_t> 0)
