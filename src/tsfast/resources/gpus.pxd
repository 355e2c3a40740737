r"""Which GPUs a job gets: a pure state machine over bit masks. No I/O, no clock, no Python object per device.

The owner hands in the monitor's records and what the leases say, asks with `fits` which jobs could start, and for the
one that starts: choose, then take; at its end give_back. How all this is meant is in docs/gpus.md.

A device in the hands of this queue:

              take (whole)                      take (sharing), while others share it
         .-------------------> WHOLE              .---.
         |                       | give_back      |   v
       IDLE <--------------------+------------- SHARED <--restore-- DRAINING: takes no new ones until it is IDLE
         |                                         ^
         '---- take (sharing) ---------------------'

Jobs of `-g` (exact) stand beside that: they take a device in whatever state it is, and while one has it no other
job gets it, except by `-g` too.
"""
cimport cython
from libc.stdint cimport int32_t, uint16_t, uint32_t, uint64_t

from tsfast.base.idmap cimport IdMap
from tsfast.layout.gpus cimport TSF_GPUS, TSF_GPU_WORDS, tsf_gpu
from tsfast.base.text cimport Text

cdef enum:
    MEMORY_BITS = 50          # no GPU has more memory; so no sum of promises overflows

cdef struct Need:             # what a job asks for
    uint32_t count            # of GPUs; not looked at if `exact`
    uint32_t share            # thousandths of each: TSF_GPU_WHOLE whole ones, 0 by memory only (then vram > 0)
    uint64_t vram             # bytes of each, 0: none asked for. With whole ones: so much of it must be free
    const char *exact         # NULL, or the list of `-g`: indices and UUIDs with commas between; borrowed

cdef struct Device:
    char uuid[64]             # NUL-terminated, like all texts
    char bus[24]              # "" before the first report
    char name[48]
    char why[64]              # why it does not answer; "" if it does
    uint32_t index            # TSF_GPU_NONE: not known now
    uint32_t flags            # enum tsf_gpu_flag, as reported
    int32_t numa
    uint32_t link
    uint32_t foreign_uid
    int32_t foreign_pid
    uint64_t memory_total     # bytes
    uint64_t memory_free      # of the newest report that counts; 0 also while only the next report can tell
    uint64_t measured_ns      # of that report
    uint64_t changed_ns       # last change by this queue: memory and processes of older reports do not count
    uint64_t baseline_free    # memory_free when the first of those that have it now took it
    uint64_t promised         # bytes, to all that share it
    uint64_t promised_vram    # of these: asked for as bytes
    uint32_t promised_share   # thousandths of the jobs that asked for no memory; they count as that part of the memory
    uint32_t share            # thousandths given away, at most 1000
    uint32_t fullness         # the larger of share and the promised part of baseline_free, in thousandths
    uint32_t holders          # jobs of this queue that have it: whole, sharing and exact together
    uint32_t whole_holders    # at most 1, unless a damaged table said otherwise
    uint32_t sharers
    uint32_t exact_holders
    uint32_t seen             # round of its last report
    bint left                 # a job left processes behind: nothing is known until a report after the last give_back
    bint without              # the monitor leaves it out: it stays present

# What keeps a device from a job: the first that applies. Up to VERDICT_SILENT it is not the present use of the device:
# the job waits until the machine or its settings change.
cdef enum Verdict:
    VERDICT_HIDDEN            # TS_VISIBLE_DEVICES leaves it out
    VERDICT_DIVIDED           # its MIG instances are the devices
    VERDICT_PROHIBITED        # by its compute mode
    VERDICT_ALONE             # a MIG instance, and the job needs several GPUs
    VERDICT_UNSHARED          # exclusive by its compute mode, and the job would share it
    VERDICT_SMALL             # it has not so much memory
    VERDICT_SILENT            # does not answer
    VERDICT_FOREIGN           # another user's process computes on it
    VERDICT_BUSY              # exclusive, and a process computes on it
    VERDICT_USED              # by jobs of this queue
    VERDICT_LEASED            # by another queue
    VERDICT_OCCUPIED          # too little free memory, though no job of this queue has it
    VERDICT_FITS
    VERDICTS

cdef struct GpuCounts:        # for `--why` and warnings
    uint32_t wanted           # by the job
    uint32_t present          # the sum of `of`; exact needs: how many of the list
    uint32_t absent           # exact needs: elements of the list that are not there
    uint32_t of[VERDICTS]     # present devices, each once; exact needs are kept from a device by four of them only
    uint64_t largest          # the most memory of a device

cdef struct Class:            # an interned Need
    Need need                 # exact: owned, freed with the class
    uint64_t hash
    uint64_t checked          # `changed` when `fits` was computed; 0: never
    uint32_t references       # 0: free
    uint32_t next             # class with the same hash, or next free one; 0: none
    bint fits

