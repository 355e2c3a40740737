# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See describe_queue.pxd."""
from libc.stddef cimport size_t

from tsfast.base.text cimport Text, text_char, text_pad, text_str, text_u64
from tsfast.grammar.options cimport help_text
from tsfast.layout.table cimport tsf_cold, tsf_hot
from tsfast.lifecycle.spool cimport Spool
from tsfast.render.fields cimport record_gpu_ids
from tsfast.scheduler.scheduler cimport Job
from tsfast.store.record cimport Record


cdef int count_running(Services services, Conn *conn, const Request *request, Command *command,
                       const Targets *jobs) noexcept nogil:
    return services.reply.answer_number(conn, services.spool.running())


cdef int last_id(Services services, Conn *conn, const Request *request, Command *command,
                 const Targets *jobs) noexcept nogil:
    if services.spool.header().committed == 0:
        return services.reply.fail(conn, b"no job was added yet")
    return services.reply.answer_number(conn, services.spool.header().committed - 1)


cdef int list_gpus(Services services, Conn *conn, const Request *request, Command *command,
                   const Targets *jobs) noexcept nogil:
    services.reply.text.size = 0
    running_gpu_jobs(&services.reply.text, services.spool)
    return services.reply.answer(conn)


cdef void running_gpu_jobs(Text *text, Spool spool) noexcept nogil:
    cdef const Job *job = spool.first_running()
    cdef Record record
    cdef tsf_hot hot
    cdef tsf_cold cold
    cdef size_t start
    text_str(text, b"ID   GPU-IDs\n")
    while job != NULL:
        if spool.gpu_class(job) and spool.read_record(job.id, &record, &hot, &cold) == 0:
            start = text.size
            text_u64(text, job.id)
            if text.size - start < 4:
                text_pad(text, 4 - (text.size - start))
            text_char(text, c" ")
            record_gpu_ids(text, &record, c" ")
            text_char(text, c"\n")
        job = spool.following(job)


cdef int show_help(Services services, Conn *conn, const Request *request, Command *command,
                   const Targets *jobs) noexcept nogil:
    services.reply.text.size = 0
    text_str(&services.reply.text, help_text())
    return services.reply.answer(conn)


cdef int show_version(Services services, Conn *conn, const Request *request, Command *command,
                      const Targets *jobs) noexcept nogil:
    services.reply.text.size = 0
    text_str(&services.reply.text, services.version_text)
    return services.reply.answer(conn)
