# The part of rows.pyx that writes of arrays.

cdef void array_counts(Text *text, const ArrayCounts *counts) noexcept nogil:
    cdef const char *between = b"("
    cdef const char *names[7]
    cdef uint32_t numbers[7]
    cdef uint32_t known = (counts.queued + counts.running + counts.ok + counts.failed + counts.skipped
                           + counts.unreadable + counts.removed)
    cdef int i
    names[:] = [b" queued", b" running", b" ok", b" failed", b" skipped", b" unreadable", b" forgotten"]
    numbers[:] = [counts.queued, counts.running, counts.ok, counts.failed, counts.skipped, counts.unreadable,
                  counts.count - known if counts.count > known else 0]
    for i in range(7):
        if numbers[i]:
            text_str(text, between)
            text_u64(text, numbers[i])
            text_str(text, names[i])
            between = b", "
    text_char(text, c")")


cdef void array_row(Text *text, const Row *row, const ArrayCounts *counts, const Look *look) noexcept nogil:
    cdef size_t start = text.size, field, limit = 0, used
    cdef const char *state = b"finished"
    cdef const char *colour = b"\x1b[32m"
    text_u64(text, counts.first)
    text_char(text, c"[")
    text_u64(text, counts.index)
    if counts.count > 1:
        text_char(text, c"-")
        text_u64(text, <uint64_t> counts.index + counts.count - 1)
    text_char(text, c"]")
    pad_from(text, start, 4)

    if counts.running:
        state = b"running"
        colour = b"\x1b[33m"
    elif counts.queued:
        state = b"queued"
        colour = b"\x1b[2m"
    elif counts.failed or counts.skipped:
        colour = b"\x1b[31m"
        if counts.ok + counts.failed == 0:
            state = b"skipped"
    used = add_state(text, &start, state, colour, look)

    field = text.size
    if row.cold.flags & TSF_JOB_NO_OUTPUT:
        text_str(text, b"stdout")
    else:
        text_str(text, b"(files)")
    pad_from(text, field, OUTPUT_COLUMNS)
    text_pad(text, 9 + 7)                    # neither error level nor time
    if look.gpus:
        field = text.size
        row_gpus(text, row)
        pad_from(text, field, 5)

    if look.columns:
        limit = text.size + <size_t> look.columns * BYTES_PER_COLUMN
    array_counts(text, counts)
    text_char(text, c" ")
    row_dependencies(text, row, limit)
    if row.cold.label_len:
        text_char(text, c"[")
        text_oneline(text, row_label(row), clipped(text, row_label(row), row.cold.label_len, limit), look.least)
        text_str(text, b"]")
    row_pattern(text, row, limit, look.least)
    if look.columns:
        cut_line(text, start, look.columns - used, beyond(text, limit))
    text_char(text, c"\n")


cdef void info_array(Text *text, const Row *row) noexcept nogil:
    cdef const tsf_cold *cold = row.cold
    if not cold.flags & TSF_JOB_ARRAY:
        return
    text_str(text, b"Array: ")
    text_u64(text, row.id - cold.batch_index)
    text_char(text, c"[")
    text_u64(text, <uint64_t> cold.array_first + cold.batch_index)
    text_str(text, b"] of ")
    text_u64(text, cold.batch_count)
    if cold.array_limit:
        text_str(text, b", at most ")
        text_u64(text, cold.array_limit)
        text_str(text, b" at once")
    text_char(text, c"\n")
