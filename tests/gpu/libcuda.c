/* The CUDA driver for tests: on the memory of the host, and stricter than a driver is.
 *
 * It has the functions that a runner needs; shim.py adds those that PyCUDA only links to. Asynchronous work waits
 * until something synchronises with its stream and no other: what forgets to synchronise sees memory that nobody
 * has written, which is NaN. What a driver may let pass is refused: calls without a context, handles and memory
 * that are gone, copies beyond the end of an allocation. Numbers of errors are those of cuda.h.
 *
 * Environment: SHIM_MEMORY is the device's memory in bytes; SHIM_LOSE=719@5 loses the device with error 719 at
 * the fifth call that waits for it: that gives the context or synchronises.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

typedef int CUresult;
typedef int CUdevice;
typedef unsigned long long CUdeviceptr;

enum {
    SUCCESS = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NOT_INITIALIZED = 3, DEVICE_UNAVAILABLE = 46,
    INVALID_DEVICE = 101, INVALID_CONTEXT = 201, INVALID_HANDLE = 400, NOT_READY = 600, ILLEGAL_ADDRESS = 700,
    CONTEXT_IS_DESTROYED = 709, LAUNCH_FAILED = 719, NOT_PERMITTED = 800
};

enum { DRIVER = 13000, MAJOR = 8, MINOR = 6, DEPTH = 64, NON_BLOCKING = 1, DISABLE_TIMING = 2 };
enum { ATTRIBUTE_MAJOR = 75, ATTRIBUTE_MINOR = 76 };

typedef struct context {
    int retained;
} *CUcontext;

struct work {
    enum { COPY, FILL, RECORD, WAIT, CALL } kind;
    uint64_t number;
    char *to;
    const char *from;
    char *staged;
    size_t size;
    uint32_t value;
    int width;
    struct event *event;
    uint64_t recorded;
    void (*function)(void *);
    void *data;
    struct work *next;
};

typedef struct stream {
    bool blocking, busy;
    struct work *first, *last;
    struct stream *next;
} *CUstream;

typedef struct event {
    bool timed;
    CUstream stream;
    uint64_t recorded, reached;
    double at_ms;
    struct event *next;
} *CUevent;

struct block {
    bool on_device, live;
    char *start;
    size_t size;
    struct block *next;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t called = PTHREAD_COND_INITIALIZER;
static bool initialised;
static CUresult lost;
static CUresult lose_with;
static long lose_in;
static size_t memory = 8ull << 30, used;
static uint64_t issued;
static struct context primary;
static struct stream default_stream = {.blocking = true};
static CUstream streams = &default_stream;
static CUevent events;
static struct block *blocks;
static int leaked, refused, on_default_stream, pageable;

static _Thread_local CUcontext stack[DEPTH];
static _Thread_local int depth;
static _Thread_local bool calling;

/* What the tests ask. */

int shim_count(const char *what)
{
    int count = 0;
    pthread_mutex_lock(&lock);
    if (!strcmp(what, "contexts"))
        count = primary.retained;
    else if (!strcmp(what, "streams"))
        for (CUstream one = streams; one; one = one->next)
            count += one != &default_stream;
    else if (!strcmp(what, "events"))
        for (CUevent one = events; one; one = one->next)
            count++;
    else if (!strcmp(what, "device") || !strcmp(what, "host"))
        for (struct block *one = blocks; one; one = one->next)
            count += one->live && one->on_device == !strcmp(what, "device");
    else if (!strcmp(what, "pushed"))
        count = depth;
    else if (!strcmp(what, "leaked"))
        count = leaked;
    else if (!strcmp(what, "refused"))
        count = refused;
    else if (!strcmp(what, "default stream"))
        count = on_default_stream;
    else if (!strcmp(what, "pageable"))
        count = pageable;
    else
        count = -1;
    pthread_mutex_unlock(&lock);
    return count;
}

/* What every call begins and ends with. */

static CUresult leave(CUresult result)
{
    if (result != SUCCESS && result != NOT_READY && result != OUT_OF_MEMORY && result != lost)
        refused++;
    pthread_mutex_unlock(&lock);
    return result;
}

