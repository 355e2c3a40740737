# Included at the end of gpus.pyx in builds for tests.

# ---- checks ---------------------------------------------------------------------------------------------------------

def _check(condition, text, *values):
    if not condition:
        raise AssertionError(text % values)


cdef set slots_in(const uint64_t *mask):
    found = set()
    cdef uint32_t slot = mask_next(mask, 0)
    while slot < <uint32_t> TSF_GPUS:
        found.add(slot)
        slot = mask_next(mask, slot + 1)
    return found


cdef dict masks_of(Gpus g):
    return {
        "present": slots_in(g.present), "visible": slots_in(g.visible), "usable": slots_in(g.usable),
        "possible": slots_in(g.possible), "exclusive": slots_in(g.exclusive),
        "mig": slots_in(g.mig), "empty": slots_in(g.empty),
        "whole": slots_in(g.whole), "shared": slots_in(g.shared), "exact": slots_in(g.exact),
        "leased": slots_in(g.leased), "draining": slots_in(g.draining),
    }


cdef check_devices(Gpus g):
    cdef uint32_t slot
    cdef Device *d
    masks = masks_of(g)
    names = ("visible", "possible", "exclusive", "mig", "empty", "whole", "shared", "exact")
    expected = {name: set() for name in names}
    uuids = set()
    for slot in range(g.n_devices):
        d = &g.devices[slot]
        uuids.add(d.uuid)
        for name, member in (
            ("visible", d.flags & TSF_GPU_VISIBLE), ("possible", not d.flags & FORBIDDEN),
            ("exclusive", d.flags & TSF_GPU_EXCLUSIVE), ("mig", d.flags & TSF_GPU_MIG),
            ("whole", d.whole_holders), ("shared", d.sharers),
            ("empty", d.memory_free * 100 > d.memory_total * g.free_percent), ("exact", d.exact_holders),
        ):
            if member:
                expected[name].add(slot)
        _check((slot in masks["usable"]) == is_usable(d), "device %d: usable is wrong", slot)
        _check(d.holders == d.whole_holders + d.sharers + d.exact_holders, "device %d: holders differ", slot)
        _check(d.sharers or not (d.share or d.promised or d.promised_share), "device %d: promised to nobody", slot)
        _check(d.sharers or slot not in masks["draining"], "device %d is draining with nobody in it", slot)
        _check(d.promised == d.promised_vram + d.memory_total * <object> d.promised_share // 1000,
               "device %d: %d bytes promised", slot, d.promised)
        _check(d.holders or not d.left or d.memory_free == 0, "device %d: what is left is not waited for", slot)
        _check(d.index == TSF_GPU_NONE or g.by_index[d.index] == slot + 1, "device %d: index %d", slot, d.index)
    for name, members in expected.items():
        _check(masks[name] == members, "%s: %r, found %r", name, masks[name], members)
    for name, members in masks.items():
        _check(all(slot < g.n_devices for slot in members), "%s: slots not in use", name)
    _check(len(uuids) == g.n_devices, "%d UUIDs in %d slots", len(uuids), g.n_devices)
    for index in range(TSF_GPUS):
        slot = g.by_index[index]
        _check(slot == 0 or g.devices[slot - 1].index == index, "index %d leads to slot %d", index, slot)


cdef check_groups(Gpus g):
    cdef uint32_t slot
    _check(not any(g.tally[slot] for slot in range(<uint32_t> TSF_GPUS)), "the tally is not cleared")
    if g.regroup:
        return
    links, nodes = {}, {}
    for slot in range(g.n_devices):
        d = &g.devices[slot]
        link = links.setdefault(d.link, slot) if d.link else slot
        node = nodes.setdefault(d.numa, slot) if d.numa >= 0 else slot
        _check(g.link_group[slot] == link, "device %d: link group %d", slot, g.link_group[slot])
        _check(g.numa_group[slot] == node, "device %d: NUMA group %d", slot, g.numa_group[slot])


