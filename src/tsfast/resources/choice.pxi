# The part of gpus.pyx that chooses: which devices fit a need, and which of them are best.

# ---- which fit ------------------------------------------------------------------------------------------------------

# What the device itself says to a need that is not exact; `empty` as in the mask.
cdef inline bint has_room(const Device *d, const Need *need, bint empty) noexcept nogil:
    cdef uint64_t asked = need.vram
    if need.vram > d.memory_free:
        return False
    if d.sharers == 0:
        return empty or (need.vram != 0 and is_sharing(need))
    if d.share + need.share > <uint32_t> TSF_GPU_WHOLE:
        return False
    if need.vram == 0 and d.promised_vram:       # beside those who asked for memory a part is a part of the memory
        asked = d.memory_total // 1000 * need.share
    return asked == 0 or (d.promised <= d.baseline_free and asked <= d.baseline_free - d.promised)


# The devices of a list, unless one is missing or can never be used; how many of the need's count that is.
cdef uint32_t find_exact(Gpus g, const Need *need, uint64_t *fitting) noexcept nogil:
    cdef uint32_t[TSF_GPUS] slots
    cdef uint32_t absent = 0
    cdef uint32_t distinct = find_listed(g, need.exact, fitting, slots, &absent)
    mask_and(fitting, g.possible)
    # One may stand in the list by its index and by its UUID.
    return need.count if absent == 0 and mask_count(fitting) == distinct else 0


# The devices that fit a need; how many.
cdef uint32_t find_fitting(Gpus g, const Need *need, uint64_t *fitting) noexcept nogil:
    cdef bint sharing = is_sharing(need)
    cdef uint32_t i, slot
    if need.exact != NULL:
        return find_exact(g, need, fitting)
    for i in range(<uint32_t> TSF_GPU_WORDS):
        fitting[i] = g.present[i] & g.visible[i] & g.usable[i] & ~(g.whole[i] | g.exact[i] | g.leased[i])
        if not sharing:
            fitting[i] &= g.empty[i] & ~g.shared[i]
        else:
            fitting[i] &= ~(g.exclusive[i] | g.draining[i])
            if not need.vram:
                fitting[i] &= g.empty[i] | g.shared[i]
    if sharing or need.vram:
        slot = mask_next(fitting, 0)
        while slot < <uint32_t> TSF_GPUS:
            if not has_room(&g.devices[slot], need, mask_test(g.empty, slot)):
                mask_unset(fitting, slot)
            slot = mask_next(fitting, slot + 1)
    if need.count > 1:
        # CUDA gives a process one MIG instance, and none beside whole GPUs.
        mask_andnot(fitting, g.mig)
    return mask_count(fitting)


# ---- groups ---------------------------------------------------------------------------------------------------------

cdef inline bint same_link(const Device *a, const Device *b) noexcept nogil:
    return a.link != 0 and a.link == b.link


cdef inline bint same_node(const Device *a, const Device *b) noexcept nogil:
    return a.numa >= 0 and a.numa == b.numa


# The first device of each group stands for it. Quadratic, but only after devices were seen for the first time.
cdef void find_groups(Gpus g) noexcept nogil:
    cdef uint32_t slot, first
    for slot in range(g.n_devices):
        first = 0
        while first < slot and not same_link(&g.devices[first], &g.devices[slot]):
            first += 1
        g.link_group[slot] = <uint16_t> first
        first = 0
        while first < slot and not same_node(&g.devices[first], &g.devices[slot]):
            first += 1
        g.numa_group[slot] = <uint16_t> first
    g.regroup = False


# ---- chance ---------------------------------------------------------------------------------------------------------

# A number below n (xorshift64*, its upper half).
cdef inline uint32_t random_below(Gpus g, uint32_t n) noexcept nogil:
    cdef uint64_t x = g.random
    x ^= x >> 12
    x ^= x << 25
    x ^= x >> 27
    g.random = x
    return <uint32_t> ((((x * <uint64_t> 0x2545f4914f6cdd1d) >> 32) * n) >> 32)


# ---- which are best -------------------------------------------------------------------------------------------------