static CUresult enter(bool needs_context)
{
    pthread_mutex_lock(&lock);
    if (calling)
        return NOT_PERMITTED;
    if (!initialised)
        return NOT_INITIALIZED;
    if (lost)
        return lost;
    if (!needs_context)
        return SUCCESS;
    if (!depth)
        return INVALID_CONTEXT;
    return stack[depth - 1]->retained ? SUCCESS : CONTEXT_IS_DESTROYED;
}

/* What every call that waits for the device begins with. */
static void count_down(void)
{
    if (lose_in && !--lose_in)
        lost = lose_with;
}

#define ENTER(needs_context)                     \
    do {                                         \
        CUresult entered = enter(needs_context); \
        if (entered != SUCCESS)                  \
            return leave(entered);               \
    } while (0)

/* Memory. */

static struct block *holding(const char *address)
{
    for (struct block *one = blocks; one; one = one->next)
        if (one->start <= address && address < one->start + one->size)
            return one;
    return NULL;
}

static bool inside(const struct block *one, const char *address, size_t size)
{
    return one && one->live && size <= (size_t)(one->start + one->size - address);
}

static bool on_device(CUdeviceptr address, size_t size)
{
    struct block *one = holding((char *)address);
    return inside(one, (char *)address, size) && one->on_device;
}

static CUresult allocate(void **address, size_t size, bool device)
{
    if (!size)
        return INVALID_VALUE;
    if (device && size > memory - used)
        return OUT_OF_MEMORY;
    struct block *one = calloc(1, sizeof *one);
    char *start = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (!one || start == MAP_FAILED)
        return OUT_OF_MEMORY;
    memset(start, 0xFF, size);
    *one = (struct block){device, true, start, size, blocks};
    blocks = one;
    used += device ? size : 0;
    *address = start;
    return SUCCESS;
}

static void drop(struct block *one)
{
    /* Its addresses are never given out again, so that a late use is seen. */
    memset(one->start, 0xFF, one->size);
    one->live = false;
    used -= one->on_device ? one->size : 0;
}

static CUresult release(char *address, bool device)
{
    struct block *one = holding(address);
    if (!one || !one->live || one->start != address || one->on_device != device)
        return INVALID_VALUE;
    drop(one);
    return SUCCESS;
}

/* Streams. */

static double now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1e3 + now.tv_nsec / 1e6;
}

static CUstream find_stream(CUstream handle)
{
    if (!handle)
        return &default_stream;
    for (CUstream one = streams; one; one = one->next)
        if (one == handle)
            return one;
    return NULL;
}

static CUevent find_event(CUevent handle)
{
    for (CUevent one = events; one; one = one->next)
        if (one == handle)
            return one;
    return NULL;
}

static struct work *issue(CUstream stream, struct work what)
{
    struct work *one = malloc(sizeof *one);
    *one = what;
    one->number = ++issued;
    one->next = NULL;
    if (stream->last)
        stream->last->next = one;
    else
        stream->first = one;
    stream->last = one;
    on_default_stream += stream == &default_stream;
    return one;
}

static bool still_there(const char *address, size_t size)
{
    struct block *one = holding(address);
    return !one || inside(one, address, size);
}

static void fill(char *to, uint32_t value, int width, size_t size)
{
    for (size_t at = 0; at < size; at += width)
        memcpy(to + at, &value, width);
}

static void run(CUstream stream, uint64_t up_to);

/* The default stream and those that do not say otherwise wait for each other. */
static void run_what_comes_before(CUstream stream, uint64_t number)
{
    if (!stream->blocking)
        return;
    for (CUstream other = streams; other; other = other->next)
        if (other != stream && other->blocking && (stream == &default_stream || other == &default_stream))
            run(other, number - 1);
}