cdef check_classes(Gpus g):
    cdef uint32_t number
    cdef uint32_t at
    cdef Class *c
    unused = set()
    number = g.class_free
    while number:
        _check(number not in unused and g.classes[number].references == 0, "class %d is free and in use", number)
        unused.add(number)
        number = g.classes[number].next
    by_memory = 0
    seen = set()
    for number in range(1, g.class_top + 1):
        c = &g.classes[number]
        _check((c.references == 0) == (number in unused), "class %d is lost", number)
        if c.references == 0:
            continue
        by_memory += c.need.vram != 0
        at = <uint32_t> idmap_get(&g.class_of_hash, c.hash)
        while at != number and at:
            at = g.classes[at].next
        _check(at == number, "class %d is not found", number)
        need = (c.need.count, c.need.share, c.need.vram, None if c.need.exact == NULL else <bytes> c.need.exact)
        _check(need not in seen, "class %d is there twice", number)
        seen.add(need)
    _check(by_memory == g.n_by_memory, "%d classes by memory, counted %d", by_memory, g.n_by_memory)


cdef check_verdicts(Gpus g):
    """What is said of a device is what the choice makes of it."""
    cdef uint64_t[TSF_GPU_WORDS] fitting
    cdef uint32_t number, slot
    for number in range(1, g.class_top + 1):
        if g.classes[number].references == 0 or g.classes[number].need.exact != NULL:
            continue
        find_fitting(g, &g.classes[number].need, fitting)
        for slot in slots_in(g.present):
            fits = judge(g, slot, &g.classes[number].need) == VERDICT_FITS
            _check(fits == mask_test(fitting, slot), "class %d: of device %d is said %d", number, slot, fits)


# ---- for tests ------------------------------------------------------------------------------------------------------

_FLAGS = {
    "visible": TSF_GPU_VISIBLE, "answers": TSF_GPU_ANSWERS, "foreign": TSF_GPU_FOREIGN,
    "exclusive": TSF_GPU_EXCLUSIVE, "prohibited": TSF_GPU_PROHIBITED, "mig": TSF_GPU_MIG,
    "divided": TSF_GPU_DIVIDED, "busy": TSF_GPU_BUSY,
    "unseen": TSF_GPU_UNSEEN,
}


cdef pack(slots, uint64_t *mask):
    cdef uint32_t slot
    mask_clear(mask)
    for slot in slots:
        mask_set(mask, slot)


