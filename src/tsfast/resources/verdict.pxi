# The part of gpus.pyx that says what keeps a device from a job: for --why, for warnings, and for `tsfast gpus`.

cdef Verdict exact_verdict(const Device *d) noexcept nogil:
    """A job of `-g` takes the device in whatever state it is."""
    if d.flags & TSF_GPU_DIVIDED:
        return VERDICT_DIVIDED
    return VERDICT_PROHIBITED if d.flags & TSF_GPU_PROHIBITED else VERDICT_FITS


cdef Verdict judge(Gpus g, uint32_t slot, const Need *need) noexcept nogil:
    """Says VERDICT_FITS of those that find_fitting() finds, and of no others."""
    cdef const Device *d = &g.devices[slot]
    cdef bint sharing = is_sharing(need)
    if need.exact != NULL:
        return exact_verdict(d)
    if not d.flags & TSF_GPU_VISIBLE:
        return VERDICT_HIDDEN
    if d.flags & FORBIDDEN:
        return exact_verdict(d)
    if need.count > 1 and d.flags & TSF_GPU_MIG:
        return VERDICT_ALONE
    if sharing and d.flags & TSF_GPU_EXCLUSIVE:
        return VERDICT_UNSHARED
    if d.memory_total and need.vram > d.memory_total:
        return VERDICT_SMALL
    if not d.flags & TSF_GPU_ANSWERS:
        return VERDICT_SILENT
    if d.flags & TSF_GPU_FOREIGN:
        return VERDICT_FOREIGN
    if not is_usable(d):
        return VERDICT_BUSY
    if d.whole_holders or d.exact_holders or (d.sharers and not sharing):
        return VERDICT_USED
    if mask_test(g.leased, slot):
        return VERDICT_LEASED
    if mask_test(g.draining, slot):
        return VERDICT_USED
    if not has_room(d, need, is_empty(d, g.free_percent)):
        return VERDICT_USED if d.sharers else VERDICT_OCCUPIED
    return VERDICT_FITS


cdef void count_one(Gpus g, uint32_t slot, const Need *need, GpuCounts *counts) noexcept nogil:
    counts.of[<int> judge(g, slot, need)] += 1
    counts.present += 1
    counts.largest = max(counts.largest, g.devices[slot].memory_total)


cdef void count_all(Gpus g, const Need *need, GpuCounts *counts) noexcept nogil:
    cdef uint64_t[TSF_GPU_WORDS] there
    cdef uint32_t[TSF_GPUS] slots
    cdef uint32_t i, slot
    memset(counts, 0, sizeof(GpuCounts))
    counts.wanted = need.count
    if need.exact != NULL:
        for i in range(find_listed(g, need.exact, there, slots, &counts.absent)):
            count_one(g, slots[i], need, counts)
        return
    slot = mask_next(g.present, 0)
    while slot < <uint32_t> TSF_GPUS:
        count_one(g, slot, need, counts)
        slot = mask_next(g.present, slot + 1)