static void carry_out(CUstream stream, struct work *one)
{
    switch (one->kind) {
    case COPY:
        if (!still_there(one->to, one->size) || !still_there(one->from, one->size))
            lost = ILLEGAL_ADDRESS;
        else
            memcpy(one->to, one->from, one->size);
        free(one->staged);
        break;
    case FILL:
        if (!still_there(one->to, one->size))
            lost = ILLEGAL_ADDRESS;
        else
            fill(one->to, one->value, one->width, one->size);
        break;
    case RECORD:
        if (find_event(one->event)) {
            one->event->at_ms = now_ms();
            one->event->reached = one->number;
        }
        break;
    case WAIT:
        if (find_event(one->event) && find_stream(one->event->stream))
            run(one->event->stream, one->recorded);
        break;
    case CALL:
        /* The function may wait for another thread that calls the driver. */
        stream->busy = calling = true;
        pthread_mutex_unlock(&lock);
        one->function(one->data);
        pthread_mutex_lock(&lock);
        stream->busy = calling = false;
        pthread_cond_broadcast(&called);
        break;
    }
}

static void run(CUstream stream, uint64_t up_to)
{
    for (;;) {
        while (stream->busy)
            pthread_cond_wait(&called, &lock);
        struct work *one = stream->first;
        if (!one || one->number > up_to || lost)
            return;
        run_what_comes_before(stream, one->number);
        stream->first = one->next;
        if (!stream->first)
            stream->last = NULL;
        carry_out(stream, one);
        free(one);
    }
}

static void run_one(CUstream stream)
{
    if (stream->first)
        run(stream, stream->first->number);
}

static void forget(CUstream stream)
{
    for (CUstream *link = &streams; *link; link = &(*link)->next)
        if (*link == stream) {
            *link = stream->next;
            free(stream);
            return;
        }
}

static void forget_event(CUevent event)
{
    for (CUevent *link = &events; *link; link = &(*link)->next)
        if (*link == event) {
            *link = event->next;
            free(event);
            return;
        }
}

/* Errors, version, device. */

CUresult cuGetErrorString(CUresult error, const char **text)
{
    static const struct { CUresult error; const char *text; } texts[] = {
        {SUCCESS, "no error"}, {INVALID_VALUE, "invalid argument"}, {OUT_OF_MEMORY, "out of memory"},
        {NOT_INITIALIZED, "initialization error"},
        {DEVICE_UNAVAILABLE, "CUDA-capable device(s) is/are busy or unavailable"},
        {INVALID_DEVICE, "invalid device ordinal"}, {INVALID_CONTEXT, "invalid device context"},
        {INVALID_HANDLE, "invalid resource handle"}, {NOT_READY, "device not ready"},
        {ILLEGAL_ADDRESS, "an illegal memory access was encountered"},
        {CONTEXT_IS_DESTROYED, "context is destroyed"}, {LAUNCH_FAILED, "unspecified launch failure"},
        {NOT_PERMITTED, "operation not permitted"},
    };
    *text = "operation not supported";
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (texts[i].error == error)
            *text = texts[i].text;
    return SUCCESS;
}

CUresult cuInit(unsigned flags)
{
    pthread_mutex_lock(&lock);
    const char *limit = getenv("SHIM_MEMORY"), *lose = getenv("SHIM_LOSE");
    if (!initialised) {
        memory = limit ? strtoull(limit, NULL, 10) : memory;
        if (lose)
            sscanf(lose, "%d@%ld", &lose_with, &lose_in);
    }
    initialised = true;
    return leave(flags ? INVALID_VALUE : SUCCESS);
}

CUresult cuDriverGetVersion(int *version)
{
    *version = DRIVER;
    return SUCCESS;
}

CUresult cuDeviceGetCount(int *count)
{
    ENTER(false);
    *count = 1;
    return leave(SUCCESS);
}

CUresult cuDeviceGet(CUdevice *device, int ordinal)
{
    ENTER(false);
    *device = ordinal;
    return leave(ordinal ? INVALID_DEVICE : SUCCESS);
}

CUresult cuDeviceGetName(char *name, int size, CUdevice device)
{
    ENTER(false);
    snprintf(name, size, "memory of the host");
    return leave(device ? INVALID_DEVICE : SUCCESS);
}

CUresult cuDeviceGetPCIBusId(char *name, int size, CUdevice device)
{
    ENTER(false);
    snprintf(name, size, "0000:00:00.0");
    return leave(device ? INVALID_DEVICE : SUCCESS);
}

CUresult cuDeviceComputeCapability(int *major, int *minor, CUdevice device)
{
    ENTER(false);
    *major = MAJOR;
    *minor = MINOR;
    return leave(device ? INVALID_DEVICE : SUCCESS);
}

