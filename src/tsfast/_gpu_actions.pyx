# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See _gpu_actions.pxd."""
from libc.stdint cimport uint32_t
from libc.string cimport strlen

from tsfast._grammar cimport (
    ACTION_GET_GPU_FREE, ACTION_GET_GPU_WAIT, ACTION_GPUS, ACTION_SET_GPU_FREE, ACTION_SET_GPU_WAIT, Command,
)
from tsfast._jobs cimport Job
from tsfast._layout cimport tsf_cold, tsf_hot
from tsfast._quote cimport TSF_HIDDEN, Text, text_char, text_oneline, text_pad, text_str, text_u64
from tsfast._row cimport Row, row_gpu_ids


cdef bint is_gpu_action(int action) noexcept nogil:
    return (action == ACTION_GPUS or action == ACTION_GET_GPU_FREE or action == ACTION_SET_GPU_FREE
            or action == ACTION_GET_GPU_WAIT or action == ACTION_SET_GPU_WAIT)


cdef void running_gpu_jobs(Text *text, Spool spool) noexcept nogil:
    cdef Job *job = spool.queue.first_running()
    cdef Row row
    cdef tsf_hot hot
    cdef tsf_cold cold
    cdef size_t start
    text_str(text, b"ID   GPU-IDs\n")
    while job != NULL:
        if spool.queue.gpu_class(job) and spool.table.read_row(job.id, &row, &hot, &cold) == 0:
            start = text.size
            text_u64(text, job.id)
            if text.size - start < 4:
                text_pad(text, 4 - (text.size - start))
            text_char(text, c" ")
            row_gpu_ids(text, &row, c" ")
            text_char(text, c"\n")
        job = spool.queue.following(job)


cdef int set_and_save(Spool spool, uint32_t *setting, uint32_t value) noexcept nogil:
    cdef uint32_t before = setting[0]
    setting[0] = value
    if spool.table.save_settings() < 0:
        setting[0] = before
        return -1
    return 0


cdef int gpu_action(Replies reply, Spool spool, Conn *conn, const Command *command) noexcept nogil:
    cdef int done = 0
    reply.text.size = 0
    if command.action == ACTION_GPUS:
        running_gpu_jobs(&reply.text, spool)
    elif command.action == ACTION_GET_GPU_FREE:
        text_u64(&reply.text, spool.grants.gpus.free_percent)
        text_char(&reply.text, c"\n")
    elif command.action == ACTION_GET_GPU_WAIT:
        text_u64(&reply.text, spool.table.header.gpu_wait_s)
        text_char(&reply.text, c"\n")
    elif command.action == ACTION_SET_GPU_FREE:
        done = set_and_save(spool, &spool.table.header.gpu_free_percent, command.number)
        if done == 0:
            spool.grants.gpus.set_free_percent(command.number)
    else:
        done = set_and_save(spool, &spool.table.header.gpu_wait_s, command.number)
        if done == 0:
            spool.grants.resume()            # a pause that was set before counts no longer
    return reply.answer(conn) if done == 0 else reply.fail_errno(conn, b"the setting could not be recorded")


cdef bint all_below(const char *exact, uint32_t there) noexcept nogil:
    """The indices of the list are those of devices; UUIDs are left to NVML."""
    cdef uint32_t number = 0
    while True:
        if c"0" <= exact[0] <= c"9":
            number = 10 * number + <uint32_t> (exact[0] - c"0")
        elif exact[0] == c"," or exact[0] == 0:
            if number >= there:
                return False
            number = 0
        else:
            while exact[0] != 0 and exact[0] != c",":
                exact += 1
            number = 0
            continue
        if exact[0] == 0:
            return True
        exact += 1


cdef void gpu_warning(Text *text, Spool spool, const Command *command) noexcept nogil:
    cdef uint32_t on_machine = spool.table.header.gpu_devices, there
    there = on_machine if command.gpu_exact != NULL else spool.grants.devices_for_jobs()
    if command.gpus == 0 or (command.gpus <= there and command.gpu_exact == NULL):
        return
    if there and command.gpu_exact != NULL and all_below(command.gpu_exact, there):
        return
    text_str(text, b"ts: warning: ")
    if on_machine == 0:
        text_str(text, b"no GPU is known here")
        if spool.grants.trouble[0]:
            text_str(text, b" (")
            text_oneline(text, spool.grants.trouble, strlen(spool.grants.trouble), TSF_HIDDEN)
            text_char(text, c')')
        elif not spool.grants.complete:
            text_str(text, b" yet")          # nobody has asked before this job
        text_str(text, b"; the job waits until one is found\n")
    elif command.gpu_exact != NULL:
        text_str(text, b"not all of the GPUs ")
        text_oneline(text, command.gpu_exact, strlen(command.gpu_exact), TSF_HIDDEN)
        text_str(text, b" are known on this machine; the job waits until they are there\n")
    else:
        text_str(text, b"the job needs ")
        text_u64(text, command.gpus)
        text_str(text, b" GPU" if command.gpus == 1 else b" GPUs")
        text_str(text, b" and the machine has ")
        text_u64(text, on_machine)
        if there < on_machine:
            text_str(text, b", of which TS_VISIBLE_DEVICES leaves ")
            text_u64(text, there)
        text_str(text, b"; it waits until there are more\n")