# The smallest group that has `count` in the mask, one at random among equals. How many it has there; 0: none has.
cdef uint32_t best_group(Gpus g, const uint64_t *mask, const uint16_t *group_of, uint32_t count,
                         uint64_t *group) noexcept nogil:
    cdef uint16_t[TSF_GPUS] slots
    cdef uint32_t n = mask_slots(mask, slots)
    cdef uint32_t best = 0
    cdef uint32_t equals = 0
    cdef uint32_t chosen = 0
    cdef uint32_t i, size
    for i in range(n):
        g.tally[group_of[slots[i]]] += 1
    for i in range(n):
        size = g.tally[group_of[slots[i]]]
        g.tally[group_of[slots[i]]] = 0          # each group is looked at once
        if size >= count and (best == 0 or size <= best):
            equals = equals + 1 if size == best else 1
            best = size
            if equals == 1 or random_below(g, equals) == 0:
                chosen = group_of[slots[i]]
    if best:
        mask_clear(group)
        for i in range(n):
            if group_of[slots[i]] == chosen:
                mask_set(group, slots[i])
    return best


# Adds `count` of a set to mask, each choice as likely as the others.
cdef void add_some(Gpus g, const uint64_t *some, uint32_t count, uint64_t *mask) noexcept nogil:
    cdef uint32_t left = mask_count(some)
    cdef uint32_t slot = mask_next(some, 0)
    while count:
        if count == left or random_below(g, left) < count:
            mask_set(mask, slot)
            count -= 1
        left -= 1
        slot = mask_next(some, slot + 1)


# Whole GPUs. One alone comes from the smallest group too, so that larger ones stay together; a GPU without links is a
# group of its own.
cdef void choose_whole(Gpus g, const Need *need, const uint64_t *fitting, uint64_t *mask) noexcept nogil:
    cdef uint64_t[TSF_GPU_WORDS] group
    if g.regroup:
        find_groups(g)
    if best_group(g, fitting, g.link_group, need.count, group):
        add_some(g, group, need.count, mask)
    elif best_group(g, fitting, g.numa_group, need.count, group):
        add_some(g, group, need.count, mask)
    else:
        add_some(g, fitting, need.count, mask)


# The fullest of a set; of equally full ones, one at random.
cdef uint32_t fullest(Gpus g, const uint64_t *some) noexcept nogil:
    cdef uint32_t slot = mask_next(some, 0)
    cdef uint32_t best = slot
    cdef uint32_t equals = 0
    while slot < <uint32_t> TSF_GPUS:
        if g.devices[slot].fullness > g.devices[best].fullness:
            best = slot
            equals = 1
        elif g.devices[slot].fullness == g.devices[best].fullness:
            equals += 1
            if random_below(g, equals) == 0:
                best = slot
        slot = mask_next(some, slot + 1)
    return best


# Parts of `count` GPUs of a set: first of those already shared, the fullest first.
cdef void add_fullest(Gpus g, const uint64_t *some, uint32_t count, uint64_t *mask) noexcept nogil:
    cdef uint64_t[TSF_GPU_WORDS] joined
    cdef uint64_t[TSF_GPU_WORDS] idle
    cdef uint32_t left, slot
    memcpy(joined, some, sizeof(joined))
    memcpy(idle, some, sizeof(idle))
    mask_and(joined, g.shared)
    mask_andnot(idle, g.shared)
    left = mask_count(joined)
    while count and left:
        slot = fullest(g, joined)
        mask_unset(joined, slot)
        mask_set(mask, slot)
        left -= 1
        count -= 1
    add_some(g, idle, count, mask)


# Parts of GPUs. One: of any that is shared already. Several: of one link group or node as for whole ones, and there
# too rather of those that are shared already.
cdef void choose_shared(Gpus g, const Need *need, const uint64_t *fitting, uint64_t *mask) noexcept nogil:
    cdef uint64_t[TSF_GPU_WORDS] joined
    cdef uint64_t[TSF_GPU_WORDS] group
    memcpy(joined, fitting, sizeof(joined))
    mask_and(joined, g.shared)
    if g.regroup:
        find_groups(g)
    if need.count == 1:
        if mask_count(joined):
            add_fullest(g, joined, 1, mask)
        else:
            choose_whole(g, need, fitting, mask)
        return
    if (best_group(g, joined, g.link_group, need.count, group)
            or best_group(g, fitting, g.link_group, need.count, group)
            or best_group(g, joined, g.numa_group, need.count, group)
            or best_group(g, fitting, g.numa_group, need.count, group)):
        add_fullest(g, group, need.count, mask)
    else:
        add_fullest(g, fitting, need.count, mask)
