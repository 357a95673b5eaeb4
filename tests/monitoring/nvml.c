/* Two GPUs without a GPU: as much of NVIDIA's management library as Scanlight asks. NVML_STUB says what is
   wrong: "no driver" refuses to open, "lost" knows of no GPU any more, "mig" has no utilisation to tell, "hangs"
   never answers, "others" take more of both GPUs each time they are asked for, and "container" does so too and
   knows no process of ours. On the second GPU, which is CUDA's first, this process holds 100 MiB. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OK = 0, UNINITIALIZED = 1, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7, DRIVER_NOT_LOADED = 9, GPU_IS_LOST = 15 };

static int opened;

static int wrong(const char *what) {
    const char *said = getenv("NVML_STUB");
    return said != NULL && strcmp(said, what) == 0;
}

int nvmlInitWithFlags(unsigned flags) {
    if (wrong("no driver")) return DRIVER_NOT_LOADED;
    opened = 1;
    return OK;
}

int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }

int nvmlShutdown(void) {
    opened = 0;
    return OK;
}

int nvmlDeviceGetCount_v2(unsigned *count) {
    if (!opened) return UNINITIALIZED;
    if (wrong("lost")) return GPU_IS_LOST;
    *count = 2;
    return OK;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) {
    *device = (void *)(uintptr_t)(index + 1);
    return OK;
}

int nvmlDeviceGetHandleByPciBusId_v2(const char *bus, void **device) {
    if (!opened) return UNINITIALIZED;
    if (strcmp(bus, "0000:00:00.0") != 0) return NOT_FOUND;
    return nvmlDeviceGetHandleByIndex_v2(1, device);
}

struct process {
    unsigned pid;
    unsigned long long bytes;
    unsigned gpu_instance, compute_instance;
};

int nvmlDeviceGetComputeRunningProcesses_v3(void *device, unsigned *count, struct process *processes) {
    int here = (uintptr_t)device == 2 && !wrong("container");

    if (*count < 2) return *count = 2, INSUFFICIENT_SIZE;
    *count = 1 + (unsigned)here;
    processes[0] = (struct process){1, 3ULL << 30, ~0u, ~0u};
    if (here) processes[1] = (struct process){(unsigned)getpid(), 100ULL << 20, ~0u, ~0u};
    return OK;
}

int nvmlDeviceGetTemperature(void *device, int sensor, unsigned *celsius) {
    while (wrong("hangs")) pause();
    *celsius = 40 + (unsigned)(uintptr_t)device;
    return OK;
}

int nvmlDeviceGetMemoryInfo(void *device, unsigned long long *total_free_used) {
    static unsigned long long more;

    if (wrong("others") || wrong("container")) more += 32ULL << 20;
    total_free_used[0] = 8ULL << 30;
    total_free_used[1] = (5ULL << 30) - more;
    total_free_used[2] = (3ULL << 30) + more;
    return OK;
}

int nvmlDeviceGetUtilizationRates(void *device, unsigned *gpu_memory) {
    if (wrong("mig")) return NOT_SUPPORTED;
    gpu_memory[0] = 75;
    gpu_memory[1] = 10;
    return OK;
}
