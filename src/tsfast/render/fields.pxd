"""The fields of a job as people and scripts read them: words, paths, GPUs, dependencies. Each is added to a text."""
from libc.stddef cimport size_t
from libc.stdint cimport uint64_t

from tsfast.base.text cimport Text, tsf_kind
from tsfast.store.record cimport Record

# `queued` `running` `finished` `skipped` `cancelled` as people see it (STARTING is running; FAILED, KILLED, LOST ...
# are finished)
cdef const char *state_name(int state) noexcept nogil

cdef void memory_text(Text *text, uint64_t size) noexcept nogil              # as --vram takes it: 20G
cdef void record_gpus(Text *text, const Record *record) noexcept nogil       # what it needs: 2, 0.5, 2x20G; 0: none
# Indices of the GPUs that it has or had.
cdef void record_gpu_ids(Text *text, const Record *record, char between) noexcept nogil

cdef void output_path(Text *text, const Record *record) noexcept nogil      # nothing if there is no file (yet)
# Quoted words joined by spaces; `least`: which characters are escaped in them, see text_quoted.
cdef void command_words(Text *text, const Record *record, tsf_kind least) noexcept nogil

# For lines that are cut: `limit` is the size of the text beyond which the rest is not wanted, 0: none.
cdef bint beyond(const Text *text, size_t limit) noexcept nogil
# How much of `data` is wanted: all, or as much as brings the text beyond the limit, at the end of a character.
cdef size_t clipped(const Text *text, const char *data, size_t size, size_t limit) noexcept nogil
cdef void record_words(Text *text, const Record *record, size_t limit, tsf_kind least) noexcept nogil
# Of an array: the words as typed.
cdef void record_pattern(Text *text, const Record *record, size_t limit, tsf_kind least) noexcept nogil
cdef void record_ids(Text *text, const Record *record, size_t limit) noexcept nogil            # 1,2,3
cdef void record_dependencies(Text *text, const Record *record, size_t limit) noexcept nogil   # [1,2,5-9]&& or nothing
