/* Two GPUs without a GPU: as much of NVIDIA's management library as Scanlight asks. NVML_STUB says what is
   wrong: "no driver" refuses to open, "lost" knows of no GPU any more, "mig" has no utilisation to tell, "hangs"
   never answers. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OK = 0, UNINITIALIZED = 1, NOT_SUPPORTED = 3, DRIVER_NOT_LOADED = 9, GPU_IS_LOST = 15 };

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

int nvmlDeviceGetTemperature(void *device, int sensor, unsigned *celsius) {
    while (wrong("hangs")) pause();
    *celsius = 40 + (unsigned)(uintptr_t)device;
    return OK;
}

int nvmlDeviceGetMemoryInfo(void *device, unsigned long long *total_free_used) {
    total_free_used[0] = 8ULL << 30;
    total_free_used[1] = 5ULL << 30;
    total_free_used[2] = 3ULL << 30;
    return OK;
}

int nvmlDeviceGetUtilizationRates(void *device, unsigned *gpu_memory) {
    if (wrong("mig")) return NOT_SUPPORTED;
    gpu_memory[0] = 75;
    gpu_memory[1] = 10;
    return OK;
}
