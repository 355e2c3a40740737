/* A driver library for the tests: what pynvml calls of libnvidia-ml.so.1, answered from a file of text that the test
 * replaces (by rename) while the library is in use. FAKE_NVML_STATE is its path. A line of it is one of
 *
 *     generation NUMBER                  another number: the driver was reloaded, callers must initialise again
 *     fault KIND FUNCTION KEY NUMBER     KIND: hang, crash, error (NUMBER: which) or delay (NUMBER: ms);
 *                                        FUNCTION with or without its _v2, or *; KEY: a device's, or * for all
 *     device KEY UUID BUS TOTAL FREE MODE NUMA MIG NAME...
 *     process KEY PID BYTES
 *     link KEY BUS                       one NVLink, to the device at BUS, which may be a switch
 *
 * KEY is the device's number, or NUMBER.INSTANCE for a MIG instance. The order of lines of one kind counts. */
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    SUCCESS = 0,
    UNINITIALIZED = 1,
    INVALID_ARGUMENT = 2,
    NOT_SUPPORTED = 3,
    NOT_FOUND = 6,
    INSUFFICIENT_SIZE = 7,
    DRIVER_NOT_LOADED = 9
};
enum { MOST_DEVICES = 1100, MOST_ITEMS = 8192, NO_DEVICE = 0xffff, NO_INSTANCE = 0xffff };

struct device {
    unsigned number, instance;
    char uuid[80], bus[32], name[64];
    unsigned long long total, free;
    unsigned mode, mig;
    int numa;
};

struct item { /* a process (a: pid, b: bytes) or a link */
    unsigned number, instance;
    unsigned a;
    unsigned long long b;
    char bus[32];
};

struct fault {
    char kind[8], function[64];
    bool all;
    unsigned number, instance;
    int value;
};

struct pci {
    char legacy[16];
    unsigned domain, bus, device, id, subsystem;
    char bus_id[32];
};

struct memory {
    unsigned long long total, free, used;
};

struct memory_v2 {
    unsigned version;
    unsigned long long total, reserved, free, used;
};

struct process {
    unsigned pid;
    unsigned long long used;
    unsigned gpu_instance, compute_instance;
};

static struct device devices[MOST_DEVICES];
static struct item processes[MOST_ITEMS], links[MOST_ITEMS];
static struct fault faults[MOST_DEVICES];
static unsigned device_count, process_count, link_count, fault_count;
static long generation, generation_at_init = -1;
static bool readable;
static struct stat last;

/* ---- the file ---- */

static void parse_key(const char *text, unsigned *number, unsigned *instance)
{
    char *end;

    *number = (unsigned)strtoul(text, &end, 10);
    *instance = *end == '.' ? (unsigned)strtoul(end + 1, NULL, 10) : NO_INSTANCE;
}

static void parse_line(const char *line)
{
    char kind[16] = "", key[32] = "";
    struct device *device = &devices[device_count];
    struct item *item;
    struct fault *fault = &faults[fault_count];

    sscanf(line, "%15s", kind);
    if (strcmp(kind, "generation") == 0) {
        sscanf(line, "%*s %ld", &generation);
    } else if (strcmp(kind, "device") == 0 && device_count < MOST_DEVICES) {
        if (sscanf(line, "%*s %31s %79s %31s %llu %llu %u %d %u %63[^\n]", key, device->uuid, device->bus,
                   &device->total, &device->free, &device->mode, &device->numa, &device->mig, device->name) != 9)
            abort();
        parse_key(key, &device->number, &device->instance);
        device_count++;
    } else if (strcmp(kind, "process") == 0 && process_count < MOST_ITEMS) {
        item = &processes[process_count++];
        if (sscanf(line, "%*s %31s %u %llu", key, &item->a, &item->b) != 3)
            abort();
        parse_key(key, &item->number, &item->instance);
    } else if (strcmp(kind, "link") == 0 && link_count < MOST_ITEMS) {
        item = &links[link_count++];
        if (sscanf(line, "%*s %31s %31s", key, item->bus) != 2)
            abort();
        parse_key(key, &item->number, &item->instance);
    } else if (strcmp(kind, "fault") == 0 && fault_count < MOST_DEVICES) {
        if (sscanf(line, "%*s %7s %63s %31s %d", fault->kind, fault->function, key, &fault->value) != 4)
            abort();
        fault->all = key[0] == '*';
        parse_key(key, &fault->number, &fault->instance);
        fault_count++;
    } else {
        abort();
    }
}

