/* What the GPU monitor (python -m tsfast.monitor) reports to the server through a pipe: records of one size, so that a
 * write is whole or missing. A round is, for each device, ASKING and then DEVICE, and at its end ROUND. Before anything
 * that concerns all of NVML (loading, initialising, counting) comes ASKING with TSF_GPU_NONE. So a monitor that hangs
 * or dies has named the device it was asking; for NVML as a whole, `why` says what it was doing. */
#ifndef TSFAST_GPUS_H
#define TSFAST_GPUS_H

#include <stdint.h>

#define TSF_GPUS 1024u /* most devices of a machine, MIG instances included */
#define TSF_GPU_WORDS (TSF_GPUS / 64)
#define TSF_GPU_NONE 0xffffffffu
#define TSF_GPU_WHOLE 1000u /* shares of a GPU are in thousandths */

enum tsf_gpu_kind {
    TSF_GPU_ASKING = 1, /* about to ask the device `index` */
    TSF_GPU_DEVICE = 2, /* a device as it is now */
    TSF_GPU_ROUND = 3,  /* every device has been reported; `index`: their number */
    TSF_GPU_FAILED = 4  /* NVML as a whole does not answer, `why` says why; the monitor goes on trying */
};

enum tsf_gpu_flag {
    TSF_GPU_VISIBLE = 1,   /* TS_VISIBLE_DEVICES allows it */
    TSF_GPU_ANSWERS = 2,   /* all queries succeeded; otherwise `why` says what failed */
    TSF_GPU_FOREIGN = 4,   /* a process of another user computes on it (foreign_pid, foreign_uid) */
    TSF_GPU_EXCLUSIVE = 8, /* compute mode: one process at a time */
    TSF_GPU_PROHIBITED = 16, /* compute mode: none */
    TSF_GPU_MIG = 32,      /* an instance of a divided GPU; `bus` is its parent's */
    TSF_GPU_DIVIDED = 64,  /* MIG mode is on: its instances are devices, it is none */
    TSF_GPU_BUSY = 128,    /* some process computes on it, of any user */
    TSF_GPU_UNSEEN = 256   /* the foreign process is hidden, since the container has its own pids: it may be ours */
};

struct tsf_gpu {
    uint32_t kind;  /* enum tsf_gpu_kind */
    uint32_t index; /* as in CUDA with CUDA_DEVICE_ORDER=PCI_BUS_ID; MIG instances follow the last whole GPU */
    uint32_t flags; /* enum tsf_gpu_flag, a bit set */
    int32_t numa;   /* node of its memory, -1: not known */
    uint32_t link;  /* devices of the same number are connected by NVLink; 0: by none */
    uint32_t foreign_uid; /* 0xffffffff: not known */
    int32_t foreign_pid;
    uint32_t reserved;
    uint64_t measured_ns; /* CLOCK_MONOTONIC, before the device was asked */
    uint64_t memory_total; /* bytes */
    uint64_t memory_free;
    char uuid[64]; /* NUL-terminated, like all texts; GPU-... or MIG-... */
    char bus[24];  /* domain:bus:device.function as in sysfs, in lower case: 0000:3b:00.0 */
    char name[48];
    char why[64]; /* why it does not answer */
};

_Static_assert(sizeof(struct tsf_gpu) == 256, "a record is 256 bytes");

#endif
