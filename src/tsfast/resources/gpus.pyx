# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""Which GPUs a job gets: see gpus.pxd and docs/gpus.md.

What is counted stands in the Device; the masks follow from it (refresh) and are what choosing looks at. While jobs have
a device its memory and processes are theirs, too, so what is known of it when the last has ended is what was known when
the first came (baseline_free), unless one left processes.
"""
cimport cython
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memchr, memcmp, memcpy, memset, strcmp, strdup, strlen, strncmp

from tsfast.resources.mask cimport (
    mask_and, mask_andnot, mask_clear, mask_count, mask_next, mask_put, mask_set, mask_slots, mask_test,
    mask_unset
)
from tsfast.base.idmap cimport idmap_del, idmap_free, idmap_get, idmap_place, idmap_put, not_there
from tsfast.layout.check cimport tsf_hash64
from tsfast.layout.gpus cimport (
    TSF_GPU_ANSWERS, TSF_GPU_BUSY, TSF_GPU_DIVIDED, TSF_GPU_EXCLUSIVE, TSF_GPU_FOREIGN, TSF_GPU_MIG, TSF_GPU_NONE,
    TSF_GPU_PROHIBITED, TSF_GPU_UNSEEN, TSF_GPU_VISIBLE, TSF_GPU_WHOLE,
)
from tsfast.base.text cimport TSF_HIDDEN, Text, text_char, text_free, text_i64, text_oneline, text_str, text_u64

cdef enum:
    UUID_SIZE = 64            # with its NUL
    BY_PROCESSES = TSF_GPU_FOREIGN | TSF_GPU_BUSY | TSF_GPU_UNSEEN
    FORBIDDEN = TSF_GPU_PROHIBITED | TSF_GPU_DIVIDED
    PERCENT_AT_FIRST = 90

cdef inline uint64_t memory_max() noexcept nogil:
    return (<uint64_t> 1 << MEMORY_BITS) - 1


# ---- a device -------------------------------------------------------------------------------------------------------

cdef void copy_text(char *to, const char *text, uint32_t room) noexcept nogil:
    cdef uint32_t i = 0
    while i + 1 < room and text[i]:
        to[i] = text[i]
        i += 1
    memset(to + i, 0, room - i)


cdef void count_promises(Device *d) noexcept nogil:
    cdef uint64_t part = 0
    d.promised = d.promised_vram + d.memory_total // 1000 * d.promised_share
    d.promised += d.memory_total % 1000 * d.promised_share // 1000
    if d.promised:
        part = 1000 if d.baseline_free == 0 else min(d.promised, memory_max()) * 1000 // d.baseline_free
    d.fullness = <uint32_t> max(min(part, <uint64_t> 1000), <uint64_t> d.share)


cdef inline bint is_usable(const Device *d) noexcept nogil:
    if not d.flags & TSF_GPU_ANSWERS or d.flags & (TSF_GPU_FOREIGN | FORBIDDEN):
        return False
    return d.holders != 0 or not d.flags & TSF_GPU_EXCLUSIVE or not d.flags & TSF_GPU_BUSY


cdef inline bint is_empty(const Device *d, uint32_t percent) noexcept nogil:
    return d.memory_free * 100 > d.memory_total * percent


cdef inline bint is_sharing(const Need *need) noexcept nogil:
    return need.exact == NULL and need.share < <uint32_t> TSF_GPU_WHOLE


# The masks from the device. True: one has changed. A bitwise or, since all are to be set.
cdef bint refresh(Gpus g, uint32_t slot) noexcept nogil:
    cdef Device *d = &g.devices[slot]
    cdef bint changed = mask_put(g.visible, slot, d.flags & TSF_GPU_VISIBLE != 0)
    changed |= mask_put(g.usable, slot, is_usable(d))
    changed |= mask_put(g.possible, slot, d.flags & FORBIDDEN == 0)
    changed |= mask_put(g.exclusive, slot, d.flags & TSF_GPU_EXCLUSIVE != 0)
    changed |= mask_put(g.mig, slot, d.flags & TSF_GPU_MIG != 0)
    changed |= mask_put(g.empty, slot, is_empty(d, g.free_percent))
    changed |= mask_put(g.whole, slot, d.whole_holders != 0)
    changed |= mask_put(g.shared, slot, d.sharers != 0)
    changed |= mask_put(g.exact, slot, d.exact_holders != 0)
    return changed


cdef bint set_index(Gpus g, uint32_t slot, uint32_t index) noexcept nogil:
    """True: it was another one. Who had this index until now has none, until it is reported."""
    cdef Device *d = &g.devices[slot]
    if d.index == index:
        return False
    if d.index != TSF_GPU_NONE:
        g.by_index[d.index] = 0
    if index != TSF_GPU_NONE:
        if g.by_index[index]:
            g.devices[g.by_index[index] - 1].index = TSF_GPU_NONE
        g.by_index[index] = <uint16_t> (slot + 1)
    d.index = index
    return True


cdef int new_slot(Gpus g, const char *uuid) noexcept nogil:
    cdef uint32_t slot = g.n_devices
    if slot == <uint32_t> TSF_GPUS:
        return -1
    g.n_devices += 1
    copy_text(g.devices[slot].uuid, uuid, UUID_SIZE)
    g.devices[slot].index = TSF_GPU_NONE
    g.devices[slot].numa = -1
    g.regroup = True
    refresh(g, slot)
    return <int> slot


# A report without UUID, or none in time: the device does not answer.
cdef void silent(Gpus g, uint32_t slot, const char *why) noexcept nogil:
    g.devices[slot].flags &= ~<uint32_t> TSF_GPU_ANSWERS
    copy_text(g.devices[slot].why, why, sizeof(g.devices[slot].why))
    if refresh(g, slot):
        g.changed += 1


# What a report says of memory and processes, if it is newer than the last change by this queue. True: memory differs.
cdef bint learn_use(Device *d, const tsf_gpu *record) noexcept nogil:
    cdef uint32_t processes = BY_PROCESSES
    cdef uint64_t free_now = min(record.memory_free, d.memory_total)
    cdef bint differs
    if not record.flags & TSF_GPU_ANSWERS or record.measured_ns < d.changed_ns:
        return False
    if d.holders:
        # That somebody computes on it says nothing: a job of ours does. Nor does that it is nobody who can be seen
        # here, where our jobs cannot be seen either.
        processes = TSF_GPU_FOREIGN
    else:
        d.left = False
    differs = d.memory_free != free_now
    d.flags = (d.flags & ~processes) | (record.flags & processes)
    if d.holders and record.flags & TSF_GPU_UNSEEN:
        d.flags &= ~<uint32_t> TSF_GPU_FOREIGN
    d.foreign_uid = record.foreign_uid
    d.foreign_pid = record.foreign_pid
    d.memory_free = free_now
    d.measured_ns = record.measured_ns
    return differs


# Everything else that a report says. True: something differs that sharing depends on.
cdef bint learn_facts(Gpus g, uint32_t slot, const tsf_gpu *record) noexcept nogil:
    cdef Device *d = &g.devices[slot]
    cdef uint64_t total = min(record.memory_total, memory_max())
    if d.link != record.link or d.numa != record.numa:
        d.link = record.link
        d.numa = record.numa
        g.regroup = True
    copy_text(d.bus, record.bus, sizeof(d.bus))
    copy_text(d.name, record.name, sizeof(d.name))
    copy_text(d.why, record.why, sizeof(d.why))
    d.flags = (record.flags & ~<uint32_t> BY_PROCESSES) | (d.flags & BY_PROCESSES)
    if not record.flags & TSF_GPU_ANSWERS or d.memory_total == total:
        return False
    d.memory_total = total
    count_promises(d)
    return True


include "needs.pxi"
include "choice.pxi"
include "verdict.pxi"


# ---- give and take --------------------------------------------------------------------------------------------------

cdef void hold(Device *d, const Need *need) noexcept nogil:
    d.holders += 1
    if need.exact != NULL:
        d.exact_holders += 1
    elif not is_sharing(need):
        d.whole_holders += 1
    else:
        d.sharers += 1
        d.share += need.share
        d.promised_vram += need.vram
        if not need.vram:
            d.promised_share += need.share
    count_promises(d)


cdef void let_go(Device *d, const Need *need) noexcept nogil:
    d.holders -= 1
    if need.exact != NULL:
        d.exact_holders -= 1
    elif not is_sharing(need):
        d.whole_holders -= 1
    else:
        d.sharers -= 1
        d.share -= need.share
        d.promised_vram -= need.vram
        if not need.vram:
            d.promised_share -= need.share
    count_promises(d)


@cython.final
cdef class Gpus:
    def __cinit__(self):
        self.devices = <Device *> calloc(<size_t> TSF_GPUS, sizeof(Device))
        if self.devices == NULL:
            raise MemoryError
        self.free_percent = PERCENT_AT_FIRST
        self.changed = self.round = 1
        self.random = 1

    def __dealloc__(self):
        cdef uint32_t i
        for i in range(1, self.class_top + 1):
            free(<void *> self.classes[i].need.exact)
        free(self.classes)
        free(self.devices)
        idmap_free(&self.class_of_hash)

    # ---- what is known of the devices --------------------------------------------------------------------------

    cdef int report(self, const tsf_gpu *record) noexcept nogil:
        cdef int slot
        cdef Device *d
        cdef bint changed
        if record.index >= <uint32_t> TSF_GPUS or memchr(record.uuid, 0, UUID_SIZE) == NULL:
            return -1
        slot = self.slot_by_index(record.index)
        if record.uuid[0] == 0:
            if slot >= 0:
                self.devices[slot].seen = self.round
                self.devices[slot].without = False
                silent(self, <uint32_t> slot, record.why)
            return slot
        if slot < 0 or strcmp(self.devices[slot].uuid, record.uuid) != 0:
            slot = self.slot_of(record.uuid)
            if slot < 0:
                slot = new_slot(self, record.uuid)
            if slot < 0:
                return -1
        d = &self.devices[slot]
        d.seen = self.round
        d.without = False
        changed = learn_facts(self, <uint32_t> slot, record)
        changed |= learn_use(d, record)
        # How much memory is free matters to those who ask for memory, and only where they could get some.
        if self.n_by_memory == 0 or d.whole_holders or d.exact_holders:
            changed = False
        changed |= set_index(self, <uint32_t> slot, record.index)
        changed |= mask_put(self.present, <uint32_t> slot, True)
        changed |= refresh(self, <uint32_t> slot)
        self.changed += changed
        return slot

    cdef void round_end(self) noexcept nogil:
        cdef uint32_t slot
        for slot in range(self.n_devices):
            if self.devices[slot].seen == self.round or self.devices[slot].without:
                continue
            set_index(self, slot, TSF_GPU_NONE)
            self.changed += mask_put(self.present, slot, False)
        self.round += 1

    cdef void failed(self, const char *why) noexcept nogil:
        cdef uint32_t slot
        for slot in range(self.n_devices):
            silent(self, slot, why)

    cdef int without(self, uint32_t index, const char *why) noexcept nogil:
        cdef int slot = self.slot_by_index(index)
        if slot < 0 or not mask_test(self.present, <uint32_t> slot):
            return -1
        self.devices[slot].without = True
        silent(self, <uint32_t> slot, why)
        return slot

    cdef void set_free_percent(self, uint32_t percent) noexcept nogil:
        cdef uint32_t slot
        self.free_percent = percent
        for slot in range(self.n_devices):
            self.changed += refresh(self, slot)

    cdef void set_leased(self, uint32_t slot, bint leased) noexcept nogil:
        self.changed += mask_put(self.leased, slot, leased)

    cdef void clear_leased(self) noexcept nogil:
        self.changed += mask_count(self.leased) != 0
        mask_clear(self.leased)

    cdef int slot_of(self, const char *uuid) noexcept nogil:
        cdef uint32_t slot
        for slot in range(self.n_devices):
            if strcmp(self.devices[slot].uuid, uuid) == 0:
                return <int> slot
        return -1

    cdef int slot_by_index(self, uint32_t index) noexcept nogil:
        return <int> self.by_index[index] - 1 if index < <uint32_t> TSF_GPUS else -1

    cdef int slot_for(self, const char *uuid, uint32_t index) noexcept nogil:
        cdef int slot = self.slot_of(uuid)
        if slot >= 0 or not is_uuid(uuid, strlen(uuid)):
            return slot
        slot = new_slot(self, uuid)
        if slot >= 0 and index < <uint32_t> TSF_GPUS and not self.by_index[index]:
            set_index(self, <uint32_t> slot, index)
        return slot

    cdef Device *device(self, uint32_t slot) noexcept nogil:
        return &self.devices[slot]

    # ---- needs -------------------------------------------------------------------------------------------------

    cdef int32_t class_of(self, const Need *need) noexcept nogil:
        return intern(self, need)

    cdef void class_release(self, int32_t number) noexcept nogil:
        self.classes[number].references -= 1
        if self.classes[number].references == 0:
            forget_class(self, <uint32_t> number)

    cdef const Need *need_of(self, int32_t number) noexcept nogil:
        return &self.classes[number].need

    cdef bint fits(self, int32_t number) noexcept nogil:
        cdef Class *c = &self.classes[number]
        cdef uint64_t[TSF_GPU_WORDS] fitting
        if c.checked != self.changed:
            c.checked = self.changed
            c.fits = find_fitting(self, &c.need, fitting) >= c.need.count
        return c.fits

    cdef int choose(self, int32_t number, uint64_t *mask) noexcept nogil:
        cdef const Need *need = &self.classes[number].need
        cdef uint64_t[TSF_GPU_WORDS] fitting
        if find_fitting(self, need, fitting) < need.count:
            return -1
        mask_clear(mask)
        if need.exact != NULL:
            memcpy(mask, fitting, sizeof(fitting))
        elif is_sharing(need):
            choose_shared(self, need, fitting, mask)
        else:
            choose_whole(self, need, fitting, mask)
        return <int> mask_count(mask)

    cdef uint32_t exact_slots(self, int32_t number, uint32_t *slots) noexcept nogil:
        cdef uint64_t[TSF_GPU_WORDS] there
        cdef uint32_t absent = 0
        return find_listed(self, self.classes[number].need.exact, there, slots, &absent)

    cdef void take(self, int32_t number, const uint64_t *mask) noexcept nogil:
        cdef uint32_t slot = mask_next(mask, 0)
        cdef Device *d
        while slot < <uint32_t> TSF_GPUS:
            d = &self.devices[slot]
            if d.holders == 0:
                d.baseline_free = d.memory_free
            hold(d, &self.classes[number].need)
            refresh(self, slot)
            slot = mask_next(mask, slot + 1)
        self.changed += 1

    cdef void give_back(self, int32_t number, const uint64_t *mask, uint64_t now_ns,
                        bint left_processes) noexcept nogil:
        cdef uint32_t slot = mask_next(mask, 0)
        cdef Device *d
        while slot < <uint32_t> TSF_GPUS:
            d = &self.devices[slot]
            let_go(d, &self.classes[number].need)
            d.changed_ns = max(d.changed_ns, now_ns)
            d.left = d.left or left_processes
            if d.holders == 0:
                d.memory_free = 0 if d.left else d.baseline_free
            if d.sharers == 0:
                mask_unset(self.draining, slot)
            refresh(self, slot)
            slot = mask_next(mask, slot + 1)
        self.changed += 1

    cdef void restore(self, int32_t number, const uint64_t *mask) noexcept nogil:
        cdef uint32_t slot = mask_next(mask, 0)
        cdef Device *d
        while slot < <uint32_t> TSF_GPUS:
            d = &self.devices[slot]
            d.left = True                # what was free when it was taken is forgotten: the next report must tell
            hold(d, &self.classes[number].need)
            if is_sharing(&self.classes[number].need):
                mask_set(self.draining, slot)
            refresh(self, slot)
            slot = mask_next(mask, slot + 1)
        self.changed += 1

    cdef Verdict verdict(self, uint32_t slot, const Need *need) noexcept nogil:
        return judge(self, slot, need)

    cdef void counts(self, const Need *need, GpuCounts *counts) noexcept nogil:
        count_all(self, need, counts)

    cdef void explain(self, Text *text, uint32_t slot, const Need *need) noexcept nogil:
        explain_device(self, text, slot, need)

    cdef void say_amount(self, Text *text, uint64_t bytes) noexcept nogil:
        amount(text, bytes, False)

    cdef void seed(self, uint64_t seed) noexcept nogil:
        self.random = seed if seed else 1


include "gpus_probe.pxi"  # of tests/probes; empty in a wheel
