# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See allocator.pxd."""
cimport cython
from libc.stdint cimport int32_t, uint16_t, uint32_t, uint64_t
from libc.stdio cimport snprintf
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset, strlen, strncmp, strncpy

from tsfast.resources.mask cimport mask_clear, mask_next, mask_set, mask_test, mask_unset
from tsfast.resources.gpus cimport Device, Gpus, Need
from tsfast.base.idmap cimport idmap_del, idmap_free, idmap_get, idmap_put, not_there
from tsfast.scheduler.scheduler cimport Scheduler
from tsfast.layout.gpus cimport (
    TSF_GPUS, TSF_GPU_ANSWERS, TSF_GPU_DEVICE, TSF_GPU_FAILED, TSF_GPU_MIG, TSF_GPU_NONE, TSF_GPU_ROUND, TSF_GPU_WHOLE,
    tsf_gpu,
)
from tsfast.layout.table cimport TSF_GRANTED_BY_UUID, tsf_cold, tsf_grant, tsf_grant_check, tsf_granted
from tsfast.resources.leases cimport LEASE_HELD, LEASE_MISSING, LOCK_UN, flock, lease_take
from tsfast.base.limits cimport GPU_FRESH_MS
from tsfast.base.loop cimport Loop
from tsfast.resources.monitor cimport Monitor
from tsfast.base.text cimport TSF_HIDDEN, Text, text_add, text_free, text_oneline, text_str, text_u64
from tsfast.store.record cimport Record
from tsfast.base.system cimport (
    CLOCK_MONOTONIC, CLOCK_REALTIME, ENOMEM, close, getenv, set_errno, tsf_log, tsf_now_ns,
)
from tsfast.store.table cimport Table


# ---- handlers: owner is the Allocator object -------------------------------------------------------------------------

cdef void record_came(void *owner, const tsf_gpu *record) noexcept nogil:
    (<Allocator> owner)._record_came(record)


cdef void monitor_failed(void *owner, uint32_t index, const char *why) noexcept nogil:
    (<Allocator> owner)._trouble(index, why)


cdef void monitor_stopped(void *owner) noexcept nogil:
    (<Allocator> owner).gpus.failed(b"not asked at the moment")
    (<Allocator> owner).complete = False


cdef void pause_over(void *owner) noexcept nogil:
    (<Allocator> owner).pausing = False