CUresult cuDeviceTotalMem_v2(size_t *bytes, CUdevice device)
{
    ENTER(false);
    *bytes = memory;
    return leave(device ? INVALID_DEVICE : SUCCESS);
}

CUresult cuDeviceGetAttribute(int *value, int attribute, CUdevice device)
{
    ENTER(false);
    *value = attribute == ATTRIBUTE_MAJOR ? MAJOR : attribute == ATTRIBUTE_MINOR ? MINOR : 0;
    return leave(device ? INVALID_DEVICE : SUCCESS);
}

/* Contexts: the primary one, as TensorRT uses it. */

CUresult cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device)
{
    ENTER(false);
    if (device)
        return leave(INVALID_DEVICE);
    count_down();
    if (lost)
        return leave(lost);
    primary.retained++;
    *context = &primary;
    return leave(SUCCESS);
}

CUresult cuDevicePrimaryCtxRelease_v2(CUdevice device)
{
    ENTER(false);
    if (device || !primary.retained)
        return leave(device ? INVALID_DEVICE : INVALID_CONTEXT);
    if (--primary.retained)
        return leave(SUCCESS);
    /* With the context goes all that is left in it. */
    for (CUstream one = streams; one; one = one->next)
        run(one, UINT64_MAX);
    for (struct block *one = blocks; one; one = one->next)
        if (one->live) {
            drop(one);
            leaked++;
        }
    for (; events; leaked++)
        forget_event(events);
    for (CUstream one = streams, next; one; one = next) {
        next = one->next;
        if (one != &default_stream) {
            forget(one);
            leaked++;
        }
    }
    return leave(SUCCESS);
}

CUresult cuCtxPushCurrent_v2(CUcontext context)
{
    ENTER(false);
    if (context != &primary || depth == DEPTH)
        return leave(INVALID_VALUE);
    if (!context->retained)
        return leave(CONTEXT_IS_DESTROYED);
    stack[depth++] = context;
    return leave(SUCCESS);
}

CUresult cuCtxPopCurrent_v2(CUcontext *context)
{
    /* Also when the device is lost: the stack is the thread's. */
    pthread_mutex_lock(&lock);
    if (!depth)
        return leave(INVALID_CONTEXT);
    *context = stack[--depth];
    return leave(SUCCESS);
}

CUresult cuCtxGetDevice(CUdevice *device)
{
    ENTER(true);
    *device = 0;
    return leave(SUCCESS);
}

CUresult cuCtxGetApiVersion(CUcontext context, unsigned *version)
{
    ENTER(false);
    *version = DRIVER;
    return leave(context == &primary ? SUCCESS : INVALID_CONTEXT);
}

CUresult cuCtxSynchronize(void)
{
    ENTER(true);
    count_down();
    for (CUstream one = streams; one; one = one->next)
        run(one, UINT64_MAX);
    return leave(lost);
}

/* Memory. */

CUresult cuMemGetInfo_v2(size_t *available, size_t *total)
{
    ENTER(true);
    *available = memory - used;
    *total = memory;
    return leave(SUCCESS);
}

CUresult cuMemAlloc_v2(CUdeviceptr *address, size_t size)
{
    ENTER(true);
    return leave(allocate((void **)address, size, true));
}

CUresult cuMemFree_v2(CUdeviceptr address)
{
    ENTER(true);
    return leave(release((char *)address, true));
}

CUresult cuMemGetAddressRange_v2(CUdeviceptr *start, size_t *size, CUdeviceptr address)
{
    ENTER(true);
    struct block *one = holding((char *)address);
    if (!one || !one->live || !one->on_device)
        return leave(INVALID_VALUE);
    *start = (CUdeviceptr)one->start;
    *size = one->size;
    return leave(SUCCESS);
}

CUresult cuMemHostAlloc(void **address, size_t size, unsigned flags)
{
    ENTER(true);
    (void)flags;
    return leave(allocate(address, size, false));
}

CUresult cuMemFreeHost(void *address)
{
    ENTER(true);
    return leave(release(address, false));
}