static void read_state(void)
{
    const char *path = getenv("FAKE_NVML_STATE");
    struct stat now;
    char line[512];
    FILE *file;

    readable = path && stat(path, &now) == 0;
    if (!readable || (now.st_ino == last.st_ino && now.st_size == last.st_size &&
                      now.st_mtim.tv_sec == last.st_mtim.tv_sec && now.st_mtim.tv_nsec == last.st_mtim.tv_nsec))
        return;
    file = fopen(path, "r");
    readable = file != NULL;
    if (!file)
        return;
    fstat(fileno(file), &last);
    device_count = process_count = link_count = fault_count = 0;
    while (fgets(line, sizeof(line), file))
        parse_line(line);
    fclose(file);
}

/* ---- faults ---- */

static bool names(const struct fault *fault, const char *function)
{
    size_t size = strlen(fault->function);

    if (fault->function[0] == '*')
        return true;
    if (strncmp(function, fault->function, size) != 0)
        return false;
    return !function[size] || (function[size] == '_' && function[size + 1] == 'v');
}

static int act(const struct fault *fault)
{
    struct timespec delay = {fault->value / 1000, fault->value % 1000 * 1000000L};

    if (strcmp(fault->kind, "error") == 0)
        return fault->value;
    if (strcmp(fault->kind, "delay") == 0) {
        nanosleep(&delay, NULL);
        return SUCCESS;
    }
    if (strcmp(fault->kind, "crash") == 0) {
        signal(SIGSEGV, SIG_DFL);
        raise(SIGSEGV);
    }
    for (;;)
        pause();
}

/* What every call begins with. */
static int enter_for(const char *function, unsigned number, unsigned instance)
{
    int code;

    read_state();
    if (!readable)
        return DRIVER_NOT_LOADED;
    for (unsigned i = 0; i < fault_count; i++) {
        if (!names(&faults[i], function))
            continue;
        if (!faults[i].all && (faults[i].number != number || faults[i].instance != instance))
            continue;
        if ((code = act(&faults[i])) != SUCCESS)
            return code;
    }
    return SUCCESS;
}

static int enter(const char *function, unsigned number, unsigned instance)
{
    int code = enter_for(function, number, instance);

    return code != SUCCESS ? code : generation_at_init != generation ? UNINITIALIZED : SUCCESS;
}

/* Handles are numbers, so that they outlive a change of the file: 1 + device, and the instance above that. */
static void *handle_of(unsigned number, unsigned instance)
{
    return (void *)(uintptr_t)(1 + number + ((instance == NO_INSTANCE ? 0 : instance + 1) << 16));
}

static int enter_device(const char *function, void *handle, struct device **found)
{
    uintptr_t value = (uintptr_t)handle;
    unsigned number = (unsigned)((value & 0xffff) - 1);
    unsigned instance = value >> 16 ? (unsigned)((value >> 16) - 1) : NO_INSTANCE;
    int code = enter(function, number, instance);

    if (code != SUCCESS)
        return code;
    for (unsigned i = 0; i < device_count; i++) {
        if (devices[i].number == number && devices[i].instance == instance) {
            *found = &devices[i];
            return SUCCESS;
        }
    }
    return INVALID_ARGUMENT;
}

static bool belongs(const struct item *item, const struct device *device)
{
    return item->number == device->number && item->instance == device->instance;
}

static void fill_pci(struct pci *pci, const char *text)
{
    memset(pci, 0, sizeof(*pci));
    sscanf(text, "%x:%x:%x", &pci->domain, &pci->bus, &pci->device);
    snprintf(pci->legacy, sizeof(pci->legacy), "%04X:%02X:%02X.0", pci->domain & 0xffff, pci->bus & 0xff,
             pci->device & 0xff);
    snprintf(pci->bus_id, sizeof(pci->bus_id), "%08X:%02X:%02X.0", pci->domain, pci->bus, pci->device);
}

/* ---- the library's functions ---- */

int nvmlInitWithFlags(unsigned flags)
{
    int code = enter_for(__func__, NO_DEVICE, NO_INSTANCE);

    (void)flags;
    if (code == SUCCESS)
        generation_at_init = generation;
    return code;
}

int nvmlShutdown(void)
{
    int code = enter(__func__, NO_DEVICE, NO_INSTANCE);

    generation_at_init = -1;
    return code;
}

const char *nvmlErrorString(int code) { return code == SUCCESS ? "Success" : "An error"; }

int nvmlDeviceGetCount_v2(unsigned *count)
{
    int code = enter(__func__, NO_DEVICE, NO_INSTANCE);

    *count = 0;
    for (unsigned i = 0; i < device_count; i++)
        *count += devices[i].instance == NO_INSTANCE;
    return code;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle)
{
    struct device *device;

    *handle = handle_of(index, NO_INSTANCE);
    return enter_device(__func__, *handle, &device);
}

int nvmlDeviceGetUUID(void *handle, char *uuid, unsigned size)
{
    struct device *device;
    int code = enter_device(__func__, handle, &device);

    if (code == SUCCESS)
        snprintf(uuid, size, "%s", device->uuid);
    return code;
}