@cython.final
cdef class Gpus:
    cdef readonly uint32_t n_devices      # slots in use. A slot is given to a UUID at first sight and kept for ever
    cdef readonly uint32_t free_percent   # a GPU is empty if more than this part of its memory is free
    cdef readonly uint64_t changed        # grows whenever an answer of fits() may have changed; begins with 1

    # Sets of slots. Read only for others.
    cdef uint64_t present[TSF_GPU_WORDS]     # in the last whole round, or told since
    cdef uint64_t visible[TSF_GPU_WORDS]
    cdef uint64_t usable[TSF_GPU_WORDS]      # answers, no other process computes on it, its compute mode allows it
    cdef uint64_t possible[TSF_GPU_WORDS]    # neither divided nor prohibited: exact needs are content with that
    cdef uint64_t exclusive[TSF_GPU_WORDS]   # by its compute mode
    cdef uint64_t mig[TSF_GPU_WORDS]         # an instance of a divided GPU
    cdef uint64_t empty[TSF_GPU_WORDS]
    cdef uint64_t whole[TSF_GPU_WORDS]       # a job of this queue has it whole
    cdef uint64_t shared[TSF_GPU_WORDS]      # jobs of this queue share it
    cdef uint64_t exact[TSF_GPU_WORDS]       # a job of `-g` has it
    cdef uint64_t leased[TSF_GPU_WORDS]      # another queue has it
    cdef uint64_t draining[TSF_GPU_WORDS]    # shared since before a restart

    # ---- what is known of the devices --------------------------------------------------------------------------
    # A TSF_GPU_DEVICE record. Its slot; -1: no room, or a record that makes no sense. One without UUID (it could not
    # be asked) is about the device that had the index.
    cdef int report(self, const tsf_gpu *record) noexcept nogil
    cdef void round_end(self) noexcept nogil                          # devices not told since the last are gone
    cdef void failed(self, const char *why) noexcept nogil            # none is usable until it is reported again
    # The monitor leaves this one out from now on: present, not usable, until it is reported again. -1: unknown index
    cdef int without(self, uint32_t index, const char *why) noexcept nogil
    cdef void set_free_percent(self, uint32_t percent) noexcept nogil
    cdef void set_leased(self, uint32_t slot, bint leased) noexcept nogil
    cdef void clear_leased(self) noexcept nogil
    cdef int slot_of(self, const char *uuid) noexcept nogil           # -1: never seen
    cdef int slot_by_index(self, uint32_t index) noexcept nogil       # of a present device; -1: none
    # Recovery: as slot_of, but an unknown UUID gets a slot. The index is of use until the device is reported
    # (TSF_GPU_NONE: not known). -1: no room, or not a UUID
    cdef int slot_for(self, const char *uuid, uint32_t index) noexcept nogil
    cdef Device *device(self, uint32_t slot) noexcept nogil           # slot < n_devices; valid for ever

    # ---- needs -------------------------------------------------------------------------------------------------
    # The class of all equal needs, from 1 on, with one more reference. -1: no memory. -2: not a list of GPUs (empty,
    # an empty element, one that occurs twice, neither an index below TSF_GPUS nor a UUID), or a need of no GPU, of
    # more than TSF_GPUS, of a share above TSF_GPU_WHOLE, of neither share nor memory, or of 1 << MEMORY_BITS bytes or
    # more.
    cdef int32_t class_of(self, const Need *need) noexcept nogil
    cdef void class_release(self, int32_t number) noexcept nogil      # one reference less, none left: it is gone
    cdef const Need *need_of(self, int32_t number) noexcept nogil     # valid until the next class_of
    # Could a job of this class get its GPUs now? Computed once per class and change.
    cdef bint fits(self, int32_t number) noexcept nogil
    # GPUs for a job of this class into mask; how many, or -1: not now. Changes nothing but the random numbers.
    cdef int choose(self, int32_t number, uint64_t *mask) noexcept nogil
    # Exact needs: the slots in the order of the list, without repetitions (room for TSF_GPUS); how many. Elements that
    # are not there now are left out.
    cdef uint32_t exact_slots(self, int32_t number, uint32_t *slots) noexcept nogil
    cdef void take(self, int32_t number, const uint64_t *mask) noexcept nogil         # what choose gave, at once
    cdef void give_back(self, int32_t number, const uint64_t *mask, uint64_t now_ns,
                        bint left_processes) noexcept nogil
    # Recovery: a job that runs has these. What shares them takes no new jobs until all that share them have ended.
    cdef void restore(self, int32_t number, const uint64_t *mask) noexcept nogil
    cdef Verdict verdict(self, uint32_t slot, const Need *need) noexcept nogil        # of a present device
    cdef void counts(self, const Need *need, GpuCounts *counts) noexcept nogil
    # The verdict in words without a dot, with figures: "25 % free, 90 % needed". Nothing for VERDICT_FITS.
    cdef void explain(self, Text *text, uint32_t slot, const Need *need) noexcept nogil
    cdef void say_amount(self, Text *text, uint64_t bytes) noexcept nogil             # of memory: 79.6G
    cdef void seed(self, uint64_t seed) noexcept nogil                # of the random choice among equals

    # ---- private -----------------------------------------------------------------------------------------------
    cdef Device *devices              # TSF_GPUS of them, owned; the pages of those not in use are never touched
    cdef Class *classes               # owned; [0] is not used
    cdef IdMap class_of_hash          # hash -> first class of it
    cdef uint32_t class_room, class_top, class_free
    cdef uint32_t n_by_memory         # classes that ask for memory
    cdef uint32_t round               # number of the present one
    cdef uint64_t random              # state of the generator, never 0
    cdef bint regroup                 # links or nodes have changed since the groups were computed
    cdef uint16_t by_index[TSF_GPUS]  # slot + 1, 0: none
    # For the choice: the first slot of the same link or node stands for the group; a device in none for itself.
    cdef uint16_t link_group[TSF_GPUS]
    cdef uint16_t numa_group[TSF_GPUS]
    cdef uint16_t tally[TSF_GPUS]     # all 0 between calls