cdef uint32_t percent_free(const Device *d) noexcept nogil:
    return <uint32_t> (d.memory_free * 100 // d.memory_total) if d.memory_total else 0


cdef void amount(Text *text, uint64_t bytes, bint up) noexcept nogil:
    """As --vram takes it, with one decimal: 19.9G, 512M."""
    cdef int shift = 20 if bytes < <uint64_t> 1 << 30 else 30 if bytes < <uint64_t> 1 << 40 else 40
    cdef uint64_t unit = <uint64_t> 1 << shift
    cdef uint64_t tenths = (bytes >> shift) * 10 + ((bytes & (unit - 1)) * 10 + (unit - 1 if up else 0)) // unit
    text_u64(text, tenths // 10)
    if tenths % 10:
        text_char(text, c".")
        text_u64(text, tenths % 10)
    text_char(text, b"MGT"[shift // 10 - 2])


cdef void occupied_words(Text *text, const Device *d, const Need *need, uint32_t percent) noexcept nogil:
    """By the rules of has_room: a whole GPU, and a part without memory, must be empty."""
    if d.left:
        text_str(text, b"what is free is not known yet: a job has left processes behind")
    elif need.vram > d.memory_free:
        amount(text, d.memory_free, False)
        text_str(text, b" free, ")
        amount(text, need.vram, True)
        text_str(text, b" needed")
    else:
        text_u64(text, percent_free(d))
        text_str(text, b" % free, ")
        if percent_free(d) >= percent:
            text_str(text, b"more than ")
        text_u64(text, percent)
        text_str(text, b" % needed")


cdef void explain_device(Gpus g, Text *text, uint32_t slot, const Need *need) noexcept nogil:
    cdef const Device *d = &g.devices[slot]
    cdef Verdict verdict = judge(g, slot, need)
    if verdict == VERDICT_HIDDEN:
        text_str(text, b"not in TS_VISIBLE_DEVICES")
    elif verdict == VERDICT_DIVIDED:
        text_str(text, b"divided into MIG instances")
    elif verdict == VERDICT_PROHIBITED:
        text_str(text, b"compute mode prohibited")
    elif verdict == VERDICT_ALONE:
        text_str(text, b"a MIG instance, of which a job gets one and no other GPU")
    elif verdict == VERDICT_UNSHARED:
        text_str(text, b"compute mode exclusive: jobs cannot share it")
    elif verdict == VERDICT_SMALL:
        amount(text, d.memory_total, False)
        text_str(text, b" in all, ")
        amount(text, need.vram, True)
        text_str(text, b" needed")
    elif verdict == VERDICT_SILENT:
        text_str(text, b"does not answer: ")
        text_oneline(text, d.why, strlen(d.why), TSF_HIDDEN)
    elif verdict == VERDICT_FOREIGN:
        text_str(text, b"process ")
        text_i64(text, d.foreign_pid)
        if d.foreign_uid == TSF_GPU_NONE:
            text_str(text, b", invisible from here")
        else:
            text_str(text, b" of user ")
            text_u64(text, d.foreign_uid)
    elif verdict == VERDICT_BUSY:
        text_str(text, b"compute mode exclusive, and a process computes on it")
    elif verdict == VERDICT_USED:
        text_str(text, b"used by jobs of this queue")
    elif verdict == VERDICT_LEASED:
        text_str(text, b"leased by another queue, or without a lease file")
    elif verdict == VERDICT_OCCUPIED:
        occupied_words(text, d, need, g.free_percent)


def why_not(list records not None, uint32_t percent, list leased not None, uint32_t count=1,
            uint32_t share=TSF_GPU_WHOLE, uint64_t vram=0) -> list[tuple[str, str]]:
    """What keeps each device of a round from a job that asks for so much, as the server sees it that has no job: the
    verdict's name, as `occupied`, and the words; ("fits", "") for nothing. records: of the monitor, as bytes. leased:
    for each whether another queue has it, or it has no lease file where it must."""
    cdef Gpus g = Gpus()
    cdef Need need
    cdef Text text
    cdef int slot
    cdef bytes record
    memset(&need, 0, sizeof(need))
    memset(&text, 0, sizeof(text))
    need.count, need.share, need.vram = count, share, vram
    g.set_free_percent(percent)
    slots = []
    for record in records:
        if len(record) != sizeof(tsf_gpu):
            raise ValueError(f"a record of {len(record)} bytes")
        slots.append(g.report(<const tsf_gpu *> <const char *> record))
    found = []
    for record, slot, held in zip(records, slots, leased, strict=True):
        if slot < 0:                 # it could not be asked who it is
            why = record[<size_t> &(<tsf_gpu *> NULL).why:].split(b"\0")[0]
            found.append(("silent", "does not answer: " + why.decode("utf-8", "replace")))
            continue
        g.set_leased(<uint32_t> slot, held)
        text.size = 0
        explain_device(g, &text, <uint32_t> slot, &need)
        words = (<bytes> text.data[:text.size]).decode("utf-8", "replace") if text.size else ""
        found.append((_VERDICTS[<int> judge(g, <uint32_t> slot, &need)], words))
    text_free(&text)
    return found


_VERDICTS = (
    "hidden", "divided", "prohibited", "alone", "unshared", "small", "silent", "foreign", "busy", "used", "leased",
    "occupied", "fits",
)