@cython.final
cdef class Allocator:
    def __init__(self, Loop loop not None, Table table not None, uint32_t timeout):
        cdef int i
        self.loop = loop
        self.table = table
        self.gpus = Gpus()
        self.gpus.seed(tsf_now_ns(CLOCK_REALTIME))
        if table.header.gpu_free_percent:
            self.gpus.set_free_percent(table.header.gpu_free_percent)
        self.monitor = Monitor(loop, timeout)
        self.monitor.owner = <void *> self
        self.monitor.on_record = record_came
        self.monitor.on_trouble = monitor_failed
        self.monitor.on_stopped = monitor_stopped
        self.pause_timer = loop.new_timer(pause_over, <void *> self)
        for i in range(TSF_GPUS):
            self.queue_fd[i] = -1

    def __dealloc__(self):
        cdef size_t i
        for i in range(self.held.room):
            if self.held.values[i] != not_there():
                free(<void *> <size_t> self.held.values[i])
        idmap_free(&self.held)
        text_free(&self.text)
        free(self.silences)

    # ---- needs -------------------------------------------------------------------------------------------------
    cdef int32_t class_of(self, const tsf_cold *cold, const char *exact) noexcept nogil:
        cdef Need need
        cdef char *list = NULL
        cdef int32_t number
        if cold.gpus == 0:
            return 0
        memset(&need, 0, sizeof(need))
        need.count = cold.gpus
        need.share = cold.gpu_share
        need.vram = cold.vram
        if cold.gpu_exact_len:
            list = <char *> calloc(1, <size_t> cold.gpu_exact_len + 1)
            if list == NULL:
                return -1
            memcpy(list, exact, cold.gpu_exact_len)
            need.exact = list
        number = self.gpus.class_of(&need)
        free(list)
        return number

    cdef void release_class(self, int32_t gpu_class) noexcept nogil:
        if gpu_class > 0:
            self.gpus.class_release(gpu_class)

    # ---- what is there -----------------------------------------------------------------------------------------
    cdef void refresh(self, Scheduler scheduler) noexcept nogil:
        cdef uint32_t number
        cdef bint fresh
        self.monitor.need(scheduler.gpu_ready > 0)
        if scheduler.gpu_ready == 0:
            return
        # A monitor that has been silent for a while may hang: what it said before is not relied upon.
        fresh = tsf_now_ns(CLOCK_MONOTONIC) - self.heard_ns < <uint64_t> GPU_FRESH_MS * 1000000
        for number in range(1, scheduler.n_classes + 1):
            if scheduler.class_waits(number):
                scheduler.open_class(number, self._may_start(<int32_t> number, fresh))

    cdef bint _may_start(self, int32_t gpu_class, bint fresh) noexcept nogil:
        """The best choice takes all devices to choose from; those that a list names have been chosen."""
        if self.pausing or not ((self.complete and fresh) or self.gpus.need_of(gpu_class).exact != NULL):
            return False
        return self.gpus.fits(gpu_class)

    cdef void _record_came(self, const tsf_gpu *record) noexcept nogil:
        cdef uint32_t before = self.table.header.gpu_devices
        if record.kind == TSF_GPU_DEVICE:
            self.heard_ns = tsf_now_ns(CLOCK_MONOTONIC)
            self._device_came(record)
        elif record.kind == TSF_GPU_FAILED:
            self._trouble(TSF_GPU_NONE, record.why)
        elif record.kind == TSF_GPU_ROUND:
            self.gpus.round_end()
            self.complete = self.known = True
            self._forget_silent(record.index)
            self.gpus.clear_leased()          # other queues may have given them back: try again
            if self.trouble[0] and (self.answered or record.index == 0):
                self.trouble[0] = 0
                tsf_log(b"NVML answers again")
            self.answered = False
            if record.index and record.index != before:
                # Refused: the next round tries again.
                self.table.save_setting(&self.table.header.gpu_devices, &record.index, sizeof(record.index))

    cdef void _device_came(self, const tsf_gpu *record) noexcept nogil:
        cdef char line[64]
        self.gpus.report(record)
        if not record.flags & TSF_GPU_ANSWERS:
            self._unavailable(record.index, record.why)
            return
        self.answered = True
        if mask_test(self.silent, record.index):
            mask_unset(self.silent, record.index)
            snprintf(line, sizeof(line), "GPU %u answers again", record.index)
            tsf_log(line)

    cdef void _unavailable(self, uint32_t index, const char *why) noexcept nogil:
        cdef char line[128]
        if index >= <uint32_t> TSF_GPUS or mask_test(self.silent, index):
            return                            # one line in the log is enough
        mask_set(self.silent, index)
        if self.silences == NULL:
            self.silences = <Silence *> calloc(TSF_GPUS, sizeof(Silence))
        if self.silences != NULL:
            self.silences[index].since_ns = tsf_now_ns(CLOCK_MONOTONIC)
            snprintf(self.silences[index].why, sizeof(self.silences[index].why), "%.63s", why)
        snprintf(line, sizeof(line), "GPU %u is not available: %.80s", index, why)
        tsf_log(line)

    cdef void _forget_silent(self, uint32_t devices) noexcept nogil:
        """Fewer devices than before: those behind the last are not silent, they are gone."""
        cdef uint32_t index = mask_next(self.silent, devices)
        while index < <uint32_t> TSF_GPUS:
            mask_unset(self.silent, index)
            index = mask_next(self.silent, index + 1)

    cdef void _trouble(self, uint32_t index, const char *why) noexcept nogil:
        cdef char line[128]
        if index == TSF_GPU_NONE:
            self.gpus.failed(why)
            self.complete = False
            if strncmp(self.trouble, why, sizeof(self.trouble) - 1) == 0:
                return                        # as before: one line in the log is enough
            strncpy(self.trouble, why, sizeof(self.trouble) - 1)
            snprintf(line, sizeof(line), "no GPU is available: %.80s", why)
            tsf_log(line)
        else:
            self.gpus.without(index, why)
            self._unavailable(index, why)

    cdef bint machine_has_gpus(self) noexcept nogil:
        return self.table.header.gpu_devices > 0

    cdef uint32_t tell_silent(self, Text *text, uint32_t most, const char *before, const char *after) noexcept nogil:
        cdef uint32_t index = mask_next(self.silent, 0), told = 0
        cdef uint64_t now = tsf_now_ns(CLOCK_MONOTONIC)
        if not self.complete or self.silences == NULL:
            return 0                          # what is known is old, or all of NVML is silent
        while index < <uint32_t> TSF_GPUS:
            told += 1
            if told <= most:
                text_str(text, before)
                text_str(text, b"GPU ")
                text_u64(text, index)
                text_str(text, b" has not answered for ")
                text_u64(text, (now - self.silences[index].since_ns) // 1000000000)
                text_str(text, b" s: ")
                text_oneline(text, self.silences[index].why, strlen(self.silences[index].why), TSF_HIDDEN)
                text_str(text, after)
            index = mask_next(self.silent, index + 1)
        return told

    cdef void resume(self) noexcept nogil:
        self.pausing = False
        self.loop.set_timer(self.pause_timer, -1)

    # ---- from the choice to the start --------------------------------------------------------------------------
    cdef int take(self, uint64_t job, int32_t gpu_class) noexcept nogil:
        cdef Held *held = <Held *> calloc(1, sizeof(Held))
        cdef int got
        if held == NULL:
            return -1
        while True:
            mask_clear(held.mask)
            if self.gpus.choose(gpu_class, held.mask) < 0:
                free(held)
                return -1
            got = self._lease(gpu_class, held.mask)
            if got == 0:
                break
        held.gpu_class = gpu_class
        if idmap_put(&self.held, job, <uint64_t> <size_t> held) < 0:
            self._drop_leases()
            self._settle_leases(held.mask, False)
            free(held)
            return -1
        self.gpus.take(gpu_class, held.mask)
        return 0

    cdef int _lease(self, int32_t gpu_class, const uint64_t *mask) noexcept nogil:
        """Leases for all of these, in `leases`; -1: one is another queue's, which is noted, and none is taken."""
        cdef const Need *need = self.gpus.need_of(gpu_class)
        cdef uint32_t slot = mask_next(mask, 0)
        cdef int fd
        cdef bint held = False
        cdef Device *device
        self.leases.count = 0
        self.leases.shared = need.exact == NULL and (need.share != TSF_GPU_WHOLE or need.vram != 0)
        while slot < <uint32_t> TSF_GPUS:
            device = self.gpus.device(slot)
            fd = self.queue_fd[slot] if self.leases.shared else -1
            if fd < 0:
                fd = self._take_lease(device)
                if (fd == LEASE_HELD or fd == LEASE_MISSING) and need.exact == NULL:
                    self.gpus.set_leased(slot, True)       # the others are tried too: not one at a time
                    held = True
                if fd >= 0 and self.leases.shared:
                    self.queue_fd[slot] = fd
            if fd >= 0:
                self.leases.fds[self.leases.count] = fd
                self.leases.count += 1
            slot = mask_next(mask, slot + 1)
        if held:
            self._drop_leases()
            self._settle_leases(mask, False)
            return -1
        return 0

    cdef void _drop_leases(self) noexcept nogil:
        while self.leases.count:
            self.leases.count -= 1
            if not self.leases.shared:
                close(self.leases.fds[self.leases.count])

    cdef void _settle_leases(self, const uint64_t *mask, bint left) noexcept nogil:
        """After a change of who has these GPUs. The queue keeps its lock while a job has the GPU; where a job of -g is
        left on one that another job of this queue had locked, it takes it over."""
        cdef uint32_t slot = mask_next(mask, 0)
        cdef Device *device
        cdef int fd
        while slot < <uint32_t> TSF_GPUS:
            device = self.gpus.device(slot)
            if self.queue_fd[slot] >= 0 and device.holders == 0:
                if not left:
                    flock(self.queue_fd[slot], LOCK_UN)    # an earlier job may have left a process that has it too
                close(self.queue_fd[slot])
                self.queue_fd[slot] = -1
            elif self.queue_fd[slot] < 0 and device.exact_holders:
                fd = self._take_lease(device)
                self.queue_fd[slot] = fd if fd >= 0 else -1
            slot = mask_next(mask, slot + 1)

    cdef int _take_lease(self, const Device *device) noexcept nogil:
        return lease_take(getenv(b"TS_LEASE_DIR"), device.uuid, device.bus, device.flags & TSF_GPU_MIG)

    cdef int record(self, uint64_t job, uint16_t attempt, const tsf_cold *cold) noexcept nogil:
        cdef Held *held = <Held *> <size_t> idmap_get(&self.held, job)
        cdef tsf_grant head
        cdef tsf_granted one
        cdef uint32_t slots[TSF_GPUS]
        cdef uint32_t n = 0, i, slot
        cdef bint by_uuid = self.trouble[0] != 0
        cdef Device *device
        memset(&head, 0, sizeof(head))
        if cold.gpu_exact_len:
            n = self.gpus.exact_slots(held.gpu_class, slots)
        else:
            slot = mask_next(held.mask, 0)
            while slot < <uint32_t> TSF_GPUS:
                slots[n] = slot
                n += 1
                slot = mask_next(held.mask, slot + 1)
        head.attempt = attempt
        head.count = n
        self.text.size = 0
        text_add(&self.text, <const char *> &head, sizeof(head))
        # CUDA takes indices or UUIDs, and not both in one list.
        for i in range(n):
            device = self.gpus.device(slots[i])
            by_uuid = by_uuid or device.flags & TSF_GPU_MIG or device.index == TSF_GPU_NONE
        for i in range(n):
            device = self.gpus.device(slots[i])
            memset(&one, 0, sizeof(one))
            one.index = device.index
            if by_uuid:
                one.flags = TSF_GRANTED_BY_UUID
            memcpy(one.uuid, device.uuid, sizeof(one.uuid))
            text_add(&self.text, <const char *> &one, sizeof(one))
        if self.text.failed:
            self.text.failed = False
            set_errno(ENOMEM)
            return -1
        (<tsf_grant *> self.text.data).check = tsf_grant_check(<const tsf_grant *> self.text.data, job)
        return self.table.write_grant(job, cold, self.text.data, self.text.size)

    cdef void sent(self, bint started) noexcept nogil:
        self._drop_leases()
        if started and self.table.header.gpu_wait_s:
            self.pausing = True
            self.loop.set_timer(self.pause_timer, <int> self.table.header.gpu_wait_s * 1000)

    cdef void give_back(self, uint64_t job, bint left) noexcept nogil:
        cdef uint64_t place = idmap_get(&self.held, job)
        cdef Held *held
        if place == not_there():
            return
        held = <Held *> <size_t> place
        self.gpus.give_back(held.gpu_class, held.mask, tsf_now_ns(CLOCK_MONOTONIC), left)
        self._settle_leases(held.mask, left)
        idmap_del(&self.held, job)
        free(held)

    # ---- recovery ----------------------------------------------------------------------------------------------
    cdef int restore(self, const Record *record, int32_t gpu_class) noexcept nogil:
        cdef Held *held = <Held *> calloc(1, sizeof(Held))
        cdef const tsf_granted *granted
        cdef char line[96]
        cdef uint32_t i
        cdef int slot
        if held == NULL:
            return -1
        held.gpu_class = gpu_class
        if record.grant == NULL:
            snprintf(line, sizeof(line), "job %llu runs, and which GPUs it has cannot be read",
                     <unsigned long long> record.id)
            tsf_log(line)
        else:
            granted = <const tsf_granted *> (record.grant + 1)
            for i in range(record.grant.count):
                slot = self.gpus.slot_for(granted[i].uuid, granted[i].index)
                if slot >= 0:
                    mask_set(held.mask, <uint32_t> slot)
        if idmap_put(&self.held, record.id, <uint64_t> <size_t> held) < 0:
            free(held)
            return -1
        self.gpus.restore(gpu_class, held.mask)
        return 0