int nvmlDeviceGetName(void *handle, char *name, unsigned size)
{
    struct device *device;
    int code = enter_device(__func__, handle, &device);

    if (code == SUCCESS)
        snprintf(name, size, "%s", device->name);
    return code;
}

int nvmlDeviceGetPciInfo_v3(void *handle, struct pci *pci)
{
    struct device *device;
    int code = enter_device(__func__, handle, &device);

    if (code == SUCCESS)
        fill_pci(pci, device->bus);
    return code;
}

int nvmlDeviceGetMemoryInfo(void *handle, struct memory *memory)
{
    struct device *device;
    int code = enter_device(__func__, handle, &device);

    if (code == SUCCESS)
        *memory = (struct memory){device->total, device->free, device->total - device->free};
    return code;
}

int nvmlDeviceGetMemoryInfo_v2(void *handle, struct memory_v2 *memory)
{
    struct device *device;
    int code = enter_device(__func__, handle, &device);

    if (code == SUCCESS)
        *memory = (struct memory_v2){memory->version, device->total, 0, device->free, device->total - device->free};
    return code;
}

int nvmlDeviceGetComputeMode(void *handle, unsigned *mode)
{
    struct device *device;
    int code = enter_device(__func__, handle, &device);

    if (code == SUCCESS)
        *mode = device->mode;
    return code;
}

static int list_processes(const char *function, void *handle, unsigned *count, struct process *list)
{
    struct device *device;
    int code = enter_device(function, handle, &device);
    unsigned room = *count, there = 0;

    if (code != SUCCESS)
        return code;
    for (unsigned i = 0; i < process_count; i++) {
        if (!belongs(&processes[i], device))
            continue;
        if (there < room && list)
            list[there] = (struct process){processes[i].a, processes[i].b, 0xffffffff, 0xffffffff};
        there++;
    }
    *count = there;
    return there > room ? INSUFFICIENT_SIZE : SUCCESS;
}

int nvmlDeviceGetComputeRunningProcesses_v2(void *handle, unsigned *count, struct process *list)
{
    return list_processes(__func__, handle, count, list);
}

int nvmlDeviceGetComputeRunningProcesses_v3(void *handle, unsigned *count, struct process *list)
{
    return list_processes(__func__, handle, count, list);
}

static int find_link(const char *function, void *handle, unsigned link, const struct item **found)
{
    struct device *device;
    int code = enter_device(function, handle, &device);

    if (code != SUCCESS)
        return code;
    for (unsigned i = 0; i < link_count; i++) {
        if (belongs(&links[i], device) && link-- == 0) {
            *found = &links[i];
            return SUCCESS;
        }
    }
    return NOT_SUPPORTED; /* past the last link, and where there are none */
}

int nvmlDeviceGetNvLinkState(void *handle, unsigned link, unsigned *active)
{
    const struct item *found;
    int code = find_link(__func__, handle, link, &found);

    *active = code == SUCCESS;
    return code;
}

int nvmlDeviceGetNvLinkRemotePciInfo_v2(void *handle, unsigned link, struct pci *pci)
{
    const struct item *found;
    int code = find_link(__func__, handle, link, &found);

    if (code == SUCCESS)
        fill_pci(pci, found->bus);
    return code;
}

int nvmlDeviceGetMemoryAffinity(void *handle, unsigned words, unsigned long long *nodes, unsigned scope)
{
    struct device *device;
    int code = enter_device(__func__, handle, &device);

    (void)scope;
    if (code != SUCCESS)
        return code;
    if (device->numa < 0)
        return NOT_SUPPORTED;
    memset(nodes, 0, words * sizeof(*nodes));
    if ((unsigned)device->numa / 64 < words)
        nodes[device->numa / 64] = 1ull << (device->numa % 64);
    return SUCCESS;
}

int nvmlDeviceGetMigMode(void *handle, unsigned *current, unsigned *pending)
{
    struct device *device;
    int code = enter_device(__func__, handle, &device);

    if (code == SUCCESS)
        *current = *pending = device->mig;
    return code;
}

int nvmlDeviceGetMaxMigDeviceCount(void *handle, unsigned *count)
{
    struct device *device;
    int code = enter_device(__func__, handle, &device);

    *count = 7;
    return code;
}

int nvmlDeviceGetMigDeviceHandleByIndex(void *handle, unsigned index, void **instance)
{
    struct device *device;
    int code = enter_device(__func__, handle, &device);

    if (code != SUCCESS)
        return code;
    for (unsigned i = 0; i < device_count; i++) {
        if (devices[i].number == device->number && devices[i].instance == index) {
            *instance = handle_of(device->number, index);
            return SUCCESS;
        }
    }
    return NOT_FOUND;
}