CUresult cuMemHostGetFlags(unsigned *flags, void *address)
{
    ENTER(true);
    struct block *one = holding(address);
    *flags = 0;
    return leave(one && one->live && !one->on_device ? SUCCESS : INVALID_VALUE);
}

static CUresult copy(char *to, const char *from, size_t size, const char *host, CUdeviceptr device, CUstream handle)
{
    CUstream stream = find_stream(handle);
    if (!stream)
        return INVALID_HANDLE;
    struct block *pinned = holding(host);
    if (!size || !on_device(device, size) || (pinned && (!inside(pinned, host, size) || pinned->on_device)))
        return INVALID_VALUE;
    struct work *one = issue(stream, (struct work){.kind = COPY, .to = to, .from = from, .size = size});
    if (pinned)
        return SUCCESS;
    pageable++;
    if (host == to) {
        run(stream, one->number);
        return lost;
    }
    one->staged = malloc(size);
    one->from = memcpy(one->staged, from, size);
    return SUCCESS;
}

CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void *from, size_t size, CUstream stream)
{
    ENTER(true);
    return leave(copy((char *)to, from, size, from, to, stream));
}

CUresult cuMemcpyDtoHAsync_v2(void *to, CUdeviceptr from, size_t size, CUstream stream)
{
    ENTER(true);
    return leave(copy(to, (char *)from, size, to, from, stream));
}

CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t size, CUstream handle)
{
    ENTER(true);
    CUstream stream = find_stream(handle);
    if (!stream)
        return leave(INVALID_HANDLE);
    if (!size || !on_device(to, size) || !on_device(from, size))
        return leave(INVALID_VALUE);
    issue(stream, (struct work){.kind = COPY, .to = (char *)to, .from = (char *)from, .size = size});
    return leave(SUCCESS);
}

/* Without a stream a copy is on the default one, and done when it returns. */
static CUresult finish(CUresult issued_as)
{
    if (issued_as != SUCCESS)
        return issued_as;
    pthread_mutex_lock(&lock);
    count_down();
    run(&default_stream, UINT64_MAX);
    return leave(lost);
}

CUresult cuMemcpyHtoD_v2(CUdeviceptr to, const void *from, size_t size)
{
    return finish(cuMemcpyHtoDAsync_v2(to, from, size, NULL));
}

CUresult cuMemcpyDtoH_v2(void *to, CUdeviceptr from, size_t size)
{
    return finish(cuMemcpyDtoHAsync_v2(to, from, size, NULL));
}

CUresult cuMemcpyDtoD_v2(CUdeviceptr to, CUdeviceptr from, size_t size)
{
    return finish(cuMemcpyDtoDAsync_v2(to, from, size, NULL));
}

static CUresult set(CUdeviceptr to, uint32_t value, int width, size_t count, CUstream handle)
{
    ENTER(true);
    CUstream stream = find_stream(handle);
    if (!stream)
        return leave(INVALID_HANDLE);
    if (!count || !on_device(to, count * width))
        return leave(INVALID_VALUE);
    issue(stream, (struct work){
        .kind = FILL, .to = (char *)to, .value = value, .width = width, .size = count * width});
    return leave(SUCCESS);
}

CUresult cuMemsetD8Async(CUdeviceptr to, unsigned char value, size_t count, CUstream stream)
{
    return set(to, value, 1, count, stream);
}

CUresult cuMemsetD16Async(CUdeviceptr to, unsigned short value, size_t count, CUstream stream)
{
    return set(to, value, 2, count, stream);
}

CUresult cuMemsetD32Async(CUdeviceptr to, unsigned value, size_t count, CUstream stream)
{
    return set(to, value, 4, count, stream);
}

CUresult cuMemsetD8_v2(CUdeviceptr to, unsigned char value, size_t count)
{
    return finish(set(to, value, 1, count, NULL));
}

CUresult cuMemsetD16_v2(CUdeviceptr to, unsigned short value, size_t count)
{
    return finish(set(to, value, 2, count, NULL));
}

CUresult cuMemsetD32_v2(CUdeviceptr to, unsigned value, size_t count)
{
    return finish(set(to, value, 4, count, NULL));
}

/* Streams. */