@cython.final
cdef class GpusProbe:
    """Gpus for Python, to test them. Slow, with the same rules. Sets of slots are sets of numbers."""
    cdef readonly Gpus gpus

    def __cinit__(self, uint64_t seed=1):
        self.gpus = Gpus()
        self.gpus.seed(seed)

    @staticmethod
    def fail_allocation(uint64_t number):
        """The allocation with this number from now on fails, once; 0: none. Returns what was left of the last."""
        global fail_in
        left = fail_in
        fail_in = number
        return left

    def report(self, bytes uuid, uint32_t index, *, flags=("visible", "answers"), int32_t numa=-1, uint32_t link=0,
               uint64_t total=1000, uint64_t free=1000, uint64_t measured_ns=1, bytes why=b""):
        cdef tsf_gpu record
        memset(&record, 0, sizeof(record))
        record.index = index
        for name in flags:
            record.flags |= <uint32_t> _FLAGS[name]
        record.numa = numa
        record.link = link
        record.memory_total = total
        record.memory_free = free
        record.measured_ns = measured_ns
        if len(uuid) > UUID_SIZE:
            raise ValueError(uuid)
        memcpy(record.uuid, <const char *> uuid, len(uuid))
        copy_text(record.why, why, sizeof(record.why))
        return self.gpus.report(&record)

    def round_end(self):
        self.gpus.round_end()

    def failed(self, bytes why):
        self.gpus.failed(why)

    def without(self, uint32_t index, bytes why):
        return self.gpus.without(index, why)

    def set_free_percent(self, uint32_t percent):
        self.gpus.set_free_percent(percent)

    def set_leased(self, uint32_t slot, bint leased):
        self.gpus.set_leased(slot, leased)

    def clear_leased(self):
        self.gpus.clear_leased()

    def slot_of(self, bytes uuid):
        return self.gpus.slot_of(uuid)

    def slot_by_index(self, uint32_t index):
        return self.gpus.slot_by_index(index)

    def slot_for(self, bytes uuid, uint32_t index=TSF_GPU_NONE):
        return self.gpus.slot_for(uuid, index)

    def device(self, uint32_t slot):
        _check(slot < self.gpus.n_devices, "no slot %d", slot)
        d = self.gpus.device(slot)
        return {
            "uuid": d.uuid, "index": None if d.index == TSF_GPU_NONE else d.index, "why": d.why, "numa": d.numa,
            "link": d.link, "memory_total": d.memory_total, "memory_free": d.memory_free,
            "baseline_free": d.baseline_free, "promised": d.promised, "share": d.share, "holders": d.holders,
            "fullness": d.fullness,
        }

    def masks(self):
        return masks_of(self.gpus)

    def class_of(self, uint32_t count=1, uint32_t share=TSF_GPU_WHOLE, uint64_t vram=0, bytes exact=None):
        cdef Need need
        need.count = count
        need.share = share
        need.vram = vram
        need.exact = NULL
        if exact is not None:
            need.exact = exact
        return self.gpus.class_of(&need)

    def class_release(self, int32_t number):
        self.gpus.class_release(number)

    def need_of(self, int32_t number):
        need = self.gpus.need_of(number)
        return need.count, need.share, need.vram, None if need.exact == NULL else <bytes> need.exact

    def fits(self, int32_t number):
        return bool(self.gpus.fits(number))

    def choose(self, int32_t number):
        cdef uint64_t[TSF_GPU_WORDS] mask
        cdef int count = self.gpus.choose(number, mask)
        if count < 0:
            return None
        chosen = slots_in(mask)
        _check(len(chosen) == count, "%d said, %r chosen", count, chosen)
        return chosen

    def exact_slots(self, int32_t number):
        cdef uint32_t[TSF_GPUS] slots
        cdef uint32_t i
        return [slots[i] for i in range(self.gpus.exact_slots(number, slots))]

    def take(self, int32_t number, slots):
        cdef uint64_t[TSF_GPU_WORDS] mask
        pack(slots, mask)
        self.gpus.take(number, mask)

    def give_back(self, int32_t number, slots, uint64_t now_ns, bint left_processes=False):
        cdef uint64_t[TSF_GPU_WORDS] mask
        pack(slots, mask)
        self.gpus.give_back(number, mask, now_ns, left_processes)

    def restore(self, int32_t number, slots):
        cdef uint64_t[TSF_GPU_WORDS] mask
        pack(slots, mask)
        self.gpus.restore(number, mask)

    def counts(self, int32_t number):
        cdef GpuCounts counts
        self.gpus.counts(self.gpus.need_of(number), &counts)
        found = {name: counts.of[i] for i, name in enumerate(_VERDICTS)}
        found.update(wanted=counts.wanted, present=counts.present, absent=counts.absent, largest=counts.largest)
        return found

    def explain(self, int32_t number, uint32_t slot):
        """What --why says of the device."""
        cdef Text text
        memset(&text, 0, sizeof(text))
        self.gpus.explain(&text, slot, self.gpus.need_of(number))
        words = <bytes> text.data[:text.size] if text.size else b""
        text_free(&text)
        return words.decode()

    def cycle(self, int32_t number, uint32_t times):
        """So many jobs, one after the other: choose, take, give back. For the benchmark."""
        cdef uint64_t[TSF_GPU_WORDS] mask
        cdef uint32_t i
        with nogil:
            for i in range(times):
                self.gpus.choose(number, mask)
                self.gpus.take(number, mask)
                self.gpus.give_back(number, mask, 0, False)

    def check_invariants(self):
        """Computes everything anew; AssertionError names what is wrong."""
        check_devices(self.gpus)
        check_groups(self.gpus)
        check_classes(self.gpus)
        check_verdicts(self.gpus)
