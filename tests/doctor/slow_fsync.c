/* A disk that takes its time: fsync returns a fifth of a second late. For LD_PRELOAD. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <unistd.h>

int fsync(int descriptor)
{
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");

    usleep(200000);
    return real(descriptor);
}