CUresult cuStreamCreate(CUstream *stream, unsigned flags)
{
    ENTER(true);
    CUstream one = calloc(1, sizeof *one);
    *one = (struct stream){.blocking = !(flags & NON_BLOCKING), .next = streams};
    streams = *stream = one;
    return leave(SUCCESS);
}

CUresult cuStreamDestroy_v2(CUstream handle)
{
    ENTER(true);
    CUstream stream = find_stream(handle);
    if (!stream || stream == &default_stream)
        return leave(INVALID_HANDLE);
    run(stream, UINT64_MAX);
    forget(stream);
    return leave(SUCCESS);
}

CUresult cuStreamQuery(CUstream handle)
{
    ENTER(true);
    CUstream stream = find_stream(handle);
    if (!stream)
        return leave(INVALID_HANDLE);
    if (!stream->first)
        return leave(SUCCESS);
    /* Who asks again and again sees it end. */
    run_one(stream);
    return leave(lost ? lost : NOT_READY);
}

CUresult cuStreamSynchronize(CUstream handle)
{
    ENTER(true);
    CUstream stream = find_stream(handle);
    if (!stream)
        return leave(INVALID_HANDLE);
    count_down();
    run(stream, UINT64_MAX);
    return leave(lost);
}

CUresult cuStreamWaitEvent(CUstream handle, CUevent event, unsigned flags)
{
    ENTER(true);
    (void)flags;
    CUstream stream = find_stream(handle);
    if (!stream || !find_event(event))
        return leave(INVALID_HANDLE);
    issue(stream, (struct work){.kind = WAIT, .event = event, .recorded = event->recorded});
    return leave(SUCCESS);
}

CUresult cuLaunchHostFunc(CUstream handle, void (*function)(void *), void *data)
{
    ENTER(true);
    CUstream stream = find_stream(handle);
    if (!stream)
        return leave(INVALID_HANDLE);
    issue(stream, (struct work){.kind = CALL, .function = function, .data = data});
    return leave(SUCCESS);
}

/* Events. */

CUresult cuEventCreate(CUevent *event, unsigned flags)
{
    ENTER(true);
    CUevent one = calloc(1, sizeof *one);
    *one = (struct event){.timed = !(flags & DISABLE_TIMING), .next = events};
    events = *event = one;
    return leave(SUCCESS);
}

CUresult cuEventDestroy_v2(CUevent event)
{
    ENTER(true);
    if (!find_event(event))
        return leave(INVALID_HANDLE);
    forget_event(event);
    return leave(SUCCESS);
}

CUresult cuEventRecord(CUevent event, CUstream handle)
{
    ENTER(true);
    CUstream stream = find_stream(handle);
    if (!stream || !find_event(event))
        return leave(INVALID_HANDLE);
    event->stream = stream;
    event->recorded = issue(stream, (struct work){.kind = RECORD, .event = event})->number;
    return leave(SUCCESS);
}

CUresult cuEventQuery(CUevent event)
{
    ENTER(true);
    if (!find_event(event))
        return leave(INVALID_HANDLE);
    if (event->reached == event->recorded)
        return leave(SUCCESS);
    run_one(event->stream);
    return leave(lost ? lost : NOT_READY);
}

CUresult cuEventSynchronize(CUevent event)
{
    ENTER(true);
    if (!find_event(event))
        return leave(INVALID_HANDLE);
    count_down();
    if (event->reached != event->recorded)
        run(event->stream, event->recorded);
    return leave(lost);
}

CUresult cuEventElapsedTime(float *ms, CUevent begin, CUevent end)
{
    ENTER(true);
    if (!find_event(begin) || !find_event(end) || !begin->timed || !end->timed)
        return leave(INVALID_HANDLE);
    if (!begin->recorded || !end->recorded)
        return leave(INVALID_HANDLE);
    if (begin->reached != begin->recorded || end->reached != end->recorded)
        return leave(NOT_READY);
    *ms = (float)(end->at_ms - begin->at_ms);
    return leave(SUCCESS);
}

CUresult cuEventElapsedTime_v2(float *ms, CUevent begin, CUevent end)
{
    return cuEventElapsedTime(ms, begin, end);
}
