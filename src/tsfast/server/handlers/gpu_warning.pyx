# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See gpu_warning.pxd."""
from libc.stdint cimport uint32_t
from libc.string cimport memset, strlen

from tsfast.resources.gpus cimport (
    GpuCounts, Need, VERDICT_ALONE, VERDICT_DIVIDED, VERDICT_FITS, VERDICT_HIDDEN, VERDICT_PROHIBITED, VERDICT_SILENT,
    VERDICT_SMALL, VERDICT_UNSHARED,
)
from tsfast.base.text cimport TSF_HIDDEN, Text, text_char, text_oneline, text_str, text_u64

cdef enum:
    SILENT_TOLD = 4          # GPUs that do not answer, in a warning; --why names more


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


cdef void needed_gpus(Text *text, Spool spool, const Need *need) noexcept nogil:
    text_u64(text, need.count)
    text_str(text, b" GPU" if need.count == 1 else b" GPUs")
    if need.vram:
        text_str(text, b" with ")
        spool.allocator.gpus.say_amount(text, need.vram)


cdef void counted(Text *text, uint32_t count, const char *what) noexcept nogil:
    if count:
        text_str(text, b", ")
        text_u64(text, count)
        text_str(text, what)


cdef void never_enough(Text *text, Spool spool, const Need *need) noexcept nogil:
    """Nothing, unless the job could not even start if no other job had a GPU."""
    cdef uint32_t on_machine = spool.header().gpu_devices, able = on_machine
    cdef GpuCounts counts
    memset(&counts, 0, sizeof(counts))
    if spool.allocator.known:
        spool.allocator.gpus.counts(need, &counts)
        if not spool.allocator.complete:         # what was seen of these two is old
            counts.of[<int> VERDICT_HIDDEN] = counts.of[<int> VERDICT_SILENT] = 0
        able = counts.present - (
            counts.of[<int> VERDICT_HIDDEN] + counts.of[<int> VERDICT_DIVIDED] + counts.of[<int> VERDICT_PROHIBITED]
            + counts.of[<int> VERDICT_ALONE] + counts.of[<int> VERDICT_UNSHARED] + counts.of[<int> VERDICT_SMALL]
            + counts.of[<int> VERDICT_SILENT])
    if need.count <= able:
        return
    text_str(text, b"ts: warning: the job needs ")
    needed_gpus(text, spool, need)
    text_str(text, b" and the machine has ")
    text_u64(text, on_machine)
    if counts.of[<int> VERDICT_HIDDEN]:
        text_str(text, b", of which TS_VISIBLE_DEVICES leaves ")
        text_u64(text, max(on_machine, counts.of[<int> VERDICT_HIDDEN]) - counts.of[<int> VERDICT_HIDDEN])
    counted(text, counts.of[<int> VERDICT_DIVIDED], b" divided into MIG instances")
    counted(text, counts.of[<int> VERDICT_ALONE], b" MIG instances, of which a job gets one alone")
    counted(text, counts.of[<int> VERDICT_PROHIBITED], b" whose compute mode prohibits jobs")
    counted(text, counts.of[<int> VERDICT_UNSHARED], b" whose compute mode excludes sharing")
    if counts.of[<int> VERDICT_SMALL]:
        text_str(text, b", the largest with ")
        spool.allocator.gpus.say_amount(text, counts.largest)
    spool.allocator.tell_silent(text, SILENT_TOLD, b"; ", b"")
    text_str(text, b"; it waits until there are more\n")


cdef void not_all_listed(Text *text, Spool spool, const Need *need) noexcept nogil:
    """Nothing, unless a GPU of the list is not there, or can never be used."""
    cdef GpuCounts counts
    if spool.allocator.known:
        spool.allocator.gpus.counts(need, &counts)
        if counts.absent == 0 and counts.of[<int> VERDICT_FITS] == counts.present:
            return
        if counts.absent == 0:
            text_str(text, b"ts: warning: not all of the GPUs ")
            text_oneline(text, need.exact, strlen(need.exact), TSF_HIDDEN)
            text_str(text, b" can be used")
            counted(text, counts.of[<int> VERDICT_DIVIDED], b" divided into MIG instances")
            counted(text, counts.of[<int> VERDICT_PROHIBITED], b" whose compute mode prohibits jobs")
            text_str(text, b"; the job waits until they can\n")
            return
    elif all_below(need.exact, spool.header().gpu_devices):
        return
    text_str(text, b"ts: warning: not all of the GPUs ")
    text_oneline(text, need.exact, strlen(need.exact), TSF_HIDDEN)
    text_str(text, b" are known on this machine")
    spool.allocator.tell_silent(text, SILENT_TOLD, b"; ", b"")
    text_str(text, b"; the job waits until they are there\n")


cdef void gpu_warning(Text *text, Spool spool, const Command *command) noexcept nogil:
    cdef Need need
    if command.gpus == 0:
        return
    need.count = command.gpus
    need.share = command.gpu_share
    need.vram = command.vram
    need.exact = command.gpu_exact
    if spool.header().gpu_devices == 0:
        text_str(text, b"ts: warning: no GPU is known here")
        if spool.allocator.trouble[0]:
            text_str(text, b" (")
            text_oneline(text, spool.allocator.trouble, strlen(spool.allocator.trouble), TSF_HIDDEN)
            text_char(text, c')')
        elif not spool.allocator.complete:
            text_str(text, b" yet")          # nobody has asked before this job
        text_str(text, b"; the job waits until one is found\n")
    elif need.exact != NULL:
        not_all_listed(text, spool, &need)
    else:
        never_enough(text, spool, &need)
